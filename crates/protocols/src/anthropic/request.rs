//! A request of Anthropic's messages, read; a request to count tokens is the same without `max_tokens`.

use super::blocks::read_content;
use crate::canonical::{Cache, Effort, Format, Message, Request, Role, Thinking, Tier, Tool, ToolChoice};
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, document, is_object};
use serde_json::value::RawValue;

/// Reads a request's body. One that only counts needs no `max_tokens`.
pub(crate) fn read_request(body: &[u8], only_counts: bool, notes: &mut Notes) -> Result<Request, Invalid> {
    let mut fields = Fields::read(document(body)?, Path::ROOT)?;
    let root = Path::ROOT;
    let mut request =
        Request { model: fields.need_string("model")?, is_anthropic: true, ..Request::default() };
    request.max_tokens = fields.count("max_tokens")?;
    if request.max_tokens.is_none() && !only_counts {
        return Err(Invalid::missing("max_tokens", "a whole number from 1 on"));
    }
    if let Some(raw) = fields.raw("system") {
        let parts = read_content(raw, root.field("system"), notes)?;
        request.messages.push(Message::new(Role::System, parts));
    }
    let path = root.field("messages");
    for (index, raw) in
        fields.need::<Vec<&RawValue>>("messages", "an array of messages")?.into_iter().enumerate()
    {
        let path = path.index(index);
        let mut message = Fields::read(raw, path)?;
        let role = match message.need_string("role")?.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            other => {
                let expected = "\"user\", \"assistant\" or \"system\"";
                return Err(Invalid::new(path.field("role"), format!("{other:?}"), expected));
            }
        };
        let content: &RawValue = message.need("content", "a string or an array of blocks")?;
        let parts = read_content(content, path.field("content"), notes)?;
        request.messages.push(Message::new(role, parts));
        message.finish(notes);
    }
    read_tools(&mut fields, &mut request, notes)?;
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.top_k = fields.count("top_k")?;
    request.stop = fields.get("stop_sequences", "an array of strings")?.unwrap_or_default();
    request.stream = fields.boolean("stream")?.unwrap_or_default();
    request.service_tier = fields.text("service_tier")?.map(|name| Tier::parse(&name));
    request.cache = read_cache(&mut fields, notes)?;
    read_thinking(&mut fields, &mut request, notes)?;
    read_output_config(&mut fields, &mut request, notes)?;
    if let Some(raw) = fields.raw("metadata") {
        let mut metadata = Fields::read(raw, root.field("metadata"))?;
        request.user = metadata.string("user_id")?;
        metadata.finish(notes);
    }
    fields.finish(notes);
    Ok(request)
}

/// `cache_control`.
pub(crate) fn read_cache(fields: &mut Fields<'_, '_>, notes: &mut Notes) -> Result<Option<Cache>, Invalid> {
    let path = fields.path;
    let path = path.field("cache_control");
    let Some(raw) = fields.raw("cache_control") else { return Ok(None) };
    let mut inner = Fields::read(raw, path)?;
    let kind = inner.need_string("type")?;
    if kind != "ephemeral" {
        return Err(Invalid::new(path.field("type"), format!("{kind:?}"), "\"ephemeral\""));
    }
    let hour = match inner.text("ttl")?.as_deref() {
        None => None,
        Some("5m") => Some(false),
        Some("1h") => Some(true),
        Some(other) => {
            return Err(Invalid::new(path.field("ttl"), format!("{other:?}"), "\"5m\" or \"1h\""));
        }
    };
    inner.finish(notes);
    Ok(Some(Cache { hour }))
}

