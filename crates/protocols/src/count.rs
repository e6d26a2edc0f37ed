//! Anthropic's request to count a prompt's tokens.

use crate::problem::Path;
use crate::problem::{Invalid, Notes};
use crate::read::{Fields, document};
use crate::translate::{headers, no_provider, segment, write};
use crate::write::object_text;
use crate::{Context, Dialect, Options, Outgoing, anthropic, bedrock};
use bytes::Bytes;

/// How a prompt's tokens come to be known.
#[derive(Debug, Clone)]
pub enum Counting {
    /// The provider counts them.
    Upstream(Box<Outgoing>),
    /// The provider has no such thing: these texts are what the model reads.
    Local(Vec<String>),
}

/// Translates the body of `POST /v1/messages/count_tokens`.
///
/// # Errors
/// The body is no such request, or holds what the provider cannot read.
pub fn count_tokens(to: Dialect, body: &[u8], options: &Options<'_>) -> Result<Counting, Invalid> {
    let mut notes = Notes::default();
    let read = anthropic::read_request(body, true, &mut notes)?;
    let (body, path) = match to {
        Dialect::Anthropic => {
            let mut fields = Fields::read(document(body)?, Path::ROOT)?;
            fields.raw("model");
            let body = object_text(|o| {
                o.put("model", options.upstream_model);
                for (name, raw) in fields.rest() {
                    o.json(&name, raw.get());
                }
            });
            (body, "/v1/messages/count_tokens".to_owned())
        }
        Dialect::Gemini => {
            let whole = write(&read, to, options, &mut notes)?;
            let body = object_text(|o| {
                let inner = object_text(|o| {
                    o.put("model", &format!("models/{}", options.upstream_model));
                });
                // The request's own members follow the model's name.
                let text = [&inner[..inner.len() - 1], b",", &whole[1..]].concat();
                o.json("generateContentRequest", &String::from_utf8_lossy(&text));
            });
            (body, format!("/models/{}:countTokens", segment(options.upstream_model)))
        }
        Dialect::Bedrock => (
            bedrock::write_count(&read, options, &mut notes)?,
            format!("/model/{}/count-tokens", segment(options.upstream_model)),
        ),
        Dialect::OpenAiChat => {
            let mut texts = Vec::new();
            read.for_each_text(&mut |text| texts.push(text.to_owned()));
            return Ok(Counting::Local(texts));
        }
        Dialect::OpenAiResponses => return Err(no_provider(to)),
    };
    Ok(Counting::Upstream(Box::new(Outgoing {
        body: body.into(),
        path,
        headers: headers(to),
        is_stream: false,
        context: Context { model: read.model, ..Context::default() },
        warnings: notes.0,
    })))
}

/// Reads a provider's count, and writes it as Anthropic's clients read it.
///
/// # Errors
/// The body holds no count.
pub fn counted_tokens(from: Dialect, body: &[u8]) -> Result<(u64, Bytes), Invalid> {
    let mut fields = Fields::read(document(body)?, Path::ROOT)?;
    let name = match from {
        Dialect::Gemini => "totalTokens",
        Dialect::Bedrock => "inputTokens",
        Dialect::Anthropic => "input_tokens",
        Dialect::OpenAiChat | Dialect::OpenAiResponses => return Err(no_provider(from)),
    };
    let tokens = fields.need(name, "a whole number from 0 on")?;
    let body = object_text(|o| {
        o.put("input_tokens", &tokens);
    });
    Ok((tokens, body.into()))
}
