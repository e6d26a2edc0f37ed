//! Tries while they are made. Several of them may run beside each other, each with a place of its own where it writes down what comes
//! of it.
//!
//! That place is in the call at every moment, for its client may leave at any: then all that runs is recorded as it stands. The
//! current try's is in the facts themselves; what runs beside it is folded into them when it is over, as an attempt that was left.

use crate::call::{Attempt, CANCELLED, Ending, Facts, ToCount, Used, used_by};
use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::govern::{Beyond, Governed};
use crate::guarding::Guarding;
use crate::identity::Identity;
use crate::meter::{Answer, Prompt};
use crate::request::Ask;
use crate::tries::end_of_answer;
use bytes::Bytes;
use contracts::policy::{Resolved, Snapshot};
use contracts::{TokenUsage, Usd};
use pool::Lease;
use std::sync::Arc;
use tokio::time::Instant;

/// What a try must know of its call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) identity: &'a Arc<Identity>,
    pub(crate) snapshot: &'a Arc<Snapshot>,
    /// What was reserved for, tokens of an answer: what the client said, or else what the upstream is told to write at most.
    pub(crate) cap: Option<u64>,
    /// Most tokens of the prompt that its bytes say nothing of, where that was looked for.
    pub(crate) prompt_tokens: Option<Beyond>,
    /// Whether the probabilities of the answer's tokens are asked for.
    pub(crate) wants_logprobs: bool,
    /// Whether the cache may want the whole answer.
    pub(crate) keeps_whole: bool,
    /// What judges the answer as it streams.
    pub(crate) guarding: Option<&'a Guarding>,
}

/// Where a try writes down what comes of it.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    pub(crate) attempts: &'a mut Vec<Attempt>,
    pub(crate) answer: &'a mut Answer,
    pub(crate) first_content: &'a mut Option<Instant>,
    pub(crate) whole: &'a mut Option<Bytes>,
    pub(crate) warnings: &'a mut Vec<String>,
    pub(crate) prompt_sent: &'a mut bool,
    pub(crate) answer_started: &'a mut bool,
}

/// Where a stream's events are written down.
#[derive(Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) answer: &'a mut Answer,
    pub(crate) first_content: &'a mut Option<Instant>,
    /// The whole answer, where the cache may want it.
    pub(crate) whole: Option<&'a mut Option<Bytes>>,
}

/// A call taken apart, for tries that run beside each other.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) asking: Asking<'a>,
    /// The current try's.
    pub(crate) notes: Notes<'a>,
    pub(crate) lease: &'a mut Option<Lease>,
    pub(crate) governed: &'a mut Governed,
    pub(crate) beside: &'a mut Vec<Beside>,
}

/// A try that runs beside the current one.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// It, and before it the connections for it that could not be made.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) lease: Option<Lease>,
    /// What budgets hold for tries at this place, and what this one may come to.
    held: Usd,
    most: Usd,
    pub(crate) answer: Answer,
    first_content: Option<Instant>,
    whole: Option<Bytes>,
    warnings: Vec<String>,
    prompt_sent: bool,
    answer_started: bool,
    /// How it ended, once it has.
    ending: Option<Ending>,
}

impl Beside {
    /// One that is about to be sent as `attempt`, with `held` held for it.
    pub(crate) fn new(attempt: Attempt, lease: Option<Lease>, held: Usd) -> Self {
        Self { attempts: vec![attempt], lease, held, most: held, ..Self::default() }
    }

    /// For the try itself.
    pub(crate) fn parts(&mut self) -> (Notes<'_>, &mut Option<Lease>) {
        let Self {
            attempts, lease, answer, first_content, whole, warnings, prompt_sent, answer_started, ..
        } = self;
        (Notes { attempts, answer, first_content, whole, warnings, prompt_sent, answer_started }, lease)
    }

    /// It is over since `at`, and ended so, unless it was said before how. Returns how it ended.
    pub(crate) fn end(&mut self, ending: Ending, at: Instant) -> Ending {
        let ending = *self.ending.get_or_insert(ending);
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.took.is_none()) {
            attempt.took = Some(at.saturating_duration_since(attempt.at));
            attempt.error = ending.error;
        }
        if let Some(lease) = self.lease.take() {
            lease.finish(end_of_answer(ending.error), at.into_std());
        }
        ending
    }

    /// What it used: as reported, or `None` when it must be counted first.
    pub(crate) fn usage(&self, ending: Ending) -> Option<Used> {
        used_by(&self.answer, self.prompt_sent, self.answer_started, ending)
    }

    /// What its tokens are counted in.
    pub(crate) fn to_count(&self, ask: Option<&Ask>) -> Option<ToCount> {
        let model = self.attempts.last()?.model.upstream_model.clone();
        let prompt = Prompt { ask: ask?.clone(), model };
        Some(ToCount::of(prompt, &self.answer))
    }
}