fn read_tools(fields: &mut Fields<'_, '_>, request: &mut Request, notes: &mut Notes) -> Result<(), Invalid> {
    let root = fields.path;
    let path = root.field("tools");
    for (index, raw) in fields.items("tools")?.unwrap_or_default().into_iter().enumerate() {
        let path = path.index(index);
        let mut tool = Fields::read(raw, path)?;
        if let Some(kind) = tool.text("type")?
            && kind != "custom"
        {
            let expected = "\"custom\": Anthropic's own tools run only at Anthropic";
            return Err(Invalid::new(path.field("type"), format!("{kind:?}"), expected));
        }
        let schema =
            tool.json("input_schema").ok_or_else(|| tool.missing("input_schema", "a JSON schema"))?;
        request.tools.push(Tool {
            name: tool.need_string("name")?,
            description: tool.string("description")?,
            parameters: Some(schema),
            strict: tool.boolean("strict")?,
            cache: read_cache(&mut tool, notes)?,
        });
        // How pieces of arguments are cut is nobody's business but the stream's.
        tool.raw("eager_input_streaming");
        tool.finish(notes);
    }
    if let Some(raw) = fields.raw("tool_choice") {
        let path = root.field("tool_choice");
        let mut choice = Fields::read(raw, path)?;
        request.tool_choice = Some(match choice.need_string("type")?.as_str() {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            "tool" => ToolChoice::Tool(choice.need_string("name")?),
            _ => return Err(path.invalid(raw, "a type of \"auto\", \"any\", \"tool\" or \"none\"")),
        });
        request.parallel_tool_calls = choice.boolean("disable_parallel_tool_use")?.map(|disabled| !disabled);
        choice.finish(notes);
    }
    Ok(())
}

fn read_thinking(
    fields: &mut Fields<'_, '_>,
    request: &mut Request,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let root = fields.path;
    let path = root.field("thinking");
    let Some(raw) = fields.raw("thinking") else { return Ok(()) };
    let mut thinking = Fields::read(raw, path)?;
    request.thinking = Some(match thinking.need_string("type")?.as_str() {
        "enabled" => Thinking::Budget(thinking.need("budget_tokens", "a whole number from 1024 on")?),
        "disabled" => Thinking::Off,
        "adaptive" => Thinking::Adaptive,
        "between_tools" => {
            notes.add(path.field("type"), "taken as \"adaptive\": no other protocol has it");
            Thinking::Adaptive
        }
        other => {
            let expected = "\"enabled\", \"adaptive\" or \"disabled\"";
            return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
        }
    });
    request.show_thinking = thinking.text("display")?.map(|display| display != "omitted");
    thinking.finish(notes);
    Ok(())
}

fn read_output_config(
    fields: &mut Fields<'_, '_>,
    request: &mut Request,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let root = fields.path;
    // The beta's name of `output_config.format`.
    if let Some(raw) = fields.raw("output_format") {
        request.format = Some(read_format(raw, root.field("output_format"), notes)?);
    }
    let path = root.field("output_config");
    let Some(raw) = fields.raw("output_config") else { return Ok(()) };
    let mut config = Fields::read(raw, path)?;
    if let Some(name) = config.text("effort")? {
        let effort = Effort::parse(&name);
        let effort =
            effort.ok_or_else(|| Invalid::new(path.field("effort"), format!("{name:?}"), Effort::NAMES))?;
        request.effort = Some(effort);
    }
    if let Some(raw) = config.raw("format") {
        request.format = Some(read_format(raw, path.field("format"), notes)?);
    }
    config.finish(notes);
    Ok(())
}

fn read_format(raw: &RawValue, path: Path<'_>, notes: &mut Notes) -> Result<Format, Invalid> {
    let mut format = Fields::read(raw, path)?;
    let kind = format.need_string("type")?;
    if kind != "json_schema" {
        return Err(Invalid::new(path.field("type"), format!("{kind:?}"), "\"json_schema\""));
    }
    let schema = format.raw("schema").filter(|raw| is_object(raw));
    let schema = schema.ok_or_else(|| format.missing("schema", "a JSON schema"))?;
    format.finish(notes);
    Ok(Format::JsonSchema {
        name: None,
        description: None,
        schema: crate::read::Json::new(schema),
        strict: None,
    })
}
