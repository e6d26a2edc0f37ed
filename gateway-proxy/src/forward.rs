//! To the upstream and back: the body is spliced, the attempt made, the answer brought to the client.

use crate::app::App;
use crate::call::{Attempt, Call, Ending, Facts};
use crate::emit::Unrecorded;
use crate::errors::{Failure, class_of_status};
use crate::identity::Identity;
use crate::metrics::GatewayMetrics;
use crate::relay::{Opening, Whole, collect};
use crate::request::outgoing_body;
use crate::respond::{self, Body, COST, MODEL};
use crate::stack::fail;
use crate::upstream::{AnswerBody, Outgoing, Progress, SendError, Target, for_client, for_upstream};
use contracts::Fault;
use contracts::policy::Resolved;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response};
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
) -> Result<Response<Body>, Failure> {
    let started = Instant::now();
    let deadline = started + app.timeouts.total();
    let first_byte_by = (started + app.timeouts.first_byte()).min(deadline);
    let (response, sent) = match attempt(app, &mut call, &resolved, &headers, first_byte_by).await {
        Ok(answered) => answered,
        Err(failure) => return Err(give_up(app, call, failure).await),
    };
    let (head, body) = response.into_parts();
    let is_stream = head.status.is_success() && has_type(&head.headers, "text/event-stream");
    if !is_stream {
        let passed = pass_whole(app, &mut call, head, body, deadline).await;
        return match passed {
            Ok(response) => Ok(response),
            Err(failure) => Err(give_up(app, call, failure).await),
        };
    }
    match Opening::wait(&mut call, body, sent.hide_usage, first_byte_by).await {
        Err(failure) => Err(give_up(app, call, failure).await),
        Ok(opening) => {
            let mut response = Response::new(());
            *response.status_mut() = head.status;
            if let Some(facts) = call.facts() {
                facts.status = Some(head.status.as_u16());
                for_client(&head.headers, response.headers_mut());
                say(response.headers_mut(), facts, &resolved);
            }
            let trailers = takes_trailers(&headers);
            if trailers {
                response
                    .headers_mut()
                    .insert(header::TRAILER, HeaderValue::from_static("x-control-tower-cost-usd"));
            }
            let stream = app.watchman.watch(opening.into_stream(call, trailers, deadline));
            Ok(response.map(|()| Body::Stream(stream)))
        }
    }
}

/// What was sent, as far as it matters to the answer.
struct Sent {
    /// We asked for usage and the client did not.
    hide_usage: bool,
}

/// One attempt (connection failures aside, which may be tried again): returns the head of the answer.
async fn attempt(
    app: &App,
    call: &mut Call,
    resolved: &Resolved,
    headers: &HeaderMap,
    until: Instant,
) -> Result<(Response<AnswerBody>, Sent), Failure> {
    let target =
        app.upstreams.target(&resolved.model.provider).map_err(|e| Failure::BadProvider(e.to_string()))?;
    let facts = call.facts().ok_or(Failure::Closed)?;
    let ask = facts.ask.as_ref().ok_or(Failure::BrokenBody)?;
    let asks_usage = ask.stream && facts.endpoint.usage_on_request;
    let sent = Sent { hide_usage: asks_usage && !ask.wants_usage() };
    let body = outgoing_body(ask, &resolved.model.upstream_model, asks_usage);
    let span = app.ids.span();
    let outgoing = Outgoing {
        path: facts.endpoint.upstream_path,
        headers: outgoing_headers(headers, &facts.identity, span),
        body,
    };
    facts.attempts.push(Attempt {
        span,
        started: app.clock.now(),
        at: Instant::now(),
        took: None,
        status: None,
        error: None,
        address: target.address().to_owned(),
        port: target.port(),
    });
    let tell = |progress: Progress<'_>| match progress {
        Progress::NotConnected(error) => note_retry(app, facts, error),
        Progress::HandedOver => facts.prompt_sent = true,
        Progress::HandedBack => facts.prompt_sent = false,
    };
    let answer = match app.upstreams.send(&target, outgoing, until, tell).await {
        Ok(answer) => answer,
        Err(error) => return Err(unanswered(app, &target, &error)),
    };
    let status = answer.status();
    if let Some(facts) = call.facts() {
        facts.answer_started = status.is_success();
        if let Some(attempt) = facts.attempts.last_mut() {
            attempt.status = Some(status.as_u16());
        }
    }
    Ok((answer, sent))
}

