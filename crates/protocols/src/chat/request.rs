//! A request of chat completions, read.

use super::message::read_message;
use crate::canonical::{Cache, Effort, Format, Request, Tier, Tool, ToolChoice};
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, document, is_object, is_string, value};
use serde_json::value::RawValue;

/// Reads a request's body.
pub(crate) fn read_request(body: &[u8], notes: &mut Notes) -> Result<Request, Invalid> {
    let mut fields = Fields::read(document(body)?, Path::ROOT)?;
    let mut request = Request { model: fields.need_string("model")?, ..Request::default() };
    let path = Path::ROOT.field("messages");
    for (index, raw) in
        fields.need::<Vec<&RawValue>>("messages", "an array of messages")?.into_iter().enumerate()
    {
        request.messages.push(read_message(raw, path.index(index), notes)?);
    }
    read_tools(&mut fields, &mut request, notes)?;
    read_sampling(&mut fields, &mut request)?;
    request.format = read_format(&mut fields, notes)?;
    request.stream = fields.boolean("stream")?.unwrap_or_default();
    if let Some(raw) = fields.raw("stream_options") {
        let path = fields.path.field("stream_options");
        let mut options = Fields::read(raw, path)?;
        request.include_usage = options.boolean("include_usage")?.unwrap_or_default();
        // Padding against onlookers: nothing to do with the answer.
        options.raw("include_obfuscation");
        options.finish(notes);
    }
    request.effort = match fields.text("reasoning_effort")? {
        None => None,
        Some(name) => Some(
            Effort::parse(&name)
                .ok_or_else(|| Invalid::new("reasoning_effort", format!("{name:?}"), Effort::NAMES))?,
        ),
    };
    request.verbosity = fields.string("verbosity")?;
    let safety_identifier = fields.string("safety_identifier")?;
    request.user = fields.string("user")?.or(safety_identifier);
    request.metadata = read_metadata(&mut fields)?;
    request.service_tier = fields.text("service_tier")?.map(|name| Tier::parse(&name));
    // Whether the provider keeps the answer is not asked of one that keeps none, and where a prompt is cached is OpenAI's own affair.
    for harmless in ["store", "prompt_cache_key", "prompt_cache_retention"] {
        fields.raw(harmless);
    }
    fields.finish(notes);
    Ok(request)
}

/// `metadata`: texts by name.
pub(crate) fn read_metadata(fields: &mut Fields<'_, '_>) -> Result<Vec<(String, String)>, Invalid> {
    let path = fields.path;
    let path = path.field("metadata");
    let Some(raw) = fields.raw("metadata") else { return Ok(Vec::new()) };
    let members = Fields::read(raw, path)?.rest();
    members
        .into_iter()
        .map(|(name, raw)| Ok((name.to_string(), value(raw, path.field(&name), "a string")?)))
        .collect()
}

fn read_sampling(fields: &mut Fields<'_, '_>, request: &mut Request) -> Result<(), Invalid> {
    let newer = fields.count("max_completion_tokens")?;
    request.max_tokens = newer.or(fields.count("max_tokens")?);
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.top_k = fields.count("top_k")?;
    request.seed = fields.number("seed")?;
    request.frequency_penalty = fields.number("frequency_penalty")?;
    request.presence_penalty = fields.number("presence_penalty")?;
    request.logit_bias = fields.json("logit_bias");
    request.logprobs = fields.boolean("logprobs")?;
    request.top_logprobs = fields.count("top_logprobs")?;
    request.n = fields.count("n")?;
    request.stop = match fields.raw("stop") {
        None => Vec::new(),
        Some(raw) if is_string(raw) => vec![value(raw, Path::ROOT, "a string")?],
        Some(raw) => value(raw, fields.path.field("stop"), "a string or an array of strings")?,
    };
    Ok(())
}

