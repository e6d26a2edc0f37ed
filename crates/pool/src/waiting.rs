//! The calls that wait for their first byte, oldest first: linked lists in one slab, so that a call is put in and taken out in
//! constant time and, once the slab has grown to the pool's concurrency, without an allocation.
//!
//! A list also knows which of its calls are *unheard*: those that were sent after every call that was answered. A call that waits
//! long while later ones are answered is stuck by itself; only unheard ones say something of the deployment. And a deployment
//! that works off what it has but takes nothing new answers calls, yet none of the unheard.

use std::time::Instant;

const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Slab {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    since: Instant,
    before: u32,
    after: u32,
    unheard: bool,
}

/// The calls of one kind that wait at one deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    first: u32,
    last: u32,
    count: u32,
    first_unheard: u32,
    unheard: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE, count: 0, first_unheard: NONE, unheard: 0 }
    }
}

impl List {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How many were sent after every call that was answered.
    pub(crate) fn unheard(&self) -> u32 {
        self.unheard
    }

    /// Since when the oldest of those waits.
    pub(crate) fn unheard_since(&self, slab: &Slab) -> Option<Instant> {
        slab.nodes.get(self.first_unheard as usize).map(|node| node.since)
    }

    /// A call that was sent at `sent` was answered, in this list or another.
    pub(crate) fn heard(&mut self, slab: &mut Slab, sent: Instant) {
        while let Some(node) = slab.nodes.get_mut(self.first_unheard as usize)
            && node.since <= sent
        {
            node.unheard = false;
            self.first_unheard = node.after;
            self.unheard -= 1;
        }
    }

    /// Puts a call at the end; what comes back takes it out again.
    pub(crate) fn push(&mut self, slab: &mut Slab, since: Instant) -> u32 {
        let node = Node { since, before: self.last, after: NONE, unheard: true };
        let place = if let Some(place) = slab.free.pop() {
            slab.nodes[place as usize] = node;
            place
        } else {
            slab.nodes.push(node);
            u32::try_from(slab.nodes.len() - 1).unwrap_or(NONE)
        };
        match slab.nodes.get_mut(self.last as usize) {
            Some(last) => last.after = place,
            None => self.first = place,
        }
        self.last = place;
        self.count += 1;
        if self.first_unheard == NONE {
            self.first_unheard = place;
        }
        self.unheard += 1;
        place
    }

    /// Takes out what `push` gave, once.
    pub(crate) fn remove(&mut self, slab: &mut Slab, place: u32) {
        let Some(&Node { before, after, unheard, .. }) = slab.nodes.get(place as usize) else { return };
        self.unheard -= u32::from(unheard);
        if self.first_unheard == place {
            self.first_unheard = after;
        }
        match slab.nodes.get_mut(before as usize) {
            Some(node) => node.after = after,
            None => self.first = after,
        }
        match slab.nodes.get_mut(after as usize) {
            Some(node) => node.before = before,
            None => self.last = before,
        }
        slab.free.push(place);
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Remove(usize, prop::sample::Index),
        Heard(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..2_usize).prop_map(Step::Push),
            2 => (0..2_usize, any::<prop::sample::Index>()).prop_map(|(list, index)| Step::Remove(list, index)),
            1 => (0..20_usize).prop_map(Step::Heard),
        ]
    }

    proptest! {
        #[test]
        fn two_lists_in_a_slab_behave_as_two_queues(steps in prop::collection::vec(step(), 0..200)) {
            let start = Instant::now();
            let at = |number: usize| start + Duration::from_millis(number as u64);
            let mut slab = Slab::default();
            let mut lists = [List::default(); 2];
            let mut model: [Vec<(u32, Instant)>; 2] = [Vec::new(), Vec::new()];
            let mut latest = start;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(list) => {
                        let since = at(number + 1);
                        let place = lists[list].push(&mut slab, since);
                        model[list].push((place, since));
                    }
                    Step::Remove(list, index) if !model[list].is_empty() => {
                        let (place, _) = model[list].remove(index.index(model[list].len()));
                        lists[list].remove(&mut slab, place);
                    }
                    Step::Remove(..) => {}
                    Step::Heard(ago) => {
                        let sent = at(number.saturating_sub(ago));
                        latest = latest.max(sent);
                        for list in &mut lists {
                            list.heard(&mut slab, sent);
                        }
                    }
                }
                for (list, model) in lists.iter().zip(&model) {
                    let unheard: Vec<Instant> =
                        model.iter().map(|(_, since)| *since).filter(|since| *since > latest).collect();
                    prop_assert_eq!(list.count() as usize, model.len());
                    prop_assert_eq!(list.unheard() as usize, unheard.len());
                    prop_assert_eq!(list.unheard_since(&slab), unheard.first().copied());
                }
            }
        }
    }
}
