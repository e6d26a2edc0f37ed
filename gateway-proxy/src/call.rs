//! One call of an authenticated client, from admission to its record.
//!
//! A [`Call`] is always recorded: by [`Call::finish`] or [`Call::record`] when it came to an end of its own, or when it is dropped, which is
//! what happens to it when the client leaves.

use crate::app::App;
use crate::caching::Found;
use crate::emit::{Recorded, Settled, settle, settle_now};
use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::govern::Governed;
use crate::identity::{Identity, Ids};
use crate::meter::{Answer, Kept, Prompt};
use crate::prompting::Prompted;
use crate::request::Ask;
use crate::tries::end_of_answer;
use contracts::policy::queue::Band;
use contracts::policy::{KeyPolicy, Model, Resolved, Snapshot};
use contracts::price::Cost;
use contracts::{Timestamp, TokenUsage, UsageSource};
use opentelemetry::trace::SpanId;
use runtime::Room;
use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

/// Status of a call whose client left before an answer, after nginx's custom.
const CLIENT_LEFT: u16 = 499;

/// Class of calls whose upstream took too long.
pub(crate) const TIMED_OUT: &str = "upstream_timeout";

/// Class of calls whose upstream broke off its answer.
pub(crate) const CUT: &str = "upstream_stream_cut";

/// Class of calls whose upstream closed the connection without an answer.
pub(crate) const CLOSED: &str = "upstream_closed";

/// See the module.
#[derive(Debug)]
pub(crate) struct Call {
    app: Arc<App>,
    /// Taken when the call is recorded.
    facts: Option<Box<Facts>>,
}

/// What is known of a call.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) identity: Arc<Identity>,
    pub(crate) endpoint: &'static Endpoint,
    /// Policy in force when it was admitted; prices come from it.
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) key: Arc<KeyPolicy>,
    /// What was asked, once the body was read.
    pub(crate) ask: Option<Ask>,
    /// Where it was led, once that was decided: the model that is asked now.
    pub(crate) resolved: Option<Resolved>,
    /// When the request's last byte had come.
    pub(crate) asked_at: Option<Instant>,
    /// When the first content came.
    pub(crate) first_content: Option<Instant>,
    /// What a large body takes of the bound on all of them.
    pub(crate) room: Option<Room>,
    /// Tries at upstreams, in order. What follows is of the last of them.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) answer: Answer,
    /// Status sent to the client, once it was sent.
    pub(crate) status: Option<u16>,
    /// The prompt that it was made with, where it named one.
    pub(crate) prompted: Option<Prompted>,
    /// What the answer cache said, where it was asked.
    pub(crate) found: Option<Found>,
    /// The right to tell it of the answer.
    pub(crate) lead: Option<Box<cache::Lead>>,
    /// The whole answer as the client gets it, where the cache may want it.
    pub(crate) whole: Option<bytes::Bytes>,
    /// Whether the probabilities of the answer's tokens are asked for, which the client may not have asked for.
    pub(crate) wants_logprobs: bool,
    /// What the model's provider has no place for in the request.
    pub(crate) warnings: Vec<String>,
    /// What was taken for it under plans and budgets.
    pub(crate) governed: Governed,
    /// When and beside whom it may start.
    pub(crate) turn: Turn,
    /// Its place in the pool of the model that is asked, for as long as it is asked.
    pub(crate) slot: Option<admission::queue::Slot>,
    /// How long it waited for such places.
    pub(crate) queued: Duration,
    /// The deployment that is asked, when it is one of a pool.
    pub(crate) lease: Option<pool::Lease>,
    /// Whether a connection to an upstream has the prompt.
    pub(crate) prompt_sent: bool,
    /// Whether an upstream began to answer.
    pub(crate) answer_started: bool,
}

/// How a call stands in line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// The tenant's share beside others.
    pub(crate) weight: NonZeroU32,
    pub(crate) band: Band,
}

impl Default for Turn {
    fn default() -> Self {
        Self { weight: NonZeroU32::MIN, band: Band::default() }
    }
}

