//! One call of an authenticated client, from admission to its record.
//!
//! A [`Call`] is always recorded: by [`Call::finish`] or [`Call::record`] when it came to an end of its own, or when it is dropped, which is
//! what happens to it when the client leaves.

mod admitted;

use crate::app::App;
use crate::caching::Found;
use crate::emit::{Recorded, Settled, settle, settle_now};
use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::experimenting::Assigned;
use crate::govern::Governed;
use crate::guarding::Guarding;
use crate::identity::{Identity, Ids};
use crate::meter::{Answer, Prompt};
use crate::pools::Known;
use crate::prompting::Prompted;
use crate::request::Ask;
use crate::resume::{OnDisconnect, Place};
use crate::tries::end_of_answer;
use crate::trying::Beside;
pub(crate) use crate::used::{Count, ToCount, Used, used_by};
use contracts::policy::queue::Band;
use contracts::policy::{KeyPolicy, Model, Resolved, Snapshot};
use contracts::price::Cost;
use contracts::{Timestamp, TokenUsage};
use opentelemetry::trace::SpanId;
use runtime::Room;
use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// Status of a call whose client left before an answer, after nginx's custom.
const CLIENT_LEFT: u16 = 499;

/// Class of calls whose upstream took too long.
pub(crate) const TIMED_OUT: &str = "upstream_timeout";

/// Class of calls whose upstream broke off its answer.
pub(crate) const CUT: &str = "upstream_stream_cut";

