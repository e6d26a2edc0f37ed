//! The endpoints that models answer, one a file: which fields a request has, and how an answer is read.

mod chat_completions;
mod completions;
mod embeddings;
mod known;
mod messages;
pub(crate) mod models;
mod responses;

pub(crate) use chat_completions::CHAT_COMPLETIONS;
pub(crate) use completions::COMPLETIONS;
pub(crate) use embeddings::EMBEDDINGS;
pub(crate) use messages::{COUNT_TOKENS, MESSAGES};
pub(crate) use responses::RESPONSES;

use crate::meter::Answer;
use crate::request::{Field, utf8};
use crate::sse::Event;
use bytes::Bytes;
use contracts::ApiError;
use protocols::Dialect;
use serde::Deserialize;

/// An endpoint that a model answers.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Path at this gateway.
    pub(crate) path: &'static str,
    /// Path below a provider's base URL.
    pub(crate) upstream_path: &'static str,
    /// `gen_ai.operation.name`.
    pub(crate) operation: &'static str,
    /// Name of the span of the request.
    pub(crate) span_name: &'static str,
    /// Field that holds the prompt.
    pub(crate) prompt: &'static str,
    /// Field that holds what the system is told beside the prompt.
    pub(crate) instructions: Option<&'static str>,
    /// Field that says which form the answer shall have.
    pub(crate) format: Option<&'static str>,
    /// Fields that a request may have; others pass unchecked.
    pub(crate) fields: &'static [Field],
    /// What a translation calls its protocol; without one, only providers that speak it can be asked.
    pub(crate) dialect: Option<Dialect>,
    /// Fields that bound an answer's length, in tokens; none where nothing is written.
    pub(crate) max_output: &'static [&'static str],
    /// Whether `background` asks for an answer that nobody waits for.
    pub(crate) has_background: bool,
    /// Whether a stream carries usage only when `stream_options.include_usage` asks for it.
    pub(crate) usage_on_request: bool,
    /// Reads an answer that was not streamed; `None` when it is not such an answer.
    pub(crate) read_answer: fn(&Bytes) -> Option<Answer>,
    /// Adds an event of a stream to the answer so far.
    pub(crate) read_event: fn(&mut Answer, &Event<'_>) -> EventKind,
    /// An error instead of an answer, in this endpoint's own form: JSON.
    pub(crate) error_body: fn(&ApiError, &str) -> String,
    /// An error within a stream, in this endpoint's own form.
    pub(crate) error_event: fn(&ApiError, &str, &Answer) -> String,
}

/// What an event of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Part of the answer without anything to read for the user.
    Other,
    /// Brings content.
    Content,
    /// Brings usage and nothing else.
    UsageOnly,
    /// The last one of a whole answer.
    End,
    /// The upstream says that it failed.
    Error,
    /// Not what this endpoint's streams consist of.
    Malformed,
}

/// Every endpoint that a model answers.
pub(crate) const ALL: [&Endpoint; 5] = [&CHAT_COMPLETIONS, &COMPLETIONS, &EMBEDDINGS, &RESPONSES, &MESSAGES];

/// Endpoints by path.
pub(crate) fn find(path: &str) -> Option<&'static Endpoint> {
    ALL.into_iter().find(|endpoint| endpoint.path == path)
}

/// The endpoint in whose form errors of this route are.
pub(crate) fn shape(route: &str) -> Option<&'static Endpoint> {
    if route == COUNT_TOKENS.path { Some(&COUNT_TOKENS) } else { find(route) }
}

/// An answer that was not streamed. All of it is looked at for UTF-8 once, which is faster than text by text; one with other bytes
/// where nobody reads is an answer nevertheless.
fn whole<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Option<T> {
    match utf8(body) {
        Ok(text) => serde_json::from_str(text).ok(),
        Err(_) => serde_json::from_slice(body).ok(),
    }
}

/// The chunk that an event brings, or what it is when it brings none.
fn chunk<'a, T: Deserialize<'a>>(event: &'a Event<'_>) -> Result<T, EventKind> {
    match event.data() {
        b"" => Err(EventKind::Other),
        b"[DONE]" => Err(EventKind::End),
        data => serde_json::from_slice(data).map_err(|_| EventKind::Malformed),
    }
}

/// `{"error": …}`, as OpenAI says it.
fn openai_error(error: &ApiError, request_id: &str) -> String {
    error.to_json(request_id)
}

/// `data: {"error": …}`, the form of the endpoints that end with `[DONE]`.
fn done_style_error(error: &ApiError, request_id: &str, _answer: &Answer) -> String {
    format!("data: {}\n\n", error.to_json(request_id))
}
