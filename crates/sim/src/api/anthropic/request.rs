//! A request to the Messages API, checked as strictly as the API checks it.

use super::history;
use crate::ask::{Ask, Caching, Choice, Format, Thinking, Tool};
use crate::error::SimError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The fewest tokens of a budget for thoughts.
const LEAST_BUDGET: i64 = 1024;
/// The most marks of what is to be cached.
const MOST_MARKS: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) model: String,
    messages: Vec<Message>,
    #[serde(default)]
    pub(super) max_tokens: Option<i64>,
    #[serde(default)]
    system: Option<Content>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    stop_sequences: Option<Vec<String>>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    tool_choice: Option<ToolChoice>,
    #[serde(default)]
    thinking: Option<ThinkingConfig>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    output_config: Option<OutputConfig>,
    #[serde(default)]
    output_format: Option<OutputFormat>,
    /// Marks the last block that can be cached.
    #[serde(default)]
    cache_control: Option<CacheControl>,
    // What follows changes nothing here.
    #[serde(default, rename = "top_p")]
    _top_p: Option<f64>,
    #[serde(default, rename = "top_k")]
    _top_k: Option<u64>,
    #[serde(default, rename = "service_tier")]
    _service_tier: Option<String>,
    #[serde(default, rename = "container")]
    _container: Option<Value>,
    #[serde(default, rename = "context_management")]
    _context_management: Option<Value>,
    #[serde(default, rename = "mcp_servers")]
    _mcp_servers: Option<Value>,
    #[serde(default, rename = "inference_geo")]
    _inference_geo: Option<String>,
    #[serde(default, rename = "diagnostics")]
    _diagnostics: Option<Value>,
    #[serde(default, rename = "speed")]
    _speed: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Blocks(Vec<Value>),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum CacheControl {
    Ephemeral {
        #[serde(default)]
        ttl: Ttl,
    },
}

