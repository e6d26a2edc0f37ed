//! Asking one model: the wait before its pool, and as many tries at its deployments as it takes and is worth.

use crate::app::App;
use crate::attempt::{Answered, Times, try_once};
use crate::call::{CANCELLED, CLOSED, CUT, Call, Ending, Facts, TIMED_OUT};
use crate::endpoints::Endpoint;
use crate::errors::{Failure, class_of_status};
use crate::govern::estimate;
use crate::hedging::{self, Hedging};
use crate::metrics::GatewayMetrics;
use crate::pools::ModelPool;
use crate::request::Ask;
use admission::queue::Ticket;
use contracts::policy::{Model, Resolved};
use http::{HeaderMap, header};
use pool::{Ask as Question, Fault, Kind, Outcome, Retry, Tried, Unavailable};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// With less time than this left, nobody else is asked: the prompt would be sent, and billed, for nothing.
const LEAST: Duration = Duration::from_millis(50);

/// Asks `model`. `is_last` says that there is no other model to turn to.
async fn ask(
    app: &App,
    call: &mut Call,
    model: &Arc<Model>,
    headers: &HeaderMap,
    times: Times,
    is_last: bool,
) -> Result<Answered, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    let Some(pool) = facts.pools(app).of(model)? else {
        return try_once(app, call, model, headers, times).await;
    };
    wait(facts, &pool, times).await?;
    let kind = if facts.ask.as_ref().is_some_and(Ask::asks_stream) { Kind::Streamed } else { Kind::Whole };
    let affinity = pool.affinity(beginning(facts));
    let ask = Question { affinity, may_panic: is_last, ..Question::new(kind) };
    let mut tried = Tried::default();
    let (mut is_limited, mut strangers) = (false, 0);
    loop {
        let now = Instant::now();
        let lease = pool.pool.pick(&ask, &mut tried, now.into_std()).map_err(Failure::NoDeployment)?;
        let Some(model) = pool.model(lease.deployment()) else {
            // It came to the pool after the call did, whose budget does not know its price.
            lease.finish(Outcome::Cancelled, now.into_std());
            strangers += 1;
            if strangers > pool.policy.deployments.len() {
                return Err(Failure::NoDeployment(Unavailable::Out { retry_in: Some(LEAST) }));
            }
            continue;
        };
        let per_try = pool.pool.per_try_timeout(kind);
        let by = now + per_try;
        // A try that is given little time says nothing of the deployment when it comes to nothing.
        let is_short = times.first_byte_by.duration_since(now) * 10 < per_try * 9;
        let facts = call.facts().ok_or(Failure::Closed)?;
        facts.lease = Some(lease);
        if let Some(resolved) = &mut facts.resolved {
            resolved.model = model.clone();
        }
        let own = Times { first_byte_by: times.first_byte_by.min(by), ..times };
        let answered = match hedging::after(&pool, facts, kind) {
            None => try_once(app, call, model, headers, own).await,
            Some(after) => {
                let hedging = Hedging { pool: &pool, ask: &ask, tried: &mut tried, after, times };
                Box::pin(hedging.race(app, call, model, headers, own)).await
            }
        };
        let facts = call.facts().ok_or(Failure::Closed)?;
        let outcome = outcome(facts.endpoint, &answered);
        let now = Instant::now().into_std();
        if outcome == Outcome::Success {
            if let Some(lease) = &mut facts.lease {
                lease.first_byte(now);
            }
            return answered;
        }
        if let Some(lease) = facts.lease.take() {
            let is_cut_short = is_short && outcome == Outcome::Fault(Fault::Timeout);
            lease.finish(if is_cut_short { Outcome::Cancelled } else { outcome }, now);
        }
        // What two say without saying for how long is likelier to be about this request than about them.
        if outcome == (Outcome::RateLimited { retry_after: None }) && std::mem::replace(&mut is_limited, true)
        {
            return answered;
        }
        let latest = times.first_byte_by.checked_sub(LEAST).map(Instant::into_std);
        match pool.pool.after(outcome, &tried, false, latest, now) {
            Retry::GiveUp(_) => return answered,
            Retry::After(delay) => {
                // Without money for another try, what went wrong with this one is what there is to say.
                if leave(app, call, &answered).await.is_err() {
                    return answered;
                }
                sleep(delay).await;
            }
        }
    }
}

