//! A rendered prompt and a caller's body become one request.
//!
//! The prompt's messages come first, the caller's follow; parameters that the caller does not give are taken from the prompt. All
//! else stays as the caller wrote it, byte for byte, but for the member `prompt`, which no upstream knows.
//!
//! | form | the prompt's instructions | its other messages |
//! |---|---|---|
//! | Chat Completions | in `messages`, in their place | in `messages`, in their place |
//! | Responses | those that come first before `instructions`, others in `input` | before `input` |
//! | Anthropic Messages | before `system`, as messages have no such role | before `messages` |

use crate::json::{Edits, Member, Object, quoted, shown};
use crate::template::Message;
use contracts::policy::prompt::Defaults;
use serde_json::{Map, Value};
use std::fmt;

/// Between two instructions that become one text.
const BETWEEN: &str = "\n\n";

/// Which protocol a body is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
}

/// A body that a prompt cannot be put into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value} is not valid, expected {expected}")]
pub struct MergeError {
    /// Which member; `body` for the whole.
    pub field: &'static str,
    /// What it holds, cut to a length that can be shown.
    pub value: String,
    /// What it may hold.
    pub expected: String,
}

/// A caller's body that was read once: a JSON object, and where its members stand.
pub struct Body<'a>(Object<'a>);

impl<'a> Body<'a> {
    /// Reads it. Refuses what is not an object, what is not JSON, and repeated names.
    pub fn read(body: &'a [u8]) -> Result<Self, MergeError> {
        read(body).map(Self)
    }

    /// A member's value as it was written, if it is there and not null.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|member| member.value)
    }
}

impl fmt::Debug for Body<'_> {
    /// Without what a caller wrote, which is nobody's business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// Puts a rendered prompt and its defaults into a body.
pub fn merge(
    form: Form,
    Body(object): &Body<'_>,
    messages: &[Message],
    defaults: &Defaults,
) -> Result<Vec<u8>, MergeError> {
    let mut edits = Edits::of(object);
    // In Chat Completions and Responses alike the caller's `prompt` is an object; text would be a legacy completion's.
    if object.get("prompt").is_some_and(|prompt| prompt.value.starts_with('{')) {
        edits.remove("prompt");
    }
    match form {
        Form::Chat => before_list(&mut edits, object, "messages", messages.iter())?,
        Form::Responses => {
            let leading = messages.iter().take_while(|message| message.role.instructs()).count();
            let (instructions, rest) = messages.split_at(leading);
            before_text(&mut edits, object, "instructions", instructions.iter())?;
            before_input(&mut edits, object, rest)?;
        }
        Form::Messages => {
            before_text(
                &mut edits,
                object,
                "system",
                messages.iter().filter(|message| message.role.instructs()),
            )?;
            let rest = messages.iter().filter(|message| !message.role.instructs());
            before_list(&mut edits, object, "messages", rest)?;
        }
    }
    fill(form, &mut edits, object, defaults);
    Ok(edits.apply().into_bytes())
}

/// Gives members of a body other values, or adds them: the parameters of an experiment's arm.
pub fn set_members(body: &[u8], members: &Map<String, Value>) -> Result<Vec<u8>, MergeError> {
    let object = read(body)?;
    let mut edits = Edits::of(&object);
    for (name, value) in members {
        edits.set(name, value.to_string());
    }
    Ok(edits.apply().into_bytes())
}

fn read(body: &[u8]) -> Result<Object<'_>, MergeError> {
    let text = std::str::from_utf8(body).map_err(|error| MergeError {
        field: "body",
        value: format!("the byte at offset {}", error.valid_up_to()),
        expected: "UTF-8".into(),
    })?;
    Object::read(text).map_err(|error| MergeError {
        field: "body",
        value: shown(text),
        expected: format!("a JSON object ({error})"),
    })
}

fn wrong(field: &'static str, member: &Member<'_>, expected: &str) -> MergeError {
    MergeError { field, value: shown(member.value), expected: expected.into() }
}

