//! The property that a first look rests on: it lets through only what a closer one has nothing to say of.

use super::whole::Judge;
use super::{Compiled, input};
use crate::endpoints::{CHAT_COMPLETIONS, COMPLETIONS, Endpoint, MESSAGES, RESPONSES};
use crate::request::parse;
use bytes::Bytes;
use contracts::policy::guardrail::Guardrail;
use guard::Guard;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock, Mutex};

const ENDPOINTS: [&Endpoint; 4] = [&CHAT_COMPLETIONS, &COMPLETIONS, &MESSAGES, &RESPONSES];

/// Guardrails of every kind of rule, on what comes in and what goes out.
static GUARDRAILS: LazyLock<Vec<Arc<Compiled>>> = LazyLock::new(|| {
    let rules = [
        json!([{"name": "r", "check": {"regex": {"patterns": ["b.d"]}}, "action": {"mask": {"with": "#"}}}]),
        json!([{"name": "r", "check": {"topics": {"deny": ["bad"]}}, "action": "block"}]),
        json!([{"name": "r", "check": {"topics": {"allow": ["good"]}}, "action": "flag"}]),
        json!([{"name": "r", "check": {"max_chars": 3}, "action": "block"}]),
        json!([{"name": "r", "check": {"json_schema": {"type": "object"}}, "action": "block"}]),
    ];
    let guardrail =
        |rules: &Value| json!({"input": rules, "output": rules, "tools": {"allow": [{"name": "good"}]}});
    let compiled = rules.iter().map(|rules| {
        let spec: Guardrail = serde_json::from_value(guardrail(rules)).unwrap();
        Arc::new(Compiled { name: "g".into(), revision: 1, guard: Arc::new(Guard::new(&spec).unwrap()) })
    });
    compiled.collect()
});

/// JSON of the names and texts that matter, put together in every way.
fn any_json() -> impl Strategy<Value = Value> {
    let texts = [
        "bad",
        "good",
        "b\u{e4}d",
        "",
        "user",
        "system",
        "assistant",
        "text",
        "output_text",
        "message",
        "image_url",
        "document",
        "thinking",
        "tool_use",
        "function",
        "function_call",
        "custom_tool_call",
        "{\"a\":\"bad\"}",
    ];
    let names = [
        "role",
        "content",
        "text",
        "type",
        "data",
        "input",
        "output",
        "source",
        "name",
        "id",
        "tool_calls",
        "function",
        "arguments",
        "refusal",
        "message",
        "summary",
        "function_call",
        "thinking",
        "custom",
        "logprobs",
        "unknown",
    ];
    let leaf = prop_oneof![
        8 => prop::sample::select(texts.to_vec()).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<u8>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 24, 4, move |inner| {
        let name = prop::sample::select(names.to_vec());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

/// The same JSON with its texts and names written with escapes.
fn escaped(json: &Value) -> String {
    json.to_string().replace("ba", "b\\u0061").replace("te", "t\\u0065").replace("good", "g\\u006fod")
}

#[test]
fn what_there_is_nothing_to_say_of_is_let_through_at_a_glance() {
    for of in ENDPOINTS {
        let said = json!([{"role": "user", "content": "good"}]);
        let said = if of.prompt == "prompt" { json!("good") } else { said };
        let body = json!({"model": "m", "max_tokens": 9, of.prompt: said}).to_string();
        let ask = parse(of, Bytes::from(body), 64).unwrap();
        let answer = json!({"choices": [{"message": {"content": "good"}, "text": "good"}],
            "content": [{"type": "text", "text": "good"}], "output": [{"type": "message", "content": [{"type": "output_text", "text": "good"}]}]});
        for guardrail in &GUARDRAILS[..2] {
            let compiled = vec![guardrail.clone()];
            assert!(input::passes(&compiled, &ask, true), "{}", of.path);
            let judge = Judge { compiled, language: None, found: Arc::new(Mutex::default()) };
            assert!(judge.passes(of, &answer.to_string()), "{}", of.path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_request_that_is_let_through_at_a_glance_has_nothing_in_it(
        of in prop::sample::select(&ENDPOINTS[..]), said in any_json(), beside in any_json(),
        suffix in prop::sample::select(vec![None, Some("good"), Some("bad")]), (all, is_escaped) in any::<(bool, bool)>(),
    ) {
        // A list of lists is refused, as one of tokens may be; lists of texts have been seen all the same.
        let is_listed = said.as_array().is_some_and(|items| items.iter().any(Value::is_array));
        let said = if of.prompt == "messages" { json!([{"role": "user", "content": said}, {"role": "system", "content": beside}]) } else { said };
        let mut body = json!({"model": "m", "max_tokens": 9, "suffix": suffix});
        body[of.prompt] = said;
        if of.instructions.is_some() {
            body[of.instructions.unwrap()] = beside;
        }
        let text = if is_escaped { escaped(&body) } else { body.to_string() };
        let Ok(ask) = parse(of, Bytes::from(text), 64) else { return Ok(()) };
        for guardrail in &*GUARDRAILS {
            let compiled = [guardrail.clone()];
            if input::passes(&compiled, &ask, all) {
                let closely = input::closely(&compiled, &ask, all);
                let is_clean =
                    closely.as_ref().is_ok_and(|j| j.found.is_empty() && j.stop.is_none() && j.body.is_none());
                prop_assert!(is_clean || closely.is_err() && is_listed, "{closely:?} of {body}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_let_through_at_a_glance_has_nothing_in_it(
        of in prop::sample::select(&ENDPOINTS[..]), said in prop::collection::vec(any_json(), 0..3), is_escaped in any::<bool>(),
    ) {
        let answer = match of.path {
            "/v1/messages" => json!({"content": said}),
            "/v1/responses" => json!({"output": said, "output_text": said.first()}),
            "/v1/completions" => json!({"choices": said.iter().map(|said| json!({"text": said})).collect::<Vec<_>>()}),
            _ => json!({"choices": said.iter().map(|said| json!({"message": said})).collect::<Vec<_>>()}),
        };
        let text = if is_escaped { escaped(&answer) } else { answer.to_string() };
        for guardrail in &*GUARDRAILS {
            let judge = Judge { compiled: vec![guardrail.clone()], language: None, found: Arc::new(Mutex::default()) };
            if judge.passes(of, &text) {
                let closely = judge.closely(of, &text, "id");
                // What is refused because it is of another form has no text that this has not seen.
                let is_clean = closely.as_ref().map_or(true, |j| j.found.is_empty() && j.stop.is_none() && j.bytes.is_none());
                prop_assert!(is_clean, "{closely:?} of {answer}");
            }
        }
    }
}