/// Asks `model`, and those that its pool names to fall back to for as long as nobody answers. `is_last` says that there is nobody else
/// to turn to after them.
pub(crate) async fn ask_in_turn(
    app: &App,
    call: &mut Call,
    model: &Arc<Model>,
    headers: &HeaderMap,
    times: Times,
    is_last: bool,
) -> Result<Answered, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    let pool = facts.pools(app).of(model)?;
    let snapshot = facts.snapshot.clone();
    let names = pool.iter().flat_map(|pool| &pool.policy.fallbacks);
    let fallbacks: Vec<Arc<Model>> = names.filter_map(|name| snapshot.models.get(name).cloned()).collect();
    let mut answered = ask(app, call, model, headers, times, is_last && fallbacks.is_empty()).await;
    for (at, next) in fallbacks.iter().enumerate() {
        if !fails(call, &answered, times) || leave(app, call, &answered).await.is_err() {
            break;
        }
        answered = ask(app, call, next, headers, times, is_last && at + 1 == fallbacks.len()).await;
    }
    answered
}

/// Waits for the pool's turn; the call has a slot in it from then on.
async fn wait(facts: &mut Facts, pool: &ModelPool, times: Times) -> Result<(), Failure> {
    // That of another model that was asked before.
    facts.slot = None;
    let prompt = facts.ask.as_ref().map_or(0, |ask| estimate(&ask.body));
    // Whoever was asked before has taken of the time what was promised.
    // Nobody waits for the first token of what is made in the background.
    let is_waited_for = facts.attempts.is_empty() && !facts.ask.as_ref().is_some_and(Ask::is_background);
    let slo = facts.resolved.as_ref().filter(|_| is_waited_for).and_then(Resolved::ttft_slo);
    let promised = slo.zip(facts.asked_at).and_then(|(slo, asked_at)| {
        // From its turn on, the model takes its own time. What is usual is the pool's, of all who ask it: where that is most of what was
        // promised, it says little of this call, and at least half of the time may be waited.
        let usual = pool.pool.usual(Kind::Streamed, Instant::now().into_std()).unwrap_or_default();
        asked_at.checked_add(slo.saturating_sub(usual).max(slo / 2))
    });
    let ticket = Ticket {
        tenant: facts.key.tenant.id.clone(),
        weight: facts.turn.weight,
        band: facts.turn.band,
        input_tokens: prompt,
        expected_output_tokens: None,
        deadline: Some(promised.map_or(times.first_byte_by, |by| by.min(times.first_byte_by))),
    };
    let slot = pool.queue.enter(ticket).await.map_err(Failure::Busy)?;
    facts.queued += slot.waited();
    facts.slot = Some(slot);
    Ok(())
}

/// The prompt, in the order in which a server reads it.
pub(crate) fn beginning(facts: &Facts) -> impl Iterator<Item = &[u8]> {
    let ask = facts.ask.as_ref();
    let part = move |place: Option<&std::ops::Range<usize>>| Some(ask?.text(place)?.as_bytes());
    let places = [
        ask.and_then(|ask| ask.tools_at.as_ref()),
        ask.and_then(|ask| ask.instructions_at.as_ref()),
        ask.and_then(|ask| ask.prompt_at.as_ref()),
    ];
    places.into_iter().filter_map(part)
}

/// Whether another model may do better: this one did not answer, the request is not to blame, and there is time.
pub(crate) fn fails(call: &mut Call, answered: &Result<Answered, Failure>, times: Times) -> bool {
    let Some(facts) = call.facts() else { return false };
    let is_busy = matches!(answered, Err(Failure::NoDeployment(_) | Failure::Busy(_)));
    Instant::now() + LEAST < times.first_byte_by && (is_busy || outcome(facts.endpoint, answered).may_retry())
}

