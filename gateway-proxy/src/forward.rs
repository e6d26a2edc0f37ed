//! To the upstream and back: the model that was understood is asked, and its answer brought to the client.

use crate::app::App;
use crate::attempt::{Answered, Times};
use crate::caching::{self, Known};
use crate::call::{Call, Ending, Facts};
use crate::cascading::climb;
use crate::emit::Unrecorded;
use crate::errors::{Failure, class_of_status};
use crate::guarding;
use crate::metrics::GatewayMetrics;
use crate::relay::{Opening, Whole};
use crate::request::Ask;
use crate::respond::{self, Body, COST, MODEL};
use crate::resume;
use crate::stack::{Refusal, fail};
use crate::tries::ask_in_turn;
use crate::upstream::for_client;
use bytes::Bytes;
use contracts::Fault;
use contracts::policy::Resolved;
use http::{HeaderMap, HeaderValue, Response, header, response};
use std::sync::Arc;
use tokio::time::Instant;

/// Most of a model's name that a header repeats, bytes.
const MODEL_LENGTH: usize = 128;

/// Makes the call that was understood, and answers the client.
pub(crate) async fn forward(
    app: &Arc<App>,
    mut call: Call,
    resolved: Resolved,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let started = Instant::now();
    let deadline = started + app.timeouts.total();
    let times = Times { first_byte_by: (started + app.timeouts.first_byte()).min(deadline), deadline };
    match guarding::refused(app, &mut call).await {
        Ok(None) => {}
        Ok(Some(response)) => return Ok(response),
        Err(failure) => return Err(give_up(app, call, failure).await),
    }
    if let Some(policy) = resolved.cache() {
        match caching::ask(app, &mut call, policy, &headers).await {
            Ok(Known::Answered(response)) => return Ok(response),
            Ok(Known::Not) => {}
            Err(failure) => return Err(give_up(app, call, failure).await),
        }
    }
    if call.facts().and_then(|facts| facts.ask.as_ref()).is_some_and(Ask::is_background) {
        return Ok(resume::begin(app, call, resolved, headers, times)?);
    }
    let answered = ask(app, &mut call, &resolved, &headers, times).await;
    match answered {
        Err(failure) => Err(give_up(app, call, failure).await),
        Ok(Answered::Whole { head, bytes }) => match pass_whole(app, &mut call, &head, bytes).await {
            Ok(response) => Ok(response),
            Err(failure) => Err(give_up(app, call, failure).await),
        },
        Ok(Answered::Stream { head, opening }) => {
            Ok(pass_stream(app, call, &head, opening, &headers, deadline))
        }
    }
}

/// Asks the models that the call is led to, and judges what came whole.
pub(crate) async fn ask(
    app: &App,
    call: &mut Call,
    resolved: &Resolved,
    headers: &HeaderMap,
    times: Times,
) -> Result<Answered, Failure> {
    let answered = match resolved.cascade() {
        Some(cascade) => climb(app, call, cascade, headers, times).await,
        None => ask_in_turn(app, call, &resolved.model, headers, times, true).await,
    };
    guarding::judge_answer(app, call, answered?).await
}

/// Records a call that failed on its way.
async fn give_up(app: &App, mut call: Call, failure: Failure) -> Refusal {
    let error = failure.to_api();
    if error.fault == Fault::Upstream {
        GatewayMetrics::count(&app.metrics.upstream_errors, error.code.unwrap_or(error.kind));
    }
    fail(&mut call, failure).await
}

/// A stream on its way.
fn pass_stream(
    app: &App,
    mut call: Call,
    head: &response::Parts,
    opening: Box<Opening>,
    headers: &HeaderMap,
    deadline: Instant,
) -> Response<Body> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    let mut kept = None;
    if let Some(facts) = call.facts() {
        facts.status = Some(head.status.as_u16());
        for_client(&head.headers, response.headers_mut());
        say(response.headers_mut(), facts);
        kept = facts.place.take().map(|place| (resume::Name::of(facts), place, facts.on_disconnect));
    }
    if let Some((name, place, on_disconnect)) = kept {
        let stream = opening.into_stream(call, false, deadline);
        let follower = app.streams.keep(name, place, on_disconnect, stream);
        return response.map(|()| Body::Other(follower.into_body()));
    }
    let trailers = takes_trailers(headers);
    if trailers {
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-control-tower-cost-usd"));
    }
    let stream = app.watchman.watch(opening.into_stream(call, trailers, deadline));
    response.map(|()| Body::Stream(stream))
}

/// An answer that is not streamed, or an error of the upstream's.
async fn pass_whole(
    app: &App,
    call: &mut Call,
    head: &response::Parts,
    bytes: Bytes,
) -> Result<Response<Body>, Failure> {
    let status = head.status;
    let facts = call.facts().ok_or(Failure::Closed)?;
    let mut ending = Ending::ok(status.as_u16());
    if !status.is_success() {
        let class = class_of_status(status.as_u16());
        ending = Ending::failed(status.as_u16(), class);
        let judged = Whole::of_error(status.as_u16(), &bytes);
        if let Whole::Wrapped(error) = &judged {
            ending = Ending::failed(error.status, error.code.unwrap_or(class));
        }
        GatewayMetrics::count(&app.metrics.upstream_errors, ending.error.unwrap_or(class));
        if let Whole::Wrapped(error) = judged {
            let mut response = respond::error(&error, Some(facts.endpoint), &facts.identity);
            facts.governed.tell(response.headers_mut());
            call.finish(ending).await.map_err(|Unrecorded| Failure::Unrecorded)?;
            if let Some(after) = head.headers.get(header::RETRY_AFTER) {
                response.headers_mut().insert(header::RETRY_AFTER, after.clone());
            }
            return Ok(response);
        }
    }
    let mut response = Response::new(Body::Whole(Some(bytes)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for_client(&head.headers, headers);
    say(headers, facts);
    let settled = call.finish(ending).await.map_err(|Unrecorded| Failure::Unrecorded)?;
    if let Some(cost) = settled.cost {
        respond::put(response.headers_mut(), COST, cost.total.decimal().as_str());
    }
    Ok(response)
}

/// What we say about an answer in its headers.
fn say(headers: &mut HeaderMap, facts: &Facts) {
    respond::identify(headers, &facts.identity);
    tell(headers, facts);
    for warning in &facts.warnings {
        if let Ok(value) = HeaderValue::from_str(warning) {
            headers.append(respond::WARNING, value);
        }
    }
    let asked = facts.resolved.as_ref().map(|resolved| resolved.model.upstream_model.as_str());
    if let Some(served) = facts.answer.model.as_deref().or(asked) {
        // A header is ASCII, so this cuts between characters; clients give up on headers that are very long.
        respond::put(headers, MODEL, served.get(..served.len().min(MODEL_LENGTH)).unwrap_or_default());
    }
}

/// The part of that which is known before a model is asked.
pub(crate) fn tell(headers: &mut HeaderMap, facts: &Facts) {
    facts.governed.tell(headers);
    respond::assigned(headers, facts.assigned.as_ref());
    if let Some(found) = &facts.found {
        headers.insert(respond::CACHE, HeaderValue::from_static(found.status));
    }
}

/// Whether the client said that it reads trailers (RFC 9110, section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let te = headers.get(header::TE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    te.split(',').any(|part| part.trim().eq_ignore_ascii_case("trailers"))
}
