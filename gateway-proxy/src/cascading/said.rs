//! A request and its answers, as the checks of a cascade read them.

use crate::meter::Answer as Answered;
use crate::request::Ask;
use cascade::{Answer, Request, Tool, ToolCall, inline_context, is_plain};
use serde_json::Value;
use std::ops::Range;

/// Answers and schemas of so many bytes together are looked at at once, which takes less time than to hand them to another thread.
const SMALL: usize = 16 << 10;
/// Choices of an answer that are compared with each other, each with each.
const MOST_CHOICES: usize = 64;

/// What was asked, held for as long as tiers are asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    prompt: String,
    context: Vec<String>,
    schema: Option<Value>,
    json: bool,
    tools: Vec<(String, Option<Value>)>,
    /// Bytes of what an answer must be like.
    form: usize,
    /// Whether its schemas are ones that a small answer is held to in no time.
    is_plain: bool,
}

/// What a tier answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) text: String,
    calls: Vec<(String, String)>,
    refusal: Option<String>,
    is_cut_off: bool,
    is_filtered: bool,
    logprobs: Vec<f32>,
}

impl Asked {
    /// Reads a request. A context that it does not name is looked for in its last message.
    pub(super) fn read(ask: &Ask) -> Self {
        let mut prompt =
            json(ask, ask.prompt_at.as_ref()).map(|prompt| last_message(&prompt)).unwrap_or_default();
        let mut context: Vec<String> =
            ask.context.passages.iter().map(|passage| passage.text.clone()).collect();
        if context.is_empty()
            && let Some(inline) = inline_context(&prompt)
        {
            context = vec![inline.context.to_owned()];
            prompt = inline.prompt;
        }
        Self { prompt, context, ..Self::read_form(ask) }
    }

    /// Reads what an answer must be like, and neither the prompt nor its context: all that outright rejections look at.
    pub(super) fn read_form(ask: &Ask) -> Self {
        let format = json(ask, ask.format_at.as_ref()).unwrap_or_default();
        // Responses have it within `text`.
        let format = if format["format"].is_object() { &format["format"] } else { &format };
        let kind = format["type"].as_str().unwrap_or_default();
        let schema = [&format["json_schema"]["schema"], &format["schema"]]
            .into_iter()
            .find(|schema| schema.is_object());
        let tools = json(ask, ask.tools_at.as_ref()).unwrap_or_default();
        let tools: Vec<(String, Option<Value>)> =
            tools.as_array().into_iter().flatten().filter_map(tool).collect();
        let schemas = tools.iter().filter_map(|(_, parameters)| parameters.as_ref()).chain(schema);
        Self {
            is_plain: schemas.into_iter().all(is_plain),
            schema: schema.filter(|_| kind == "json_schema").cloned(),
            json: matches!(kind, "json_schema" | "json_object"),
            tools,
            form: [&ask.format_at, &ask.tools_at].into_iter().flatten().map(Range::len).sum(),
            ..Self::default()
        }
    }

    /// Whether an answer of so many bytes is held to what it must be like in no time.
    pub(super) const fn is_small(&self, answer: usize) -> bool {
        self.is_plain && self.form + answer <= SMALL
    }

    /// As the checks take it.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Request<'_>) -> T) -> T {
        let context: Vec<&str> = self.context.iter().map(String::as_str).collect();
        let tools: Vec<Tool<'_>> = self
            .tools
            .iter()
            .map(|(name, parameters)| Tool { name, parameters: parameters.as_ref() })
            .collect();
        let request = Request {
            prompt: &self.prompt,
            context: &context,
            schema: self.schema.as_ref(),
            json: self.json,
            tools: &tools,
        };
        read(&request)
    }

    /// For a verifier.
    pub(super) fn to_json(&self, said: &Said) -> Value {
        serde_json::json!({"prompt": self.prompt, "context": self.context, "answer": said.text})
    }
}

/// What an answer consists of: messages, or items.
fn items(answer: &Answered) -> Vec<Value> {
    answer.output.messages().map(|message| serde_json::from_str(&message).unwrap_or_default()).collect()
}

/// A part of a request's body.
fn json(ask: &Ask, place: Option<&Range<usize>>) -> Option<Value> {
    serde_json::from_str(ask.text(place)?).ok()
}

/// A tool's name and the schema of its arguments, wherever its protocol has them.
fn tool(tool: &Value) -> Option<(String, Option<Value>)> {
    let of = if tool["function"].is_object() { &tool["function"] } else { tool };
    let schema = [&of["parameters"], &of["input_schema"]].into_iter().find(|schema| schema.is_object());
    Some((of["name"].as_str()?.to_owned(), schema.cloned()))
}

/// The text of what the user said last.
fn last_message(prompt: &Value) -> String {
    let text = |content: &Value| match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    };
    match prompt {
        Value::Array(items) => {
            let last = items.iter().rev().find(|item| item["role"] == "user" || item.is_string());
            last.map(|item| if item.is_string() { text(item) } else { text(&item["content"]) })
                .unwrap_or_default()
        }
        other => text(other),
    }
}

