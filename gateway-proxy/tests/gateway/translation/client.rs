//! The three protocols of clients, so far that one table drives them all: how each asks, and what it gets.

use serde_json::{Value, json};

/// A one-pixel picture.
pub const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPj/HwADAgH/eL9GtQAAAABJRU5ErkJggg==";

/// A client, by the protocol that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Chat,
    Responses,
    Messages,
}

/// What was answered, whatever the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    /// Names and arguments.
    pub calls: Vec<(String, Value)>,
    /// As chat completions say it.
    pub finish: String,
    /// Tokens in and out, as the client is told.
    pub usage: (u64, u64),
    /// Whether thoughts came.
    pub thought: bool,
}

/// The only instance of this schema is `{"city":"Oslo"}`.
pub fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo"]}}, "required": ["city"],
        "additionalProperties": false})
}

impl Client {
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// A request with one message of a user's.
    pub fn ask(self, model: &str, text: &str) -> Value {
        let message = json!([{"role": "user", "content": text}]);
        match self {
            Self::Chat => json!({"model": model, "messages": message}),
            Self::Responses => json!({"model": model, "input": message, "store": false}),
            Self::Messages => json!({"model": model, "messages": message, "max_tokens": 4096}),
        }
    }

    /// Adds a picture to the message.
    pub fn show(self, request: &mut Value) {
        let url = format!("data:image/png;base64,{PNG}");
        let (list, text, image) = match self {
            Self::Chat => ("messages", "text", json!({"type": "image_url", "image_url": {"url": url}})),
            Self::Responses => ("input", "input_text", json!({"type": "input_image", "image_url": url})),
            Self::Messages => (
                "messages",
                "text",
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
            ),
        };
        let content = &mut request[list][0]["content"];
        *content = json!([{"type": text, "text": content.clone()}, image]);
    }

    /// Offers these tools.
    pub fn offer(self, request: &mut Value, names: &[&str]) {
        let tool = |name: &&str| match self {
            Self::Chat => json!({"type": "function", "function": {"name": name, "parameters": schema()}}),
            Self::Responses => {
                json!({"type": "function", "name": name, "parameters": schema(), "strict": true})
            }
            Self::Messages => json!({"name": name, "description": "d", "input_schema": schema()}),
        };
        request["tools"] = names.iter().map(tool).collect();
    }

    /// Wants an answer of the schema.
    pub fn shape(self, request: &mut Value) {
        match self {
            Self::Chat => {
                request["response_format"] = json!({"type": "json_schema",
                    "json_schema": {"name": "place", "schema": schema(), "strict": true}});
            }
            Self::Responses => {
                request["text"] = json!({"format": {"type": "json_schema", "name": "place", "schema": schema(),
                    "strict": true}});
            }
            Self::Messages => {
                request["output_config"] = json!({"format": {"type": "json_schema", "schema": schema()}});
            }
        }
    }

    /// Lets the model think.
    pub fn think(self, request: &mut Value) {
        match self {
            Self::Chat => request["reasoning_effort"] = json!("high"),
            Self::Responses => {
                request["reasoning"] = json!({"effort": "high", "summary": "auto"});
                request["include"] = json!(["reasoning.encrypted_content"]);
            }
            Self::Messages => request["thinking"] = json!({"type": "enabled", "budget_tokens": 2000}),
        }
    }

    /// Hands an answer back, with `result` of each of its calls.
    pub fn follow(self, request: &mut Value, answer: &Value, result: &str) {
        let list = if self == Self::Responses { "input" } else { "messages" };
        let list = request[list].as_array_mut().unwrap();
        match self {
            Self::Chat => {
                let message = &answer["choices"][0]["message"];
                list.push(message.clone());
                list.extend(
                    message["tool_calls"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|call| json!({"role": "tool", "tool_call_id": call["id"], "content": result})),
                );
            }
            Self::Responses => {
                let items = answer["output"].as_array().unwrap();
                list.extend(items.iter().cloned());
                list.extend(items.iter().filter(|item| item["type"] == "function_call").map(
                    |call| json!({"type": "function_call_output", "call_id": call["call_id"], "output": result}),
                ));
            }
            Self::Messages => {
                let content = answer["content"].as_array().unwrap();
                list.push(json!({"role": "assistant", "content": content}));
                let results: Vec<Value> = content
                    .iter()
                    .filter(|block| block["type"] == "tool_use")
                    .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": result}))
                    .collect();
                list.push(json!({"role": "user", "content": results}));
            }
        }
    }

