//! Messages of every dialect in one shape, that of the OpenTelemetry GenAI conventions: a JSON array of
//! `{"role", "parts": [{"type": "text", "content"}, {"type": "tool_call", "id", "name", "arguments"},
//! {"type": "tool_call_response", "id", "response"}, …], "finish_reason"}`. What a message had beyond that keeps its own key.

use super::fields::Fields;
use super::values;
use serde_json::{Map, Value as Json, json};

/// One message in the making.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) role: Option<String>,
    pub(super) parts: Vec<Json>,
    pub(super) finish_reason: Option<String>,
    pub(super) name: Option<String>,
    pub(super) extra: Map<String, Json>,
}

impl Message {
    /// The message as JSON; `role` stands in for a missing role.
    pub(super) fn into_json(self, role: &str) -> Json {
        let mut message = Map::new();
        message.insert("role".into(), Json::String(self.role.unwrap_or_else(|| role.to_owned())));
        message.insert("parts".into(), Json::Array(self.parts));
        for (key, value) in [("name", self.name), ("finish_reason", self.finish_reason)] {
            if let Some(value) = value {
                message.insert(key.into(), Json::String(value));
            }
        }
        for (key, value) in self.extra {
            message.entry(key).or_insert(value);
        }
        Json::Object(message)
    }

    /// Adds the content, or what a tool answered when `tool_call_id` says that the message is that.
    pub(super) fn push_content(&mut self, content: Option<Json>, tool_call_id: Option<String>) {
        match (content, tool_call_id) {
            (content, Some(id)) => {
                let response = content.unwrap_or(Json::Null);
                self.parts.push(json!({"type": "tool_call_response", "id": id, "response": response}));
            }
            (Some(Json::Array(items)), None) => self.parts.extend(items.into_iter().map(part)),
            (Some(Json::Null) | None, None) => {}
            (Some(content), None) => self.parts.push(text_part(&content)),
        }
    }

    /// Adds a call of a tool; arguments that are JSON in a text become JSON.
    pub(super) fn push_tool_call(
        &mut self,
        id: Option<String>,
        name: Option<String>,
        arguments: Option<String>,
    ) {
        let mut call = Map::new();
        call.insert("type".into(), "tool_call".into());
        for (key, value) in [("id", id), ("name", name)] {
            if let Some(value) = value {
                call.insert(key.into(), Json::String(value));
            }
        }
        if let Some(arguments) = arguments {
            call.insert("arguments".into(), values::parsed_text(arguments));
        }
        self.parts.push(Json::Object(call));
    }

    /// Keeps the fields that nobody understood.
    pub(super) fn keep(&mut self, fields: Fields) {
        for (key, value) in fields.into_entries() {
            self.extra.insert(key, values::json(&value));
        }
    }
}

/// One message with one text.
pub(super) fn single(role: &str, content: &str) -> String {
    json!([{"role": role, "parts": [{"type": "text", "content": content}]}]).to_string()
}

/// Messages in OpenAI's shape (`role`, `content`, `tool_calls`, …), or already in ours: ours.
pub(super) fn from_openai(messages: Json, role: &str) -> Json {
    match messages {
        Json::Array(messages) => {
            Json::Array(messages.into_iter().map(|message| one_from_openai(message, role)).collect())
        }
        Json::Object(_) => Json::Array(vec![one_from_openai(messages, role)]),
        other => json!([{"role": role, "parts": [text_part(&other)]}]),
    }
}

fn one_from_openai(message: Json, role: &str) -> Json {
    let Json::Object(mut fields) = message else {
        return json!({"role": role, "parts": [text_part(&message)]});
    };
    if fields.contains_key("parts") {
        return Json::Object(fields);
    }
    let mut text = |key: &str| match fields.remove(key) {
        Some(Json::String(text)) => Some(text),
        Some(other) if !other.is_null() => Some(other.to_string()),
        _ => None,
    };
    let mut message = Message {
        role: text("role"),
        name: text("name"),
        finish_reason: text("finish_reason"),
        ..Message::default()
    };
    let tool_call_id = text("tool_call_id");
    message.push_content(fields.remove("content"), tool_call_id);
    if let Some(Json::Array(calls)) = fields.remove("tool_calls") {
        for call in calls {
            push_openai_tool_call(&mut message, call);
        }
    }
    fields.retain(|_, value| !value.is_null());
    message.extra = fields;
    message.into_json(role)
}

fn push_openai_tool_call(message: &mut Message, call: Json) {
    let Json::Object(mut call) = call else { return message.parts.push(text_part(&call)) };
    // OpenAI nests name and arguments in `function`; others have them flat.
    let mut function = match call.remove("function") {
        Some(Json::Object(function)) => function,
        _ => std::mem::take(&mut call),
    };
    let id = call.remove("id").or_else(|| function.remove("id")).map(values::plain);
    let name = function.remove("name").map(values::plain);
    let arguments = function.remove("arguments").map(values::plain);
    message.push_tool_call(id, name, arguments);
}

/// One item of a content list.
fn part(item: Json) -> Json {
    let Json::Object(mut fields) = item else { return text_part(&item) };
    let is_text = matches!(
        fields.get("type").and_then(Json::as_str),
        Some("text" | "input_text" | "output_text") | None
    );
    match fields.remove("text") {
        Some(text) if is_text => text_part(&text),
        text => {
            // An image, a file, a call in another provider's form: kept as it is.
            if let Some(text) = text {
                fields.insert("text".into(), text);
            }
            Json::Object(fields)
        }
    }
}

fn text_part(content: &Json) -> Json {
    json!({"type": "text", "content": content})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_messages_become_parts() {
        let messages = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "u"}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ]);
        let expected = json!([
            {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
            {"role": "user", "parts": [{"type": "text", "content": "Look"}, {"type": "image_url", "image_url": {"url": "u"}}]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
        ]);
        assert_eq!(from_openai(messages, "user"), expected);
        assert_eq!(from_openai(expected.clone(), "user"), expected);
    }

    #[test]
    fn anything_else_becomes_one_text() {
        assert_eq!(
            from_openai(json!("hi"), "user"),
            json!([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}])
        );
        assert_eq!(
            from_openai(json!([1]), "user"),
            json!([{"role": "user", "parts": [{"type": "text", "content": 1}]}])
        );
    }
}
