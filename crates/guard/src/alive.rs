//! Whether what a text ends with may still become a match.
//!
//! One automaton of all patterns is run from a place in the text. When it dies before the end, how a match begins there is settled,
//! whatever follows. So a stream need not wait for the longest match there could be: most text cannot begin a card number at all.
//!
//! The automaton is built as it is used, in a cache of bounded size. It does not know word boundaries beside characters that are not
//! ASCII, and then says that a match may still come, which only means that text waits as long as it would without it.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind};
use std::sync::Mutex;

/// Bytes of one cache.
const CACHE: usize = 1 << 20;

/// Caches that are kept for the next streams.
const KEPT: usize = 32;

/// The automaton of all patterns of one side.
#[derive(Debug)]
pub(crate) struct Alive {
    dfa: DFA,
    kept: Mutex<Vec<Cache>>,
}

impl Alive {
    /// Nothing when there are no patterns, or they are too many for one automaton.
    pub(crate) fn new(patterns: &[String], most: usize) -> Option<Self> {
        if patterns.is_empty() {
            return None;
        }
        let config =
            DFA::config().match_kind(MatchKind::All).unicode_word_boundary(true).cache_capacity(CACHE);
        let nfa = thompson::Config::new().nfa_size_limit(Some(most)).which_captures(WhichCaptures::None);
        let dfa = DFA::builder().configure(config).thompson(nfa).build_many(patterns).ok()?;
        Some(Self { dfa, kept: Mutex::new(Vec::new()) })
    }

    /// A cache for one stream.
    pub(crate) fn cache(&self) -> Cache {
        let kept = self.kept.try_lock().ok().and_then(|mut kept| kept.pop());
        kept.unwrap_or_else(|| self.dfa.create_cache())
    }

    /// Takes a cache back, with what it has learned.
    pub(crate) fn keep(&self, cache: Cache) {
        if let Ok(mut kept) = self.kept.try_lock()
            && kept.len() < KEPT
        {
            kept.push(cache);
        }
    }

    /// The first place in `text`, from `start` on, where a match may begin that more text would complete or change.
    pub(crate) fn first(&self, cache: &mut Cache, text: &str, start: usize) -> usize {
        let mut starts = text[start..].char_indices().map(|(at, _)| start + at);
        starts.find(|at| self.is_alive(cache, text, *at)).unwrap_or(text.len())
    }

    fn is_alive(&self, cache: &mut Cache, text: &str, start: usize) -> bool {
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = self.dfa.start_state_forward(cache, &input) else { return true };
        for byte in &text.as_bytes()[start..] {
            match self.dfa.next_state(cache, state, *byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) if next.is_quit() => return true,
                Ok(next) => state = next,
                Err(_) => return true,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_alive_while_a_match_may_begin_there() {
        let alive = Alive::new(&["(?i:secret [0-9]{1,4})".to_owned(), r"\bx".to_owned()], 1 << 20).unwrap();
        let mut cache = alive.cache();
        let mut first = |text: &str| alive.first(&mut cache, text, 0);
        assert_eq!(first("a clean text."), 13, "nothing may begin here");
        assert_eq!(first("my SEC"), 3);
        assert_eq!(first("my SECT"), 7);
        assert_eq!(first("my secret 12"), 3, "a digit may follow");
        assert_eq!(first("my secret 1234.."), 16);
        assert!(Alive::new(&[], 1 << 20).is_none());
    }
}
