//! Whole requests, answers and errors from one protocol to another.

use crate::canonical::{Answer, Request};
use crate::fault::UpstreamError;
use crate::finish::Finish;
use crate::problem::{Invalid, Notes, Warning};
use crate::responses::Echo;
use crate::{Dialect, anthropic, bedrock, chat, gemini, responses};
use bytes::Bytes;
use contracts::TokenUsage;

/// What a translation of a request needs beside its body.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The provider's name of the model. It also tells how the model is asked to think.
    pub upstream_model: &'a str,
    /// Tokens that an answer may have where the client does not say; Anthropic insists on a number.
    pub default_max_tokens: u64,
    /// A chat provider takes reasoning back (`reasoning_content`), as `DeepSeek` and Kimi do; others refuse the field.
    pub keep_reasoning: bool,
    /// A chat provider wants `max_completion_tokens`, as OpenAI's reasoning models do, in place of `max_tokens`.
    pub max_completion_tokens: bool,
    /// A chat provider is asked for what a stream used; some state it unasked, and refuse to be asked.
    pub asks_stream_usage: bool,
    /// Id of the answer where the provider gives none, and of errors.
    pub response_id: &'a str,
    /// When the answer is made, in seconds since 1970.
    pub created: u64,
}

/// A request in the provider's protocol.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The body to send.
    pub body: Bytes,
    /// The path below the provider's base URL, with its query: `/v1/messages`, `/models/gemini-2.5-pro:generateContent`. A base URL
    /// that brings the version already (`…/v1`) takes what follows `/v1`.
    pub path: String,
    /// Headers that the protocol needs beside authentication and `content-type: application/json`.
    pub headers: &'static [(&'static str, &'static str)],
    /// Whether the client asked for a stream.
    pub is_stream: bool,
    /// What the answer's translation needs to know.
    pub context: Context,
    /// What the provider has no place for.
    pub warnings: Vec<Warning>,
}

/// What of a request the translation of its answer needs.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Id of the answer where the provider gives none.
    pub response_id: String,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that the client asked for: named where the provider names none.
    pub model: String,
    /// Whether a stream of chat completions ends with its usage.
    pub include_usage: bool,
    /// What a response repeats of its request.
    pub(crate) echo: Option<Box<Echo>>,
}

impl Context {
    /// That of an answer without its request: a stream of chat completions ends with its usage.
    pub fn new(response_id: impl Into<String>, created: u64, model: impl Into<String>) -> Self {
        let (response_id, model) = (response_id.into(), model.into());
        Self { response_id, created, model, include_usage: true, echo: None }
    }
}

/// An answer in the client's protocol.
#[derive(Debug, Clone)]
pub struct Translated {
    /// The body for the client.
    pub body: Bytes,
    /// Tokens that the provider states.
    pub usage: Option<TokenUsage>,
    /// Why it ended.
    pub finish: Option<Finish>,
    /// The provider's id.
    pub id: Option<String>,
    /// The model that the provider names.
    pub model: Option<String>,
    /// The tier that the provider names.
    pub service_tier: Option<String>,
    /// What the client's protocol has no place for.
    pub warnings: Vec<Warning>,
}

/// Translates a client's request for a provider.
///
/// # Errors
/// The body is no such request, or asks for what the provider cannot do at all; the error names the field.
pub fn request(from: Dialect, to: Dialect, body: &[u8], options: &Options<'_>) -> Result<Outgoing, Invalid> {
    let mut notes = Notes::default();
    let (read, echo) = match from {
        Dialect::OpenAiChat => (chat::read_request(body, &mut notes)?, None),
        Dialect::Anthropic => (anthropic::read_request(body, false, &mut notes)?, None),
        Dialect::OpenAiResponses => {
            let (read, echo) = responses::read_request(body, &mut notes)?;
            (read, Some(Box::new(echo)))
        }
        Dialect::Gemini | Dialect::Bedrock => return Err(no_client(from)),
    };
    let body = write(&read, to, options, &mut notes)?;
    Ok(Outgoing {
        body: body.into(),
        path: path(to, options.upstream_model, read.stream),
        headers: headers(to),
        is_stream: read.stream,
        context: Context {
            response_id: options.response_id.to_owned(),
            created: options.created,
            model: read.model,
            include_usage: read.include_usage,
            echo,
        },
        warnings: notes.0,
    })
}

