//! Answers that are judged while they stream: text is released once it can no longer become part of a match.
//!
//! Text waits only from the first place on where a match may have begun that is not settled: one automaton of all patterns tells
//! ([`crate::alive`]). However that may be, every pattern on the way out has a longest match of L bytes, and looks at most one
//! character beyond it, so what lies more than L bytes back is settled whatever follows. Matches are found from where the last one of the
//! pattern ended, just as in the whole text, so what is released is the masked form of the whole text however it is cut into deltas.
//!
//! What stops an answer (block, escalate) ends the release where its match begins. A limit of length does the same where it is
//! exceeded. Rules that need the whole answer (schema, language, allowed topics) hold all of it back when they may stop it, and are
//! judged at the end.
//!
//! Text that waits goes on with the next delta or at the end, never for time alone: released early it could be the beginning of what
//! must not be seen.

use crate::alive::Alive;
use crate::check::Judges;
use crate::compiled::Guard;
use crate::spans::{Masker, Span};
use crate::tools::ToolCall;
use crate::verdict::{Decision, Place, Verdict};
use regex_automata::hybrid::dfa::Cache;
use std::sync::Arc;

/// Bytes that are done with before they are dropped, so that not every delta moves the rest. Few in tests, whose texts are short.
const DROP: usize = if cfg!(test) { 8 } else { 1024 };

/// Guards one streamed answer; of several choices each has its own.
#[derive(Debug)]
pub struct StreamGuard {
    guard: Arc<Guard>,
    /// The end of the text: what is not settled, and at least one character before it.
    buffer: String,
    /// For each pattern the offset in the buffer behind which its next match begins.
    next: Vec<usize>,
    /// The offset in the buffer up to which text is settled, and up to which it is released or masked.
    settled: usize,
    done: usize,
    /// Where a limit that stops the answer is exceeded: offset in the buffer, rule.
    limit: Option<(usize, usize)>,
    chars: u64,
    bytes: u64,
    /// The whole text, for rules that need it.
    whole: Option<String>,
    /// Whether nothing is released before the end.
    holds_all: bool,
    calls: usize,
    verdict: Verdict,
    /// Whether any limit is watched.
    has_limits: bool,
    cache: Option<Cache>,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let (Some(alive), Some(cache)) = (&self.guard.output.alive, self.cache.take()) {
            alive.keep(cache);
        }
    }
}

impl StreamGuard {
    /// Begins an answer.
    pub fn new(guard: Arc<Guard>) -> Self {
        let rules = &guard.output.list;
        let needs_all = rules.iter().any(|rule| rule.judges.needs_all());
        let holds_all = rules.iter().any(|rule| rule.judges.needs_all() && rule.decision.stops());
        let has_limits = rules.iter().any(|rule| matches!(rule.judges, Judges::Chars(_) | Judges::Bytes(..)));
        Self {
            buffer: String::new(),
            next: vec![0; guard.output.patterns.len()],
            settled: 0,
            done: 0,
            limit: None,
            chars: 0,
            bytes: 0,
            whole: needs_all.then(String::new),
            holds_all,
            calls: 0,
            verdict: Verdict::default(),
            has_limits,
            cache: if holds_all { None } else { guard.output.alive.as_ref().map(Alive::cache) },
            guard,
        }
    }

    /// Begins a text that goes with an answer and is none itself, such as what a model thinks: only patterns and denied topics count.
    pub fn beside(guard: Arc<Guard>) -> Self {
        let mut text = Self::new(guard);
        if text.cache.is_none() {
            text.cache = text.guard.output.alive.as_ref().map(Alive::cache);
        }
        (text.whole, text.holds_all, text.has_limits) = (None, false, false);
        text
    }

    /// Whether nothing is released before the end.
    pub const fn holds_all(&self) -> bool {
        self.holds_all
    }

