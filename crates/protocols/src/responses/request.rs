//! A request of responses, read.

use super::input::read_item;
use crate::canonical::{Effort, Format, Message, Part, Request, Role, Tier, ToolChoice};
use crate::chat::{read_metadata, read_tool_schema};
use crate::problem::{Invalid, Notes, Path};
use crate::read::{Fields, Json, document, is_object, is_string, value};
use serde_json::value::RawValue;

/// What a response repeats of its request, as it stood there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Echo {
    pub members: Vec<(&'static str, Json)>,
}

impl Echo {
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| *member == name)
    }
}

const ECHOED: [&str; 14] = [
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
];

/// Reads a request's body.
pub(crate) fn read_request(body: &[u8], notes: &mut Notes) -> Result<(Request, Echo), Invalid> {
    let raw = document(body)?;
    let mut echo = Echo::default();
    let mut repeated = Fields::read(raw, Path::ROOT)?;
    for name in ECHOED {
        echo.members.extend(repeated.json(name).map(|json| (name, json)));
    }
    let root = Path::ROOT;
    let mut fields = Fields::read(raw, root)?;
    refuse(&mut fields)?;
    let mut request = Request { model: fields.need_string("model")?, ..Request::default() };
    if let Some(text) = fields.string("instructions")? {
        request.messages.push(Message::new(Role::System, vec![Part::text(text)]));
    }
    match fields.raw("input") {
        None => return Err(Invalid::missing("input", "a string or an array of items")),
        Some(raw) if is_string(raw) => {
            let text = value(raw, root.field("input"), "a string")?;
            request.messages.push(Message::new(Role::User, vec![Part::text(text)]));
        }
        Some(raw) => {
            let path = root.field("input");
            let items: Vec<&RawValue> = value(raw, path, "a string or an array of items")?;
            for (at, item) in items.into_iter().enumerate() {
                add(&mut request, read_item(item, path.index(at), notes)?);
            }
        }
    }
    read_tools(&mut fields, &mut request, notes)?;
    request.max_tokens = fields.count("max_output_tokens")?;
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.top_logprobs = fields.count("top_logprobs")?;
    read_text(&mut fields, &mut request, notes)?;
    read_reasoning(&mut fields, &mut request, notes)?;
    request.stream = fields.boolean("stream")?.unwrap_or_default();
    let safety_identifier = fields.string("safety_identifier")?;
    request.user = fields.string("user")?.or(safety_identifier);
    request.metadata = read_metadata(&mut fields)?;
    request.service_tier = fields.text("service_tier")?.map(|name| Tier::parse(&name));
    for item in fields.get::<Vec<String>>("include", "an array of strings")?.unwrap_or_default() {
        if item != "reasoning.encrypted_content" {
            notes.add("include", format!("{item} is left out: this provider has none"));
        }
    }
    if fields.text("truncation")?.is_some_and(|truncation| truncation != "disabled") {
        notes.add("truncation", "left out: this provider does not shorten conversations");
    }
    for harmless in ["store", "prompt_cache_key", "prompt_cache_retention", "stream_options", "background"] {
        fields.raw(harmless);
    }
    fields.finish(notes);
    Ok((request, echo))
}

/// What would need a memory of earlier responses.
fn refuse(fields: &mut Fields<'_, '_>) -> Result<(), Invalid> {
    let root = fields.path;
    for (name, expected) in [
        ("previous_response_id", "the earlier items in input: this provider keeps no responses"),
        ("conversation", "the earlier items in input: this provider keeps no conversations"),
        ("prompt", "instructions and input: this provider keeps no prompts"),
    ] {
        if let Some(raw) = fields.raw(name) {
            return Err(root.field(name).invalid(raw, expected));
        }
    }
    if fields.boolean("background")? == Some(true) {
        return Err(Invalid::new("background", "true", "false: this provider answers at once"));
    }
    Ok(())
}

/// What one side says in several items is one message, as in every other protocol.
fn add(request: &mut Request, message: Message) {
    match request.messages.last_mut() {
        Some(last) if last.role == message.role && message.role == Role::Assistant => {
            last.parts.extend(message.parts);
        }
        _ => request.messages.push(message),
    }
}

fn read_tools(fields: &mut Fields<'_, '_>, request: &mut Request, notes: &mut Notes) -> Result<(), Invalid> {
    let root = fields.path;
    let path = root.field("tools");
    for (at, raw) in fields.items("tools")?.unwrap_or_default().into_iter().enumerate() {
        let path = path.index(at);
        let kind = Fields::read(raw, path)?.need_string("type")?;
        if kind != "function" {
            let expected = "\"function\": OpenAI's own tools run only at OpenAI";
            return Err(Invalid::new(path.field("type"), format!("{kind:?}"), expected));
        }
        request.tools.push(read_tool_schema(raw, path, None, notes)?);
    }
    request.parallel_tool_calls = fields.boolean("parallel_tool_calls")?;
    if let Some(raw) = fields.raw("tool_choice") {
        let path = root.field("tool_choice");
        let expected = "\"auto\", \"none\", \"required\" or {\"type\":\"function\",\"name\":…}";
        request.tool_choice = Some(match raw.get() {
            "\"auto\"" => ToolChoice::Auto,
            "\"none\"" => ToolChoice::None,
            "\"required\"" => ToolChoice::Required,
            _ if is_object(raw) => {
                let mut choice = Fields::read(raw, path)?;
                if choice.text("type")?.as_deref() != Some("function") {
                    return Err(path.invalid(raw, expected));
                }
                ToolChoice::Tool(choice.need_string("name")?)
            }
            _ => return Err(path.invalid(raw, expected)),
        });
    }
    Ok(())
}

fn read_text(fields: &mut Fields<'_, '_>, request: &mut Request, notes: &mut Notes) -> Result<(), Invalid> {
    let root = fields.path;
    let path = root.field("text");
    let Some(raw) = fields.raw("text") else { return Ok(()) };
    let mut text = Fields::read(raw, path)?;
    request.verbosity = text.string("verbosity")?;
    if let Some(raw) = text.raw("format") {
        let path = path.field("format");
        let mut format = Fields::read(raw, path)?;
        let kind = format.need_string("type")?;
        request.format = Some(match kind.as_str() {
            "text" => Format::Text,
            "json_object" => Format::JsonObject,
            "json_schema" => Format::JsonSchema {
                name: format.string("name")?,
                description: format.string("description")?,
                schema: format.json("schema").ok_or_else(|| format.missing("schema", "a JSON schema"))?,
                strict: format.boolean("strict")?,
            },
            other => {
                let expected = "\"text\", \"json_object\" or \"json_schema\"";
                return Err(Invalid::new(path.field("type"), format!("{other:?}"), expected));
            }
        });
        format.finish(notes);
    }
    text.finish(notes);
    Ok(())
}

fn read_reasoning(
    fields: &mut Fields<'_, '_>,
    request: &mut Request,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let root = fields.path;
    let path = root.field("reasoning");
    let Some(raw) = fields.raw("reasoning") else { return Ok(()) };
    let mut reasoning = Fields::read(raw, path)?;
    if let Some(name) = reasoning.text("effort")? {
        let effort = Effort::parse(&name);
        let effort =
            effort.ok_or_else(|| Invalid::new(path.field("effort"), format!("{name:?}"), Effort::NAMES))?;
        request.effort = Some(effort);
    }
    let old = reasoning.raw("generate_summary");
    if reasoning.raw("summary").or(old).is_some() {
        request.show_thinking = Some(true);
    }
    reasoning.finish(notes);
    Ok(())
}
