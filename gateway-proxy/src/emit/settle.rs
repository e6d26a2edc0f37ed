//! The end of a call: price it, count it, spool it.

use super::otlp::Request;
use super::recorder::Unrecorded;
use super::spans;
use crate::app::App;
use crate::caching;
use crate::call::{Attempt, Ending, Facts, Used};
use contracts::Usd;
use contracts::price::Cost;

/// What the client may be told about the cost of its call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settled {
    /// `None` when the price book does not know the model, or no model did anything.
    pub(crate) cost: Option<Cost>,
}

/// A call that was recorded.
pub(crate) type Recorded = Result<Settled, Unrecorded>;

/// Prices a call and puts its record into the spool, before the client has the last byte of its answer.
pub(crate) async fn settle(app: &App, facts: Box<Facts>, ending: Ending, used: Used) -> Recorded {
    let (settled, record) = prepare(app, facts, ending, used);
    app.recorder.record(record, &app.metrics).await?;
    Ok(settled)
}

/// As [`settle`], where nothing can wait.
pub(crate) fn settle_now(app: &App, facts: Box<Facts>, ending: Ending, used: Used) -> Recorded {
    let (settled, record) = prepare(app, facts, ending, used);
    app.recorder.record_now(record, &app.metrics)?;
    Ok(settled)
}

fn prepare(app: &App, mut facts: Box<Facts>, ending: Ending, used: Used) -> (Settled, Request) {
    facts.end_attempt(ending.error);
    if let Some(last) = facts.attempt() {
        last.used = used;
    }
    let spent = price_attempts(&mut facts);
    if let Some(source) = spent.used.source {
        app.metrics.count_usage(&spent.used.usage, source, spent.cost.map(|c| c.total));
        if spent.is_unpriced {
            app.metrics.unpriced.inc();
        }
    }
    app.metrics.end_call(ending.error.is_some());
    app.metrics.time(facts.endpoint, facts.identity.at.elapsed(), facts.time_to_first_token());
    // Once its head was sent, the request was counted with that; a client that leaves later is counted as such.
    if ending.disconnected && facts.status.is_none() {
        app.metrics.count_request(facts.endpoint.path, ending.status, "client");
    }
    if let Some(mut slot) = facts.slot.take() {
        slot.charge(spent.used.usage.output);
    }
    if let Some(lead) =
        facts.lead.take().filter(|_| ending.complete && ending.error.is_none() && ending.status == 200)
    {
        caching::keep(app, &mut facts, lead, spent.cost.map(|cost| cost.total));
    }
    let cost = spent.cost.map_or(Usd::ZERO, |cost| cost.total);
    let mut record = app.recorder.begin();
    spans::write(&mut record, &facts, ending, &spent, app.limits.capture_bytes, &app.metrics);
    std::mem::take(&mut facts.governed).settle(app, &facts, spent.used, cost);
    (Settled { cost: spent.cost }, record)
}

/// What a call used and cost, all its attempts together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) used: Used,
    /// `None` when none of it has a price.
    pub(super) cost: Option<Cost>,
    /// Some of it has none.
    is_unpriced: bool,
}

/// Prices every attempt that used something, and adds them up.
fn price_attempts(facts: &mut Facts) -> Spent {
    let mut attempts = std::mem::take(&mut facts.attempts);
    let mut spent = Spent { used: Used::NOTHING, cost: None, is_unpriced: false };
    for attempt in &mut attempts {
        spent.used = spent.used.and(attempt.used);
        if attempt.used.source.is_none() {
            continue;
        }
        attempt.cost = attempt.cost.or_else(|| price(facts, attempt, attempt.used));
        spent.is_unpriced |= attempt.cost.is_none();
        spent.cost = match (spent.cost, attempt.cost) {
            (Some(so_far), Some(more)) => Some(so_far + more),
            (so_far, more) => so_far.or(more),
        };
    }
    facts.attempts = attempts;
    spent
}

/// The price of the model that was asked, by the name that the call's reservation was priced by; or, where the book knows no such
/// name and none was given, of the one that answered. At the tier it says it was served at, or else at the one that was asked for, as
/// when it broke off before saying.
fn price(facts: &Facts, attempt: &Attempt, used: Used) -> Option<Cost> {
    let answer = attempt.answer.as_deref().unwrap_or(&facts.answer);
    let model = &attempt.model;
    let tier = answer.tier.or(facts.ask.as_ref().map(|ask| ask.tier)).unwrap_or_default();
    let (provider, at) = (&model.provider.price_as, facts.identity.started);
    let of = |name: &str| facts.snapshot.prices.cost(provider, name, tier, &used.usage, at);
    let answered = answer.model.as_deref().filter(|_| model.price_as.is_none());
    of(model.price_name()).or_else(|| answered.and_then(of))
}

impl Facts {
    /// What an attempt cost, if it used anything.
    pub(crate) fn cost_of(&self, attempt: &Attempt) -> Option<Cost> {
        attempt.used.source?;
        price(self, attempt, attempt.used)
    }

    /// What the current attempt cost, if it used `used`.
    pub(crate) fn cost_of_attempt(&self, used: Used) -> Option<Cost> {
        let attempt = self.current().filter(|attempt| attempt.answer.is_none() && used.source.is_some())?;
        price(self, attempt, used)
    }
}