/// Whom the end of a try speaks of.
pub(crate) fn outcome(endpoint: &Endpoint, answered: &Result<Answered, Failure>) -> Outcome {
    // Where requests name what providers keep, it may be that which is not found. Else path and model are ours.
    let names_what_is_kept = endpoint.has_background;
    match answered {
        Ok(answered) if matches!(answered.status().as_u16(), 404 | 405) && !names_what_is_kept => {
            Outcome::Fault(Fault::Status(answered.status().as_u16()))
        }
        Ok(answered) => {
            let after = match answered {
                Answered::Whole { head, .. } => retry_after(&head.headers),
                Answered::Stream { .. } => None,
            };
            Outcome::of_status(answered.status().as_u16(), after)
        }
        Err(Failure::Unreachable | Failure::Timeout { what: "connection", .. }) => {
            Outcome::Fault(Fault::Connect)
        }
        Err(Failure::Timeout { .. }) => Outcome::Fault(Fault::Timeout),
        Err(Failure::Closed | Failure::Cut) => Outcome::Fault(Fault::Cut),
        Err(Failure::Garbage { status, .. } | Failure::ProviderCredential { status }) => {
            Outcome::Fault(Fault::Status(*status))
        }
        Err(Failure::BadProvider(_)) => Outcome::Fault(Fault::Connect),
        Err(Failure::NotServed { .. } | Failure::Untranslatable(_)) => Outcome::Unfit,
        // Of an answer's size the request is as guilty as the deployment.
        Err(_) => Outcome::ClientFault,
    }
}

/// `retry-after-ms`, which is the more exact one and of which `retry-after` is the next whole second, or `retry-after` in seconds; dates,
/// which no provider sends, are not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let duration = |seconds| Duration::try_from_secs_f64(seconds).ok();
    let exact = number("retry-after-ms").and_then(|millis| duration(millis / 1_000.0));
    exact.or_else(|| duration(number(header::RETRY_AFTER.as_str())?))
}

/// Another try follows: what this one used is written down.
pub(crate) async fn leave(
    app: &App,
    call: &mut Call,
    answered: &Result<Answered, Failure>,
) -> Result<(), Failure> {
    let ending = ending_of(answered);
    GatewayMetrics::count(&app.metrics.upstream_errors, ending.error.unwrap_or_default());
    app.metrics.retries.inc();
    call.leave_attempt(ending).await
}

/// How a try ended that brought no answer.
pub(crate) fn ending_of(answered: &Result<Answered, Failure>) -> Ending {
    match answered {
        Ok(answered) => {
            let status = answered.status().as_u16();
            Ending::failed(status, class_of_status(status))
        }
        Err(failure) => {
            let error = failure.to_api();
            Ending::failed(error.status, error.code.unwrap_or(error.kind))
        }
    }
}

/// How a deployment did whose call ended with `error`, once its answer had begun.
pub(crate) fn end_of_answer(error: Option<&'static str>) -> Outcome {
    match error {
        None => Outcome::Success,
        Some(TIMED_OUT) => Outcome::Fault(Fault::Timeout),
        Some(CLOSED | CUT | "upstream_error") => Outcome::Fault(Fault::Cut),
        Some("client_disconnected" | CANCELLED) => Outcome::Cancelled,
        Some(_) => Outcome::ClientFault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_exact_of_two_waits_is_read() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            retry_after(&headers)
        };
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(read(&[("retry-after", "2"), ("retry-after-ms", "1200")]), millis(1_200));
        assert_eq!(read(&[("retry-after-ms", "250.5")]), Some(Duration::from_micros(250_500)));
        assert_eq!(read(&[("retry-after", "2")]), millis(2_000));
        assert_eq!(read(&[("retry-after", "2"), ("retry-after-ms", "soon")]), millis(2_000));
        assert_eq!(read(&[("retry-after", "2"), ("retry-after-ms", "-1")]), millis(2_000));
        assert_eq!(read(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]), None);
        assert_eq!(read(&[]), None);
    }
}
