//! What a request costs beyond its own bytes.
//!
//! A prompt has at most as many tokens as bytes, as long as it is all there. Pictures are not: they are counted, to be taken for the
//! largest there are. Nor is what the request only refers to (an earlier response, a file at the provider, a document at some
//! address), nor what the provider makes of a few bytes (the pages of a file, a film): such a prompt may be as long as the model
//! takes. And tools that run at the provider read what nobody knows, as often as they like, for fees of their own.
//!
//! Names count as a reader of JSON sees them, whatever blanks and escapes they are written with.

use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::request::{Ask, Member, Name, members, utf8};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;

/// Bodies above this many bytes are looked through off the async threads.
const LARGE: usize = 256 << 10;
/// Fields that let the provider do more than answer, or answer with another model, or at another length than what was reserved for.
const BEYOND: [&str; 10] = [
    "web_search_options",
    "search_parameters",
    "mcp_servers",
    "plugins",
    "container",
    "models",
    "fallbacks",
    "n_predict",
    "num_predict",
    "max_new_tokens",
];
/// Fields that lead to what the provider keeps.
const KEPT: [&str; 2] = ["previous_response_id", "conversation"];
/// Kinds of tools that run at the client; those with a date in their name begin like this.
const TOOLS_OF_CLIENTS: [&str; 9] = [
    "function",
    "custom",
    "local_shell",
    "apply_patch",
    "computer",
    "bash_",
    "text_editor_",
    "memory_",
    "namespace",
];
/// Calls of such tools, as items of a prompt.
const CALLS_OF_CLIENTS: [&str; 6] = [
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "apply_patch_call",
    "shell_call",
    "computer_call",
];

/// What is in a request that its bytes do not bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub(super) pictures: u64,
    /// Where the request refers to what it does not carry.
    pub(super) refers: Option<String>,
    /// Where it asks for what has no bound at all.
    pub(super) beyond: Option<String>,
}

/// Most tokens of a prompt beside those of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Beyond {
    pub(super) pictures: u64,
    /// Of what it only refers to.
    pub(super) context: u64,
}

impl Beyond {
    /// As far as the request itself tells.
    pub(super) fn within(endpoint: &Endpoint, ask: &Ask) -> Self {
        Self { pictures: look(endpoint, &ask.body).pictures, context: 0 }
    }
}

/// What is in the request. A large one is looked through off the async threads.
pub(super) async fn of(endpoint: &'static Endpoint, ask: &Ask) -> Content {
    if ask.body.len() <= LARGE {
        return look(endpoint, &ask.body);
    }
    let body = ask.body.clone();
    // Without the threads the process is ending, and nothing is sent any more.
    tokio::task::spawn_blocking(move || look(endpoint, &body)).await.unwrap_or_default()
}

impl Content {
    /// Most tokens beside those of the text, if a prompt has at most `context`. What nobody can bound is refused where it matters.
    pub(super) fn tokens(self, context: Option<NonZeroU64>, may_refuse: bool) -> Result<Beyond, Failure> {
        let refers = self.refers.as_ref().filter(|_| context.is_none());
        if let Some(field) = self.beyond.as_ref().or(refers).filter(|_| may_refuse) {
            return Err(Failure::Unbounded { field: field.clone() });
        }
        let context = self.refers.and(context).map_or(0, NonZeroU64::get);
        Ok(Beyond { pictures: self.pictures, context })
    }
}

