//! One tenant's answers on one route: by key, and by meaning within a partition.
//!
//! What has to go is chosen by SIEVE (Zhang et al., NSDI 2024): a queue by arrival with a hand that passes from old to new, sparing
//! once what was used since it last came by. A hit sets one bit, where LRU would move the entry; docs/CACHE.md has both beside each
//! other.

use crate::entry::Entry;
use crate::facts::Facts;
use crate::flight::Flights;
use crate::index::{Candidate, Index, Vector};
use crate::question::{ExactKey, Partition};
use contracts::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a slot takes beside what it holds: maps, links, the index's item.
const OVERHEAD: usize = 256;

/// No slot.
const NONE: u32 = u32::MAX;

/// A tenant's answers on a route.
#[derive(Default)]
pub(crate) struct Shelf {
    state: Mutex<State>,
    bytes: AtomicUsize,
    /// The bytes of all shelves of the process.
    total: Arc<AtomicUsize>,
    pub(crate) flights: Flights,
}

/// How an answer is found by meaning.
#[derive(Debug, Clone)]
pub(crate) struct Bearing {
    pub(crate) partition: Partition,
    pub(crate) vector: Vector,
    pub(crate) facts: Arc<Facts>,
    /// Questions that the partition may hold.
    pub(crate) most: usize,
}

#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    free: Vec<u32>,
    places: HashMap<ExactKey, u32>,
    indexes: HashMap<Partition, Arc<Index>>,
    newest: u32,
    oldest: u32,
    hand: u32,
    bytes: usize,
    evicted: u64,
    /// Whether the shelf was cleared for good: a call that was under way keeps nothing on it.
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    key: ExactKey,
    /// `None`: another gateway has it.
    entry: Option<Arc<Entry>>,
    partition: Option<Partition>,
    expires_at: Timestamp,
    bytes: usize,
    visited: bool,
    newer: u32,
    older: u32,
}

/// What a key leads to.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Entry(Arc<Entry>),
    /// Known from another gateway: Redis has it.
    Elsewhere,
}

impl Shelf {
    /// A shelf whose bytes are counted together with others'.
    pub(crate) fn counted_in(total: Arc<AtomicUsize>) -> Self {
        Self { total, ..Self::default() }
    }

    /// What is kept under a key and not too old.
    pub(crate) fn get(&self, key: &ExactKey, now: Timestamp) -> Option<Found> {
        let mut state = self.lock();
        let place = *state.places.get(key)?;
        let slot = &mut state.slots[place as usize];
        if now >= slot.expires_at {
            state.remove(place);
            self.tell(&state);
            return None;
        }
        slot.visited = true;
        Some(slot.entry.clone().map_or(Found::Elsewhere, Found::Entry))
    }

    /// Questions of like meaning in a partition, nearest first.
    pub(crate) fn nearest(
        &self,
        partition: &Partition,
        vector: &Vector,
        threshold: f64,
        now: Timestamp,
    ) -> Vec<Candidate> {
        let index = self.lock().indexes.get(partition).cloned();
        index.map_or_else(Vec::new, |index| index.nearest(vector, threshold, now))
    }