/// One try at one upstream.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) span: SpanId,
    pub(crate) started: Timestamp,
    pub(crate) at: Instant,
    /// How long it took, once it is over.
    pub(crate) took: Option<Duration>,
    /// Status of the upstream's answer.
    pub(crate) status: Option<u16>,
    /// Class of what went wrong.
    pub(crate) error: Option<&'static str>,
    pub(crate) address: String,
    pub(crate) port: u16,
    /// The model that was asked, at the provider that was asked.
    pub(crate) model: Arc<Model>,
    /// What it said, when another try followed.
    pub(crate) answer: Option<Box<Answer>>,
    /// When its first content came, when another try followed.
    pub(crate) first_content: Option<Instant>,
    /// What it used and cost, once that is known.
    pub(crate) used: Used,
    pub(crate) cost: Option<Cost>,
    /// What was decided about its answer; empty when nothing was to be decided.
    pub(crate) decision: Cow<'static, str>,
    /// Probability that it is acceptable, where that was judged.
    pub(crate) score: Option<f64>,
    /// What that was judged by, JSON.
    pub(crate) signals: Option<Box<str>>,
}

impl Attempt {
    /// One that begins now.
    pub(crate) fn new(ids: &Ids, now: Timestamp, model: Arc<Model>, address: &str, port: u16) -> Self {
        Self {
            span: ids.span(),
            started: now,
            at: Instant::now(),
            took: None,
            status: None,
            error: None,
            address: address.to_owned(),
            port,
            model,
            answer: None,
            first_content: None,
            used: Used::NOTHING,
            cost: None,
            decision: Cow::Borrowed(""),
            score: None,
            signals: None,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Status that the client got.
    pub(crate) status: u16,
    /// Stable class of the error, when there was one.
    pub(crate) error: Option<&'static str>,
    /// Whether the client left before the end.
    pub(crate) disconnected: bool,
    /// Whether the answer is whole.
    pub(crate) complete: bool,
}

impl Ending {
    /// Answered in full.
    pub(crate) const fn ok(status: u16) -> Self {
        Self { status, error: None, disconnected: false, complete: true }
    }

    /// Failed before there was anything of an answer.
    pub(crate) const fn failed(status: u16, error: &'static str) -> Self {
        Self { status, error: Some(error), disconnected: false, complete: false }
    }
}

impl Call {
    pub(crate) fn new(app: Arc<App>, facts: Facts) -> Self {
        Self { app, facts: Some(Box::new(facts)) }
    }

    /// What is known so far; `None` only once the call is recorded.
    pub(crate) fn facts(&mut self) -> Option<&mut Facts> {
        self.facts.as_deref_mut()
    }

    /// What the call used: as reported, or `None` when it must be counted first.
    pub(crate) fn usage(&self, ending: Ending) -> Option<Used> {
        self.facts.as_ref().map_or(Some(Used::NOTHING), |facts| facts.usage(ending))
    }

    /// Ends the current attempt, because another follows: what it used is counted now, where its upstream did not tell. What may be
    /// billed is held anew; where it cannot be, the attempt goes on as the last.
    pub(crate) async fn leave_attempt(&mut self, ending: Ending) -> Result<(), Failure> {
        let used = self.used(ending).await;
        let Some(facts) = self.facts() else { return Ok(()) };
        let cost = facts.cost_of_attempt(used);
        facts.governed.try_again(used, cost).await?;
        facts.leave_attempt(ending.error, used);
        if let Some(attempt) = facts.attempts.last_mut() {
            attempt.cost = cost;
        }
        Ok(())
    }

    async fn used(&self, ending: Ending) -> Used {
        match self.usage(ending) {
            Some(used) => used,
            None => match self.count() {
                Count::Done(usage) => Used::counted(usage, ending),
                Count::Pending(counting) => Used::of_count(counting.await, ending),
            },
        }
    }

    /// Ends the call: counts what must be counted, prices it and puts its record into the spool.
    pub(crate) async fn finish(&mut self, ending: Ending) -> Recorded {
        let used = self.used(ending).await;
        match self.facts.take() {
            Some(facts) => settle(&self.app, facts, ending, used).await,
            None => Ok(Settled::default()),
        }
    }

    /// Counts what the call used, off the async threads unless it is quick.
    pub(crate) fn count(&self) -> Count {
        let Some(what) = self.facts.as_ref().and_then(|facts| facts.to_count()) else {
            return Count::Done(TokenUsage::default());
        };
        if self.app.estimator.is_quick(&what.prompt, &what.output) {
            return Count::Done(what.count(&self.app));
        }
        let app = self.app.clone();
        Count::Pending(tokio::task::spawn_blocking(move || what.count(&app)))
    }

    /// Prices the call and puts its record into the spool at once; returns what it cost.
    pub(crate) fn record(&mut self, ending: Ending, used: Used) -> Recorded {
        match self.facts.take() {
            Some(facts) => settle_now(&self.app, facts, ending, used),
            None => Ok(Settled::default()),
        }
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(facts) = self.facts.take() else { return };
        let status = facts.status.unwrap_or(CLIENT_LEFT);
        let ending =
            Ending { status, error: Some("client_disconnected"), disconnected: true, complete: false };
        self.app.metrics.disconnects.inc();
        record_later(&self.app, facts, ending);
    }
}

/// Records a call that nobody waits for, so that nobody can be told should it fail; counting, where needed, happens off the async threads.
fn record_later(app: &Arc<App>, facts: Box<Facts>, ending: Ending) {
    if let Some(used) = facts.usage(ending) {
        let _told_by_the_log = settle_now(app, facts, ending, used);
        return;
    }
    let Some(what) = facts.to_count() else {
        let _told_by_the_log = settle_now(app, facts, ending, Used::NOTHING);
        return;
    };
    let (app, background, counters) = (app.clone(), app.background.clone(), app.counters.clone());
    let work = move || {
        let usage = if app.hurry.load(Ordering::Acquire) { what.by_length() } else { what.count(&app) };
        let _told_by_the_log = settle_now(&app, facts, ending, Used::counted(usage, ending));
    };
    // Without a waiter, but the process does not end before it is done. Without a runtime there is nothing left to wait for. As many
    // at a time as there are processors: those that wait can still be told to hurry.
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(background.spawn_on(
            async move {
                let _counter = counters.acquire().await;
                if let Err(error) = tokio::task::spawn_blocking(work).await {
                    tracing::error!(%error, "a call whose client left could not be recorded");
                }
            },
            &runtime,
        )),
        Err(_) => work(),
    }
}

/// What a call's tokens are counted in.
struct ToCount {
    prompt: Prompt,
    output: String,
    kept: Kept,
}

impl ToCount {
    fn count(&self, app: &App) -> TokenUsage {
        let counted = app.estimator.count(&self.prompt, &self.output);
        TokenUsage { output: self.kept.in_proportion(counted.output), ..counted }
    }