/// Looks through a body that was read before, so that it is a JSON object.
fn look(endpoint: &Endpoint, body: &[u8]) -> Content {
    let Some(members) = utf8(body).ok().and_then(|text| members(text).ok()) else {
        return Content::default();
    };
    let mut content = Content::default();
    for member in members.iter().filter(|member| member.text() != "null") {
        let name = member.name.as_ref();
        if BEYOND.contains(&name) {
            content.beyond.get_or_insert_with(|| name.to_owned());
        } else if KEPT.contains(&name) || (name == "prompt" && endpoint.prompt == "input") {
            content.refers.get_or_insert_with(|| name.to_owned());
        } else if name == "tools" {
            content.beyond = content.beyond.take().or_else(|| hosted_tool(member));
        } else if name == endpoint.prompt || name == "system" {
            let found = deeply(member.text());
            content.pictures += found.pictures;
            if let Some(what) = found.refers {
                content.refers.get_or_insert_with(|| format!("{name}: {what}"));
            }
        }
    }
    content
}

/// The first of the tools that runs at the provider.
fn hosted_tool(tools: &Member<'_>) -> Option<String> {
    let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(tools.text()).ok()?;
    items.iter().enumerate().find_map(|(at, item)| {
        let fields = members(item.get()).ok()?;
        let find = |name: &str| fields.iter().find(|field| field.name == name);
        let is_ours = match find("type").filter(|kind| kind.text() != "null") {
            Some(kind) => {
                let kind = kind.string().unwrap_or_default();
                TOOLS_OF_CLIENTS.iter().any(|known| kind.starts_with(known))
            }
            None => find("name").is_some(),
        };
        (!is_ours).then(|| format!("tools[{at}]"))
    })
}

/// What is found within a value.
#[derive(Debug, Default)]
struct Found<'a> {
    pictures: u64,
    refers: Option<&'static str>,
    /// The value itself, where it is a text.
    text: Option<Cow<'a, str>>,
}

fn deeply(text: &str) -> Found<'_> {
    let mut reader = serde_json::Deserializer::from_str(text);
    // What cannot be read may be anything.
    Value.deserialize(&mut reader).unwrap_or(Found { refers: Some("unreadable"), ..Found::default() })
}

