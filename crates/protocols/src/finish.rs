//! Why an answer ended, in every protocol's words.
//!
//! | here | chat completions | Anthropic | responses | Gemini | Bedrock |
//! |---|---|---|---|---|---|
//! | `Stop` | `stop` | `end_turn` | completed | `STOP` | `end_turn` |
//! | `StopSequence` | `stop` | `stop_sequence` | completed | (`STOP`) | `stop_sequence` |
//! | `Length` | `length` | `max_tokens` | incomplete: `max_output_tokens` | `MAX_TOKENS` | `max_tokens` |
//! | `ContextWindow` | `length` | `model_context_window_exceeded` | incomplete: `max_output_tokens` | | `model_context_window_exceeded` |
//! | `ToolUse` | `tool_calls` | `tool_use` | completed | `STOP` with a call | `tool_use` |
//! | `Filtered` | `content_filter` | `refusal` | incomplete: `content_filter` | `SAFETY`, `RECITATION`, `BLOCKLIST`, … | `guardrail_intervened`, `content_filtered` |
//! | `Refusal` | `content_filter`, or `stop` beside a `refusal` | `refusal` | completed with a refusal, or incomplete: `content_filter` | | |
//! | `Pause` | `stop` | `pause_turn` | completed | | |
//! | `Malformed` | `stop` | `end_turn` | incomplete: `content_filter` | `MALFORMED_FUNCTION_CALL`, … | `malformed_tool_use`, … |
//! | `Other` | `stop` | `end_turn` | completed | anything else | anything else |

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// One of the request's stop sequences came, which one where the provider says so.
    StopSequence(Option<String>),
    /// As many tokens as the request allowed.
    Length,
    /// The model's context window is full.
    ContextWindow,
    /// The model calls tools.
    ToolUse,
    /// The provider's filter cut the answer.
    Filtered,
    /// The model refused.
    Refusal,
    /// A long turn that the client is to continue.
    Pause,
    /// The model wrote what its provider could not read, such as a call of a tool that does not exist.
    Malformed,
    /// Another reason, in the provider's word.
    Other(String),
}

impl Finish {
    pub(crate) fn from_chat(reason: &str) -> Self {
        match reason {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" | "function_call" => Self::ToolUse,
            "content_filter" => Self::Filtered,
            other => Self::Other(other.to_owned()),
        }
    }

    pub(crate) fn from_anthropic(reason: &str, sequence: Option<String>) -> Self {
        match reason {
            "end_turn" => Self::Stop,
            "stop_sequence" => Self::StopSequence(sequence),
            "max_tokens" => Self::Length,
            "model_context_window_exceeded" => Self::ContextWindow,
            "tool_use" => Self::ToolUse,
            "refusal" => Self::Refusal,
            "pause_turn" => Self::Pause,
            other => Self::Other(other.to_owned()),
        }
    }

    pub(crate) fn from_gemini(reason: &str, has_call: bool) -> Self {
        match reason {
            "STOP" if has_call => Self::ToolUse,
            "STOP" => Self::Stop,
            "MAX_TOKENS" => Self::Length,
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "LANGUAGE"
            | "MODEL_ARMOR"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => Self::Filtered,
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MALFORMED_RESPONSE"
            | "MISSING_THOUGHT_SIGNATURE" => Self::Malformed,
            other => Self::Other(other.to_owned()),
        }
    }

    pub(crate) fn from_bedrock(reason: &str) -> Self {
        match reason {
            "guardrail_intervened" | "content_filtered" => Self::Filtered,
            "malformed_model_output" | "malformed_tool_use" => Self::Malformed,
            other => Self::from_anthropic(other, None),
        }
    }

    /// `finish_reason` of chat completions.
    pub const fn chat(&self) -> &'static str {
        match self {
            Self::Length | Self::ContextWindow => "length",
            Self::ToolUse => "tool_calls",
            Self::Filtered | Self::Refusal => "content_filter",
            Self::Stop | Self::StopSequence(_) | Self::Pause | Self::Malformed | Self::Other(_) => "stop",
        }
    }

    /// Anthropic's `stop_reason`.
    pub const fn anthropic(&self) -> &'static str {
        match self {
            Self::StopSequence(_) => "stop_sequence",
            Self::Length => "max_tokens",
            Self::ContextWindow => "model_context_window_exceeded",
            Self::ToolUse => "tool_use",
            Self::Filtered | Self::Refusal => "refusal",
            Self::Pause => "pause_turn",
            Self::Stop | Self::Malformed | Self::Other(_) => "end_turn",
        }
    }

    /// Why a response is incomplete (`incomplete_details.reason`); `None` when it is complete.
    pub const fn incomplete(&self) -> Option<&'static str> {
        match self {
            Self::Length | Self::ContextWindow => Some("max_output_tokens"),
            Self::Filtered | Self::Malformed => Some("content_filter"),
            _ => None,
        }
    }
}