pub(crate) fn write(
    read: &Request,
    to: Dialect,
    options: &Options<'_>,
    notes: &mut Notes,
) -> Result<Vec<u8>, Invalid> {
    match to {
        Dialect::OpenAiChat => Ok(chat::write_request(read, options, notes)),
        Dialect::Anthropic => anthropic::write_request(read, options, notes),
        Dialect::Gemini => gemini::write_request(read, options, notes),
        Dialect::Bedrock => bedrock::write_request(read, options, notes),
        Dialect::OpenAiResponses => Err(no_provider(to)),
    }
}

fn path(to: Dialect, model: &str, is_stream: bool) -> String {
    match (to, is_stream) {
        (Dialect::OpenAiChat, _) => "/v1/chat/completions".to_owned(),
        (Dialect::OpenAiResponses, _) => "/v1/responses".to_owned(),
        (Dialect::Anthropic, _) => "/v1/messages".to_owned(),
        (Dialect::Gemini, false) => format!("/models/{}:generateContent", segment(model)),
        (Dialect::Gemini, true) => format!("/models/{}:streamGenerateContent?alt=sse", segment(model)),
        (Dialect::Bedrock, false) => format!("/model/{}/converse", segment(model)),
        (Dialect::Bedrock, true) => format!("/model/{}/converse-stream", segment(model)),
    }
}

pub(crate) const fn headers(to: Dialect) -> &'static [(&'static str, &'static str)] {
    match to {
        Dialect::Anthropic => &[("anthropic-version", "2023-06-01")],
        _ => &[],
    }
}

/// A model's name as one segment of a path: Bedrock's may be an ARN with slashes and colons.
pub(crate) fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Translates a provider's whole answer for a client.
///
/// # Errors
/// The body is no such answer.
pub fn answer(from: Dialect, to: Dialect, body: &[u8], context: &Context) -> Result<Translated, Invalid> {
    let mut notes = Notes::default();
    let read: Answer = match from {
        Dialect::OpenAiChat => chat::read_answer(body)?,
        Dialect::Anthropic => anthropic::read_answer(body, &mut notes)?,
        Dialect::Gemini => gemini::read_answer(body)?,
        Dialect::Bedrock => bedrock::read_answer(body)?,
        Dialect::OpenAiResponses => return Err(no_provider(from)),
    };
    let body = match to {
        Dialect::OpenAiChat => chat::write_answer(&read, context),
        Dialect::Anthropic => anthropic::write_answer(&read, context),
        Dialect::OpenAiResponses => responses::write_answer(&read, context),
        Dialect::Gemini | Dialect::Bedrock => return Err(no_client(to)),
    };
    Ok(Translated {
        body: body.into(),
        usage: read.usage,
        finish: read.finish,
        id: read.id,
        model: read.model,
        service_tier: read.service_tier,
        warnings: notes.0,
    })
}

/// Translates the body of a provider's error for a client. The status may go on as it is.
pub fn error(to: Dialect, status: u16, body: &[u8], request_id: &str) -> Bytes {
    UpstreamError::read(status, body).body(to, request_id).into()
}

pub(crate) fn no_client(from: Dialect) -> Invalid {
    Invalid::new("protocol", from, "openai_chat, openai_responses or anthropic, which clients speak")
}

pub(crate) fn no_provider(to: Dialect) -> Invalid {
    Invalid::new("protocol", to, "openai_chat, anthropic, gemini or bedrock, which providers speak")
}
