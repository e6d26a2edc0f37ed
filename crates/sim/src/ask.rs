//! A question apart from the protocol it came in: what the planner needs to know of a request.

use crate::error::SimError;
use serde::Deserialize;
use serde_json::Value;

/// A request for text, tool calls or structured output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    /// All text of the prompt, in order, one message a line.
    pub(crate) text: String,
    /// Text of the last message.
    pub(crate) last: String,
    /// Whether the last message is the result of a tool.
    pub(crate) after_tool: bool,
    /// Number of messages.
    pub(crate) messages: u64,
    /// Tools offered.
    pub(crate) tools: Vec<Tool>,
    /// Which of them must be called.
    pub(crate) choice: Choice,
    /// The form of the answer.
    pub(crate) format: Format,
    /// Texts that end the answer.
    pub(crate) stop: Vec<String>,
    /// Most tokens of an answer, reasoning included.
    pub(crate) limit: Option<u64>,
    /// Number of answers.
    pub(crate) answers: u32,
}

/// A function that the model may call.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// JSON Schema of its arguments.
    pub(crate) parameters: Value,
}

/// Whether tools are to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// When the prompt asks for it.
    #[default]
    Auto,
    /// Never.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// The form of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Format {
    /// Prose.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// An instance of a schema.
    Schema(Value),
}

/// The most answers to one request.
const MOST_ANSWERS: u32 = 16;

impl Ask {
    /// Adds a message to the prompt.
    pub(crate) fn say(&mut self, role: &str, text: String) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&text);
        self.messages += 1;
        self.after_tool = role == "tool";
        self.last = text;
    }

    /// Checks `n`.
    pub(crate) fn set_answers(&mut self, n: Option<u32>) -> Result<(), SimError> {
        self.answers = n.unwrap_or(1);
        if (1..=MOST_ANSWERS).contains(&self.answers) {
            return Ok(());
        }
        Err(SimError::invalid("n", format!("n: {} is not valid: expected 1 to {MOST_ANSWERS}", self.answers)))
    }

    /// Checks a limit of tokens; `param` is its name in the protocol.
    pub(crate) fn set_limit(&mut self, param: &str, limit: Option<i64>) -> Result<(), SimError> {
        self.limit = match limit.map(u64::try_from) {
            None => None,
            Some(Ok(limit)) if limit > 0 => Some(limit),
            _ => {
                let value = limit.unwrap_or_default();
                return Err(SimError::invalid(
                    param,
                    format!("{param}: {value} is not valid: expected at least 1"),
                ));
            }
        };
        Ok(())
    }
}

/// Text, or parts of which some are text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    text: Option<String>,
}

impl Content {
    /// The text of all parts, one a line.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().filter_map(|p| p.text).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// `"stop": "text"` or `["text", …]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

impl Stop {
    /// As a list, without empty texts.
    pub(crate) fn into_list(self) -> Vec<String> {
        let mut list = match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        };
        list.retain(|text| !text.is_empty());
        list
    }
}