    /// Four bytes to a token, when there is no time to count.
    fn by_length(&self) -> TokenUsage {
        let tokens = |bytes: usize| bytes.div_ceil(4) as u64;
        let output = tokens(self.output.len() + self.kept.beyond);
        TokenUsage { input: tokens(self.prompt.ask.body.len()), output, ..TokenUsage::default() }
    }
}

/// A count, done or under way.
#[derive(Debug)]
pub(crate) enum Count {
    Done(TokenUsage),
    Pending(JoinHandle<TokenUsage>),
}

/// What a call used, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) usage: TokenUsage,
    /// `None` when no model did anything, or it is not known what it did.
    pub(crate) source: Option<UsageSource>,
    /// Whether some model did something of which nobody knows what it used.
    pub(crate) is_unknown: bool,
}

impl Used {
    /// No model did anything.
    pub(crate) const NOTHING: Self = Self {
        usage: TokenUsage {
            input: 0,
            output: 0,
            cache_read: 0,
            cache_write: 0,
            cache_write_1h: 0,
            reasoning: 0,
            audio_input: 0,
            audio_output: 0,
        },
        source: None,
        is_unknown: false,
    };

    /// Nobody knows what a model did.
    const UNKNOWN: Self = Self { is_unknown: true, ..Self::NOTHING };

    /// This and `other` together. How it is known is as sure as the less sure of both.
    pub(crate) fn and(self, other: Self) -> Self {
        let is_unknown = self.is_unknown || other.is_unknown;
        let (Some(one), Some(two)) = (self.source, other.source) else {
            return Self { is_unknown, ..if self.source.is_some() { self } else { other } };
        };
        let source =
            [UsageSource::Partial, UsageSource::Estimated].into_iter().find(|s| [one, two].contains(s));
        let source = Some(source.unwrap_or(UsageSource::Reported));
        Self { usage: self.usage + other.usage, source, is_unknown }
    }