/// Writes down a try at a connection that failed and is being repeated; the current attempt starts anew.
fn note_retry(app: &App, facts: &mut Facts, error: &SendError) {
    GatewayMetrics::count(&app.metrics.upstream_errors, "connect_retried");
    tracing::debug!(%error, "connecting to an upstream failed; trying again");
    let Some(current) = facts.attempts.pop() else { return };
    let failed = Attempt {
        span: app.ids.span(),
        took: Some(current.at.elapsed()),
        error: Some("upstream_unreachable"),
        ..current.clone()
    };
    facts.attempts.push(failed);
    facts.attempts.push(Attempt { started: app.clock.now(), at: Instant::now(), ..current });
}

fn unanswered(app: &App, target: &Target, error: &SendError) -> Failure {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        server.address = target.address(),
        server.port = target.port(),
        "an upstream gave no answer"
    );
    match error {
        SendError::Connect(_) => Failure::Unreachable,
        SendError::ConnectTimeout(after) => Failure::Timeout { what: "connection", after: *after },
        SendError::Broken(_) => Failure::Closed,
        SendError::Late => {
            let after = app.timeouts.first_byte().min(app.timeouts.total());
            Failure::Timeout { what: "answer", after }
        }
    }
}

/// Records a call that failed on its way.
async fn give_up(app: &App, mut call: Call, failure: Failure) -> Failure {
    let error = failure.to_api();
    if error.fault == Fault::Upstream {
        GatewayMetrics::count(&app.metrics.upstream_errors, error.code.unwrap_or(error.kind));
    }
    fail(&mut call, failure).await
}

/// An answer that is not streamed.
async fn pass_whole(
    app: &App,
    call: &mut Call,
    head: response::Parts,
    mut body: AnswerBody,
    deadline: Instant,
) -> Result<Response<Body>, Failure> {
    let status = head.status;
    let bytes = collect(&mut body, app.limits.answer_bytes, &app.timeouts, deadline).await?;
    body.give_back();
    let facts = call.facts().ok_or(Failure::Closed)?;
    let mut ending = Ending::ok(status.as_u16());
    if status.is_success() {
        let is_encoded = head.headers.contains_key(header::CONTENT_ENCODING);
        match (facts.endpoint.read_answer)(&bytes) {
            Some(answer) => facts.answer = answer,
            // We asked for no encoding; what came in one anyway passes, and is estimated.
            None if is_encoded => {}
            None => {
                return Err(Failure::Garbage { status: status.as_u16(), detail: "what is not an answer" });
            }
        }
    } else {
        if status.is_redirection() || status.is_informational() {
            return Err(Failure::Garbage { status: status.as_u16(), detail: "a redirection" });
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(Failure::ProviderCredential { status: status.as_u16() });
        }
        let class = class_of_status(status.as_u16());
        ending = Ending::failed(status.as_u16(), class);
        let judged = Whole::of_error(status.as_u16(), &bytes);
        if let Whole::Wrapped(error) = &judged {
            ending = Ending::failed(error.status, error.code.unwrap_or(class));
        }
        GatewayMetrics::count(&app.metrics.upstream_errors, ending.error.unwrap_or(class));
        if let Whole::Wrapped(error) = judged {
            let identity = facts.identity.clone();
            call.finish(ending).await.map_err(|Unrecorded| Failure::Unrecorded)?;
            let mut response = respond::error(&error, &identity);
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
    if let Some(resolved) = &facts.resolved {
        say(headers, facts, resolved);
    }
    let settled = call.finish(ending).await.map_err(|Unrecorded| Failure::Unrecorded)?;
    if let Some(cost) = settled.cost {
        respond::put(response.headers_mut(), COST, cost.total.decimal().as_str());
    }
    Ok(response)
}

/// What we say about an answer in its headers.
fn say(headers: &mut HeaderMap, facts: &Facts, resolved: &Resolved) {
    respond::identify(headers, &facts.identity);
    let served = facts.answer.model.as_deref().unwrap_or(&resolved.model.upstream_model);
    // A header is ASCII, so this cuts between characters; clients give up on headers that are very long.
    respond::put(headers, MODEL, served.get(..served.len().min(MODEL_LENGTH)).unwrap_or_default());
}

/// The client's headers that go on, and the trace that the upstream may join.
fn outgoing_headers(from: &HeaderMap, identity: &Identity, span: opentelemetry::trace::SpanId) -> HeaderMap {
    let mut headers = for_upstream(from);
    if let Some(traceparent) = identity.traceparent(span) {
        headers.insert(HeaderName::from_static("traceparent"), traceparent);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    value.get(..expected.len()).is_some_and(|start| start.eq_ignore_ascii_case(expected.as_bytes()))
}

/// Whether the client said that it reads trailers (RFC 9110, section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let te = headers.get(header::TE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    te.split(',').any(|part| part.trim().eq_ignore_ascii_case("trailers"))
}
