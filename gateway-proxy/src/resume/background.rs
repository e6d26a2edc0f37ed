//! Responses that are made in the background. Who asks for one is told at once, when its call is admitted, that it is queued; whatever
//! becomes of it from then on is in the response, as it stands and as its events.
//!
//! Its id is the gateway's, for the provider's is not known yet: events carry it in the place of the provider's, and a later request that
//! names it as `previous_response_id` goes on with the provider's. Its events are counted anew, from the two that say that it is queued.

use super::events::{of_response, split};
use super::{Ended, Kept, Name, Streams, push, streamed};
use crate::app::App;
use crate::attempt::{Answered, Times};
use crate::call::{Call, Ending};
use crate::endpoints::Endpoint;
use crate::errors::{Failure, class_of_status};
use crate::forward::{ask, tell};
use crate::metrics::GatewayMetrics;
use crate::relay::{Stream, Whole};
use crate::request::{Ask, Member, members, place_in};
use crate::respond::{self, Body};
use bytes::Bytes;
use contracts::policy::Resolved;
use contracts::{ApiError, Fault, TenantId, Timestamp};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;

/// What a request says that its response repeats.
const REPEATED: [&str; 13] = [
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "top_p",
    "truncation",
    "user",
];

/// Bytes of one of these that are repeated.
const MOST_REPEATED: usize = 16 << 10;

/// How all ids begin that are given here, before the rest of the request's.
const PREFIX: &str = "resp_req_";

/// Answers that the response is queued, and makes it.
pub(crate) fn begin(
    app: &Arc<App>,
    mut call: Call,
    resolved: Resolved,
    headers: HeaderMap,
    times: Times,
) -> Result<Response<Body>, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    let place = facts.place.take().ok_or(Failure::TooManyStreams)?;
    let asked = facts.ask.as_ref().ok_or(Failure::BrokenBody)?;
    let id = format!("resp_{}", facts.identity.request_id);
    let response = queued(&id, asked, facts.identity.started);
    let is_streamed = asked.stream;
    facts.response_id = Some(id);
    facts.status = Some(StatusCode::OK.as_u16());
    let kept = app.streams.take_on(Name::of(facts), place, facts.on_disconnect, app.streams.stream_bytes);
    let making = Making { app: app.clone(), kept: kept.clone(), is_over: false };
    making.tell_of("response.created", &response);
    making.tell_of("response.queued", &response);
    let mut answer = if is_streamed {
        streamed(kept.reader(0), &facts.identity)
    } else {
        respond::json(StatusCode::OK, response.to_string(), &facts.identity)
    };
    tell(answer.headers_mut(), facts);
    app.streams.tasks.spawn(making.run(call, resolved, headers, times));
    Ok(answer)
}

/// The response before anything is known of it.
fn queued(id: &str, ask: &Ask, now: Timestamp) -> Value {
    let mut response = json!({
        "id": id, "object": "response", "created_at": now.unix_seconds(), "status": "queued", "background": true,
        "error": null, "incomplete_details": null, "instructions": null, "model": ask.model, "output": [],
        "metadata": {}, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": null,
    });
    let body = std::str::from_utf8(&ask.body).unwrap_or_default();
    for member in members(body).unwrap_or_default() {
        if REPEATED.contains(&member.name.as_ref()) && member.text().len() <= MOST_REPEATED {
            response[member.name.as_ref()] = serde_json::from_str(member.text()).unwrap_or_default();
        }
    }
    response
}

/// A response that is being made.
struct Making {
    app: Arc<App>,
    kept: Arc<Kept>,
    /// Its last state is told.
    is_over: bool,
}

impl Making {
    /// Makes the response, unless it is called off: its call is recorded then as one whose client left.
    async fn run(mut self, call: Call, resolved: Resolved, headers: HeaderMap, times: Times) {
        // Whatever becomes of the task: nobody waits for a stream that nobody reads.
        let ended = Ended(self.kept.clone());
        let (kept, app) = (self.kept.clone(), self.app.clone());
        tokio::select! {
            () = self.make(call, &resolved, &headers, times) => {}
            () = kept.stop.cancelled() => {}
            () = app.streams.stop.cancelled() => {}
        }
        if !std::mem::replace(&mut self.is_over, true) {
            self.stands("cancelled", Value::Null);
        }
        drop(ended);
    }

