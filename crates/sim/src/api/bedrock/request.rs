//! A request to Converse, checked as Bedrock checks it.

use crate::api::blocks::THINKING;
use crate::ask::{Ask, Caching, Choice, Format, Thinking, Tool};
use crate::error::SimError;
use crate::seal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    system: Vec<SystemBlock>,
    #[serde(default)]
    inference_config: InferenceConfig,
    #[serde(default)]
    tool_config: Option<ToolConfig>,
    #[serde(default)]
    additional_model_request_fields: Option<Value>,
    #[serde(default)]
    #[serde(rename = "requestMetadata")]
    metadata: Option<HashMap<String, String>>,
    #[serde(default)]
    output_config: Option<OutputConfig>,
    // What follows changes nothing here.
    #[serde(default, rename = "guardrailConfig")]
    _guardrail_config: Option<Value>,
    #[serde(default, rename = "additionalModelResponseFieldPaths")]
    _additional_model_response_field_paths: Option<Value>,
    #[serde(default, rename = "performanceConfig")]
    _performance_config: Option<Value>,
    #[serde(default, rename = "serviceTier")]
    _service_tier: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    role: String,
    content: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum SystemBlock {
    Text(String),
    CachePoint(CachePoint),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Block {
    Text(String),
    Image(Attachment),
    Document(Attachment),
    ToolUse(ToolUse),
    ToolResult(ToolResult),
    ReasoningContent(Reasoning),
    CachePoint(CachePoint),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CachePoint {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ttl: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attachment {
    format: String,
    source: Source,
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default, rename = "context")]
    _context: Option<String>,
    #[serde(default, rename = "citations")]
    _citations: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Source {
    Bytes(String),
    S3Location(Value),
    Text(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolUse {
    #[serde(rename = "toolUseId")]
    id: String,
    name: String,
    input: Value,
    #[serde(default, rename = "type")]
    _type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolResult {
    tool_use_id: String,
    content: Vec<ResultBlock>,
    #[serde(default, rename = "status")]
    _status: Option<String>,
    #[serde(default, rename = "type")]
    _type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum ResultBlock {
    Text(String),
    Json(Value),
    Image(Attachment),
    Document(Attachment),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reasoning {
    ReasoningText(ReasoningText),
    RedactedContent(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasoningText {
    text: String,
    #[serde(default)]
    signature: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct InferenceConfig {
    max_tokens: Option<i64>,
    stop_sequences: Vec<String>,
    #[serde(rename = "temperature")]
    _temperature: Option<f64>,
    #[serde(rename = "topP")]
    _top_p: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolConfig {
    tools: Vec<Offered>,
    #[serde(default)]
    tool_choice: Option<ToolChoice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Offered {
    ToolSpec(ToolSpec),
    CachePoint(CachePoint),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolSpec {
    name: String,
    input_schema: InputSchema,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "strict")]
    _strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputSchema {
    json: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum ToolChoice {
    Auto {},
    Any {},
    Tool { name: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OutputConfig {
    #[serde(default)]
    text_format: Option<TextFormat>,
    #[serde(default, rename = "effort")]
    _effort: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextFormat {
    #[serde(rename = "type")]
    kind: String,
    structure: Structure,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Structure {
    json_schema: JsonSchema,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSchema {
    /// The schema as text.
    schema: String,
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

fn wrong(place: &str, message: &str) -> SimError {
    SimError::invalid(place, format!("{place}: {message}"))
}

impl Request {
    /// `requestMetadata`.
    pub(super) fn metadata(&self) -> Option<HashMap<String, String>> {
        self.metadata.clone()
    }

    /// What is asked.
    pub(super) fn question(self) -> Result<Ask, SimError> {
        let mut ask = Ask {
            answers: 1,
            caching: Caching::Marked(Vec::new()),
            stop: self.inference_config.stop_sequences.clone(),
            ..Ask::default()
        };
        ask.set_limit("inferenceConfig.maxTokens", self.inference_config.max_tokens)?;
        ask.thinking = thinking(self.additional_model_request_fields.as_ref());
        if let Some(format) = self.output_config.and_then(|config| config.text_format) {
            let schema = serde_json::from_str(&format.structure.json_schema.schema).ok();
            let schema: Option<Value> = schema.filter(|_| format.kind == "json_schema");
            let at = "outputConfig.textFormat.structure.jsonSchema.schema";
            ask.format = Format::Schema(schema.ok_or_else(|| wrong(at, "expected a JSON Schema as text"))?);
        }
        let has_tools = self.tool_config.is_some();
        if let Some(config) = self.tool_config {
            offer(&mut ask, config)?;
        }
        if !self.system.is_empty() {
            ask.open("system");
        }
        for block in self.system {
            match block {
                SystemBlock::Text(text) => ask.block(&text),
                SystemBlock::CachePoint(point) => mark(&mut ask, &point)?,
            }
        }
        if self.messages.is_empty() {
            return Err(wrong("messages", "A conversation must start with a user message."));
        }
        let current = self.messages.iter().rposition(Message::is_question).unwrap_or(0);
        let mut history = History { ask: &mut ask, calls: Vec::new(), current: false, has_tools };
        for (index, message) in self.messages.into_iter().enumerate() {
            history.current = index > current;
            history.tell(index, message)?;
        }
        Ok(ask)
    }
}

/// `thinking` as Claude takes it.
fn thinking(fields: Option<&Value>) -> Thinking {
    let Some(thinking) = fields.and_then(|fields| fields.get("thinking")) else { return Thinking::Off };
    match thinking["type"].as_str() {
        Some("enabled") => Thinking::On(thinking["budget_tokens"].as_u64().unwrap_or(u64::MAX)),
        Some("adaptive") => Thinking::On(u64::MAX),
        _ => Thinking::Off,
    }
}

fn offer(ask: &mut Ask, config: ToolConfig) -> Result<(), SimError> {
    for offered in config.tools {
        match offered {
            Offered::ToolSpec(spec) => {
                ask.offer(Tool { name: spec.name, parameters: spec.input_schema.json });
            }
            Offered::CachePoint(point) => mark(ask, &point)?,
        }
    }
    ask.choice = match config.tool_choice {
        None | Some(ToolChoice::Auto {}) => Choice::Auto,
        Some(ToolChoice::Any {}) => Choice::Required,
        Some(ToolChoice::Tool { name }) => Choice::Named(name),
    };
    if ask.tools.is_empty() {
        return Err(wrong("toolConfig.tools", "expected at least one tool"));
    }
    Ok(())
}

fn mark(ask: &mut Ask, point: &CachePoint) -> Result<(), SimError> {
    if point.kind != "default" {
        return Err(wrong("cachePoint.type", "expected default"));
    }
    ask.mark(point.ttl.as_deref() == Some("1h"));
    Ok(())
}

fn attach(ask: &mut Ask, attached: Attachment, at: &str) -> Result<(), SimError> {
    let known =
        ["png", "jpeg", "gif", "webp", "pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"];
    if !known.contains(&attached.format.as_str()) {
        return Err(wrong(&format!("{at}.format"), "is not a format"));
    }
    match attached.source {
        Source::Bytes(data) if STANDARD.decode(&data).is_ok_and(|bytes| !bytes.is_empty()) => {
            ask.image(&data);
        }
        Source::Bytes(_) => return Err(wrong(&format!("{at}.source.bytes"), "expected base64")),
        Source::S3Location(place) => ask.image(&place.to_string()),
        Source::Text(text) => ask.block(&text),
    }
    Ok(())
}

impl Message {
    /// Whether a person says this, not a tool.
    fn is_question(&self) -> bool {
        self.role == "user" && !self.content.iter().all(|block| matches!(block, Block::ToolResult(_)))
    }
}

/// The conversation so far.
struct History<'a> {
    ask: &'a mut Ask,
    /// Ids of the calls of the last turn, which must be answered by the next one.
    calls: Vec<String>,
    /// Whether the message is part of the turn that goes on, where thoughts must be kept.
    current: bool,
    has_tools: bool,
}

impl History<'_> {
    fn tell(&mut self, index: usize, message: Message) -> Result<(), SimError> {
        let at = format!("messages.{index}");
        let user = message.role == "user";
        if !user && message.role != "assistant" {
            return Err(wrong(&format!("{at}.role"), "expected user or assistant"));
        }
        if index == 0 && !user {
            return Err(wrong("messages", "A conversation must start with a user message."));
        }
        if message.content.is_empty() {
            return Err(wrong(&format!("{at}.content"), "The content field must not be empty."));
        }
        let open = std::mem::take(&mut self.calls);
        let results = message.content.iter().filter(|block| matches!(block, Block::ToolResult(_))).count();
        if results != open.len() {
            let message = format!(
                "Expected toolResult blocks at {at}.content for the following Ids: {}",
                open.join(", ")
            );
            return Err(wrong(&at, &message));
        }
        let thinks = matches!(message.content.first(), Some(Block::ReasoningContent(_)));
        let calls = message.content.iter().any(|block| matches!(block, Block::ToolUse(_)));
        if self.current && calls && !thinks && matches!(self.ask.thinking, Thinking::On(_)) {
            return Err(wrong(
                &at,
                "When thinking is enabled, a final assistant message must start with a thinking block.",
            ));
        }
        self.ask.open(if results == message.content.len() { "tool" } else { &message.role });
        for (number, block) in message.content.into_iter().enumerate() {
            self.add(block, user, &open, &format!("{at}.content.{number}"))?;
        }
        Ok(())
    }

    fn add(&mut self, block: Block, user: bool, open: &[String], at: &str) -> Result<(), SimError> {
        match block {
            Block::Text(text) if text.is_empty() => {
                return Err(wrong(at, "The text field in the ContentBlock object is blank."));
            }
            Block::Text(text) => self.ask.block(&text),
            Block::CachePoint(point) => mark(self.ask, &point)?,
            Block::Image(attached) | Block::Document(attached) if user => attach(self.ask, attached, at)?,
            Block::ToolUse(call) if !user => {
                self.tools_are_defined()?;
                if !call.input.is_object() {
                    return Err(wrong(&format!("{at}.toolUse.input"), "expected an object"));
                }
                self.ask.block(&format!("{} {}", call.name, call.input));
                self.calls.push(call.id);
            }
            Block::ToolResult(result) if user => {
                self.tools_are_defined()?;
                if !open.contains(&result.tool_use_id) {
                    let id = &result.tool_use_id;
                    return Err(wrong(
                        at,
                        &format!("unexpected toolUseId {id}: no such toolUse in the message before"),
                    ));
                }
                for block in result.content {
                    match block {
                        ResultBlock::Text(text) => self.ask.block(&text),
                        ResultBlock::Json(value) => self.ask.block(&value.to_string()),
                        ResultBlock::Image(attached) | ResultBlock::Document(attached) => {
                            attach(self.ask, attached, at)?;
                        }
                    }
                }
            }
            Block::ReasoningContent(reasoning) if !user => check_thought(&reasoning, at)?,
            _ => return Err(wrong(at, "a block of this type cannot be in a message of this role")),
        }
        Ok(())
    }

    fn tools_are_defined(&self) -> Result<(), SimError> {
        if self.has_tools {
            return Ok(());
        }
        let message =
            "The toolConfig field must be defined when using toolUse and toolResult content blocks.";
        Err(wrong("toolConfig", message))
    }
}

fn check_thought(reasoning: &Reasoning, at: &str) -> Result<(), SimError> {
    let holds = match reasoning {
        Reasoning::ReasoningText(thought) => thought
            .signature
            .as_ref()
            .is_some_and(|signature| seal::holds(THINKING, &thought.text, signature)),
        Reasoning::RedactedContent(data) => seal::is_encrypted(data),
    };
    if holds { Ok(()) } else { Err(wrong(at, "Invalid `signature` in `thinking` block")) }
}