impl Notes<'_> {
    /// For a stream's events.
    pub(crate) fn heard(&mut self, asking: &Asking<'_>) -> Heard<'_> {
        let whole = asking.keeps_whole.then_some(&mut *self.whole);
        let endpoint = asking.endpoint;
        Heard { endpoint, answer: self.answer, first_content: self.first_content, whole }
    }
}

impl Facts {
    /// What a try of `ask` must know, under what `governed` says of it.
    pub(crate) fn asking<'a>(&'a self, ask: &'a Ask, governed: &Governed) -> Asking<'a> {
        Asking {
            ask,
            endpoint: self.endpoint,
            identity: &self.identity,
            snapshot: &self.snapshot,
            cap: governed.cap,
            prompt_tokens: governed.prompt_tokens,
            wants_logprobs: self.wants_logprobs,
            keeps_whole: self.lead.is_some(),
            guarding: self.guarding.as_deref(),
        }
    }

    /// The call taken apart.
    pub(crate) fn parts(&mut self) -> Result<Parts<'_>, Failure> {
        let asking = Asking {
            ask: self.ask.as_ref().ok_or(Failure::BrokenBody)?,
            endpoint: self.endpoint,
            identity: &self.identity,
            snapshot: &self.snapshot,
            cap: self.governed.cap,
            prompt_tokens: self.governed.prompt_tokens,
            wants_logprobs: self.wants_logprobs,
            keeps_whole: self.lead.is_some(),
            guarding: self.guarding.as_deref(),
        };
        let notes = Notes {
            attempts: &mut self.attempts,
            answer: &mut self.answer,
            first_content: &mut self.first_content,
            whole: &mut self.whole,
            warnings: &mut self.warnings,
            prompt_sent: &mut self.prompt_sent,
            answer_started: &mut self.answer_started,
        };
        let (lease, governed) = (&mut self.lease, &mut self.governed);
        Ok(Parts { asking, notes, lease, governed, beside: &mut self.beside })
    }

    /// Where the current answer's events are written down.
    pub(crate) fn heard(&mut self) -> Heard<'_> {
        let (answer, first_content) = (&mut self.answer, &mut self.first_content);
        let whole = self.lead.is_some().then_some(&mut self.whole);
        Heard { endpoint: self.endpoint, answer, first_content, whole }
    }

    /// The try beside the current one becomes the current one, and that goes beside in its stead. `from` is the first of its attempts.
    pub(crate) fn swap_beside(&mut self, from: usize) {
        let Some(beside) = self.beside.first_mut() else { return };
        beside.most = self.governed.most();
        let own = self.attempts.split_off(from.min(self.attempts.len()));
        self.attempts.append(&mut std::mem::replace(&mut beside.attempts, own));
        std::mem::swap(&mut self.lease, &mut beside.lease);
        std::mem::swap(&mut self.warnings, &mut beside.warnings);
        std::mem::swap(&mut self.answer, &mut beside.answer);
        std::mem::swap(&mut self.first_content, &mut beside.first_content);
        std::mem::swap(&mut self.whole, &mut beside.whole);
        std::mem::swap(&mut self.prompt_sent, &mut beside.prompt_sent);
        std::mem::swap(&mut self.answer_started, &mut beside.answer_started);
        if let (Some(Resolved { model, .. }), Some(attempt)) = (&mut self.resolved, self.attempts.last()) {
            *model = attempt.model.clone();
        }
    }

    /// Ends all tries beside the current one that have not ended by themselves as `ending`, with `count` where their tokens must be
    /// counted.
    pub(crate) fn end_beside(&mut self, ending: Ending, count: impl Fn(&ToCount) -> TokenUsage) {
        while !self.beside.is_empty() {
            let mut beside = self.beside.remove(0);
            let ending = beside.end(ending, Instant::now());
            let used = beside.usage(ending).or_else(|| {
                let what = beside.to_count(self.ask.as_ref())?;
                Some(Used::counted(count(&what), ending))
            });
            self.fold(beside, used.unwrap_or(Used::NOTHING));
        }
    }

    /// A try beside the current one is over and used `used`: it is written down as an attempt that was left.
    pub(crate) fn fold(&mut self, beside: Beside, used: Used) {
        let Beside { mut attempts, answer, first_content, held, most, .. } = beside;
        let mut cost = None;
        if let Some(attempt) = attempts.last_mut() {
            (attempt.answer, attempt.first_content) = (Some(Box::new(answer)), first_content);
            attempt.used = used;
            cost = self.cost_of(attempt);
            attempt.cost = cost;
        }
        self.governed.ended_beside(held, used, cost, most);
        // The current one stays the last.
        let at = self.attempts.len() - usize::from(self.attempt().is_some());
        self.attempts.splice(at..at, attempts);
    }
}

/// How a try ends that nobody waits for any more, because another brought the answer.
pub(crate) const OVERTAKEN: Ending =
    Ending { status: 200, error: Some(CANCELLED), disconnected: false, complete: false };
