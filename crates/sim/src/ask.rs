//! A question apart from the protocol it came in: what the planner needs to know of a request.

use crate::error::SimError;
use crate::{hash, tokens};
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
    /// Whether at most one tool may be called.
    pub(crate) one_call: bool,
    /// Tokens of the prompt that are not its text: images, definitions of tools.
    pub(crate) extra: u64,
    /// Hash of what those tokens stand for.
    pub(crate) extra_hash: u64,
    /// Whether the model thinks before it answers.
    pub(crate) thinking: Thinking,
    /// Which part of the prompt is cached.
    pub(crate) caching: Caching,
    /// The recording that is meant, by its `prompt_id`.
    pub(crate) prompt_id: Option<String>,
}

/// Whether the model thinks before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// As the model always does; the thoughts stay inside.
    #[default]
    Model,
    /// Not at all.
    Off,
    /// For at most so many tokens, and the thoughts are shown.
    On(u64),
}

/// Which part of the prompt is cached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Caching {
    /// What the provider finds by itself.
    #[default]
    Implicit,
    /// What the client marked, shortest prefix first.
    Marked(Vec<Mark>),
}

/// The end of a prefix that the client wants kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Hash of all that comes before.
    pub(crate) prefix: u64,
    /// Tokens of it.
    pub(crate) tokens: u64,
    /// Kept for an hour instead of five minutes.
    pub(crate) hour: bool,
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

/// Tokens that each message and each prompt cost beyond their text.
const PER_MESSAGE: u64 = 3;
/// Tokens of an image: OpenAI's price of one at low detail.
const IMAGE: u64 = 85;
/// The most answers to one request.
const MOST_ANSWERS: u32 = 16;

impl Ask {
    /// Adds a message to the prompt.
    pub(crate) fn say(&mut self, role: &str, text: &str) {
        self.open(role);
        self.block(text);
    }

    /// Starts a message that is said block by block.
    pub(crate) fn open(&mut self, role: &str) {
        self.messages += 1;
        self.after_tool = role == "tool";
        self.last.clear();
    }

    /// Adds a block of text to the message that was started.
    pub(crate) fn block(&mut self, text: &str) {
        for place in [&mut self.text, &mut self.last] {
            if !place.is_empty() {
                place.push('\n');
            }
            place.push_str(text);
        }
    }

    /// Notes that everything said so far is to be cached.
    pub(crate) fn mark(&mut self, hour: bool) {
        let mark =
            Mark { prefix: hash::of(&self.text) ^ self.extra_hash, tokens: self.prompt_tokens(), hour };
        match &mut self.caching {
            Caching::Implicit => self.caching = Caching::Marked(vec![mark]),
            Caching::Marked(marks) => marks.push(mark),
        }
    }

    /// Adds something that is not text and costs so many tokens.
    pub(crate) fn beyond(&mut self, tokens: u64, content: &str) {
        self.extra += tokens;
        self.extra_hash = hash::mix(self.extra_hash ^ hash::of(content));
    }

    /// Adds an image.
    pub(crate) fn image(&mut self, content: &str) {
        self.beyond(IMAGE, content);
    }

    /// Offers a tool.
    pub(crate) fn offer(&mut self, tool: Tool) {
        let definition = format!("{} {}", tool.name, tool.parameters);
        self.beyond(tokens::count(&definition), &definition);
        self.tools.push(tool);
    }

    /// Tokens of the prompt so far: its text, a few for each message, and what is not text.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        tokens::count(&self.text) + PER_MESSAGE * (self.messages + 1) + self.extra
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