    /// Takes the next text, and adds to `released` what may be seen of all so far. Once [`Decision::stops`] nothing more is released
    /// and the answer is over.
    pub fn push(&mut self, delta: &str, released: &mut String) -> Decision {
        if self.verdict.decision.stops() || delta.is_empty() {
            return self.verdict.decision;
        }
        self.keep_whole(delta);
        if self.holds_all || self.verdict.decision.stops() {
            return self.verdict.decision;
        }
        if self.guard.output.patterns.is_empty() && !self.has_limits {
            released.push_str(delta);
            return self.verdict.decision;
        }
        self.watch_limits(delta);
        self.buffer.push_str(delta);
        let horizon = self.horizon();
        if horizon > self.settled {
            self.settle(horizon, false, released);
            self.drop_settled();
        }
        self.verdict.decision
    }

    /// Ends one text of the answer, before a tool call or another text: adds to `released` what is left of it. A match does not go
    /// from one text into the next. What is judged as a whole goes on, and is held.
    pub fn flush(&mut self, released: &mut String) -> Decision {
        if !self.verdict.decision.stops() && !self.holds_all {
            self.settle(self.buffer.len(), true, released);
            self.buffer.clear();
            self.next.fill(0);
            (self.settled, self.done, self.limit) = (0, 0, None);
        }
        self.verdict.decision
    }

    /// Ends the answer, and adds to `released` what is left of it.
    pub fn finish(&mut self, released: &mut String) -> Decision {
        if self.verdict.decision.stops() {
            return self.verdict.decision;
        }
        let whole = self.whole.take();
        if self.holds_all {
            let whole = whole.unwrap_or_default();
            let found = self.guard.output(&whole, &[], None);
            if !found.decision.stops() {
                released.push_str(found.text(0, &whole));
            }
            for breach in found.breaches {
                self.verdict.add(breach);
            }
            return self.verdict.decision;
        }
        self.flush(released);
        if let Some(whole) = whole.filter(|_| !self.verdict.decision.stops()) {
            for (n, _) in
                self.guard.output.list.iter().enumerate().filter(|(_, rule)| rule.judges.needs_all())
            {
                self.guard.output.judge_all(n, &[&whole], &mut self.verdict);
            }
        }
        self.verdict.decision
    }

    /// Judges a tool that the answer calls, once its arguments are complete; until then they must not be released. The arguments as
    /// they may be released after a [`StreamGuard::flush`], or nothing when the answer is over.
    pub fn tool(&mut self, call: &ToolCall<'_>) -> Option<String> {
        if self.verdict.decision.stops() {
            return None;
        }
        let n = self.calls;
        self.calls += 1;
        self.guard.tool(n, call, &mut self.verdict);
        let masked =
            self.verdict.masked_tools.last().filter(|(at, _)| *at == n).map(|(_, text)| text.clone());
        (!self.verdict.decision.stops()).then(|| masked.unwrap_or_else(|| call.arguments.to_owned()))
    }

    /// What was found so far. Its `masked` stays empty: what was masked has been released.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Bytes that wait.
    pub fn held(&self) -> usize {
        let all = if self.holds_all { self.whole.as_ref().map_or(0, String::len) } else { 0 };
        all + self.buffer.len().saturating_sub(self.done)
    }

    /// Where text begins that must wait.
    fn horizon(&mut self) -> usize {
        let rules = &self.guard.output;
        if rules.patterns.is_empty() {
            return self.buffer.len();
        }
        // What begins before this ends before the text does, so that a character is there for a pattern to look at.
        let longest = rules.longest.unwrap_or(usize::MAX);
        let bound = self.buffer.floor_char_boundary(self.buffer.len().saturating_sub(longest));
        match (&rules.alive, &mut self.cache) {
            (Some(alive), Some(cache)) => alive.first(cache, &self.buffer, bound.max(self.settled)),
            _ => bound,
        }
    }

    /// Keeps the text for rules that need all of it. What is too long breaks them.
    fn keep_whole(&mut self, delta: &str) {
        let Some(whole) = &mut self.whole else { return };
        let most = self.guard.max_whole;
        if whole.len() + delta.len() <= most {
            whole.push_str(delta);
            return;
        }
        self.whole = None;
        for (n, _) in self.guard.output.list.iter().enumerate().filter(|(_, rule)| rule.judges.needs_all()) {
            let reason = || format!("more than {most} bytes, too long to be judged as a whole");
            self.guard.output.note(n, Place::Whole, reason, &mut self.verdict);
        }
    }