    /// Counted by us, unless the count failed: then nobody knows, and zero would be a lie.
    pub(crate) fn of_count(counted: Result<TokenUsage, JoinError>, ending: Ending) -> Self {
        match counted {
            Ok(usage) => Self::counted(usage, ending),
            Err(error) => {
                tracing::error!(%error, "the tokens of a call could not be counted");
                Self::UNKNOWN
            }
        }
    }

    /// Counted by us.
    pub(crate) const fn counted(usage: TokenUsage, ending: Ending) -> Self {
        let source = if ending.complete { UsageSource::Estimated } else { UsageSource::Partial };
        Self { usage, source: Some(source), is_unknown: false }
    }
}

impl Facts {
    /// Whether any plan or budget may apply to it.
    pub(crate) fn is_governed(&self) -> bool {
        self.key.plan.is_some() || self.key.tenant.plan.is_some() || !self.snapshot.budgets.is_empty()
    }

    fn usage(&self, ending: Ending) -> Option<Used> {
        if let Some(usage) = self.answer.usage {
            let is_final = ending.complete || self.answer.usage_is_final;
            let source = if is_final { UsageSource::Reported } else { UsageSource::Partial };
            return Some(Used { usage, source: Some(source), is_unknown: false });
        }
        // A prompt that a model worked on costs something, even when nobody got the answer; one that it refused does not, nor
        // one that never left.
        let given_up = ending.disconnected || matches!(ending.error, Some(TIMED_OUT | CLOSED));
        let worked = self.prompt_sent && (self.answer_started || given_up);
        if worked { None } else { Some(Used::NOTHING) }
    }

    fn to_count(&self) -> Option<ToCount> {
        let model = self.resolved.as_ref()?.model.upstream_model.clone();
        let prompt = Prompt { ask: self.ask.clone()?, model };
        Some(ToCount { prompt, output: self.answer.output.text(), kept: self.answer.kept })
    }

    /// From the request's last byte in to the first content.
    pub(crate) fn time_to_first_token(&self) -> Option<Duration> {
        Some(self.first_content?.duration_since(self.asked_at?))
    }

    /// Ends the current attempt, which used `used`, because another follows.
    fn leave_attempt(&mut self, error: Option<&'static str>, used: Used) {
        self.end_attempt(error);
        if self.attempt().is_none() {
            return;
        }
        let (answer, first_content) = (std::mem::take(&mut self.answer), self.first_content.take());
        (self.prompt_sent, self.answer_started) = (false, false);
        if let Some(attempt) = self.attempt() {
            (attempt.answer, attempt.first_content) = (Some(Box::new(answer)), first_content);
            attempt.used = used;
        }
    }

    /// The attempt that is made now, or was made last: none when that was left and no other followed.
    pub(crate) fn attempt(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut().filter(|attempt| attempt.answer.is_none())
    }

    /// Ends the current attempt.
    pub(crate) fn end_attempt(&mut self, error: Option<&'static str>) {
        if let Some(attempt) = self.attempts.last_mut()
            && attempt.took.is_none()
        {
            attempt.took = Some(attempt.at.elapsed());
            attempt.error = error;
        }
        if let Some(lease) = self.lease.take() {
            lease.finish(end_of_answer(error), Instant::now().into_std());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_count_that_failed_is_not_a_count_of_nothing() {
        let never = tokio::spawn(std::future::pending::<TokenUsage>());
        never.abort();
        let used = Used::of_count(never.await, Ending::ok(200));
        assert_eq!((used.source, used.is_unknown), (None, true));
        // Nor is it in a sum, whatever else is known.
        let known = Used::counted(TokenUsage { input: 7, ..TokenUsage::default() }, Ending::ok(200));
        for sum in [used.and(known), known.and(used), used.and(Used::NOTHING), Used::NOTHING.and(used)] {
            assert!(sum.is_unknown, "{sum:?}");
        }
        assert_eq!(known.and(used).usage.input, 7);
        assert!(!known.and(Used::NOTHING).is_unknown);
    }
}
