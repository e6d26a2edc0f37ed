//! The end of a call: price it, count it, spool it.

use super::otlp::Request;
use super::recorder::Unrecorded;
use super::spans::{self, Priced};
use crate::app::App;
use crate::call::{Ending, Facts, Used};
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
    let cost = used.source.and_then(|source| {
        let cost = price(&facts, used);
        app.metrics.count_usage(&used.usage, source, cost.map(|c| c.total));
        if cost.is_none() {
            app.metrics.unpriced.inc();
        }
        cost
    });
    app.metrics.time(facts.endpoint, facts.identity.at.elapsed(), facts.time_to_first_token());
    // Once its head was sent, the request was counted with that; a client that leaves later is counted as such.
    if ending.disconnected && facts.status.is_none() {
        app.metrics.count_request(facts.endpoint.path, ending.status, "client");
    }
    let priced = Priced { used, cost };
    let mut record = app.recorder.begin();
    spans::write(&mut record, &facts, ending, &priced, app.limits.capture_bytes, &app.metrics);
    (Settled { cost }, record)
}

/// The price of the model that answered, or else of the one that was asked; at the tier it says it was served at, or else at
/// the one that was asked for, as when it broke off before saying.
fn price(facts: &Facts, used: Used) -> Option<Cost> {
    let model = &facts.resolved.as_ref()?.model;
    let tier = facts.answer.tier.or(facts.ask.as_ref().map(|ask| ask.tier)).unwrap_or_default();
    let (provider, at) = (&model.provider.price_as, facts.identity.started);
    let of = |name: &str| facts.snapshot.prices.cost(provider, name, tier, &used.usage, at);
    facts.answer.model.as_deref().and_then(of).or_else(|| of(&model.upstream_model))
}
