//! Servers that speak OpenAI's chat protocol, and what each does otherwise.

use crate::error::SimError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a deployment pretends to be where it speaks OpenAI's chat protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The protocol's own.
    #[default]
    OpenAi,
    /// Mistral's API: short ids of calls, usage in the last piece of every stream, `stream_options` refused, errors without an envelope.
    Mistral,
    /// vLLM: thoughts in `reasoning`, error codes as numbers.
    Vllm,
    /// `SGLang`: thoughts in `reasoning_content`, errors without an envelope.
    Sglang,
    /// llama.cpp's server: thoughts in `reasoning_content`, error codes as numbers.
    LlamaCpp,
    /// Ollama: thoughts in `reasoning`.
    Ollama,
    /// Text Generation Inference: an error is a text and its type.
    Tgi,
}

impl Engine {
    /// The field in which thoughts are shown; without one they are not.
    pub(crate) const fn thoughts(self) -> Option<&'static str> {
        match self {
            Self::Vllm | Self::Ollama => Some("reasoning"),
            Self::Sglang | Self::LlamaCpp => Some("reasoning_content"),
            Self::OpenAi | Self::Mistral | Self::Tgi => None,
        }
    }

    /// What ids of calls start with, and their letters after that.
    pub(crate) const fn call_id(self) -> (&'static str, usize) {
        match self {
            Self::Mistral => ("", 9),
            Self::Vllm => ("chatcmpl-tool-", 32),
            _ => ("call_", 24),
        }
    }

    /// Whether the last choice of each stream carries usage, and requests that ask for it are refused.
    pub(crate) const fn always_reports(self) -> bool {
        matches!(self, Self::Mistral)
    }

    /// An error as it sends it.
    pub(crate) fn error(self, error: &SimError) -> Value {
        let (message, status) = (&error.message, error.status);
        let class = match status {
            400 | 422 => "BadRequestError",
            404 => "NotFoundError",
            429 => "RateLimitError",
            _ => "InternalServerError",
        };
        match self {
            Self::OpenAi | Self::Ollama => json!({"error": {
                "message": message, "type": error.kind, "param": error.param, "code": error.code,
            }}),
            Self::Vllm => {
                json!({"error": {"message": message, "type": class, "param": error.param, "code": status}})
            }
            Self::LlamaCpp => json!({"error": {"message": message, "type": error.kind, "code": status}}),
            Self::Sglang => {
                json!({"object": "error", "message": message, "type": class, "param": error.param, "code": status})
            }
            Self::Mistral => {
                json!({"object": "error", "message": message, "type": error.kind, "param": error.param, "code": error.code})
            }
            Self::Tgi => {
                let kind = match status {
                    429 => "overloaded",
                    400..=499 => "validation",
                    _ => "generation",
                };
                json!({"error": message, "error_type": kind})
            }
        }
    }
}