/// Reads a value for what is found within it.
struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Found<'de>, E> {
        Ok(Found::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Found<'de>, E> {
        Ok(Found::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found<'de>, E> {
        Ok(Found::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Found<'de>, E> {
        Ok(Found::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found<'de>, E> {
        Ok(Found::default())
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Found<'de>, E> {
        Ok(Found { text: Some(Cow::Borrowed(text)), ..Found::default() })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Found<'de>, E> {
        // One with escapes. Those that matter are short.
        let end = text.floor_char_boundary(64);
        Ok(Found { text: Some(Cow::Owned(text[..end].to_owned())), ..Found::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(item) = items.next_element_seed(Value)? {
            found.pictures += item.pictures;
            found.refers = found.refers.or(item.refers);
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            match name.as_ref() {
                // A schema or arguments may name anything.
                "input_schema" | "parameters" | "schema" | "metadata" => {
                    members.next_value::<IgnoredAny>()?;
                }
                name => object.learn(name, members.next_value_seed(Value)?),
            }
        }
        Ok(object.found())
    }
}

/// What an object says that it is.
#[derive(Debug, Default)]
enum Kind<'a> {
    #[default]
    Unsaid,
    Said(Option<Cow<'a, str>>),
    /// Of two, nobody knows which one counts.
    Twice,
}

/// What matters of an object.
#[derive(Debug, Default)]
struct Object<'a> {
    kind: Kind<'a>,
    pictures: u64,
    refers: Option<&'static str>,
    has_id: bool,
    has_role: bool,
    is_sealed: bool,
}

impl<'a> Object<'a> {
    fn learn(&mut self, name: &str, value: Found<'a>) {
        self.pictures += value.pictures;
        self.refers = self.refers.or(value.refers);
        let text = value.text.as_deref().unwrap_or_default();
        let refers = match name {
            "type" => {
                let is_first = matches!(self.kind, Kind::Unsaid);
                self.kind = if is_first { Kind::Said(value.text) } else { Kind::Twice };
                return;
            }
            "image_url" => {
                self.pictures += 1;
                return;
            }
            "id" => {
                self.has_id |= !text.is_empty();
                return;
            }
            "role" => {
                self.has_role = true;
                return;
            }
            "encrypted_content" => {
                self.is_sealed |= !text.is_empty();
                return;
            }
            "file_id" if !text.is_empty() => "file_id",
            "file_url" if !text.is_empty() => "file_url",
            "file_data" if !text.is_empty() => "file_data",
            "video_url" => "video_url",
            "audio_url" => "audio_url",
            "media_type" if !(text.is_empty() || text.starts_with("image/") || text == "text/plain") => {
                "media_type"
            }
            _ => return,
        };
        self.refers = self.refers.or(Some(refers));
    }

    fn found(self) -> Found<'a> {
        let none = Found::default();
        let kind = match &self.kind {
            Kind::Unsaid => None,
            Kind::Said(kind) => kind.as_deref(),
            Kind::Twice => {
                return Found { pictures: self.pictures.max(1), refers: Some("type"), text: None };
            }
        };
        let refers = match kind {
            // A message is no piece of one, whatever it says of itself: translated, it is still a message.
            Some("tool_use" | "server_tool_use") if self.has_role => None,
            // Arguments that the model wrote: JSON of its own, and no part of the prompt's.
            Some("tool_use" | "server_tool_use") => return none,
            // Wherever it is: a picture is bounded by what pictures are at most. What calls itself one and has a role may be a message, and what
            // that refers to counts as well.
            Some("image" | "input_image" | "image_url" | "computer_screenshot") => {
                let refers = self.refers.filter(|_| self.has_role);
                return Found { pictures: self.pictures.max(1), refers, text: None };
            }
            Some("url") => Some("url"),
            Some("item_reference") => Some("item_reference"),
            Some("reasoning") if !self.is_sealed => Some("reasoning"),
            Some(kind) if kind.ends_with("_call") && !CALLS_OF_CLIENTS.contains(&kind) => Some("call"),
            None if self.has_id && !self.has_role => Some("id"),
            _ => None,
        };
        Found { pictures: self.pictures, refers: self.refers.or(refers), text: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{CHAT_COMPLETIONS, MESSAGES, RESPONSES};

    #[test]
    fn pictures_are_counted_however_they_are_written() {
        let body = r#"{"messages":[{"role":"user","content":[
            {"type":"text","text":"\"image_url\":"},
            {"type":"image_url","image_url" : {"url":"https://a/1"}},
            {"image_url":"https://a/2"},
            {"type":"im\u0061ge_url","image\u005furl":{"url":"https://a/3"}}]}]}"#;
        let content = look(&CHAT_COMPLETIONS, body.as_bytes());
        assert_eq!(content, Content { pictures: 3, ..Content::default() });
        let body = r#"{"messages":[{"role":"user","content":[
            {"type":"image","source":{"type":"url","url":"https://a/1"}},
            {"source":{"type":"file","file_id":"f"},"type":"image"}]}]}"#;
        assert_eq!(look(&MESSAGES, body.as_bytes()), Content { pictures: 2, ..Content::default() });
        // A role makes it no less a picture.
        let body = r#"{"messages":[{"role":"user","content":[
            {"type":"image","role":"user","source":{"type":"base64","media_type":"image/png","data":"eA=="}}]}]}"#;
        assert_eq!(look(&MESSAGES, body.as_bytes()), Content { pictures: 1, ..Content::default() });
    }

    #[test]
    fn what_is_not_in_the_body_is_seen() {
        for (endpoint, body, says) in [
            (&RESPONSES, r#"{"previous_response_id":"r"}"#, "previous_response_id"),
            (&RESPONSES, r#"{"convers\u0061tion":{"id":"c"}}"#, "conversation"),
            (&RESPONSES, r#"{"prompt":{"id":"p"}}"#, "prompt"),
            (&RESPONSES, r#"{"input":[{"type":"item_reference","id":"i"}]}"#, "input: item_reference"),
            (&RESPONSES, r#"{"input":[{"id":"i"}]}"#, "input: id"),
            (&RESPONSES, r#"{"input":[{"type":"reasoning","id":"i","summary":[]}]}"#, "input: reasoning"),
            (&RESPONSES, r#"{"input":[{"type":"web_search_call","id":"i"}]}"#, "input: call"),
            (
                &RESPONSES,
                r#"{"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://a"}]}]}"#,
                "input: file_url",
            ),
            (
                &CHAT_COMPLETIONS,
                r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file\u005fid":"f"}}]}]}"#,
                "messages: file_id",
            ),
            (&CHAT_COMPLETIONS, r#"{"messages":[{"role":"assistant","audio":{"id":"a"}}]}"#, "messages: id"),
            // A message does not become a picture by saying so.
            (
                &CHAT_COMPLETIONS,
                r#"{"messages":[{"role":"user","type":"image","content":[{"type":"file","file":{"file_data":"https://a"}}]}]}"#,
                "messages: file_data",
            ),
            (
                &MESSAGES,
                r#"{"messages":[{"role":"user","content":[{"type":"image","type":"document","source":{"type":"url","url":"https://a"}}]}]}"#,
                "messages: type",
            ),
            (
                &MESSAGES,
                r#"{"messages":[{"role":"user","content":[{"type":"tool_use","typ\u0065":"document","source":{"type":"url","url":"https://a"}}]}]}"#,
                "messages: type",
            ),
            (
                &MESSAGES,
                r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://a"}}]}]}"#,
                "messages: url",
            ),
            (
                &MESSAGES,
                r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"eA=="}}]}]}"#,
                "messages: media_type",
            ),
        ] {
            let content = look(endpoint, body.as_bytes());
            assert_eq!((content.refers.as_deref(), &content.beyond), (Some(says), &None), "{body}");
        }
    }

    #[test]
    fn what_runs_at_the_provider_is_seen() {
        for (endpoint, body, says) in [
            (&RESPONSES, r#"{"tools":[{"type":"function","name":"f"},{"type":"web_search"}]}"#, "tools[1]"),
            (&RESPONSES, r#"{"tools":[{"type":"mcp","server_url":"https://a"}]}"#, "tools[0]"),
            (&MESSAGES, r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#, "tools[0]"),
            (&CHAT_COMPLETIONS, r#"{"tools":[{"google_search":{}}]}"#, "tools[0]"),
            (&CHAT_COMPLETIONS, r#"{"web_search_options":{}}"#, "web_search_options"),
            (&CHAT_COMPLETIONS, r#"{"models":["a","dear"]}"#, "models"),
            (&CHAT_COMPLETIONS, r#"{"max_tokens":1,"n_predict":100000}"#, "n_predict"),
        ] {
            assert_eq!(look(endpoint, body.as_bytes()).beyond.as_deref(), Some(says), "{body}");
        }
    }

    #[test]
    fn what_is_all_there_is_bounded_by_its_bytes() {
        for (endpoint, body) in [
            (
                &RESPONSES,
                r#"{"previous_response_id":null,"input":[{"type":"message","id":"m","role":"user","content":"Hi"},
                {"type":"function_call","id":"c","call_id":"c","name":"f","arguments":"{\"file_id\":\"f\"}"},
                {"type":"reasoning","id":"r","encrypted_content":"x","summary":[]}]}"#,
            ),
            (
                &CHAT_COMPLETIONS,
                r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}],
                "tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"file_id":{"type":"string"}}}}}],"models":null}"#,
            ),
            (
                &MESSAGES,
                r#"{"system":[{"type":"text","text":"x"}],"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"file_id":"f"}}]},
                {"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"}}]}],
                "tools":[{"name":"f","input_schema":{}},{"type":"bash_20250124","name":"bash"}]}"#,
            ),
        ] {
            assert_eq!(look(endpoint, body.as_bytes()), Content::default(), "{body}");
        }
    }
}