    /// Reads a whole answer; what is not in this protocol's shape fails.
    pub fn read(self, answer: &Value) -> Said {
        match self {
            Self::Chat => read_chat(answer),
            Self::Responses => read_response(answer),
            Self::Messages => read_message(answer),
        }
    }

    /// The whole answer that a stream adds up to, or the error that ended it.
    pub fn add_up(self, stream: &str) -> Result<Value, Value> {
        let events = events(stream);
        if self != Self::Chat {
            for (name, data) in &events {
                assert_eq!(name, data["type"].as_str().unwrap(), "{stream}");
            }
        }
        let data: Vec<Value> = events.into_iter().map(|(_, data)| data).collect();
        match self {
            Self::Chat => add_chunks(&data),
            Self::Responses => last_response(&data),
            Self::Messages => add_message(&data),
        }
    }

    /// Kind and message of an error's body or event.
    pub fn error(self, body: &Value) -> (String, String) {
        if self == Self::Messages {
            assert_eq!(body["type"], "error", "{body}");
        }
        let error = if body["error"].is_object() { &body["error"] } else { body };
        let kind = match error["type"].as_str() {
            None | Some("error") => &error["code"],
            Some(_) => &error["type"],
        };
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        (text(kind), text(&error["message"]))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn arguments(value: &Value) -> Value {
    serde_json::from_str(&text(value)).unwrap()
}

fn read_chat(answer: &Value) -> Said {
    assert_eq!(answer["object"], "chat.completion", "{answer}");
    let choice = &answer["choices"][0];
    let message = &choice["message"];
    assert_eq!(message["role"], "assistant", "{answer}");
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    Said {
        text: message["content"].as_str().unwrap_or_default().to_owned(),
        calls: calls
            .map(|call| (text(&call["function"]["name"]), arguments(&call["function"]["arguments"])))
            .collect(),
        finish: text(&choice["finish_reason"]),
        usage: (number(&answer["usage"]["prompt_tokens"]), number(&answer["usage"]["completion_tokens"])),
        thought: message["reasoning_content"].is_string(),
    }
}

fn read_response(answer: &Value) -> Said {
    assert_eq!(answer["object"], "response", "{answer}");
    let items = answer["output"].as_array().unwrap();
    let of = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let calls: Vec<(String, Value)> =
        of("function_call").map(|call| (text(&call["name"]), arguments(&call["arguments"]))).collect();
    let finish = match (answer["status"].as_str(), calls.is_empty()) {
        (Some("completed"), true) => "stop",
        (Some("completed"), false) => "tool_calls",
        _ => match answer["incomplete_details"]["reason"].as_str() {
            Some("max_output_tokens") => "length",
            Some(reason) => reason,
            None => panic!("{answer}"),
        },
    };
    let parts = of("message").flat_map(|item| item["content"].as_array().unwrap());
    Said {
        text: parts.map(|part| text(&part["text"])).collect(),
        calls,
        finish: finish.to_owned(),
        usage: (number(&answer["usage"]["input_tokens"]), number(&answer["usage"]["output_tokens"])),
        thought: of("reasoning").next().is_some(),
    }
}

fn read_message(answer: &Value) -> Said {
    assert_eq!((&answer["type"], &answer["role"]), (&json!("message"), &json!("assistant")), "{answer}");
    let blocks = answer["content"].as_array().unwrap();
    let of = |kind: &'static str| blocks.iter().filter(move |block| block["type"] == kind);
    let finish = match answer["stop_reason"].as_str() {
        Some("end_turn" | "stop_sequence") => "stop",
        Some("tool_use") => "tool_calls",
        Some("max_tokens") => "length",
        Some("refusal") => "content_filter",
        _ => panic!("{answer}"),
    };
    let usage = &answer["usage"];
    let cached = |field: &str| usage[field].as_u64().unwrap_or(0);
    let input = number(&usage["input_tokens"])
        + cached("cache_read_input_tokens")
        + cached("cache_creation_input_tokens");
    Said {
        text: of("text").map(|block| text(&block["text"])).collect(),
        calls: of("tool_use").map(|call| (text(&call["name"]), call["input"].clone())).collect(),
        finish: finish.to_owned(),
        usage: (input, number(&usage["output_tokens"])),
        thought: of("thinking").next().is_some(),
    }
}

/// Names and data of all events; `[DONE]` is left out.
fn events(stream: &str) -> Vec<(String, Value)> {
    let blocks = stream.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .filter_map(|block| {
            let line = |prefix: &str| block.lines().find_map(|line| line.strip_prefix(prefix));
            let data = line("data: ").unwrap_or_else(|| panic!("{block:?}"));
            if data == "[DONE]" {
                return None;
            }
            let data = serde_json::from_str(data).unwrap_or_else(|_| panic!("{data}"));
            Some((line("event: ").unwrap_or_default().to_owned(), data))
        })
        .collect()
}

fn append(into: &mut Value, more: &Value) {
    if let Some(more) = more.as_str() {
        *into = json!(format!("{}{more}", into.as_str().unwrap_or_default()));
    }
}

/// Adds pieces with an `index` to the list of whole things.
fn add_pieces(into: &mut Value, pieces: &Value, texts: &[&str]) {
    for piece in pieces.as_array().into_iter().flatten() {
        let index = usize::try_from(number(&piece["index"])).unwrap();
        if into.is_null() {
            *into = json!([]);
        }
        let list = into.as_array_mut().unwrap();
        if list.len() <= index {
            list.resize(index + 1, json!({}));
        }
        for (name, value) in piece.as_object().unwrap().iter().filter(|(name, _)| *name != "index") {
            let place = &mut list[index][name];
            if name == "function" {
                append(&mut place["name"], &value["name"]);
                append(&mut place["arguments"], &value["arguments"]);
            } else if texts.contains(&name.as_str()) {
                append(place, value);
            } else {
                *place = value.clone();
            }
        }
    }
}

fn add_chunks(chunks: &[Value]) -> Result<Value, Value> {
    let mut message = json!({"role": "assistant", "content": null});
    let (mut finish, mut usage) = (Value::Null, Value::Null);
    for chunk in chunks {
        if chunk["error"].is_object() {
            return Err(chunk.clone());
        }
        let is_opening = chunk["object"] == "" && chunk["choices"] == json!([]);
        assert!(is_opening || chunk["object"] == "chat.completion.chunk", "{chunk}");
        if !chunk["usage"].is_null() {
            usage = chunk["usage"].clone();
        }
        let choice = &chunk["choices"][0];
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
        for field in ["content", "reasoning_content"] {
            append(&mut message[field], &choice["delta"][field]);
        }
        if choice["delta"]["extra_content"].is_object() {
            message["extra_content"] = choice["delta"]["extra_content"].clone();
        }
        add_pieces(&mut message["tool_calls"], &choice["delta"]["tool_calls"], &[]);
        add_pieces(&mut message["thinking_blocks"], &choice["delta"]["thinking_blocks"], &["thinking"]);
    }
    message.as_object_mut().unwrap().retain(|name, value| name == "content" || !value.is_null());
    let choice = json!({"index": 0, "message": message, "finish_reason": finish});
    Ok(json!({"object": "chat.completion", "choices": [choice], "usage": usage}))
}

fn last_response(events: &[Value]) -> Result<Value, Value> {
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], place, "{event}");
    }
    let last = events.last().unwrap();
    match last["type"].as_str() {
        Some("response.completed" | "response.incomplete") => {
            let delta = |event: &&Value| event["type"] == "response.output_text.delta";
            let streamed: String = events.iter().filter(delta).map(|event| text(&event["delta"])).collect();
            assert_eq!(streamed, read_response(&last["response"]).text);
            Ok(last["response"].clone())
        }
        Some("response.failed") => Err(last["response"].clone()),
        Some("error") => Err(last.clone()),
        _ => panic!("{last}"),
    }
}

fn add_message(events: &[Value]) -> Result<Value, Value> {
    let mut message = events[0]["message"].clone();
    let mut input = String::new();
    for event in events {
        let blocks = message["content"].as_array_mut();
        match event["type"].as_str().unwrap() {
            "error" => return Err(event.clone()),
            "content_block_start" => {
                input.clear();
                blocks.unwrap().push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let block = blocks.unwrap().last_mut().unwrap();
                for field in ["text", "thinking", "signature"] {
                    append(&mut block[field], &event["delta"][field]);
                }
                input.push_str(event["delta"]["partial_json"].as_str().unwrap_or_default());
                block.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            }
            "content_block_stop" if !input.is_empty() => {
                blocks.unwrap().last_mut().unwrap()["input"] = serde_json::from_str(&input).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                for (name, value) in event["usage"].as_object().unwrap() {
                    message["usage"][name] = value.clone();
                }
            }
            _ => {}
        }
    }
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    Ok(message)
}
