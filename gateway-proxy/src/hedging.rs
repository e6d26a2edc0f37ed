//! Hedges: a try that takes long is joined by a second one at another deployment, and whichever answers first is the answer.
//!
//! The pool says when, and how many there may be. A hedge is sent only while nothing of an answer has come, and only when its cost can
//! be held in all budgets besides that of the first try. The one that loses is cancelled: its connection is closed, so that its
//! upstream stops, and it is written down as an attempt that was left, with what of it may be billed.
//!
//! An answer, or an error that the request is to blame for, ends the race; any other failure of one waits for the other.
//!
//! Never hedged: what is made in the background, and what its provider keeps, for there would be two of it; and calls under a
//! price ceiling, which one try of each tier may come up to.

use crate::app::App;
use crate::attempt::{Answered, Sending, Times, begin, exchange, prepare};
use crate::call::{Call, Ending, Facts};
use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::govern::most;
use crate::metrics::GatewayMetrics;
use crate::pools::ModelPool;
use crate::tries::{ending_of, outcome};
use crate::trying::{Asking, Beside, OVERTAKEN, Parts};
use contracts::Usd;
use contracts::policy::Model;
use futures_util::future::{Either, select};
use http::HeaderMap;
use pool::{Ask as Question, Kind, Lease, Tried};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// After how long without an answer the next try of a call may be joined by another, if it may.
pub(crate) fn after(pool: &ModelPool, facts: &Facts, kind: Kind) -> Option<Duration> {
    pool.policy.spec.hedge.as_ref()?;
    let cascade = facts.resolved.as_ref().and_then(|resolved| resolved.cascade());
    let has_ceiling = cascade.is_some_and(|cascade| cascade.price_ceiling.is_some());
    if has_ceiling || facts.ask.as_ref()?.is_background() {
        return None;
    }
    pool.pool.hedge_after(kind)
}

/// What a hedge is chosen by.
#[derive(Debug)]
pub(crate) struct Hedging<'a> {
    pub(crate) pool: &'a ModelPool,
    pub(crate) ask: &'a Question,
    pub(crate) tried: &'a mut Tried,
    /// After so long without an answer it is sent.
    pub(crate) after: Duration,
    /// Of the call.
    pub(crate) times: Times,
}

/// How a race ended.
struct Ended {
    answered: Result<Answered, Failure>,
    /// The answer is that of the hedge.
    is_hedges: bool,
    /// How the other one failed, and when; it was overtaken if it did not.
    other: Option<(Ending, Instant)>,
}

impl Ended {
    /// There was no hedge.
    const fn alone(answered: Result<Answered, Failure>) -> Self {
        Self { answered, is_hedges: false, other: None }
    }
}

