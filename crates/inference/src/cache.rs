//! What was computed from a text, kept by the text's content: contexts come again and again, in every answer of a conversation and
//! for every question about the same document.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bounded map from content to what was computed from it; the least recently used goes first. Shared between threads by
/// reference.
#[derive(Debug)]
pub struct ContentCache<V> {
    most_bytes: usize,
    state: Mutex<State<V>>,
}

/// A text's content in 256 bits: nobody can make two contexts that share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentKey([u8; 32]);

impl ContentKey {
    /// The key of a text. `purpose` keeps apart what different computations make of it, such as versions of a model.
    pub fn new(purpose: &str, text: &str) -> Self {
        let mut hash = Sha256::new();
        // The length keeps ("ab", "c") from being ("a", "bc").
        hash.update(purpose.len().to_le_bytes());
        hash.update(purpose.as_bytes());
        hash.update(text.as_bytes());
        Self(hash.finalize().into())
    }
}

#[derive(Debug)]
struct State<V> {
    entries: HashMap<ContentKey, Entry<V>>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, ContentKey>,
    clock: u64,
    bytes: usize,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    bytes: usize,
    used: u64,
}

/// How a cache does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheUse {
    /// Look-ups that found something.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Entries held.
    pub entries: usize,
    /// Bytes held, as their owners counted them.
    pub bytes: usize,
}

impl<V> ContentCache<V> {
    /// A cache of at most this many bytes.
    pub fn new(most_bytes: usize) -> Self {
        let state =
            State { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, bytes: 0, hits: 0, misses: 0 };
        Self { most_bytes, state: Mutex::new(state) }
    }

    /// What is kept under a key.
    pub fn get(&self, key: &ContentKey) -> Option<Arc<V>> {
        self.lock().get(key)
    }

    /// Keeps a value that takes so many bytes, and lets go of others until it fits; one that never fits is not kept.
    pub fn insert(&self, key: ContentKey, value: Arc<V>, bytes: usize) {
        if bytes <= self.most_bytes {
            self.lock().insert(key, value, bytes, self.most_bytes);
        }
    }

    /// What is kept under a key, or else what `make` makes, with its size in bytes. Two threads may make the same at once; that
    /// costs time, and waiting would too.
    pub fn get_or_make<E>(
        &self,
        key: ContentKey,
        make: impl FnOnce() -> Result<(V, usize), E>,
    ) -> Result<Arc<V>, E> {
        if let Some(value) = self.get(&key) {
            return Ok(value);
        }
        let (value, bytes) = make()?;
        let value = Arc::new(value);
        self.insert(key, Arc::clone(&value), bytes);
        Ok(value)
    }

    /// How the cache does.
    pub fn usage(&self) -> CacheUse {
        let state = self.lock();
        CacheUse { hits: state.hits, misses: state.misses, entries: state.entries.len(), bytes: state.bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        // Nothing here leaves the state half changed but a failed allocation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> State<V> {
    fn get(&mut self, key: &ContentKey) -> Option<Arc<V>> {
        self.clock += 1;
        let Some(entry) = self.entries.get_mut(key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.order.remove(&entry.used);
        entry.used = self.clock;
        self.order.insert(self.clock, *key);
        Some(Arc::clone(&entry.value))
    }

    fn insert(&mut self, key: ContentKey, value: Arc<V>, bytes: usize, most_bytes: usize) {
        self.clock += 1;
        let used = self.clock;
        if let Some(old) = self.entries.insert(key, Entry { value, bytes, used }) {
            self.bytes -= old.bytes;
            self.order.remove(&old.used);
        }
        self.order.insert(used, key);
        self.bytes += bytes;
        while self.bytes > most_bytes {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(gone) = self.entries.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = ContentCache::new(2);
        let key = |text| ContentKey::new("test", text);
        cache.insert(key("a"), Arc::new(1), 1);
        cache.insert(key("b"), Arc::new(2), 1);
        assert_eq!(cache.get(&key("a")).as_deref(), Some(&1));
        cache.insert(key("c"), Arc::new(3), 1);
        assert_eq!(cache.get(&key("b")), None);
        assert_eq!(cache.get(&key("a")).as_deref(), Some(&1));
        assert_eq!(cache.usage(), CacheUse { hits: 2, misses: 1, entries: 2, bytes: 2 });
    }

    #[test]
    fn a_purpose_is_no_part_of_the_text() {
        assert_ne!(ContentKey::new("ab", "c"), ContentKey::new("a", "bc"));
        assert_eq!(ContentKey::new("a", "b"), ContentKey::new("a", "b"));
    }

    #[test]
    fn what_is_made_once_is_not_made_again_and_a_failure_is_not_kept() {
        let cache = ContentCache::new(100);
        let key = ContentKey::new("test", "text");
        assert_eq!(cache.get_or_make(key, || Err::<(u8, usize), _>("no")).unwrap_err(), "no");
        let made = cache.get_or_make(key, || Ok::<_, Infallible>((7, 10))).unwrap();
        let kept = cache.get_or_make(key, || Err::<(u8, usize), _>("made twice")).unwrap();
        assert!(Arc::ptr_eq(&made, &kept));
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_it_may(
            most in 0_usize..50,
            steps in proptest::collection::vec((0_u8..10, 0_usize..30), 0..100),
        ) {
            let cache = ContentCache::new(most);
            for (text, bytes) in steps {
                let key = ContentKey::new("test", &text.to_string());
                cache.insert(key, Arc::new(bytes), bytes);
                let usage = cache.usage();
                prop_assert!(usage.bytes <= most);
                if bytes <= most {
                    let kept = cache.get(&key);
                    prop_assert_eq!(kept.as_deref(), Some(&bytes));
                }
                let state = cache.lock();
                prop_assert_eq!(state.order.len(), state.entries.len());
                prop_assert_eq!(state.bytes, state.entries.values().map(|entry| entry.bytes).sum::<usize>());
            }
        }
    }
}