#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ttl {
    #[default]
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "1h")]
    Hour,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Block {
    Text {
        text: String,
        #[serde(default)]
        cache_control: Option<CacheControl>,
        #[serde(default, rename = "citations")]
        _citations: Option<Value>,
    },
    Image {
        source: Source,
        #[serde(default)]
        cache_control: Option<CacheControl>,
        #[serde(default, rename = "transformations")]
        _transformations: Option<Value>,
    },
    Document {
        source: Source,
        #[serde(default)]
        cache_control: Option<CacheControl>,
        #[serde(default, rename = "title")]
        _title: Option<String>,
        #[serde(default, rename = "context")]
        _context: Option<String>,
        #[serde(default, rename = "citations")]
        _citations: Option<Value>,
    },
    Thinking {
        thinking: String,
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Map<String, Value>,
        #[serde(default)]
        cache_control: Option<CacheControl>,
        #[serde(default, rename = "caller")]
        _caller: Option<Value>,
        #[serde(default, rename = "toolset_name")]
        _toolset_name: Option<String>,
    },
    ToolResult {
        tool_use_id: String,
        #[serde(default)]
        content: Option<Content>,
        #[serde(default, rename = "is_error")]
        _is_error: Option<bool>,
        #[serde(default, rename = "toolset_name")]
        _toolset_name: Option<String>,
        #[serde(default)]
        cache_control: Option<CacheControl>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Source {
    Base64 { media_type: String, data: String },
    Url { url: String },
    File { file_id: String },
    Text { media_type: String, data: String },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum ToolChoice {
    Auto {
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    Any {
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    Tool {
        name: String,
        #[serde(default, rename = "disable_parallel_tool_use")]
        _disable_parallel_tool_use: bool,
    },
    None,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum ThinkingConfig {
    Enabled {
        budget_tokens: i64,
        #[serde(default, rename = "display")]
        _display: Option<String>,
    },
    Adaptive {
        #[serde(default, rename = "display")]
        _display: Option<String>,
    },
    BetweenTools,
    Disabled,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputConfig {
    #[serde(default)]
    format: Option<OutputFormat>,
    #[serde(default, rename = "effort")]
    _effort: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum OutputFormat {
    JsonSchema { schema: Value },
}

impl Request {
    /// `metadata`: the protocol's `user_id`, and what the simulator takes.
    pub(super) fn metadata(&self) -> Result<HashMap<String, String>, SimError> {
        let mut metadata = HashMap::new();
        for (name, value) in self.metadata.iter().flatten() {
            if !["user_id", "sim", "prompt_id"].contains(&name.as_str()) {
                return Err(wrong(&format!("metadata.{name}"), "Extra inputs are not permitted"));
            }
            if let Some(text) = value.as_str() {
                metadata.insert(name.clone(), text.to_owned());
            }
        }
        Ok(metadata)
    }

    /// What is asked.
    pub(super) fn question(self) -> Result<Ask, SimError> {
        let mut ask = Ask {
            answers: 1,
            caching: Caching::Marked(Vec::new()),
            stop: self.stop_sequences.clone().unwrap_or_default(),
            ..Ask::default()
        };
        ask.set_limit("max_tokens", self.max_tokens)?;
        self.think(&mut ask)?;
        self.choose(&mut ask);
        if let Some(temperature) = self.temperature.filter(|t| !(0.0..=1.0).contains(t)) {
            return Err(wrong("temperature", &format!("{temperature} is not in the range 0..1")));
        }
        let format = self.output_config.and_then(|config| config.format).or(self.output_format);
        if let Some(OutputFormat::JsonSchema { schema }) = format {
            ask.format = Format::Schema(schema);
        }
        for (index, tool) in self.tools.into_iter().flatten().enumerate() {
            offer(&mut ask, index, &tool)?;
        }
        match self.system {
            Some(Content::Text(text)) => ask.say("system", &text),
            Some(Content::Blocks(blocks)) => {
                ask.open("system");
                for (index, block) in blocks.into_iter().enumerate() {
                    let at = format!("system.{index}");
                    match read(block, &at)? {
                        Block::Text { text, cache_control, .. } => {
                            say(&mut ask, &text, &at)?;
                            mark(&mut ask, cache_control);
                        }
                        _ => return Err(wrong(&format!("{at}.type"), "Input should be 'text'")),
                    }
                }
            }
            None => {}
        }
        history::tell(&mut ask, self.messages)?;
        mark(&mut ask, self.cache_control);
        check_marks(&ask)?;
        Ok(ask)
    }

    fn think(&self, ask: &mut Ask) -> Result<(), SimError> {
        ask.thinking = match &self.thinking {
            None | Some(ThinkingConfig::Disabled) => Thinking::Off,
            Some(ThinkingConfig::Adaptive { .. } | ThinkingConfig::BetweenTools) => Thinking::On(u64::MAX),
            Some(ThinkingConfig::Enabled { budget_tokens, .. }) => {
                if *budget_tokens < LEAST_BUDGET {
                    let expected = "Input should be greater than or equal to 1024";
                    return Err(wrong("thinking.enabled.budget_tokens", expected));
                }
                if self.max_tokens.is_some_and(|most| most <= *budget_tokens) {
                    return Err(wrong("max_tokens", "must be greater than `thinking.budget_tokens`"));
                }
                Thinking::On(budget_tokens.unsigned_abs())
            }
        };
        if ask.thinking == Thinking::Off {
            return Ok(());
        }
        if self.temperature.is_some_and(|t| (t - 1.0).abs() > f64::EPSILON) {
            return Err(wrong("temperature", "may only be set to 1 when thinking is enabled"));
        }
        if matches!(self.tool_choice, Some(ToolChoice::Any { .. } | ToolChoice::Tool { .. })) {
            return Err(wrong(
                "tool_choice",
                "Thinking may not be enabled when tool_choice forces tool use.",
            ));
        }
        Ok(())
    }

    fn choose(&self, ask: &mut Ask) {
        (ask.choice, ask.one_call) = match &self.tool_choice {
            None => (Choice::Auto, false),
            Some(ToolChoice::Auto { disable_parallel_tool_use }) => {
                (Choice::Auto, *disable_parallel_tool_use)
            }
            Some(ToolChoice::Any { disable_parallel_tool_use }) => {
                (Choice::Required, *disable_parallel_tool_use)
            }
            Some(ToolChoice::Tool { name, .. }) => (Choice::Named(name.clone()), true),
            Some(ToolChoice::None) => (Choice::None, false),
        };
    }
}

pub(super) fn wrong(place: &str, message: &str) -> SimError {
    SimError::invalid(place, format!("{place}: {message}"))
}

pub(super) fn read(block: Value, at: &str) -> Result<Block, SimError> {
    serde_json::from_value(block).map_err(|error| wrong(at, &error.to_string()))
}

pub(super) fn say(ask: &mut Ask, text: &str, at: &str) -> Result<(), SimError> {
    if text.is_empty() {
        return Err(wrong(at, "text content blocks must be non-empty"));
    }
    ask.block(text);
    Ok(())
}

pub(super) fn mark(ask: &mut Ask, control: Option<CacheControl>) {
    if let Some(CacheControl::Ephemeral { ttl }) = control {
        ask.mark(ttl == Ttl::Hour);
    }
}

fn check_marks(ask: &Ask) -> Result<(), SimError> {
    let Caching::Marked(marks) = &ask.caching else { return Ok(()) };
    if marks.len() > MOST_MARKS {
        let found = marks.len();
        return Err(SimError::invalid(
            "cache_control",
            format!("A maximum of {MOST_MARKS} blocks with cache_control may be provided. Found {found}."),
        ));
    }
    if marks.windows(2).any(|pair| matches!(pair, [first, second] if second.hour && !first.hour)) {
        let message = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.";
        return Err(wrong("cache_control", message));
    }
    Ok(())
}

fn offer(ask: &mut Ask, index: usize, tool: &Value) -> Result<(), SimError> {
    let at = |field: &str| format!("tools.{index}.custom.{field}");
    let known = [
        "type",
        "name",
        "description",
        "input_schema",
        "cache_control",
        "strict",
        "defer_loading",
        "eager_input_streaming",
        "allowed_callers",
        "input_examples",
    ];
    if let Some(name) = tool.as_object().and_then(|t| t.keys().find(|name| !known.contains(&name.as_str()))) {
        return Err(wrong(&at(name), "Extra inputs are not permitted"));
    }
    let name = tool["name"].as_str().ok_or_else(|| wrong(&at("name"), "Field required"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
        return Err(wrong(&at("name"), "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"));
    }
    let schema = tool.get("input_schema").ok_or_else(|| wrong(&at("input_schema"), "Field required"))?;
    if schema["type"] != "object" {
        return Err(wrong(&at("input_schema.type"), "Input should be 'object'"));
    }
    ask.offer(Tool { name: name.to_owned(), parameters: schema.clone() });
    let control = match tool.get("cache_control") {
        None | Some(Value::Null) => None,
        Some(given) => Some(
            CacheControl::deserialize(given)
                .map_err(|error| wrong(&at("cache_control"), &error.to_string()))?,
        ),
    };
    mark(ask, control);
    Ok(())
}
