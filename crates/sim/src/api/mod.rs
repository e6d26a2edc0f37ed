//! The endpoints, one a file: parse the body, ask the planner, render its answer.

pub(crate) mod anthropic;
pub(crate) mod azure;
pub(crate) mod bedrock;
mod blocks;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod gemini;
pub(crate) mod models;
pub(crate) mod responses;

use crate::ask::{Choice, Format, Tool};
use crate::hash;
use crate::log::Usage;
use crate::playback::Frame;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The build of a backend that does not exist.
const FINGERPRINT: &str = "fp_5107a7e200";

/// A server-sent event with JSON data, and a name where the protocol has one.
fn event(name: Option<&str>, data: &impl Serialize, tokens: u64) -> Frame {
    let mut bytes = Vec::with_capacity(256);
    if let Some(name) = name {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(b"data: ");
    // Plain structures always serialise.
    if let Err(error) = serde_json::to_writer(&mut bytes, data) {
        tracing::error!(%error, "an event cannot be serialised");
    }
    bytes.extend_from_slice(b"\n\n");
    Frame { bytes: Bytes::from(bytes), tokens }
}

/// One text or several, or tokens of one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
    Tokens(Vec<u32>),
    ManyTokens(Vec<Vec<u32>>),
}

impl Texts {
    fn into_texts(self) -> Vec<String> {
        // Tokens of somebody else's tokenizer cannot be read; one word each keeps their number.
        let words = |tokens: Vec<u32>| tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
            Self::Tokens(tokens) => vec![words(tokens)],
            Self::ManyTokens(lists) => lists.into_iter().map(words).collect(),
        }
    }
}

/// The event that ends a stream of chunks.
fn done(tokens: u64) -> Frame {
    Frame { bytes: Bytes::from_static(b"data: [DONE]\n\n"), tokens }
}

/// `usage` as chat and completions report it.
fn completion_usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// `tools` of chat (`{"type": "function", "function": {…}}`) and of responses (`{"type": "function", …}`).
fn tools(list: Option<Vec<Value>>) -> Vec<Tool> {
    list.unwrap_or_default()
        .into_iter()
        .filter_map(|tool| {
            let function = tool.get("function").unwrap_or(&tool);
            let name = function.get("name")?.as_str()?.to_owned();
            let parameters = function.get("parameters").cloned().unwrap_or_else(|| json!({"type": "object"}));
            Some(Tool { name, parameters })
        })
        .collect()
}

/// `tool_choice` of chat and of responses; Mistral says `any` where others say `required`.
fn choice(value: Option<&Value>) -> Choice {
    match value {
        Some(Value::String(word)) if word == "none" => Choice::None,
        Some(Value::String(word)) if word == "required" || word == "any" => Choice::Required,
        Some(Value::Object(chosen)) => {
            let function = chosen.get("function").and_then(|f| f.get("name")).or_else(|| chosen.get("name"));
            function.and_then(Value::as_str).map_or(Choice::Required, |name| Choice::Named(name.to_owned()))
        }
        _ => Choice::Auto,
    }
}

/// `response_format` of chat (`{"type": "json_schema", "json_schema": {"schema": …}}`) and `text.format` of responses
/// (`{"type": "json_schema", "schema": …}`).
fn format(value: Option<&Value>) -> Format {
    let Some(format) = value else { return Format::Text };
    match format.get("type").and_then(Value::as_str) {
        Some("json_object") => Format::JsonObject,
        Some("json_schema") => {
            let schema = format.pointer("/json_schema/schema").or_else(|| format.get("schema"));
            schema.map_or(Format::JsonObject, |schema| Format::Schema(schema.clone()))
        }
        _ => Format::Text,
    }
}

/// How likely a token was: follows from the token and its place. Always below zero.
#[expect(clippy::cast_precision_loss, reason = "below 1000")]
fn logprob(token: &str, rank: u64) -> f64 {
    -((hash::of(token) % 1000) as f64 / 1000.0 + 0.001 + rank as f64)
}

/// Log probabilities of `pieces` as chat and responses report them.
fn logprobs(pieces: &[String], top: u64) -> Value {
    pieces
        .iter()
        .map(|piece| {
            let entry = |token: &str, rank| {
                json!({"token": token, "logprob": logprob(token, rank), "bytes": token.as_bytes()})
            };
            let mut chosen = entry(piece, 0);
            chosen["top_logprobs"] = (0..top)
                .map(|rank| if rank == 0 { entry(piece, 0) } else { entry(&format!("{piece}{rank}"), rank) })
                .collect();
            chosen
        })
        .collect()
}
