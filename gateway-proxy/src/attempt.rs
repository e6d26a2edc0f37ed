//! One try at one upstream: the body is spliced and sent, and the answer read until it is certain that it is one.

use crate::app::App;
use crate::call::{Attempt, Call, Facts};
use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::identity::Identity;
use crate::metrics::GatewayMetrics;
use crate::relay::{Opening, Reading, collect};
use crate::request::{Ask, More, Sample, outgoing_body, without_stream_options};
use crate::translation::{self, Translation, cleaned, leave_behind, may_translate};
use crate::trying::{Asking, Notes, Parts};
use crate::upstream::{Addressed, AnswerBody, Outgoing, Progress, SendError, Speech, Target, for_upstream};
use bytes::Bytes;
use contracts::policy::Model;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response};
use protocols::Dialect;
use std::sync::Arc;
use tokio::time::Instant;

/// Until when what must have come, of a call and of a try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// The first of the answer.
    pub(crate) first_byte_by: Instant,
    /// All of it.
    pub(crate) deadline: Instant,
}

/// What a try brought.
#[derive(Debug)]
pub(crate) enum Answered {
    /// Something whole: an answer, or the upstream's own error.
    Whole { head: response::Parts, bytes: Bytes },
    /// A stream of which the first event is here.
    Stream { head: response::Parts, opening: Box<Opening> },
}

impl Answered {
    /// The status that the upstream gave it.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Whole { head, .. } | Self::Stream { head, .. } => head.status,
        }
    }
}

/// Asks `model` at its provider, and reads as much of the answer as tells that it is one.
pub(crate) async fn try_once(
    app: &App,
    call: &mut Call,
    model: &Arc<Model>,
    headers: &HeaderMap,
    times: Times,
) -> Result<Answered, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    let sending = begin(app, facts, model, headers).await?;
    let Parts { asking, mut notes, .. } = facts.parts()?;
    exchange(app, asking, &mut notes, sending, times).await
}

/// Begins the call's next try: from here on its prompt may be billed.
pub(crate) async fn begin<'m>(
    app: &App,
    facts: &mut Facts,
    model: &'m Arc<Model>,
    headers: &HeaderMap,
) -> Result<Sending<'m>, Failure> {
    let Parts { asking, notes, governed, .. } = facts.parts()?;
    let (attempt, sending) = prepare(app, asking, model, headers, None)?;
    notes.attempts.push(attempt);
    governed.dispatch().await?;
    Ok(sending)
}

/// Sends what was prepared, and reads as much of the answer as tells that it is one. What comes of it is in `notes` as it happens.
pub(crate) async fn exchange(
    app: &App,
    asking: Asking<'_>,
    notes: &mut Notes<'_>,
    sending: Sending<'_>,
    times: Times,
) -> Result<Answered, Failure> {
    let Sending { target, outgoing, hide_usage, mut translation } = sending;
    if let Some(translation) = &mut translation {
        *notes.warnings = std::mem::take(&mut translation.warnings);
    }
    let response = send(app, notes, &target, outgoing, times.first_byte_by).await?;
    let (mut head, mut body) = response.into_parts();
    if head.status.is_success() && is_stream(&head.headers, translation.as_ref()) {
        let translator = translation.map(|translation| translation.stream(&mut head)).transpose()?;
        let reading = Reading::new(hide_usage, translator, asking.guard_stream());
        let heard = notes.heard(&asking);
        let opening = Opening::wait(app, heard, body, reading, times.first_byte_by).await?;
        return Ok(Answered::Stream { head, opening: Box::new(opening) });
    }
    let mut bytes = collect(&mut body, app.limits.answer_bytes, &app.timeouts, times.deadline).await?;
    body.give_back();
    let mut stated = None;
    if let Some(translation) = &translation {
        let (translated, usage) = translation.whole(&mut head, &bytes, &asking.identity.request_id)?;
        (bytes, stated) = (translated, Some(usage));
    }
    let status = head.status;
    if status.is_success() {
        match (asking.endpoint.read_answer)(&bytes) {
            Some(answer) => *notes.answer = answer,
            // We asked for no encoding; what came in one anyway passes, and is estimated.
            None if head.headers.contains_key(header::CONTENT_ENCODING) => {}
            None => {
                return Err(Failure::Garbage { status: status.as_u16(), detail: "what is not an answer" });
            }
        }
        // Zeros that a translation had to write where the provider stated nothing are no count.
        notes.answer.usage = stated.unwrap_or(notes.answer.usage);
        *notes.whole = asking.keeps_whole.then(|| bytes.clone());
    } else if status.is_redirection() || status.is_informational() {
        return Err(Failure::Garbage { status: status.as_u16(), detail: "a redirection" });
    } else if status == StatusCode::UNAUTHORIZED {
        return Err(Failure::ProviderCredential { status: status.as_u16() });
    }
    Ok(Answered::Whole { head, bytes })
}