    async fn make(&mut self, mut call: Call, resolved: &Resolved, headers: &HeaderMap, times: Times) {
        let app = self.app.clone();
        let answered = ask(&app, &mut call, resolved, headers, times).await;
        let failed = match answered {
            Ok(Answered::Stream { opening, .. }) => {
                return self.read(opening.into_stream(call, false, times.deadline)).await;
            }
            Ok(Answered::Whole { head, bytes }) if head.status.is_success() => {
                match serde_json::from_slice(&bytes) {
                    Err(_) => {
                        let (status, detail) = (head.status.as_u16(), "no JSON");
                        Failure::Garbage { status, detail }.to_api().into()
                    }
                    Ok(response) => match call.finish(Ending::ok(head.status.as_u16())).await {
                        Ok(_) => return self.tell_whole(&response),
                        Err(_) => Failure::Unrecorded.to_api().into(),
                    },
                }
            }
            Ok(Answered::Whole { head, bytes }) => Failed::of_upstream(head.status.as_u16(), &bytes),
            Err(failure) => failure.to_api().into(),
        };
        if failed.is_upstreams {
            GatewayMetrics::count(&app.metrics.upstream_errors, failed.class);
        }
        // It failed already: that it could not be recorded either is counted and logged.
        let _failed_anyway = call.finish(Ending::failed(StatusCode::OK.as_u16(), failed.class)).await;
        self.is_over = true;
        let response = self.standing("failed", failed.error);
        self.tell_of("response.failed", &response);
    }

    /// Hands on the events of a stream.
    async fn read(&mut self, mut stream: Stream) {
        while let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await {
            let Ok(data) = frame.into_data() else { continue };
            for event in split(data) {
                self.tell(&event);
            }
        }
    }

    /// Hands on an answer that came whole.
    fn tell_whole(&mut self, response: &Value) {
        let kind = match response["status"].as_str() {
            Some("incomplete") => "response.incomplete",
            Some("failed") => "response.failed",
            _ => "response.completed",
        };
        self.tell(event(kind, &json!({"type": kind, "sequence_number": 0, "response": response})).as_bytes());
    }

    /// Hands an event of the provider's on, with the response's own id and the next number.
    fn tell(&mut self, event: &[u8]) {
        let Some(read) = Read::of(event) else {
            push(&self.kept, &self.app.streams.shelf, event);
            return;
        };
        if let Some(id) = &read.id {
            self.kept.learn_id(id);
        }
        let own =
            read.retold(self.kept.name().response_id.as_deref().unwrap_or_default(), self.kept.next_number());
        match read.kind.as_ref() {
            // That was told before anybody was asked. From here on it is being made.
            "response.created" => {
                if let Some(response) = of_response(&own).response {
                    self.kept.stands(Bytes::copy_from_slice(response.get().as_bytes()));
                }
                return;
            }
            "response.completed" | "response.incomplete" | "response.failed" => self.is_over = true,
            _ => {}
        }
        push(&self.kept, &self.app.streams.shelf, &own);
        if read.kind == "error" {
            self.is_over = true;
            self.stands("failed", json!({"code": read.code, "message": read.message}));
        }
    }

    /// Tells what has become of the response.
    fn tell_of(&self, kind: &str, response: &Value) {
        let data = json!({"type": kind, "sequence_number": self.kept.next_number(), "response": response});
        push(&self.kept, &self.app.streams.shelf, event(kind, &data).as_bytes());
    }

    /// The response stands so, though no event says it.
    fn stands(&self, status: &str, error: Value) {
        self.kept.stands(self.standing(status, error).to_string().into());
    }

    /// The response as it is known, with another end.
    fn standing(&self, status: &str, error: Value) -> Value {
        let known = self.kept.response().and_then(|known| serde_json::from_slice::<Map<_, _>>(&known).ok());
        let mut response = known.unwrap_or_default();
        response.insert("status".into(), status.into());
        if !error.is_null() {
            response.insert("error".into(), error);
        }
        response.into()
    }
}

impl Drop for Making {
    /// A response that nobody makes any more does not go on.
    fn drop(&mut self) {
        if !self.is_over {
            self.stands("failed", json!({"code": "server_error", "message": "it could not be made"}));
        }
    }
}

/// Why a response was not made.
struct Failed {
    class: &'static str,
    is_upstreams: bool,
    /// As the response says it.
    error: Value,
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        let class = error.code.unwrap_or(error.kind);
        let is_upstreams = error.fault == Fault::Upstream;
        Self { class, is_upstreams, error: json!({"code": class, "message": error.message}) }
    }
}