fn read_tools(fields: &mut Fields<'_, '_>, request: &mut Request, notes: &mut Notes) -> Result<(), Invalid> {
    let path = fields.path;
    for old in ["functions", "function_call"] {
        if let Some(raw) = fields.raw(old) {
            return Err(path.field(old).invalid(raw, "tools and tool_choice in its place"));
        }
    }
    let tools_path = path.field("tools");
    for (index, raw) in fields.items("tools")?.unwrap_or_default().into_iter().enumerate() {
        let path = tools_path.index(index);
        let mut tool = Fields::read(raw, path)?;
        let kind = tool.text("type")?.unwrap_or("function".into());
        if kind != "function" {
            return Err(Invalid::new(path.field("type"), format!("{kind:?}"), "\"function\""));
        }
        let cache = read_cache(&mut tool, notes)?;
        let function: &RawValue = tool.need("function", "an object")?;
        request.tools.push(read_tool_schema(function, path.field("function"), cache, notes)?);
        tool.finish(notes);
    }
    request.parallel_tool_calls = fields.boolean("parallel_tool_calls")?;
    if let Some(raw) = fields.raw("tool_choice") {
        let path = path.field("tool_choice");
        let expected =
            "\"auto\", \"none\", \"required\" or {\"type\":\"function\",\"function\":{\"name\":…}}";
        request.tool_choice = Some(match raw.get() {
            "\"auto\"" => ToolChoice::Auto,
            "\"none\"" => ToolChoice::None,
            "\"required\"" => ToolChoice::Required,
            _ if is_object(raw) => {
                let mut choice = Fields::read(raw, path)?;
                if choice.text("type")?.as_deref() != Some("function") {
                    return Err(path.invalid(raw, expected));
                }
                let function: &RawValue = choice.need("function", "an object")?;
                ToolChoice::Tool(Fields::read(function, path.field("function"))?.need_string("name")?)
            }
            _ => return Err(path.invalid(raw, expected)),
        });
    }
    Ok(())
}

/// A function's name, description and schema.
pub(crate) fn read_tool_schema(
    raw: &RawValue,
    path: Path<'_>,
    cache: Option<Cache>,
    notes: &mut Notes,
) -> Result<Tool, Invalid> {
    let mut function = Fields::read(raw, path)?;
    let tool = Tool {
        name: function.need_string("name")?,
        description: function.string("description")?,
        parameters: function.json("parameters"),
        strict: function.boolean("strict")?,
        cache,
    };
    // Responses name the kind of a tool within the same object.
    function.raw("type");
    function.finish(notes);
    Ok(tool)
}

fn read_format(fields: &mut Fields<'_, '_>, notes: &mut Notes) -> Result<Option<Format>, Invalid> {
    let root = fields.path;
    let path = root.field("response_format");
    let Some(raw) = fields.raw("response_format") else { return Ok(None) };
    let mut format = Fields::read(raw, path)?;
    let kind = format.need_string("type")?;
    let read = match kind.as_str() {
        "text" => Format::Text,
        "json_object" => Format::JsonObject,
        "json_schema" => {
            let inner: &RawValue = format.need("json_schema", "an object")?;
            let path = path.field("json_schema");
            let mut inner = Fields::read(inner, path)?;
            let schema = inner.json("schema").ok_or_else(|| inner.missing("schema", "a JSON schema"))?;
            let read = Format::JsonSchema {
                name: inner.string("name")?,
                description: inner.string("description")?,
                schema,
                strict: inner.boolean("strict")?,
            };
            inner.finish(notes);
            read
        }
        other => {
            let expected = "\"text\", \"json_object\" or \"json_schema\"";
            return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
        }
    };
    format.finish(notes);
    Ok(Some(read))
}

/// `cache_control`, as gateways take it from OpenAI clients, or OpenAI's own `prompt_cache_breakpoint`.
pub(super) fn read_cache(fields: &mut Fields<'_, '_>, notes: &mut Notes) -> Result<Option<Cache>, Invalid> {
    let breakpoint = fields.raw("prompt_cache_breakpoint");
    match crate::anthropic::read_cache(fields, notes)? {
        Some(cache) => Ok(Some(cache)),
        None => Ok(breakpoint.map(|_| Cache::default())),
    }
}