    fn watch_limits(&mut self, delta: &str) {
        if !self.has_limits {
            return;
        }
        let (chars, bytes) = (self.chars, self.bytes);
        self.chars += delta.chars().count() as u64;
        self.bytes += delta.len() as u64;
        for (n, rule) in self.guard.output.list.iter().enumerate() {
            let cut = match rule.judges {
                Judges::Chars(most) if self.chars > most => {
                    let left = usize::try_from(most.saturating_sub(chars)).unwrap_or(usize::MAX);
                    delta.char_indices().nth(left).map_or(0, |(at, _)| at)
                }
                Judges::Bytes(most, _) if self.bytes > most => {
                    let left = usize::try_from(most.saturating_sub(bytes)).unwrap_or(usize::MAX);
                    delta.floor_char_boundary(left)
                }
                _ => continue,
            };
            if !rule.decision.stops() {
                self.guard.output.note_limit(n, &mut self.verdict);
            } else if self.limit.is_none_or(|(at, _)| self.buffer.len() + cut < at) {
                self.limit = Some((self.buffer.len() + cut, n));
            }
        }
    }

    /// Finds what begins before `horizon`, and releases the text up to there; all of it at the end.
    fn settle(&mut self, horizon: usize, is_end: bool, released: &mut String) {
        let guard = self.guard.clone();
        let rules = &guard.output;
        let mut spans = self.search(horizon, is_end);
        if let Some((at, rule)) = self.limit.filter(|(at, _)| is_end || *at < horizon) {
            spans.push((Span { start: at, rule, end: at }, None));
        }
        spans.sort_unstable();
        let mask = |rule: usize| rules.list[rule].with.as_str();
        let mut masker = Masker { mask, done: &mut self.done, out: released };
        for (span, pattern) in spans {
            match pattern {
                Some(pattern) => rules.breach(pattern, Place::Text(0), &mut self.verdict),
                None => rules.note_limit(span.rule, &mut self.verdict),
            }
            let decision = rules.list[span.rule].decision;
            if decision.stops() {
                masker.copy(&self.buffer, span.start);
                return;
            }
            if decision == Decision::Mask {
                masker.mask(&self.buffer, span);
            }
        }
        masker.copy(&self.buffer, horizon);
        self.settled = horizon;
    }

    /// The matches that begin before `horizon`, with their patterns.
    fn search(&mut self, horizon: usize, is_end: bool) -> Vec<(Span, Option<usize>)> {
        let mut spans = Vec::new();
        let rules = &self.guard.output;
        let matched = (self.settled <= self.buffer.len()
            && rules.set.is_match_at(&self.buffer, self.settled))
        .then(|| rules.set.matches_at(&self.buffer, self.settled));
        for n in matched.iter().flatten() {
            let (pattern, next) = (&rules.patterns[n], &mut self.next[n]);
            let is_settled = |start: usize| is_end || start < horizon;
            while *next <= self.buffer.len()
                && is_settled(*next)
                && let Some(found) = pattern.regex.find_at(&self.buffer, *next)
                && is_settled(found.start())
            {
                *next = found.end();
                spans.push((Span { start: found.start(), rule: pattern.rule, end: found.end() }, Some(n)));
            }
        }
        for next in &mut self.next {
            *next = horizon.max(*next);
        }
        spans
    }

    /// Drops what is settled, but for one character that a pattern may look back at.
    fn drop_settled(&mut self) {
        let done = self.settled.min(self.done);
        if done < DROP {
            return;
        }
        let cut = self.buffer.floor_char_boundary(done - 1);
        self.buffer.drain(..cut);
        for next in &mut self.next {
            *next -= cut;
        }
        self.settled -= cut;
        self.done -= cut;
        if let Some((at, _)) = &mut self.limit {
            *at -= cut;
        }
    }
}

#[cfg(test)]
mod tests;
