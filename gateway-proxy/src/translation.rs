//! Between a client's protocol and a provider's, where they differ. Where they do not, bytes pass as they are.

use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::meter::Answer;
use crate::trying::Asking;
use crate::upstream::Speech;
use bytes::Bytes;
use contracts::policy::{Model, Protocol};
use http::{HeaderMap, HeaderValue, header, response};
use protocols::{Context, Dialect, Options, StreamTranslator, has_thinking_blocks, is_marked};

/// Warnings that a client is told of; more would not fit its headers.
const MOST_WARNINGS: usize = 8;
/// Most characters of a warning.
const WARNING: usize = 200;

/// What came of a request that was translated, and what its answer's translation needs.
#[derive(Debug)]
pub(crate) struct Translation {
    provider: Dialect,
    client: Dialect,
    context: Context,
    /// What the model's provider has no place for in the request.
    pub(crate) warnings: Vec<String>,
}

/// The provider's dialect for what `endpoint` asks; `None` when its protocol has no such thing.
pub(crate) fn spoken(protocol: Protocol, endpoint: &Endpoint) -> Option<Dialect> {
    match protocol {
        // What it does not know of the client's protocol it knows of its own.
        Protocol::OpenAi | Protocol::Azure => match endpoint.dialect? {
            Dialect::OpenAiResponses => Some(Dialect::OpenAiResponses),
            _ => Some(Dialect::OpenAiChat),
        },
        Protocol::Anthropic => Some(Dialect::Anthropic),
        Protocol::Gemini => Some(Dialect::Gemini),
        Protocol::Bedrock => Some(Dialect::Bedrock),
    }
}

/// What is translated to what; `None` when nothing is. A body in the provider's own protocol is translated too when it brings thoughts
/// that only we can read.
fn pair(protocol: Protocol, endpoint: &Endpoint, body: &[u8]) -> Result<Option<(Dialect, Dialect)>, Failure> {
    let Some(client) = endpoint.dialect else {
        return match protocol {
            Protocol::OpenAi | Protocol::Azure => Ok(None),
            other => Err(Failure::NotServed { path: endpoint.path, protocol: other }),
        };
    };
    let Some(provider) = spoken(protocol, endpoint) else { return Ok(None) };
    let is_readable = match provider {
        // Translated by nobody; see `cleaned`.
        Dialect::OpenAiResponses => true,
        Dialect::OpenAiChat => !is_marked(body) && !has_thinking_blocks(body),
        _ => !is_marked(body),
    };
    if client == provider && is_readable {
        return Ok(None);
    }
    Ok(Some((client, provider)))
}

/// Whether a request may need a translation: a quick look, for most need none.
pub(crate) fn may_translate(protocol: Protocol, endpoint: &Endpoint, body: &[u8]) -> bool {
    !matches!(pair(protocol, endpoint, body), Ok(None))
}

/// The body for the provider, and how its answer comes back; `None` when bytes pass as they are.
pub(crate) fn request(
    asking: Asking<'_>,
    speech: &Speech,
    model: &Model,
    body: &Bytes,
    default_max_tokens: u64,
) -> Result<Option<(Bytes, Translation)>, Failure> {
    let Some((client, provider)) = pair(speech.protocol, asking.endpoint, body)? else { return Ok(None) };
    let created = u64::try_from(asking.identity.started.unix_seconds()).unwrap_or_default();
    let options = Options {
        upstream_model: &model.upstream_model,
        default_max_tokens,
        keep_reasoning: false,
        max_completion_tokens: model.provider.price_as == "openai",
        asks_stream_usage: speech.asks_stream_usage(),
        response_id: &asking.identity.request_id,
        created,
    };
    let outgoing = protocols::request(client, provider, body, &options).map_err(Failure::Untranslatable)?;
    let warnings = outgoing
        .warnings
        .iter()
        .take(MOST_WARNINGS)
        .map(|warning| warning.to_string().chars().take(WARNING).collect())
        .collect();
    Ok(Some((outgoing.body, Translation { provider, client, context: outgoing.context, warnings })))
}

/// A body that goes on in its own protocol, without thoughts of another provider's that only we can read.
pub(crate) fn cleaned(endpoint: &Endpoint, body: Bytes) -> Bytes {
    match endpoint.dialect {
        Some(Dialect::OpenAiResponses) => protocols::without_marked(&body).unwrap_or(body),
        _ => body,
    }
}

/// Takes out headers that are of the client's protocol alone.
pub(crate) fn leave_behind(headers: &mut HeaderMap) {
    for name in ["anthropic-version", "anthropic-beta", "openai-beta"] {
        headers.remove(name);
    }
}

impl Translation {
    /// Whether an answer with this head is a stream.
    pub(crate) fn is_stream(&self, content_type: &str) -> bool {
        let expected = match self.provider {
            Dialect::Bedrock => "application/vnd.amazon.eventstream",
            _ => "text/event-stream",
        };
        content_type.get(..expected.len()).is_some_and(|start| start.eq_ignore_ascii_case(expected))
    }

    /// A whole answer, or an error, in the client's protocol; with the answer goes what the provider says that it used.
    pub(crate) fn whole(
        &self,
        head: &mut response::Parts,
        bytes: &Bytes,
        request_id: &str,
    ) -> Result<(Bytes, Option<contracts::TokenUsage>), Failure> {
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let status = head.status.as_u16();
        if !head.status.is_success() {
            if let Some(seconds) = protocols::retry_after(bytes)
                && !head.headers.contains_key(header::RETRY_AFTER)
            {
                head.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            return Ok((protocols::error(self.client, status, bytes, request_id), None));
        }
        let answer = protocols::answer(self.provider, self.client, bytes, &self.context)
            .map_err(|_invalid| Failure::Garbage { status, detail: "what is not an answer" })?;
        Ok((answer.body, answer.usage))
    }

    /// As a stream comes.
    pub(crate) fn stream(self, head: &mut response::Parts) -> Result<StreamTranslator, Failure> {
        head.headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        StreamTranslator::new(self.provider, self.client, self.context).map_err(Failure::Untranslatable)
    }
}

/// Takes over what a translator knows of usage, and nothing else: the client's form may have places for counts that no provider has
/// stated, and the zeros there are no count.
pub(crate) fn learn(answer: &mut Answer, translator: &StreamTranslator) {
    let facts = translator.facts();
    answer.usage = facts.usage;
    answer.usage_is_final = facts.usage.is_some() && (facts.finish.is_some() || facts.is_complete);
}