impl Said {
    /// What has come of an answer.
    pub(super) fn of(answer: &Answered) -> Self {
        let items = items(answer);
        let ended_by = |reasons: &[&str]| answer.finish_reasons.iter().any(|r| reasons.contains(&r.as_str()));
        let mut said = Self {
            is_cut_off: ended_by(&["length", "max_tokens", "max_output_tokens"]),
            is_filtered: ended_by(&["content_filter", "refusal"]),
            logprobs: answer.logprobs.as_slice().to_vec(),
            ..Self::default()
        };
        // Of several choices the first is judged.
        let is_response = items.first().is_some_and(|first| {
            first["type"] == "message" || first["type"].is_string() && first["role"] != "assistant"
        });
        let judged = if is_response { items.len() } else { 1 };
        items.iter().take(judged).for_each(|item| said.take(item));
        said
    }

    /// Bytes of it.
    pub(super) fn len(&self) -> usize {
        let calls: usize = self.calls.iter().map(|(name, arguments)| name.len() + arguments.len()).sum();
        self.text.len() + calls
    }

    /// What must be the same in another sample: the text, and the calls of tools.
    pub(super) fn sample(&self) -> String {
        let calls = self.calls.iter().map(|(name, arguments)| format!("\n{name} {arguments}"));
        calls.fold(self.text.clone(), |text, call| text + &call)
    }

    /// The answer's choices, as samples.
    pub(super) fn choices(answer: &Answered) -> Vec<String> {
        let text = |item: &Value| {
            let mut said = Self::default();
            said.take(item);
            said.sample()
        };
        items(answer).iter().take(MOST_CHOICES).map(text).collect()
    }

    fn take(&mut self, item: &Value) {
        match &item["content"] {
            Value::String(text) => self.text.push_str(text),
            Value::Array(parts) => {
                for part in parts {
                    self.text.push_str(part["text"].as_str().unwrap_or_default());
                    if let Some(refusal) = part["refusal"].as_str() {
                        self.refusal = Some(refusal.to_owned());
                    }
                    if part["type"] == "tool_use" {
                        self.call(&part["name"], &Value::from(part["input"].to_string()));
                    }
                }
            }
            _ => {}
        }
        if let Some(refusal) = item["refusal"].as_str() {
            self.refusal = Some(refusal.to_owned());
        }
        for call in item["tool_calls"].as_array().into_iter().flatten() {
            self.call(&call["function"]["name"], &call["function"]["arguments"]);
        }
        if item["type"] == "function_call" {
            self.call(&item["name"], &item["arguments"]);
        }
    }

    fn call(&mut self, name: &Value, arguments: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.calls.push((text(name), text(arguments)));
    }

    /// As the checks take it.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Answer<'_>) -> T) -> T {
        let calls: Vec<ToolCall<'_>> =
            self.calls.iter().map(|(name, arguments)| ToolCall { name, arguments }).collect();
        let answer = Answer {
            text: &self.text,
            tool_calls: &calls,
            refusal: self.refusal.as_deref(),
            is_cut_off: self.is_cut_off,
            is_filtered: self.is_filtered,
            logprobs: &self.logprobs,
        };
        read(&answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{CHAT_COMPLETIONS, MESSAGES, RESPONSES};
    use crate::request::parse;
    use bytes::Bytes;

    fn asked(endpoint: &crate::endpoints::Endpoint, body: &Value) -> Asked {
        Asked::read(&parse(endpoint, Bytes::from(body.to_string()), 64).unwrap())
    }

    #[test]
    fn a_request_is_read_in_every_protocol() {
        let schema = serde_json::json!({"type": "object"});
        let chat = asked(
            &CHAT_COMPLETIONS,
            &serde_json::json!({"model": "m", "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "two"}]}],
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
                "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
                "control_tower": {"context": [{"text": "a passage"}]}}),
        );
        assert_eq!((chat.prompt.as_str(), chat.json), ("two", true));
        assert_eq!(
            (chat.schema.as_ref(), chat.context.as_slice()),
            (Some(&schema), &["a passage".to_owned()][..])
        );
        assert_eq!(chat.tools, [("f".to_owned(), Some(schema.clone()))]);
        let response = asked(
            &RESPONSES,
            &serde_json::json!({"model": "m", "input": "two", "text": {"format": {"type": "json_schema", "name": "n", "schema": schema}},
                "tools": [{"type": "function", "name": "f", "parameters": schema}]}),
        );
        assert_eq!((response.prompt.as_str(), response.schema.as_ref()), ("two", Some(&schema)));
        assert_eq!(response.tools, chat.tools);
        let message = asked(
            &MESSAGES,
            &serde_json::json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "two"}],
                "tools": [{"name": "f", "input_schema": schema}]}),
        );
        assert_eq!((message.prompt.as_str(), message.tools), ("two", chat.tools));
    }

    #[test]
    fn the_form_alone_is_read_without_the_prompt() {
        let schema = serde_json::json!({"type": "object"});
        let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": "one"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
        let ask = parse(&CHAT_COMPLETIONS, Bytes::from(body.to_string()), 64).unwrap();
        let (whole, form) = (Asked::read(&ask), Asked::read_form(&ask));
        assert_eq!((form.prompt.as_str(), form.schema.as_ref()), ("", Some(&schema)));
        assert_eq!((whole.schema, whole.json), (form.schema, form.json));
    }
}
