//! Several guardrails, one after another, each on what the one before let through.

use super::Compiled;
use guard::{Decision, Place, StreamGuard, ToolCall};
use std::sync::Arc;

/// What was breached, for traces and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The guardrail's name.
    pub(crate) guardrail: Arc<str>,
    pub(crate) rule: Arc<str>,
    pub(crate) action: Decision,
    /// `input`, `output` or `tool`.
    pub(crate) place: &'static str,
}

/// An answer that may not go on.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Whose rule it was, among the call's guardrails.
    pub(super) guard: usize,
    pub(super) rule: Arc<str>,
    /// Block or escalate.
    pub(super) decision: Decision,
}

/// Guards one text, or the texts and tool calls of one choice.
#[derive(Debug)]
pub(super) struct Chain {
    guards: Vec<StreamGuard>,
    names: Vec<Arc<str>>,
    /// How many breaches of each are told.
    told: Vec<usize>,
}

impl Chain {
    /// For an answer: with `whole` all rules, without it those that need not see all of a text.
    pub(super) fn new(compiled: &[Arc<Compiled>], whole: bool) -> Self {
        let begin = if whole { StreamGuard::new } else { StreamGuard::beside };
        Self {
            guards: compiled.iter().map(|of| begin(of.guard.clone())).collect(),
            names: compiled.iter().map(|of| of.name.clone()).collect(),
            told: vec![0; compiled.len()],
        }
    }

    /// Whether nothing is released before the end.
    pub(super) fn holds_all(&self) -> bool {
        self.guards.iter().any(StreamGuard::holds_all)
    }

    /// Takes the next text; adds to `out` what may be seen of all so far. An error once the answer is over.
    pub(super) fn push(&mut self, text: &str, out: &mut String) -> Result<(), Stop> {
        let [only] = &mut self.guards[..] else { return self.run(text, out, |_, _| {}) };
        only.push(text, out);
        self.stop()
    }

    /// Ends one of several texts.
    pub(super) fn flush(&mut self, out: &mut String) -> Result<(), Stop> {
        self.run("", out, |guard, out| {
            guard.flush(out);
        })
    }

    /// Ends the answer.
    pub(super) fn finish(&mut self, out: &mut String) -> Result<(), Stop> {
        self.run("", out, |guard, out| {
            guard.finish(out);
        })
    }

    fn run(
        &mut self,
        text: &str,
        out: &mut String,
        then: impl Fn(&mut StreamGuard, &mut String),
    ) -> Result<(), Stop> {
        let mut carried = text.to_owned();
        let mut is_over = false;
        for guard in &mut self.guards {
            let mut passed = String::new();
            guard.push(&carried, &mut passed);
            then(guard, &mut passed);
            if is_over {
                // What the one before let through is all there will be.
                guard.flush(&mut passed);
            }
            is_over |= guard.verdict().decision.stops();
            carried = passed;
        }
        out.push_str(&carried);
        self.stop()
    }

    /// Judges a call; its arguments as they may go on.
    pub(super) fn tool(&mut self, name: &str, arguments: &str) -> Result<String, Stop> {
        let mut arguments = arguments.to_owned();
        for guard in &mut self.guards {
            if let Some(judged) = guard.tool(&ToolCall { name, arguments: &arguments }) {
                arguments = judged;
            }
        }
        self.stop().map(|()| arguments)
    }

    /// Whether anything was masked.
    pub(super) fn has_masked(&self) -> bool {
        self.guards.iter().any(|guard| guard.verdict().decision == Decision::Mask)
    }

    /// Adds what was found since it was asked last.
    pub(super) fn tell(&mut self, found: &mut Vec<Found>) {
        for ((guard, name), told) in self.guards.iter().zip(&self.names).zip(&mut self.told) {
            let breaches = &guard.verdict().breaches;
            for breach in &breaches[*told..] {
                let place = if matches!(breach.place, Place::Tool(_)) { "tool" } else { "output" };
                let (guardrail, rule, action) = (name.clone(), breach.rule.clone(), breach.action);
                found.push(Found { guardrail, rule, action, place });
            }
            *told = breaches.len();
        }
    }

    fn stop(&self) -> Result<(), Stop> {
        let stops = |at: usize| {
            let verdict = self.guards[at].verdict();
            let rule = verdict.severest().filter(|_| verdict.decision.stops())?.rule.clone();
            Some(Stop { guard: at, rule, decision: verdict.decision })
        };
        // Of two that stop it the severer counts, the first of equals.
        let stop = (0..self.guards.len()).rev().filter_map(stops).max_by_key(|stop| stop.decision);
        stop.map_or(Ok(()), Err)
    }
}