/// Class of tries that nobody waited for any more, because another brought the answer.
pub(crate) const CANCELLED: &str = "cancelled";

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
    /// Tries at upstreams, in order. What follows is of the current one: the last of them, unless an earlier one's answer is `given`.
    pub(crate) attempts: Vec<Attempt>,
    /// Which of them gives the answer after all, where those that followed it brought none.
    pub(crate) given: Option<usize>,
    pub(crate) answer: Answer,
    /// Status sent to the client, once it was sent.
    pub(crate) status: Option<u16>,
    /// The prompt that it was made with, where it named one.
    pub(crate) prompted: Option<Prompted>,
    /// Its guardrails, where it has any, and what they found.
    pub(crate) guarding: Option<Box<Guarding>>,
    /// The arm that it got, where its route compares some.
    pub(crate) assigned: Option<Assigned>,
    /// What the answer cache said, where it was asked.
    pub(crate) found: Option<Found>,
    /// The right to tell it of the answer.
    pub(crate) lead: Option<Box<cache::Lead>>,
    /// Room for its stream, where the client may come back to it.
    pub(crate) place: Option<Place>,
    /// The id that the client knows the answer by, where that is not the upstream's.
    pub(crate) response_id: Option<String>,
    /// What becomes of that stream when nobody reads it.
    pub(crate) on_disconnect: OnDisconnect,
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
    /// Tries that run beside the current one.
    pub(crate) beside: Vec<Beside>,
    /// The pools under which it was admitted, once they were asked for.
    pub(crate) pools: OnceLock<Arc<Known>>,
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
    /// Whether it was sent beside another that took long.
    pub(crate) is_hedge: bool,
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
            is_hedge: false,
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
        app.metrics.begin_call();
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
        facts.leave_attempt(ending.error, used, cost);
        Ok(())
    }

    /// Ends the current attempt, because none follows and the answer of an earlier one, at `to`, is given after all. Nothing more is
    /// held: what it may have come to is.
    pub(crate) async fn go_back(&mut self, ending: Ending, to: usize) {
        let used = self.used(ending).await;
        let Some(facts) = self.facts() else { return };
        let cost = facts.cost_of_attempt(used);
        facts.leave_attempt(ending.error, used, cost);
        facts.go_back(to);
    }

    /// Ends all tries beside the current one that have not ended by themselves as `ending`.
    pub(crate) async fn leave_beside(&mut self, ending: Ending) {
        loop {
            let Some(facts) = self.facts.as_deref_mut() else { return };
            let Some(beside) = facts.beside.first_mut() else { return };
            let ending = beside.end(ending, Instant::now());
            let used = match beside.usage(ending) {
                Some(used) => used,
                None => match beside.to_count(facts.ask.as_ref()) {
                    Some(what) => self.count_off(what).used(ending).await,
                    None => Used::NOTHING,
                },
            };
            let Some(facts) = self.facts() else { return };
            let beside = facts.beside.remove(0);
            facts.fold(beside, used);
        }
    }

    async fn used(&self, ending: Ending) -> Used {
        match self.usage(ending) {
            Some(used) => used,
            None => self.count().used(ending).await,
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
        self.count_off(what)
    }

    fn count_off(&self, what: ToCount) -> Count {
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
fn record_later(app: &Arc<App>, mut facts: Box<Facts>, ending: Ending) {
    if let Some(used) = facts.usage(ending).filter(|_| facts.beside.is_empty()) {
        let _told_by_the_log = settle_now(app, facts, ending, used);
        return;
    }
    let (app, background, counters) = (app.clone(), app.background.clone(), app.counters.clone());
    let work = move || {
        let count = |what: &ToCount| {
            if app.hurry.load(Ordering::Acquire) { what.by_length() } else { what.count(&app) }
        };
        facts.end_beside(ending, count);
        let used = facts.usage(ending).unwrap_or_else(|| {
            let what = facts.to_count();
            what.map_or(Used::NOTHING, |what| Used::counted(count(&what), ending))
        });
        let _told_by_the_log = settle_now(&app, facts, ending, used);
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

impl Facts {
    /// The pools that it keeps to: what is held for it covers what they lead to, and not what later ones may.
    pub(crate) fn pools(&self, app: &App) -> &Known {
        self.pools.get_or_init(|| app.pools.known(&app.policy, &self.snapshot))
    }

    /// Whether any plan or budget may apply to it.
    pub(crate) fn is_governed(&self) -> bool {
        self.key.plan.is_some() || self.key.tenant.plan.is_some() || !self.snapshot.budgets.is_empty()
    }

    /// The answer's id, as the client knows it.
    pub(crate) fn own_id(&self) -> Option<&str> {
        self.response_id.as_deref().or(self.answer.id.as_deref())
    }

    pub(crate) fn usage(&self, ending: Ending) -> Option<Used> {
        used_by(&self.answer, self.prompt_sent, self.answer_started, ending)
    }

    fn to_count(&self) -> Option<ToCount> {
        let model = self.current()?.model.upstream_model.clone();
        let prompt = Prompt { ask: self.ask.clone()?, model };
        Some(ToCount::of(prompt, &self.answer))
    }

    /// From the request's last byte in to the first content.
    pub(crate) fn time_to_first_token(&self) -> Option<Duration> {
        Some(self.first_content?.duration_since(self.asked_at?))
    }

    /// Ends the current attempt, which used `used` and cost `cost`, because another follows.
    fn leave_attempt(&mut self, error: Option<&'static str>, used: Used, cost: Option<Cost>) {
        self.end_attempt(error);
        if self.attempt().is_none() {
            return;
        }
        let (answer, first_content) = (std::mem::take(&mut self.answer), self.first_content.take());
        (self.prompt_sent, self.answer_started) = (false, false);
        self.whole = None;
        if let Some(attempt) = self.attempt() {
            (attempt.answer, attempt.first_content) = (Some(Box::new(answer)), first_content);
            (attempt.used, attempt.cost) = (used, cost);
        }
    }

    /// The attempt at `to` is the current one again, with what came of it.
    fn go_back(&mut self, to: usize) {
        let Some(attempt) = self.attempts.get_mut(to) else { return };
        self.answer = attempt.answer.take().map(|answer| *answer).unwrap_or_default();
        // Its client sees it only now.
        self.first_content = attempt.first_content.map(|_| Instant::now());
        (self.prompt_sent, self.answer_started) = (true, true);
        if let Some(resolved) = &mut self.resolved {
            resolved.model = attempt.model.clone();
        }
        // Whoever waits for a place in the pool that was asked last can have it.
        self.slot = None;
        self.given = Some(to);
    }

    /// The attempt that gives the answer, or was made last.
    pub(crate) fn current(&self) -> Option<&Attempt> {
        self.given.map_or_else(|| self.attempts.last(), |at| self.attempts.get(at))
    }

    /// The attempt that is made now, or was made last, or gives the answer: none when that was left and no other followed.
    pub(crate) fn attempt(&mut self) -> Option<&mut Attempt> {
        let current = match self.given {
            None => self.attempts.last_mut(),
            Some(at) => self.attempts.get_mut(at),
        };
        current.filter(|attempt| attempt.answer.is_none())
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