fn is_stream(headers: &HeaderMap, translation: Option<&Translation>) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some(translation) = translation {
        return translation.is_stream(value);
    }
    let expected = "text/event-stream";
    value.get(..expected.len()).is_some_and(|start| start.eq_ignore_ascii_case(expected))
}

/// A request that is about to be sent, and what matters of it to its answer.
#[derive(Debug)]
pub(crate) struct Sending<'m> {
    target: Arc<Target>,
    outgoing: Outgoing<'m>,
    /// The client did not ask for the usage that comes.
    hide_usage: bool,
    /// The way back to the client's protocol, where the provider speaks another.
    translation: Option<Translation>,
}

/// A request as `model` is asked it. With `sample` it is asked once more for the same.
pub(crate) fn prepare<'m>(
    app: &App,
    asking: Asking<'_>,
    model: &'m Arc<Model>,
    headers: &HeaderMap,
    sample: Option<Sample>,
) -> Result<(Attempt, Sending<'m>), Failure> {
    let target = app.upstreams.target(&model.provider).map_err(|e| Failure::BadProvider(e.to_string()))?;
    let Asking { ask, endpoint, .. } = asking;
    let asks_usage = ask.asks_stream() && endpoint.usage_on_request;
    let hide_usage = asks_usage && !ask.wants_usage();
    let cap = asking.cap.and_then(|tokens| Some((cap_field(ask, endpoint, model)?, tokens)));
    let to =
        Addressed { endpoint, model: &model.upstream_model, stream: ask.asks_stream(), now: app.clock.now() };
    let (body, translation) =
        if let Some((body, translation)) = translated(app, asking, &target.speech, model, sample)? {
            (body, Some(translation))
        } else {
            let is_chat = endpoint.dialect == Some(Dialect::OpenAiChat);
            let logprobs = asking.wants_logprobs && is_chat && !ask.asks_logprobs;
            let asks = target.speech.asks_stream_usage();
            let more = More { usage: asks_usage && asks, cap, logprobs, sample };
            let mut body = outgoing_body(ask, &model.upstream_model, more);
            if !asks && endpoint.usage_on_request && ask.has_stream_options() {
                body = without_stream_options(&body);
            }
            (cleaned(endpoint, body), None)
        };
    let attempt = Attempt::new(&app.ids, app.clock.now(), model.clone(), target.address(), target.port());
    let mut headers = outgoing_headers(headers, asking.identity, attempt.span);
    if translation.is_some() {
        leave_behind(&mut headers);
    }
    let outgoing = Outgoing { to, headers, body };
    let hide_usage = hide_usage && translation.is_none();
    Ok((attempt, Sending { target, outgoing, hide_usage, translation }))
}