impl Hedging<'_> {
    /// Asks `model`, and another deployment when that takes long. What won is the call's current try.
    pub(crate) async fn race(
        self,
        app: &App,
        call: &mut Call,
        model: &Arc<Model>,
        headers: &HeaderMap,
        times: Times,
    ) -> Result<Answered, Failure> {
        let facts = call.facts().ok_or(Failure::Closed)?;
        let from = facts.attempts.len();
        let sending = begin(app, facts, model, headers).await?;
        let Ended { answered, is_hedges, other } =
            self.run(app, facts.parts()?, sending, headers, times).await;
        if is_hedges {
            app.metrics.hedges_won.inc();
            facts.swap_beside(from);
        }
        if let (Some((ending, at)), Some(beside)) = (other, facts.beside.first_mut()) {
            GatewayMetrics::count(&app.metrics.upstream_errors, ending.error.unwrap_or_default());
            beside.end(ending, at);
        }
        call.leave_beside(OVERTAKEN).await;
        answered
    }

    /// Both tries, until it is decided; then neither is under way any more.
    async fn run(
        mut self,
        app: &App,
        parts: Parts<'_>,
        sending: Sending<'_>,
        headers: &HeaderMap,
        times: Times,
    ) -> Ended {
        let Parts { asking, mut notes, lease, governed, beside } = parts;
        let mut first = pin!(exchange(app, asking, &mut notes, sending, times));
        if let Ok(answered) = timeout(self.after, first.as_mut()).await {
            return Ended::alone(answered);
        }
        let Some((own_lease, model)) = self.choose(asking) else { return Ended::alone(first.await) };
        let Ok((mut attempt, sending)) = prepare(app, asking, &model, headers, None) else {
            return Ended::alone(first.await);
        };
        let Ok(cost) = most_of(asking, &model) else { return Ended::alone(first.await) };
        // The first one goes on while budgets are asked.
        let early = match select(first.as_mut(), pin!(governed.hold_more(cost))).await {
            Either::Right((Ok(()), _)) => None,
            Either::Right((Err(_no_budget), _)) => return Ended::alone(first.await),
            Either::Left((answered, holding)) => Some((answered, holding.await.is_ok())),
        };
        if let Some((answered, is_held)) = early {
            if is_held {
                governed.hold_less(cost);
            }
            return Ended::alone(answered);
        }
        app.metrics.hedges.inc();
        attempt.is_hedge = true;
        let own = beside.push_mut(Beside::new(attempt, Some(own_lease), cost));
        let (mut own_notes, own_lease) = own.parts();
        let by = Instant::now() + self.pool.pool.per_try_timeout(self.ask.kind);
        let times = Times { first_byte_by: self.times.first_byte_by.min(by), ..self.times };
        let second = pin!(exchange(app, asking, &mut own_notes, sending, times));
        match select(first, second).await {
            Either::Left((answered, second)) => {
                if decides(asking.endpoint, &answered) {
                    return Ended { answered, is_hedges: false, other: None };
                }
                let other = Some(failed(asking.endpoint, &answered, lease));
                Ended { answered: second.await, is_hedges: true, other }
            }
            Either::Right((answered, first)) => {
                if decides(asking.endpoint, &answered) {
                    return Ended { answered, is_hedges: true, other: None };
                }
                let other = Some(failed(asking.endpoint, &answered, own_lease));
                Ended { answered: first.await, is_hedges: false, other }
            }
        }
    }

    /// Another deployment, if a hedge may be sent at all.
    fn choose(&mut self, asking: Asking<'_>) -> Option<(Lease, Arc<Model>)> {
        if is_kept(asking) {
            return None;
        }
        let lease = self.pool.pool.hedge(self.ask, self.tried, Instant::now().into_std())?;
        let model = self.pool.model(lease.deployment())?.clone();
        Some((lease, model))
    }
}

/// The most that the hedge can cost. Where its price must be known, the call was admitted because it is.
fn most_of(asking: Asking<'_>, model: &Arc<Model>) -> Result<Usd, Failure> {
    most(asking, std::slice::from_ref(model), false)
}

/// Whether what came ends the race.
fn decides(endpoint: &Endpoint, answered: &Result<Answered, Failure>) -> bool {
    match answered {
        Ok(Answered::Stream { opening, .. }) if opening.is_error() => false,
        Ok(_) => !outcome(endpoint, answered).may_retry(),
        Err(_) => false,
    }
}

/// One of two tries has failed: its deployment is told at once. Returns how it ended, and when.
fn failed(
    endpoint: &Endpoint,
    answered: &Result<Answered, Failure>,
    lease: &mut Option<Lease>,
) -> (Ending, Instant) {
    let now = Instant::now();
    if let Some(lease) = lease.take() {
        lease.finish(outcome(endpoint, answered), now.into_std());
    }
    (ending_of(answered), now)
}

/// What a request says about what stays of it at its provider.
#[derive(Deserialize)]
struct Stays<'a> {
    #[serde(default)]
    store: Option<bool>,
    #[serde(borrow, default)]
    conversation: Option<&'a RawValue>,
}

/// Whether the provider keeps the answer. Responses are kept unless the request says otherwise, and added to a conversation.
fn is_kept(asking: Asking<'_>) -> bool {
    let stays = serde_json::from_slice::<Stays<'_>>(&asking.ask.body);
    stays.map_or(true, |stays| {
        stays.conversation.is_some() || stays.store.unwrap_or(asking.endpoint.has_background)
    })
}
