//! The calls that wait for their first byte, oldest first: linked lists in one slab, so that a call is put in and taken out in
//! constant time and, once the slab has grown to the pool's concurrency, without an allocation.

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
}

/// The calls of one kind that wait at one deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    first: u32,
    last: u32,
    count: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE, count: 0 }
    }
}

impl List {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Since when the oldest waits.
    pub(crate) fn oldest(&self, slab: &Slab) -> Option<Instant> {
        slab.nodes.get(self.first as usize).map(|node| node.since)
    }

    /// Puts a call at the end; what comes back takes it out again.
    pub(crate) fn push(&mut self, slab: &mut Slab, since: Instant) -> u32 {
        let node = Node { since, before: self.last, after: NONE };
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
        place
    }

    /// Takes out what `push` gave, once.
    pub(crate) fn remove(&mut self, slab: &mut Slab, place: u32) {
        let Some(&Node { before, after, .. }) = slab.nodes.get(place as usize) else { return };
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

    proptest! {
        #[test]
        fn two_lists_in_a_slab_behave_as_two_queues(steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<prop::sample::Index>()), 0..200)) {
            let start = Instant::now();
            let mut slab = Slab::default();
            let mut lists = [List::default(); 2];
            let mut model: [Vec<(u32, Instant)>; 2] = [Vec::new(), Vec::new()];
            for (number, (which, push, index)) in steps.into_iter().enumerate() {
                let which = usize::from(which);
                if push || model[which].is_empty() {
                    let since = start + Duration::from_millis(number as u64);
                    let place = lists[which].push(&mut slab, since);
                    model[which].push((place, since));
                } else {
                    let at = index.index(model[which].len());
                    let (place, _) = model[which].remove(at);
                    lists[which].remove(&mut slab, place);
                }
                for (list, model) in lists.iter().zip(&model) {
                    prop_assert_eq!(list.count() as usize, model.len());
                    prop_assert_eq!(list.oldest(&slab), model.first().map(|(_, since)| *since));
                }
            }
        }
    }
}