impl Failed {
    /// As an upstream says.
    fn of_upstream(status: u16, bytes: &Bytes) -> Self {
        let class = class_of_status(status);
        match Whole::of_error(status, bytes) {
            Whole::Wrapped(error) => error.into(),
            Whole::AsIs => {
                let said = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
                let (code, message) = (&said["error"]["code"], &said["error"]["message"]);
                let code = code.as_str().unwrap_or(class);
                Self { class, is_upstreams: true, error: json!({"code": code, "message": message}) }
            }
        }
    }
}

/// An event of a response, and where in it stands what is the gateway's to say.
struct Read<'e> {
    text: &'e str,
    kind: Cow<'e, str>,
    /// The provider's id of the response.
    id: Option<Cow<'e, str>>,
    number_at: Option<Range<usize>>,
    id_at: Option<Range<usize>>,
    background_at: Option<Range<usize>>,
    /// What an error says.
    code: Value,
    message: Value,
}

impl<'e> Read<'e> {
    /// `None` where it is in no form that is known.
    fn of(event: &'e [u8]) -> Option<Self> {
        let text = std::str::from_utf8(event).ok()?;
        let data = text.split(['\n', '\r']).find_map(|line| line.strip_prefix("data:"))?;
        let all = members(data).ok()?;
        let find = |name: &str| all.iter().find(|member| member.name == name);
        let value = |name| find(name).and_then(|member| serde_json::from_str(member.text()).ok());
        let response =
            find("response").and_then(|response| members(response.text()).ok()).unwrap_or_default();
        let in_response = |name: &str| response.iter().find(|member| member.name == name);
        let place = |member: &Member<'e>| place_in(text, member.text());
        Some(Self {
            text,
            kind: find("type")?.string()?,
            id: in_response("id").and_then(Member::string),
            number_at: find("sequence_number").map(place),
            id_at: in_response("id").map(place),
            background_at: in_response("background").map(place),
            code: value("code").unwrap_or_default(),
            message: value("message").unwrap_or_default(),
        })
    }

    /// The event as the gateway tells it.
    fn retold(&self, id: &str, number: u64) -> Bytes {
        let mut edits: Vec<(&Range<usize>, String)> = Vec::with_capacity(3);
        edits.extend(self.number_at.as_ref().map(|at| (at, number.to_string())));
        edits.extend(self.id_at.as_ref().map(|at| (at, Value::from(id).to_string())));
        edits.extend(self.background_at.as_ref().map(|at| (at, "true".to_owned())));
        edits.sort_by_key(|(at, _)| at.start);
        let mut out = String::with_capacity(self.text.len() + id.len());
        let mut from = 0;
        for (at, value) in edits {
            out.push_str(&self.text[from..at.start]);
            out.push_str(&value);
            from = at.end;
        }
        out.push_str(&self.text[from..]);
        out.into()
    }
}

fn event(kind: &str, data: &Value) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

impl Streams {
    /// The body of a request that goes on with a response which was made in the background, with the id that the provider knows.
    pub(crate) fn as_provider_knows(&self, tenant: &TenantId, endpoint: &Endpoint, body: Bytes) -> Bytes {
        let named = || {
            let text = std::str::from_utf8(&body).ok().filter(|text| text.contains(PREFIX))?;
            let all = members(text).ok()?;
            let previous = all.iter().find(|member| member.name == "previous_response_id")?;
            let id = self.find(tenant, &previous.string()?)?.provider_id()?;
            let at = place_in(text, previous.text());
            Some([&text[..at.start], &Value::from(id).to_string(), &text[at.end..]].concat())
        };
        let named = if endpoint.has_background { named() } else { None };
        named.map_or(body, Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_with_the_gateways_id_and_number_and_is_else_what_it_was() {
        let event = "event: x\ndata: {\"type\":\"x\", \"response\" : {\"background\":false,\"output\":[{\"id\":\"m\"}], \"id\":\"r\\\"1\"},\"sequence_number\":7}\n\n";
        let read = Read::of(event.as_bytes()).unwrap();
        assert_eq!((read.kind.as_ref(), read.id.as_deref()), ("x", Some("r\"1")));
        let expected = "event: x\ndata: {\"type\":\"x\", \"response\" : {\"background\":true,\"output\":[{\"id\":\"m\"}], \"id\":\"resp_req_1\"},\"sequence_number\":12}\n\n";
        assert_eq!(read.retold("resp_req_1", 12), expected);
        for unknown in ["data: [DONE]\n\n", ": hi\n\n", "data: {\"type\":1}\n\n"] {
            assert!(Read::of(unknown.as_bytes()).is_none(), "{unknown}");
        }
    }
}
