//! What a client is given it can hand back: the provider gets its own proofs and ids again, whichever protocol lies between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use protocols::{Context, Dialect, Options, answer, request};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const CLIENTS: [Dialect; 3] = [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic];

/// A provider's answer, through a client that keeps it as it is, as part of the next request.
fn next_request(provider: Dialect, client: Dialect, case: &str, model: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/answers").join(case);
    let body = fs::read(path.join(format!("{provider}.json"))).unwrap();
    let told = answer(provider, client, &body, &Context::new("req_1", 1, "m")).unwrap();
    let told: Value = serde_json::from_slice(&told.body).unwrap();
    let tools = ["weather", "clock"];
    let next = match client {
        Dialect::OpenAiChat => {
            let message = &told["choices"][0]["message"];
            let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
            let results =
                calls.iter().map(|c| json!({"role": "tool", "tool_call_id": c["id"], "content": "ok"}));
            let mut messages = vec![json!({"role": "user", "content": "Hi"}), message.clone()];
            messages.extend(results);
            json!({"model": "m", "reasoning_effort": "low", "max_tokens": 9000, "messages": messages,
                "tools": tools.map(|name| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}))})
        }
        Dialect::OpenAiResponses => {
            let mut input = vec![json!({"role": "user", "content": "Hi"})];
            input.extend(told["output"].as_array().unwrap().iter().cloned());
            let results: Vec<Value> = input
                .iter()
                .filter(|item| item["type"] == "function_call")
                .map(|c| json!({"type": "function_call_output", "call_id": c["call_id"], "output": "ok"}))
                .collect();
            input.extend(results);
            json!({"model": "m", "reasoning": {"effort": "low"}, "max_output_tokens": 9000, "input": input,
                "tools": tools.map(|name| json!({"type": "function", "name": name, "parameters": {"type": "object"}}))})
        }
        _ => {
            let results: Vec<Value> = told["content"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|block| block["type"] == "tool_use")
                .map(|c| json!({"type": "tool_result", "tool_use_id": c["id"], "content": "ok"}))
                .collect();
            json!({"model": "m", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000},
                "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": told["content"]}, {"role": "user", "content": results}],
                "tools": tools.map(|name| json!({"name": name, "input_schema": {"type": "object"}}))})
        }
    };
    let options = Options {
        upstream_model: model,
        default_max_tokens: 4_096,
        keep_reasoning: false,
        max_completion_tokens: false,
        asks_stream_usage: true,
        response_id: "req_2",
        created: 1,
    };
    let out = request(client, provider, next.to_string().as_bytes(), &options).unwrap();
    serde_json::from_slice(&out.body).unwrap()
}

#[test]
fn anthropic_gets_its_thoughts_back() {
    for client in CLIENTS {
        let body = next_request(Dialect::Anthropic, client, "anthropic_thinking_tools", "claude-sonnet-4-5");
        assert_eq!(
            body["messages"][1]["content"],
            json!([
                {"type": "thinking", "thinking": "Let me see.", "signature": "EqQBsig=="},
                {"type": "redacted_thinking", "data": "EmwKred"},
                {"type": "text", "text": "One moment."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"zone": "z", "city": "Bern"}},
                {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}},
            ]),
            "{client}"
        );
        assert_eq!(body["messages"][2]["content"][1]["tool_use_id"], "toolu_2", "{client}");
    }
}

#[test]
fn bedrock_gets_its_thoughts_back() {
    for client in CLIENTS {
        let body = next_request(Dialect::Bedrock, client, "bedrock_tools", "anthropic.claude-sonnet-4-5");
        assert_eq!(
            body["messages"][1]["content"],
            json!([
                {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "EqQBsig=="}}},
                {"reasoningContent": {"redactedContent": "RW13"}},
                {"text": "One moment."},
                {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"zone": "z", "city": "Bern"}}},
            ]),
            "{client}"
        );
        assert_eq!(body["messages"][2]["content"][0]["toolResult"]["toolUseId"], "tooluse_1", "{client}");
    }
}

#[test]
fn gemini_gets_its_signatures_and_ids_back() {
    for client in CLIENTS {
        let body = next_request(Dialect::Gemini, client, "gemini_tools", "gemini-3-pro");
        assert_eq!(
            body["contents"][1]["parts"],
            json!([
                {"text": "One moment."},
                {"functionCall": {"name": "weather", "args": {"zone": "z", "city": "Bern"}}, "thoughtSignature": "c2ln_a"},
                {"functionCall": {"id": "fx", "name": "clock", "args": {}}},
            ]),
            "{client}"
        );
        assert_eq!(
            body["contents"][2]["parts"],
            json!([
                {"functionResponse": {"name": "weather", "response": {"output": "ok"}}},
                {"functionResponse": {"id": "fx", "name": "clock", "response": {"output": "ok"}}},
            ]),
            "{client}"
        );
        let body = next_request(Dialect::Gemini, client, "gemini_signed_text", "gemini-3-pro");
        assert_eq!(
            body["contents"][1]["parts"],
            json!([{"text": "Hello.", "thoughtSignature": "c2ln_t"}]),
            "{client}"
        );
    }
}

#[test]
fn a_chat_provider_gets_its_calls_back() {
    for client in CLIENTS {
        let body = next_request(Dialect::OpenAiChat, client, "chat_tools", "gpt-5.1");
        let calls = &body["messages"][1]["tool_calls"];
        assert_eq!(calls[0]["id"], "call_a", "{client}");
        assert_eq!(
            serde_json::from_str::<Value>(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap(),
            json!({"city": "Bern"}),
            "{client}"
        );
        assert_eq!(body["messages"][2]["tool_call_id"], "call_a", "{client}");
        assert_eq!(body["messages"][3]["tool_call_id"], "call_b", "{client}");
    }
}