/// Sends the request (connection failures aside, which may be tried again) and returns the head of the answer.
async fn send(
    app: &App,
    notes: &mut Notes<'_>,
    target: &Target,
    outgoing: Outgoing<'_>,
    until: Instant,
) -> Result<Response<AnswerBody>, Failure> {
    let tell = |progress: Progress<'_>| match progress {
        Progress::NotConnected(error) => note_retry(app, notes.attempts, error),
        Progress::HandedOver => *notes.prompt_sent = true,
        Progress::HandedBack => *notes.prompt_sent = false,
    };
    let answer = match app.upstreams.send(target, outgoing, until, tell).await {
        Ok(answer) => answer,
        Err(error) => return Err(unanswered(app, target, &error)),
    };
    let status = answer.status();
    *notes.answer_started = status.is_success();
    if let Some(attempt) = notes.attempts.last_mut() {
        attempt.status = Some(status.as_u16());
    }
    Ok(answer)
}

/// The request in the provider's protocol; `None` when that is the client's.
fn translated(
    app: &App,
    asking: Asking<'_>,
    speech: &Speech,
    model: &Model,
    sample: Option<Sample>,
) -> Result<Option<(Bytes, Translation)>, Failure> {
    let Asking { ask, endpoint, .. } = asking;
    // What is for us alone is not translated, and what the client left open is bounded where it must be.
    let cap = asking.cap.filter(|_| ask.max_output.is_none());
    let cap = cap.and_then(|tokens| Some((*endpoint.max_output.last()?, tokens)));
    if endpoint.dialect.is_none() || !may_translate(speech.protocol, endpoint, &ask.body) {
        return translation::request(asking, speech, model, &Bytes::new(), 0);
    }
    let body = outgoing_body(ask, &ask.model, More { cap, sample, ..More::default() });
    translation::request(asking, speech, model, &body, app.governor.default_max_tokens())
}

/// The field that must still be said for the answer to be bounded. `OpenAI`'s own models of today know only the newer name, refuse the
/// other, and both together; servers that speak its protocol know the older one, and not all of them the newer.
fn cap_field(ask: &Ask, endpoint: &Endpoint, model: &Model) -> Option<&'static str> {
    let is_openai = matches!(model.provider.price_as.as_str(), "openai" | "azure");
    let fields = endpoint.max_output;
    if is_openai {
        return fields.first().copied().filter(|_| ask.max_output.is_none());
    }
    fields.last().copied().filter(|field| !ask.is_bounded_by(field))
}

/// Writes down a try at a connection that failed and is being repeated; the current attempt starts anew.
fn note_retry(app: &App, attempts: &mut Vec<Attempt>, error: &SendError) {
    GatewayMetrics::count(&app.metrics.upstream_errors, "connect_retried");
    tracing::debug!(%error, "connecting to an upstream failed; trying again");
    let Some(current) = attempts.pop() else { return };
    let failed = Attempt {
        span: app.ids.span(),
        took: Some(current.at.elapsed()),
        error: Some("upstream_unreachable"),
        ..current.clone()
    };
    attempts.push(failed);
    attempts.push(Attempt { started: app.clock.now(), at: Instant::now(), ..current });
}

pub(crate) fn unanswered(app: &App, target: &Target, error: &SendError) -> Failure {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        server.address = target.address(),
        server.port = target.port(),
        "an upstream gave no answer"
    );
    match error {
        SendError::Connect(_) => Failure::Unreachable,
        SendError::ConnectTimeout(after) => Failure::Timeout { what: "connection", after: *after },
        SendError::Misconfigured(error) => Failure::BadProvider(error.to_string()),
        SendError::Broken(_) => Failure::Closed,
        SendError::Late => {
            let after = app.timeouts.first_byte().min(app.timeouts.total());
            Failure::Timeout { what: "answer", after }
        }
    }
}

/// The client's headers that go on, and the trace that the upstream may join.
pub(crate) fn outgoing_headers(
    from: &HeaderMap,
    identity: &Identity,
    span: opentelemetry::trace::SpanId,
) -> HeaderMap {
    let mut headers = for_upstream(from);
    if let Some(traceparent) = identity.traceparent(span) {
        headers.insert(HeaderName::from_static("traceparent"), traceparent);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}
