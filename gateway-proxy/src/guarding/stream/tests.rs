//! The property that everything here is for: a stream releases what the whole answer would, however it is cut.

use super::super::whole::Judge;
use super::*;
use crate::endpoints::{CHAT_COMPLETIONS, MESSAGES, RESPONSES};
use contracts::policy::guardrail::Guardrail;
use guard::Guard;
use proptest::prelude::*;
use serde_json::json;

/// A mask, a block, and a mask over what the first leaves.
fn compiled(stops: bool) -> Vec<Arc<Compiled>> {
    let rule = |name: &str, pattern: &str, action: Value| json!({"name": name, "check": {"regex": {"patterns": [pattern]}}, "action": action});
    let mut first = vec![rule("digits", "a[0-9]{2,3}b?", json!({"mask": {"with": "<\u{e9}>"}}))];
    if stops {
        first.push(rule("stop", "ba{1,2}d", json!("block")));
    }
    let second = vec![rule("left", "c<\u{e9}>", json!({"mask": {"with": "#"}}))];
    let compile = |output: Vec<Value>| {
        let spec: Guardrail = serde_json::from_value(json!({"output": output})).unwrap();
        let guard = Arc::new(Guard::new(&spec).unwrap());
        Arc::new(Compiled { name: "g".into(), revision: 1, guard })
    };
    vec![compile(first), compile(second)]
}

/// The events of an answer that says these pieces.
fn events(endpoint: &Endpoint, pieces: &[String]) -> Vec<Value> {
    let mut events = Vec::new();
    match endpoint.dialect {
        Some(Dialect::Anthropic) => {
            events.push(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
            events.extend(pieces.iter().map(|piece| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})));
            events.push(json!({"type": "content_block_stop", "index": 0}));
            events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}));
        }
        Some(Dialect::OpenAiResponses) => {
            let text = pieces.concat();
            events.extend(pieces.iter().map(|piece| json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": piece})));
            events.push(json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": text}));
            let item = json!({"type": "message", "content": [{"type": "output_text", "text": text}]});
            events.push(json!({"type": "response.completed", "response": {"output": [item]}}));
        }
        _ => {
            let chunk = |delta: Value, reason: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
            // Some servers have an empty reason where others have none.
            let none = [Value::Null, "".into()].into_iter().cycle();
            events
                .extend(pieces.iter().zip(none).map(|(piece, none)| chunk(json!({"content": piece}), none)));
            events.push(chunk(json!({}), "stop".into()));
        }
    }
    events
}

/// What was released of the text, what all of it was, and whether it may go on.
fn released(
    endpoint: &'static Endpoint,
    compiled: &[Arc<Compiled>],
    pieces: &[String],
) -> (String, String, bool) {
    let mut rewriter = rewriter(endpoint, compiled, true);
    let mut bytes = Vec::new();
    let mut is_over = false;
    for event in events(endpoint, pieces) {
        let raw = event.to_string();
        let mut out = Out { bytes: &mut bytes, endpoint, told: None };
        if rewriter.event(event, raw.as_bytes(), &mut out).is_err() {
            is_over = true;
            break;
        }
    }
    let all = String::from_utf8(bytes).unwrap();
    let mut text = String::new();
    for data in all.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(data).unwrap();
        let delta = [&event["delta"]["text"], &event["choices"][0]["delta"]["content"], &event["delta"]];
        text.extend(delta.into_iter().find_map(Value::as_str));
    }
    (text, all, is_over)
}

fn whole(compiled: &[Arc<Compiled>], text: &str) -> Option<String> {
    let judge = Judge { compiled: compiled.to_vec(), language: None, found: Arc::default() };
    let answer = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).to_string();
    let judged = judge.whole(&CHAT_COMPLETIONS, answer.as_bytes(), "id").unwrap();
    let told = judged.bytes.unwrap_or_else(|| answer.into_bytes().into());
    let told: Value = serde_json::from_slice(&told).unwrap();
    judged.stop.is_none().then(|| told["choices"][0]["message"]["content"].as_str().unwrap().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_a_stream_releases_is_what_the_whole_would_be(
        pieces in prop::collection::vec("[abcd0-9 \u{e9}]{0,4}", 0..12),
        stops in any::<bool>(),
    ) {
        let compiled = compiled(stops);
        let text = pieces.concat();
        let expected = whole(&compiled, &text);
        for endpoint in [&CHAT_COMPLETIONS, &MESSAGES, &RESPONSES] {
            let (released, all, is_over) = released(endpoint, &compiled, &pieces);
            prop_assert_eq!(is_over, expected.is_none(), "{} {:?}", endpoint.path, pieces);
            if let Some(expected) = &expected {
                prop_assert_eq!(&released, expected, "{}", endpoint.path);
                continue;
            }
            // What stands before the match, and not a letter of it.
            let before = ["baad", "bad"].iter().filter_map(|word| text.find(word)).min().unwrap();
            let expected = whole(&compiled, &text[..before]).unwrap();
            prop_assert!(expected.starts_with(&released), "{released:?} of {expected:?}");
            prop_assert!(!all.contains("bad") && !all.contains("baad"));
        }
    }
}
