//! A request.

use crate::read::Json;
use crate::signature::Signature;

/// What a client asks of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Request {
    pub model: String,
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub format: Option<Format>,
    pub max_tokens: Option<u64>,
    pub temperature: Option<Json>,
    pub top_p: Option<Json>,
    pub top_k: Option<u64>,
    pub stop: Vec<String>,
    pub seed: Option<Json>,
    pub frequency_penalty: Option<Json>,
    pub presence_penalty: Option<Json>,
    pub logit_bias: Option<Json>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u64>,
    pub n: Option<u64>,
    pub thinking: Option<Thinking>,
    /// Whether thoughts are to be shown, where the request says so.
    pub show_thinking: Option<bool>,
    pub effort: Option<Effort>,
    /// In Anthropic's own words: an effort asks for no thoughts, only for how much is written, and what sampling the model takes is
    /// known to who asks.
    pub is_anthropic: bool,
    pub verbosity: Option<String>,
    pub user: Option<String>,
    pub metadata: Vec<(String, String)>,
    pub service_tier: Option<Tier>,
    /// Of the whole prefix up to the last message.
    pub cache: Option<Cache>,
    pub stream: bool,
    /// Whether the client wants usage within a stream of chat completions.
    pub include_usage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    System,
    /// As OpenAI's reasoning models name the system.
    Developer,
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub role: Role,
    pub parts: Vec<Part>,
    /// OpenAI's `name` of a participant.
    pub name: Option<String>,
}

impl Message {
    pub const fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, name: None }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Text {
        text: String,
        cache: Option<Cache>,
        signature: Option<Signature>,
    },
    Image {
        source: Source,
        /// OpenAI's `detail`.
        detail: Option<String>,
        cache: Option<Cache>,
    },
    Document {
        source: Source,
        name: Option<String>,
        /// Anthropic's `context`.
        context: Option<String>,
        citations: bool,
        cache: Option<Cache>,
    },
    Audio {
        data: String,
        format: String,
    },
    Reasoning {
        text: String,
        signature: Option<Signature>,
    },
    /// Reasoning that only its provider can read.
    Redacted {
        data: Signature,
    },
    Refusal {
        text: String,
    },
    ToolCall(ToolCall),
    ToolResult(ToolResult),
}

impl Part {
    pub const fn text(text: String) -> Self {
        Self::Text { text, cache: None, signature: None }
    }

    const fn is_cache_mark(&self) -> bool {
        match self {
            Self::Text { cache, .. }
            | Self::Image { cache, .. }
            | Self::Document { cache, .. }
            | Self::ToolCall(ToolCall { cache, .. })
            | Self::ToolResult(ToolResult { cache, .. }) => cache.is_some(),
            _ => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolCall {
    pub id: String,
    pub name: String,
    /// As the model wrote them: JSON, if the model did its work.
    pub arguments: String,
    pub signature: Option<Signature>,
    pub cache: Option<Cache>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolResult {
    /// Of the call.
    pub id: String,
    pub content: Vec<Part>,
    pub is_error: bool,
    pub cache: Option<Cache>,
}

/// Where the bytes of an image or a document are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Base64 { media_type: String, data: String },
    Url(String),
    Text(String),
}

impl Source {
    /// Takes `data:image/png;base64,…` apart; anything else is a URL.
    pub fn from_url(url: &str) -> Self {
        let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
        if let Some((head, data)) = data
            && let Some(kind) = head.strip_suffix(";base64")
        {
            let media_type = kind.split(';').next().unwrap_or(kind).to_owned();
            return Self::Base64 { media_type, data: data.to_owned() };
        }
        Self::Url(url.to_owned())
    }

    /// The inverse of [`Source::from_url`].
    pub fn to_url(&self) -> Option<String> {
        match self {
            Self::Base64 { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
            Self::Url(url) => Some(url.clone()),
            Self::Text(_) => None,
        }
    }
}

/// A mark that the prompt up to here may be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cache {
    /// An hour in place of five minutes.
    pub hour: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON schema.
    pub parameters: Option<Json>,
    pub strict: Option<bool>,
    pub cache: Option<Cache>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    Auto,
    None,
    Required,
    Tool(String),
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    Text,
    JsonObject,
    JsonSchema { name: Option<String>, description: Option<String>, schema: Json, strict: Option<bool> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    Off,
    /// At most so many tokens.
    Budget(u64),
    /// As much as the model finds right.
    Adaptive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl Effort {
    pub const NAMES: &str = "none, minimal, low, medium, high, xhigh or max";

    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::Xhigh,
            "max" => Self::Max,
            _ => return None,
        })
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// The budget of thinking tokens that stands for an effort: what Google's OpenAI-compatible endpoint takes for the same
    /// words, and twice the highest for those beyond.
    pub const fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 8_192,
            Self::High => 24_576,
            Self::Xhigh | Self::Max => 49_152,
        }
    }

    /// The least effort whose budget is not below `tokens`.
    pub const fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=1_024 => Self::Low,
            1_025..=8_192 => Self::Medium,
            _ => Self::High,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tier {
    Auto,
    Default,
    Flex,
    Priority,
    Other(String),
}

impl Tier {
    pub fn parse(name: &str) -> Self {
        match name {
            "auto" => Self::Auto,
            "default" | "standard_only" | "standard" => Self::Default,
            "flex" => Self::Flex,
            "priority" => Self::Priority,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// An answer's tier in OpenAI's words; Anthropic and Google call the usual one `standard`.
pub(crate) fn openai_tier(name: &str) -> &str {
    if name == "standard" { "default" } else { name }
}

/// An answer's tier in Anthropic's words, which are only these.
pub(crate) fn anthropic_tier(name: &str) -> Option<&str> {
    match name {
        "default" | "auto" | "standard" => Some("standard"),
        "priority" | "batch" => Some(name),
        _ => None,
    }
}

/// All text of parts, one after the other.
pub(crate) fn text_of(parts: &[Part]) -> String {
    let mut all = String::new();
    for part in parts {
        if let Part::Text { text, .. } | Part::Refusal { text } = part {
            all.push_str(text);
        }
    }
    all
}

impl Request {
    /// Whether the client marked anything to be cached.
    pub fn has_cache_marks(&self) -> bool {
        self.cache.is_some()
            || self.tools.iter().any(|tool| tool.cache.is_some())
            || self.messages.iter().flat_map(|message| &message.parts).any(Part::is_cache_mark)
    }

    /// What the model reads, as far as it is text: for counting tokens where the provider cannot.
    pub fn for_each_text(&self, each: &mut dyn FnMut(&str)) {
        for message in &self.messages {
            each_text(&message.parts, each);
        }
        for tool in &self.tools {
            each(&tool.name);
            if let Some(description) = &tool.description {
                each(description);
            }
            if let Some(parameters) = &tool.parameters {
                each(parameters.text());
            }
        }
    }
}

fn each_text(parts: &[Part], each: &mut dyn FnMut(&str)) {
    for part in parts {
        match part {
            Part::Text { text, .. }
            | Part::Refusal { text }
            | Part::Reasoning { text, .. }
            | Part::Document { source: Source::Text(text), .. } => each(text),
            Part::ToolCall(call) => {
                each(&call.name);
                each(&call.arguments);
            }
            Part::ToolResult(result) => each_text(&result.content, each),
            _ => {}
        }
    }
}