    /// Keeps an answer, or (without one) the news that another gateway has it; others go until it fits.
    pub(crate) fn insert(
        &self,
        key: ExactKey,
        entry: Option<Arc<Entry>>,
        expires_at: Timestamp,
        bearing: Option<&Bearing>,
        most_bytes: usize,
    ) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let mut entry = entry;
        let mut expires_at = expires_at;
        if let Some(&place) = state.places.get(&key) {
            let slot = &state.slots[place as usize];
            if entry.is_none() && slot.partition.is_some() {
                return;
            }
            // News of an answer that is here already, but was not found by meaning so far.
            if entry.is_none() && slot.entry.is_some() {
                entry.clone_from(&slot.entry);
                expires_at = slot.expires_at;
            }
            state.remove(place);
        }
        let held = entry.as_ref().map_or(0, |entry| entry.bytes());
        let found_by = bearing.map_or(0, |bearing| bearing.vector.bytes() + bearing.facts.bytes());
        let bytes = OVERHEAD + held + found_by;
        if bytes > most_bytes {
            self.tell(&state);
            return;
        }
        let partition = bearing.map(|bearing| bearing.partition);
        let slot =
            Slot { key, entry, partition, expires_at, bytes, visited: false, newer: NONE, older: NONE };
        state.push(slot);
        if let Some(bearing) = bearing {
            let index = Arc::clone(state.indexes.entry(bearing.partition).or_default());
            let Bearing { vector, facts, most, .. } = bearing;
            if let Some(out) = index.insert(key, vector, facts.clone(), expires_at, *most) {
                state.drop_key(&out);
            }
        }
        state.shrink(most_bytes);
        self.tell(&state);
    }

    /// Keeps an answer whose question may be known here by meaning already, and stays so.
    pub(crate) fn fill(&self, entry: Arc<Entry>, most_bytes: usize) {
        let mut state = self.lock();
        let known = state.places.get(&entry.key).copied();
        let Some(place) = known.filter(|place| state.slots[*place as usize].partition.is_some()) else {
            drop(state);
            return self.insert(entry.key, Some(entry.clone()), entry.expires_at, None, most_bytes);
        };
        let slot = &mut state.slots[place as usize];
        let held = slot.entry.as_ref().map_or(0, |entry| entry.bytes());
        let bytes = entry.bytes();
        slot.bytes = slot.bytes - held + bytes;
        slot.expires_at = entry.expires_at;
        slot.entry = Some(entry);
        state.bytes = state.bytes - held + bytes;
        state.shrink(most_bytes);
        self.tell(&state);
    }

    /// Takes an answer away, and with it the way to it by meaning.
    pub(crate) fn remove(&self, key: &ExactKey) {
        let mut state = self.lock();
        state.drop_key(key);
        self.tell(&state);
    }

    /// Lets go until at most so many bytes are held.
    pub(crate) fn shrink(&self, most_bytes: usize) {
        let mut state = self.lock();
        state.shrink(most_bytes);
        self.tell(&state);
    }

    /// Takes away what is too old.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let mut state = self.lock();
        let old = |place: &u32| now >= state.slots[*place as usize].expires_at;
        let places: Vec<u32> = state.places.values().copied().filter(old).collect();
        for place in places {
            state.remove(place);
        }
        self.tell(&state);
    }

    /// Empties the shelf for good.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        *state = State { closed: true, evicted: state.evicted, ..State::default() };
        self.tell(&state);
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Answers held, and how many had to go.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let state = self.lock();
        (state.places.len(), state.evicted)
    }

    fn tell(&self, state: &State) {
        let before = self.bytes.swap(state.bytes, Ordering::Relaxed);
        // Wraps around and back where it became less.
        self.total.fetch_add(state.bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here leaves the state half changed but a failed allocation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shelf").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            places: HashMap::new(),
            indexes: HashMap::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
            bytes: 0,
            evicted: 0,
            closed: false,
        }
    }
}

impl State {
    fn push(&mut self, mut slot: Slot) {
        slot.older = self.newest;
        self.bytes += slot.bytes;
        let key = slot.key;
        let place = if let Some(place) = self.free.pop() {
            self.slots[place as usize] = slot;
            place
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        };
        match self.newest {
            NONE => self.oldest = place,
            newest => self.slots[newest as usize].newer = place,
        }
        self.newest = place;
        self.places.insert(key, place);
    }

    fn drop_key(&mut self, key: &ExactKey) {
        if let Some(&place) = self.places.get(key) {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: u32) {
        let slot = &mut self.slots[place as usize];
        let (newer, older, key, bytes) = (slot.newer, slot.older, slot.key, slot.bytes);
        slot.entry = None;
        let partition = slot.partition.take();
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        if self.hand == place {
            self.hand = newer;
        }
        self.bytes -= bytes;
        self.places.remove(&key);
        self.free.push(place);
        if let Some(partition) = partition
            && let Some(index) = self.indexes.get(&partition)
        {
            index.remove(&key);
            if index.len() == 0 {
                self.indexes.remove(&partition);
            }
        }
    }

    fn shrink(&mut self, most_bytes: usize) {
        while self.bytes > most_bytes {
            let mut place = if self.hand == NONE { self.oldest } else { self.hand };
            while place != NONE && self.slots[place as usize].visited {
                let slot = &mut self.slots[place as usize];
                slot.visited = false;
                place = if slot.newer == NONE { self.oldest } else { slot.newer };
            }
            if place == NONE {
                return;
            }
            self.hand = place;
            self.remove(place);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests;
