//! A request to `generateContent`, checked as the API checks it: field names, and signatures of thoughts.

use crate::ask::{Ask, Choice, Format, Thinking, Tool};
use crate::error::SimError;
use crate::seal;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The kind of signature that calls carry.
pub(super) const CALL: &str = "call";
/// What Google documents to be sent in place of a signature that another model could not give.
const FOREIGN: [&str; 2] = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Request {
    contents: Vec<Content>,
    #[serde(default, alias = "system_instruction")]
    system_instruction: Option<Content>,
    #[serde(default, alias = "generation_config")]
    generation_config: Option<GenerationConfig>,
    #[serde(default)]
    tools: Option<Vec<ToolGroup>>,
    #[serde(default, alias = "tool_config")]
    tool_config: Option<ToolConfig>,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
    // What follows changes nothing here.
    #[serde(default, rename = "model")]
    _model: Option<String>,
    #[serde(default, rename = "safetySettings", alias = "safety_settings")]
    _safety_settings: Option<Value>,
    #[serde(default, rename = "cachedContent", alias = "cached_content")]
    _cached_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Part {
    text: Option<String>,
    #[serde(alias = "inline_data")]
    inline_data: Option<Blob>,
    #[serde(alias = "file_data")]
    file_data: Option<FileData>,
    #[serde(alias = "function_call")]
    function_call: Option<FunctionCall>,
    #[serde(alias = "function_response")]
    function_response: Option<FunctionResponse>,
    #[serde(alias = "thought_signature")]
    thought_signature: Option<String>,
    thought: Option<bool>,
    #[serde(rename = "mediaResolution")]
    _media_resolution: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Blob {
    #[serde(alias = "mime_type")]
    mime_type: String,
    data: String,
    #[serde(default, rename = "displayName")]
    _display_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileData {
    #[serde(alias = "file_uri")]
    file_uri: String,
    #[serde(default, rename = "mimeType", alias = "mime_type")]
    _mime_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionCall {
    name: String,
    #[serde(default)]
    args: Option<Value>,
    #[serde(default, rename = "id")]
    _id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionResponse {
    name: String,
    response: Map<String, Value>,
    #[serde(default, rename = "id")]
    _id: Option<String>,
    #[serde(default, rename = "parts")]
    _parts: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolGroup {
    #[serde(default, alias = "function_declarations")]
    function_declarations: Vec<Declaration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Declaration {
    name: String,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    parameters: Option<Value>,
    #[serde(default, alias = "parameters_json_schema")]
    parameters_json_schema: Option<Value>,
    #[serde(default, rename = "response")]
    _response: Option<Value>,
    #[serde(default, rename = "responseJsonSchema")]
    _response_json_schema: Option<Value>,
    #[serde(default, rename = "behavior")]
    _behavior: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig {
    #[serde(default, alias = "function_calling_config")]
    function_calling_config: Option<FunctionCalling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FunctionCalling {
    #[serde(default)]
    mode: Option<String>,
    #[serde(default, alias = "allowed_function_names")]
    allowed_function_names: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct GenerationConfig {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<i64>,
    #[serde(alias = "stop_sequences")]
    stop_sequences: Vec<String>,
    #[serde(alias = "response_mime_type")]
    response_mime_type: Option<String>,
    #[serde(alias = "response_schema")]
    response_schema: Option<Value>,
    #[serde(alias = "response_json_schema")]
    response_json_schema: Option<Value>,
    #[serde(alias = "candidate_count")]
    candidate_count: Option<u32>,
    #[serde(alias = "thinking_config")]
    thinking_config: Option<ThinkingConfig>,
    #[serde(alias = "response_logprobs")]
    response_logprobs: Option<bool>,
    logprobs: Option<u64>,
    #[serde(rename = "temperature")]
    _temperature: Option<f64>,
    #[serde(rename = "topP", alias = "top_p")]
    _top_p: Option<f64>,
    #[serde(rename = "topK", alias = "top_k")]
    _top_k: Option<f64>,
    #[serde(rename = "seed")]
    _seed: Option<i64>,
    #[serde(rename = "presencePenalty", alias = "presence_penalty")]
    _presence_penalty: Option<f64>,
    #[serde(rename = "frequencyPenalty", alias = "frequency_penalty")]
    _frequency_penalty: Option<f64>,
    #[serde(rename = "responseModalities", alias = "response_modalities")]
    _response_modalities: Option<Vec<String>>,
    #[serde(rename = "mediaResolution")]
    _media_resolution: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThinkingConfig {
    #[serde(default, alias = "include_thoughts")]
    include_thoughts: Option<bool>,
    #[serde(default, alias = "thinking_budget")]
    thinking_budget: Option<i64>,
    #[serde(default, rename = "thinkingLevel", alias = "thinking_level")]
    _thinking_level: Option<String>,
}

fn wrong(place: &str, message: &str) -> SimError {
    SimError::invalid(place, format!("{place}: {message}"))
}

impl Request {
    /// `labels`, which carry what other protocols carry as metadata.
    pub(super) fn labels(&self) -> Option<HashMap<String, String>> {
        self.labels.clone()
    }

    fn config(&self) -> Option<&GenerationConfig> {
        self.generation_config.as_ref()
    }

    /// Whether thoughts are to be part of the answer.
    pub(super) fn shows_thoughts(&self) -> bool {
        let thinking = self.config().and_then(|config| config.thinking_config.as_ref());
        thinking.and_then(|thinking| thinking.include_thoughts).unwrap_or(false)
    }

    /// Alternatives a token, when log probabilities were asked for.
    pub(super) fn logprobs(&self) -> Result<Option<u64>, SimError> {
        let Some(config) = self.config() else { return Ok(None) };
        match (config.response_logprobs, config.logprobs) {
            (Some(true), top @ (None | Some(0..=20))) => Ok(Some(top.unwrap_or(0))),
            (_, Some(_)) => {
                Err(wrong("generationConfig.logprobs", "expected 0 to 20, with responseLogprobs"))
            }
            _ => Ok(None),
        }
    }

    /// What is asked.
    pub(super) fn question(self) -> Result<Ask, SimError> {
        let mut ask = Ask { answers: 1, ..Ask::default() };
        configure(&mut ask, self.generation_config.unwrap_or_default())?;
        for group in self.tools.into_iter().flatten() {
            for declared in group.function_declarations {
                let schema = declared.parameters_json_schema.or_else(|| declared.parameters.map(json_schema));
                let parameters = schema.unwrap_or_else(|| serde_json::json!({"type": "object"}));
                ask.offer(Tool { name: declared.name, parameters });
            }
        }
        if let Some(calling) = self.tool_config.and_then(|config| config.function_calling_config) {
            ask.choice = choice(&calling)?;
        }
        if let Some(system) = self.system_instruction {
            ask.open("system");
            for text in system.parts.iter().filter_map(|part| part.text.as_deref()) {
                ask.block(text);
            }
        }
        tell(&mut ask, self.contents)?;
        Ok(ask)
    }
}

fn configure(ask: &mut Ask, config: GenerationConfig) -> Result<(), SimError> {
    if config.candidate_count.is_some_and(|count| count != 1) {
        return Err(wrong("generationConfig.candidateCount", "only one candidate is supported"));
    }
    ask.set_limit("generationConfig.maxOutputTokens", config.max_output_tokens)?;
    ask.stop = config.stop_sequences;
    ask.thinking = match config.thinking_config {
        None => Thinking::Model,
        Some(thinking) => match thinking.thinking_budget {
            Some(0) => Thinking::Off,
            Some(budget @ 1..) => Thinking::On(budget.unsigned_abs()),
            // -1 leaves it to the model.
            _ => Thinking::On(u64::MAX),
        },
    };
    let schema = config.response_json_schema.or_else(|| config.response_schema.map(json_schema));
    ask.format = match (config.response_mime_type.as_deref(), schema) {
        (Some("application/json"), Some(schema)) => Format::Schema(schema),
        (Some("application/json"), None) => Format::JsonObject,
        (None | Some("text/plain"), None) => Format::Text,
        _ => {
            let message = "must be application/json with a response schema, text/plain without";
            return Err(wrong("generationConfig.responseMimeType", message));
        }
    };
    Ok(())
}

fn choice(calling: &FunctionCalling) -> Result<Choice, SimError> {
    match (calling.mode.as_deref(), calling.allowed_function_names.as_slice()) {
        (None | Some("AUTO" | "MODE_UNSPECIFIED" | "VALIDATED"), _) => Ok(Choice::Auto),
        (Some("NONE"), _) => Ok(Choice::None),
        (Some("ANY"), [only]) => Ok(Choice::Named(only.clone())),
        (Some("ANY"), _) => Ok(Choice::Required),
        (Some(other), _) => {
            Err(wrong("toolConfig.functionCallingConfig.mode", &format!("{other:?} is not a mode")))
        }
    }
}

/// Adds all contents to the question.
fn tell(ask: &mut Ask, contents: Vec<Content>) -> Result<(), SimError> {
    if contents.is_empty() {
        return Err(wrong("contents", "contents is not specified"));
    }
    // Signatures must be there since somebody last said something himself.
    let said = |content: &Content| {
        content.role.as_deref() != Some("model")
            && content.parts.iter().any(|part| part.function_response.is_none())
    };
    let current = contents.iter().rposition(said).unwrap_or(0);
    let thinks = matches!(ask.thinking, Thinking::On(_));
    let mut calls: Vec<String> = Vec::new();
    for (index, content) in contents.into_iter().enumerate() {
        let at = format!("contents[{index}]");
        let model = match content.role.as_deref() {
            None | Some("user" | "function") => false,
            Some("model") => true,
            Some(other) => {
                let message = format!("{other:?} is not valid: Please use a valid role: user, model.");
                return Err(wrong(&format!("{at}.role"), &message));
            }
        };
        if content.parts.is_empty() {
            return Err(wrong(&format!("{at}.parts"), "contents.parts must not be empty."));
        }
        let results = content.parts.iter().filter(|part| part.function_response.is_some()).count();
        if results != calls.len() {
            let message = "Please ensure that the number of function response parts is equal to the number of function \
                           call parts of the function call turn.";
            return Err(wrong(&at, message));
        }
        ask.open(if results == content.parts.len() {
            "tool"
        } else {
            content.role.as_deref().unwrap_or("user")
        });
        let answered = std::mem::take(&mut calls);
        for (number, part) in content.parts.into_iter().enumerate() {
            let at = format!("{at}.parts[{number}]");
            if let Some(call) = &part.function_call {
                let must = thinks && model && index > current && calls.is_empty();
                check_signature(call, part.thought_signature.as_deref(), must, &at)?;
                calls.push(call.name.clone());
            }
            add(ask, part, &answered, &at)?;
        }
    }
    Ok(())
}

fn add(ask: &mut Ask, part: Part, answered: &[String], at: &str) -> Result<(), SimError> {
    // One field says what a part is.
    match (part.text, part.inline_data, part.file_data, part.function_call, part.function_response) {
        // Thoughts are not read again.
        (Some(_), None, None, None, None) if part.thought == Some(true) => {}
        (Some(text), None, None, None, None) => ask.block(&text),
        (None, Some(blob), None, None, None) => {
            if !blob.mime_type.contains('/') {
                return Err(wrong(&format!("{at}.inlineData.mimeType"), "Unsupported MIME type"));
            }
            ask.image(&blob.data);
        }
        (None, None, Some(file), None, None) => ask.image(&file.file_uri),
        (None, None, None, Some(call), None) => {
            ask.block(&format!("{} {}", call.name, call.args.unwrap_or_default()));
        }
        (None, None, None, None, Some(result)) => {
            if !answered.contains(&result.name) {
                let message = format!("{:?} was not called in the content before", result.name);
                return Err(wrong(&format!("{at}.functionResponse.name"), &message));
            }
            // What most clients wrap a text in.
            let inner = ["output", "result"].iter().find_map(|name| result.response.get(*name)?.as_str());
            match inner {
                Some(text) => ask.block(text),
                None => ask.block(&Value::Object(result.response).to_string()),
            }
        }
        _ => return Err(wrong(at, "required oneof field 'data' must have one initialized field")),
    }
    Ok(())
}

fn check_signature(
    call: &FunctionCall,
    signature: Option<&str>,
    must: bool,
    at: &str,
) -> Result<(), SimError> {
    let empty = Value::Object(Map::new());
    let content = seal::call(&call.name, call.args.as_ref().unwrap_or(&empty));
    match signature {
        Some(given) if FOREIGN.contains(&given) || seal::holds(CALL, &content, given) => Ok(()),
        Some(_) => Err(wrong(&format!("{at}.thoughtSignature"), "Thought signature is not valid.")),
        None if must => {
            let name = &call.name;
            let message =
                format!("Function call is missing a thought_signature in functionCall parts: {name}.");
            Err(wrong(at, &message))
        }
        None => Ok(()),
    }
}

/// Gemini's own schemas are JSON Schemas with types in capitals and `nullable`.
fn json_schema(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::String(kind) if name == "type" => *kind = kind.to_lowercase(),
                    // Formats of numbers, not of strings.
                    other => *other = json_schema(other.take()),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = json_schema(value.take());
            }
        }
        _ => {}
    }
    schema
}