/// The messages as elements of an array, without its brackets.
fn elements<'m>(messages: impl Iterator<Item = &'m Message>) -> String {
    let mut text = String::new();
    for message in messages {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(r#"{"role":""#);
        text.push_str(message.role.as_str());
        text.push_str(r#"","content":"#);
        text.push_str(&quoted(&message.content));
        text.push('}');
    }
    text
}

/// Puts messages first in an array, which need not be there.
fn before_list<'m>(
    edits: &mut Edits<'_, '_>,
    object: &Object<'_>,
    field: &'static str,
    messages: impl Iterator<Item = &'m Message>,
) -> Result<(), MergeError> {
    let new = elements(messages);
    match object.get(field) {
        None => edits.set(field, format!("[{new}]")),
        Some(list) => {
            let expected = if field == "input" { "a string or an array" } else { "an array" };
            put_first(edits, list, new).ok_or_else(|| wrong(field, list, expected))?;
        }
    }
    Ok(())
}

/// Puts elements first in the array that `list` is.
fn put_first(edits: &mut Edits<'_, '_>, list: &Member<'_>, mut new: String) -> Option<()> {
    let inside = list.value.strip_prefix('[')?;
    if new.is_empty() {
        return Some(());
    }
    if inside.trim_start() != "]" {
        new.push(',');
    }
    let at = list.at.start + 1;
    edits.replace(at..at, new);
    Some(())
}

/// Puts instructions before a text, or before the blocks of one.
fn before_text<'m>(
    edits: &mut Edits<'_, '_>,
    object: &Object<'_>,
    field: &'static str,
    messages: impl Iterator<Item = &'m Message>,
) -> Result<(), MergeError> {
    let texts: Vec<&str> = messages.map(|message| message.content.as_str()).collect();
    if texts.is_empty() {
        return Ok(());
    }
    let mut new = quoted(&texts.join(BETWEEN));
    match object.get(field) {
        None => edits.set(field, new),
        Some(text) if text.value.starts_with('"') => {
            // The caller's own text stays in the escapes it was written in.
            new.pop();
            new.push_str(&quoted(BETWEEN)[1..]);
            new.pop();
            edits.replace(text.at.start..text.at.start + 1, new);
        }
        Some(blocks) if field == "system" => {
            let block = format!(r#"{{"type":"text","text":{new}}}"#);
            put_first(edits, blocks, block).ok_or_else(|| wrong(field, blocks, "a string or an array"))?;
        }
        Some(other) => return Err(wrong(field, other, "a string")),
    }
    Ok(())
}

/// Puts messages before the input of a response, which may be a text or a list of items.
fn before_input(
    edits: &mut Edits<'_, '_>,
    object: &Object<'_>,
    messages: &[Message],
) -> Result<(), MergeError> {
    if messages.is_empty() {
        return Ok(());
    }
    let Some(input) = object.get("input").filter(|input| input.value.starts_with('"')) else {
        return before_list(edits, object, "input", messages.iter());
    };
    let before = format!(r#"[{},{{"role":"user","content":"#, elements(messages.iter()));
    edits.replace(input.at.start..input.at.start, before);
    edits.replace(input.at.end..input.at.end, "}]".into());
    Ok(())
}

/// Adds what the caller does not give; null is not given.
fn fill(form: Form, edits: &mut Edits<'_, '_>, object: &Object<'_>, defaults: &Defaults) {
    let mut set = |names: &[&str], value: Option<Value>| {
        if let Some(value) = value
            && let Some(name) = names.first()
            && names.iter().all(|name| object.get(name).is_none())
        {
            edits.set(name, value.to_string());
        }
    };
    set(&["model"], defaults.model.as_ref().map(|model| model.as_str().into()));
    set(&["temperature"], defaults.temperature.map(Into::into));
    set(&["top_p"], defaults.top_p.map(Into::into));
    // The first name is the one that is written; a caller may have used the others.
    let (most, stop): (&[&str], &[&str]) = match form {
        Form::Chat => (&["max_completion_tokens", "max_tokens"], &["stop"]),
        // A response has no such parameter.
        Form::Responses => (&["max_output_tokens"], &[]),
        Form::Messages => (&["max_tokens"], &["stop_sequences"]),
    };
    set(most, defaults.max_tokens.map(Into::into));
    set(stop, (!defaults.stop.is_empty()).then(|| defaults.stop.clone().into()));
}

#[cfg(test)]
mod tests;
