//! Requests, and answers that come whole.

use super::policy::{
    CHAT, MESSAGES, More, RESPONSES, answer, ask, gateway, guarded, guardrail, read, saying, speaks, usual,
    withheld,
};
use crate::support::{Collector, Gateway, Upstream, config, json as answers};
use contracts::policy::KeyPolicy;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

const PATHS: [&str; 3] = [CHAT, RESPONSES, MESSAGES];

fn start(upstream: &Upstream, path: &str) -> Gateway {
    let more = More { speaks: speaks(path), ..More::default() };
    Gateway::start(config(None), guarded(upstream, &[usual()], &more))
}

#[tokio::test]
async fn what_is_masked_on_the_way_in_reaches_no_model_and_the_rest_stays_byte_for_byte() {
    for path in PATHS {
        let upstream = saying(&answer(path, "Hi", None)).await;
        let gateway = start(&upstream, path);
        let body =
            ask(path, "my c\u{e9}rd is 1234567812345678!", false).replace("\"stream\"", " \"stream\" ");
        let answered = gateway.post(path, body.clone()).await;
        assert_eq!(answered.status, StatusCode::OK, "{}", answered.text());
        assert_eq!(read(path, &answered.json()).0, "Hi");
        let sent = String::from_utf8(upstream.received()[0].body.clone()).unwrap();
        let expected = body.replace("1234567812345678", "[card]").replace("\"route\"", "\"gpt-4o-mini\"");
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn a_request_that_is_blocked_is_refused_in_its_own_protocol_and_language_and_costs_nothing() {
    for path in PATHS {
        let upstream = saying(&answer(path, "Hi", None)).await;
        let gateway = start(&upstream, path);
        for (language, text) in [("en", "No: words."), ("de-AT, en;q=0.5", "Nein: words.")] {
            for stream in [false, true] {
                let body = ask(path, "Tell me of the Forbidden  Fruit", stream);
                let mut request = gateway.request(path, body);
                request.headers_mut().insert("accept-language", language.parse().unwrap());
                let answered = gateway.call(request).await;
                assert_eq!(answered.status, StatusCode::OK, "{}", answered.text());
                assert_eq!(answered.header("x-control-tower-cost-usd"), "0");
                if stream {
                    assert_eq!(answered.header("content-type"), "text/event-stream; charset=utf-8");
                    let told = answered.text();
                    assert!(told.contains(text) && told.contains(withheld(path)), "{told}");
                } else {
                    assert_eq!(read(path, &answered.json()), (text.to_owned(), withheld(path).to_owned()));
                }
            }
        }
        assert!(upstream.received().is_empty(), "no model was asked");
    }
}

#[tokio::test]
async fn what_was_found_is_on_the_trace_without_a_word_of_it() {
    let collector = Collector::start().await;
    let upstream = saying(&answer(CHAT, "A remarkable 1234567812345678", None)).await;
    let more = More { capture: true, ..More::default() };
    let gateway = Gateway::start(config(Some(&collector)), guarded(&upstream, &[usual()], &more));
    gateway.post(CHAT, ask(CHAT, "card 8765432187654321", false)).await;
    let call = collector.call().await;
    let get = |name: &str| call.get(&format!("control_tower.guardrail.{name}")).to_owned();
    assert_eq!(get("decision"), "mask");
    assert_eq!(get("name"), "g0,g0,g0");
    assert_eq!(get("rule"), "cards,notes,cards");
    assert_eq!(get("action"), "mask,flag,mask");
    assert_eq!(get("place"), "input,output,output");
    // Content is recorded as it went on, and its cost is that of what the model said.
    assert!(call.get("gen_ai.input.messages").contains("card [card]"));
    assert!(call.get("gen_ai.output.messages").contains("A remarkable [card]"));
    assert_eq!(call.get("control_tower.cost.total"), "0.000007");
    assert_eq!(call.get("gen_ai.usage.output_tokens"), "2");

    gateway.post(CHAT, ask(CHAT, "forbidden fruit 8765432187654321", false)).await;
    let call = collector.calls(2).await.pop().unwrap();
    assert_eq!(call.get("control_tower.guardrail.decision"), "block");
    assert_eq!(call.get("gen_ai.response.finish_reasons"), "content_filter");
    assert_eq!((call.get("control_tower.cost.total"), call.get("gen_ai.input.messages")), ("", ""));
    for span in collector.spans() {
        let all = format!("{span:?}");
        assert!(
            !all.contains("12345678") && !all.contains("87654321") && !all.contains("forbidden"),
            "{all}"
        );
    }
    let count = |labels: &str| format!("gateway_guardrail_breaches_total{{{labels}}}");
    assert_eq!(gateway.metric(&count(r#"action="mask",place="input""#)).await, Some(2.0));
    assert_eq!(gateway.metric(&count(r#"action="block",place="input""#)).await, Some(1.0));
    assert_eq!(gateway.metric(&count(r#"action="mask",place="output""#)).await, Some(1.0));
}

#[tokio::test]
async fn whole_answers_are_masked_in_place_or_withheld() {
    for path in PATHS {
        let upstream = saying(&answer(path, "It is 1234567812345678.", None)).await;
        let gateway = start(&upstream, path);
        let told = gateway.post(path, ask(path, "Hi", false)).await.json();
        let mut expected = answer(path, "It is [card].", None);
        if path == CHAT {
            expected["choices"][0]["logprobs"] = Value::Null;
        }
        assert_eq!(told, expected);

        let upstream = saying(&answer(path, "Eat the forbidden fruit", None)).await;
        let gateway = start(&upstream, path);
        let answered = gateway.post(path, ask(path, "Hi", false)).await;
        assert_eq!(read(path, &answered.json()), ("No: words.".into(), withheld(path).into()));
        assert!(!answered.text().contains("fruit"), "{}", answered.text());
        assert_eq!(answered.header("x-control-tower-cost-usd"), "0.000007", "what is withheld was paid for");
        assert_eq!(answered.json()["usage"], expected["usage"]);
    }
}

#[tokio::test]
async fn tools_are_those_of_the_list_with_arguments_of_their_schema() {
    for path in PATHS {
        for (call, is_allowed) in [
            (("weather", r#"{"city":"Rome"}"#), true),
            (("weather", r#"{"town":"Rome"}"#), false),
            (("shell", r#"{"run":"ls"}"#), false),
        ] {
            let whole = answer(path, "Let me see.", Some(call));
            let upstream = saying(&whole).await;
            let answered = start(&upstream, path).post(path, ask(path, "Hi", false)).await;
            if is_allowed {
                assert_eq!(answered.json(), whole);
            } else {
                assert_eq!(read(path, &answered.json()), ("No: tools.".into(), withheld(path).into()));
                assert!(!answered.text().contains("Rome") && !answered.text().contains("shell"));
            }
        }
        let whole = answer(path, "So.", Some(("weather", r#"{"city":"1234567812345678"}"#)));
        let answered = start(&saying(&whole).await, path).post(path, ask(path, "Hi", false)).await;
        let mut expected = answer(path, "So.", Some(("weather", r#"{"city":"[card]"}"#)));
        if path == CHAT {
            expected["choices"][0]["logprobs"] = Value::Null;
        }
        assert_eq!(answered.json(), expected);
    }
}

#[tokio::test]
async fn a_key_has_guardrails_of_its_own_wherever_it_calls() {
    let tools = json!({"tools": {"allow": [{"name": "weather"}]}});
    for (name, is_allowed) in [("weather", true), ("shell", false)] {
        let whole = answer(CHAT, "So.", Some((name, "{}")));
        let upstream = saying(&whole).await;
        let mut snapshot = guarded(&upstream, &[], &More::default());
        for key in snapshot.keys.values_mut() {
            *key = Arc::new(KeyPolicy {
                guardrails: vec![Ok(guardrail("tools", &tools))],
                ..KeyPolicy::clone(key)
            });
        }
        let gateway = Gateway::start(config(None), snapshot);
        for model in ["route", "gpt-4o-mini"] {
            let body = ask(CHAT, "Hi", false).replace("\"route\"", &format!("\"{model}\""));
            let told = gateway.post(CHAT, body).await.json();
            assert_eq!(read(CHAT, &told).1, if is_allowed { "tool_calls" } else { "content_filter" });
        }
    }
}

#[tokio::test]
async fn tokens_are_counted_of_what_would_go_to_a_model() {
    let upstream = Upstream::always(answers(200, r#"{"input_tokens":7}"#)).await;
    let gateway = start(&upstream, MESSAGES);
    let body =
        |text: &str| json!({"model": "route", "messages": [{"role": "user", "content": text}]}).to_string();
    let counted = gateway.post("/v1/messages/count_tokens", body("1234567812345678")).await;
    assert_eq!(counted.json()["input_tokens"], 7);
    assert_eq!(upstream.received()[0].json()["messages"][0]["content"], "[card]");
    let counted = gateway.post("/v1/messages/count_tokens", body("forbidden fruit")).await;
    assert_eq!((counted.status, upstream.received().len()), (StatusCode::BAD_REQUEST, 1));
}

#[tokio::test]
async fn several_guardrails_judge_in_their_order() {
    let second = json!({"output": [{"name": "bracket", "check": {"regex": {"patterns": ["\\[card\\]"]}}, "action": "block"}]});
    let upstream = saying(&answer(CHAT, "It is 1234567812345678.", None)).await;
    let told = gateway(&upstream, &[usual(), second.clone()]).post(CHAT, ask(CHAT, "Hi", false)).await.json();
    assert!(read(CHAT, &told).0.contains("bracket"), "{told}");
    let told = gateway(&upstream, &[second, usual()]).post(CHAT, ask(CHAT, "Hi", false)).await.json();
    assert_eq!(read(CHAT, &told).0, "It is [card].");
}

#[tokio::test]
async fn an_answer_that_must_be_json_is_judged_as_a_whole() {
    let rules = json!({"output": [
        {"name": "shape", "check": {"json_schema": {"type": "object", "required": ["a"]}}, "action": "block"},
        {"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"]}}, "action": {"mask": {"with": "[card]"}}},
    ]});
    for (said, expected) in [(r#"{"a":"1234567812345678"}"#, r#"{"a":"[card]"}"#), ("{}", "")] {
        let upstream = saying(&answer(CHAT, said, None)).await;
        let told =
            gateway(&upstream, std::slice::from_ref(&rules)).post(CHAT, ask(CHAT, "Hi", false)).await.json();
        let (text, reason) = read(CHAT, &told);
        if expected.is_empty() {
            assert_eq!(reason, "content_filter");
        } else {
            assert_eq!(text, expected);
        }
    }
}

#[tokio::test]
async fn a_guardrail_that_cannot_be_compiled_closes_its_route() {
    let wrong =
        json!({"output": [{"name": "all", "check": {"regex": {"patterns": ["a+"]}}, "action": "block"}]});
    let upstream = saying(&answer(CHAT, "Hi", None)).await;
    let answered = gateway(&upstream, &[wrong]).post(CHAT, ask(CHAT, "Hi", false)).await;
    assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answered.json()["error"]["code"], "policy_unreadable");
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn completions_and_embeddings_are_guarded_too() {
    let completion = r#"{"id":"c","object":"text_completion","model":"gpt-4o-mini","choices":[{"index":0,"text":"1234567812345678","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let upstream = Upstream::always(answers(200, completion)).await;
    let gateway = gateway(&upstream, &[usual()]);
    let told =
        gateway.post("/v1/completions", r#"{"model":"route","prompt":["8765432187654321"]}"#).await.json();
    assert_eq!(told["choices"][0]["text"], "[card]");
    assert_eq!(upstream.received()[0].json()["prompt"], json!(["[card]"]));
    let told =
        gateway.post("/v1/completions", r#"{"model":"route","prompt":"forbidden fruit"}"#).await.json();
    assert_eq!(told["choices"][0]["text"], "No: words.");
    for body in [r#"{"model":"route","prompt":[[1,2,3]]}"#, r#"{"model":"route","prompt":[1,2,3]}"#] {
        let answered = gateway.post("/v1/completions", body).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{}", answered.text());
    }
    let answered = gateway.post("/v1/embeddings", r#"{"model":"route","input":"forbidden fruit"}"#).await;
    assert_eq!(answered.json()["error"]["code"], "content_filter");
    assert_eq!(answered.json()["error"]["message"], "No: words.");
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn an_answer_is_kept_as_the_client_got_it_and_under_its_guardrails() {
    let cache = Some(json!({"exact": true, "ttl_seconds": 60}));
    let upstream = saying(&answer(CHAT, "It is 1234567812345678.", None)).await;
    let more = More { cache: cache.clone(), ..More::default() };
    let gateway = Gateway::start(config(None), guarded(&upstream, &[usual()], &more));
    for status in ["miss", "hit_exact"] {
        let answered = gateway.post(CHAT, ask(CHAT, "Hi", false)).await;
        assert_eq!(answered.header("x-control-tower-cache"), status);
        assert_eq!(read(CHAT, &answered.json()).0, "It is [card].");
    }
    let upstream = saying(&answer(CHAT, "forbidden fruit", None)).await;
    let gateway = Gateway::start(config(None), guarded(&upstream, &[usual()], &more));
    for _ in 0..2 {
        let answered = gateway.post(CHAT, ask(CHAT, "Hi", false)).await;
        assert_eq!(answered.header("x-control-tower-cache"), "miss", "a refusal is not given again");
    }
    assert_eq!(upstream.received().len(), 2);
}

/// A request with passages, of the upstream's kind and of ours.
fn with_passages(text: &str) -> String {
    let mut body: Value = serde_json::from_str(&ask(CHAT, "Hi", false)).unwrap();
    body["documents"] = json!([text, {"doc_id": "1234567812345678", "title": text, "data": {"text": text}}, [{"deep": text}]]);
    body["control_tower"] = json!({"context": [{"id": "a", "text": text, "source": text}]});
    body.to_string()
}

#[tokio::test]
async fn passages_are_judged_as_what_users_say() {
    let collector = Collector::start().await;
    let upstream = saying(&answer(CHAT, "Hi", None)).await;
    let mut cards = usual();
    // A passage of which nothing is left is one all the same.
    cards["input"][0]["action"] = json!({"mask": {"with": ""}});
    for (rules, masked) in [(usual(), "[card]"), (cards, " ")] {
        let more = More { capture: true, ..More::default() };
        let gateway = Gateway::start(config(Some(&collector)), guarded(&upstream, &[rules], &more));
        let answered = gateway.post(CHAT, with_passages("1234567812345678")).await;
        assert_eq!(answered.status, StatusCode::OK, "{}", answered.text());
        let sent = upstream.received().last().unwrap().json();
        let expected = json!([masked, {"doc_id": "1234567812345678", "title": masked, "data": {"text": masked}}, [{"deep": masked}]]);
        assert_eq!((&sent["documents"], sent.get("control_tower")), (&expected, None));
    }
    let recorded = collector.calls(2).await;
    let of = |text: &str| format!(r#"{{"id":"a","source":"{text}","text":"{text}"}}"#);
    for masked in ["[card]", " "] {
        let has = |call: &crate::support::Span| call.get("gen_ai.retrieval.documents").contains(&of(masked));
        assert!(recorded.iter().any(has), "{recorded:?}");
    }
}

#[tokio::test]
async fn a_passage_that_is_blocked_is_neither_sent_nor_recorded() {
    let collector = Collector::start().await;
    let upstream = saying(&answer(CHAT, "Hi", None)).await;
    let more = More { capture: true, ..More::default() };
    let gateway = Gateway::start(config(Some(&collector)), guarded(&upstream, &[usual()], &more));
    let of_ours = json!({"model": "route", "messages": [{"role": "user", "content": "Hi"}],
        "control_tower.context": [{"id": "a", "text": "forbidden fruit"}]});
    for body in [with_passages("forbidden fruit"), of_ours.to_string()] {
        let answered = gateway.post(CHAT, body).await;
        assert_eq!(read(CHAT, &answered.json()).0, "No: words.", "{}", answered.text());
    }
    assert!(upstream.received().is_empty());
    for call in collector.calls(2).await {
        assert!(call.get("gen_ai.retrieval.documents").contains(r#"{"id":"a"}"#), "{call:?}");
        assert!(!format!("{call:?}").contains("forbidden"), "{call:?}");
    }
}

#[tokio::test]
async fn a_request_that_guardrails_cannot_read_is_recorded_as_blocked_without_its_words() {
    let collector = Collector::start().await;
    let upstream = saying(&answer(CHAT, "Hi", None)).await;
    let more = More { capture: true, ..More::default() };
    let gateway = Gateway::start(config(Some(&collector)), guarded(&upstream, &[usual()], &more));
    let body = r#"{"model":"route","prompt":["forbidden fruit 8765432187654321",[1,2,3]]}"#;
    let answered = gateway.post("/v1/completions", body).await;
    assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{}", answered.text());
    assert_eq!(answered.json()["error"]["code"], "content_filter");
    let call = collector.call().await;
    let get = |name: &str| call.get(&format!("control_tower.guardrail.{name}")).to_owned();
    let found = ["decision", "name", "rule", "action", "place"].map(get);
    assert_eq!(found, ["block", "g0", "unreadable", "block", "input"]);
    assert!(!format!("{call:?}").contains("forbidden"), "{call:?}");
    assert!(!format!("{call:?}").contains("87654321"), "{call:?}");
    assert_eq!(
        gateway.metric(r#"gateway_guardrail_breaches_total{action="block",place="input"}"#).await,
        Some(1.0)
    );
}

#[tokio::test]
async fn what_nobody_can_say_what_it_says_goes_to_no_model_and_to_no_client() {
    for path in PATHS {
        let upstream = saying(&answer(path, "Hi", None)).await;
        let gateway = start(&upstream, path);
        let body = ask(path, "forbidden fruit HALF", false).replace("HALF", "\\ud83d");
        let answered = gateway.post(path, body).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{}", answered.text());
        assert!(upstream.received().is_empty());
        let half = answer(path, "forbidden fruit HALF", None).to_string().replace("HALF", "\\ud83d");
        let upstream = Upstream::always(answers(200, &half)).await;
        let answered = start(&upstream, path).post(path, ask(path, "Hi", false)).await;
        assert!(!answered.text().contains("forbidden"), "{}", answered.text());
    }
}

#[tokio::test]
async fn an_answer_of_another_form_than_its_protocols_goes_to_no_client() {
    let card = "1234567812345678";
    let deep = "[".repeat(60_000) + &"]".repeat(60_000);
    for (path, answer) in [
        (MESSAGES, json!({"content": card}).to_string()),
        (RESPONSES, json!({"output": [{"type": "message", "content": card}]}).to_string()),
        (RESPONSES, json!({"output": {"type": "message", "content": card}}).to_string()),
        (CHAT, json!({"choices": [{"message": card}]}).to_string()),
        (CHAT, json!({"choices": [{"message": {"function_call": card}}]}).to_string()),
        (CHAT, json!({"choices": [{"message": {"tool_calls": {"function": {"name": "rm", "arguments": "{}"}}}}]}).to_string()),
        (CHAT, format!(r#"{{"choices":[{{"message":{{"content":{deep}}}}}]}}"#)),
    ] {
        let upstream = Upstream::always(answers(200, &answer)).await;
        let gateway = start(&upstream, path);
        for _ in 0..2 {
            let answered = gateway.post(path, ask(path, "Hi", false)).await;
            assert_eq!(answered.status, StatusCode::BAD_GATEWAY, "{path} {:.200}", answered.text());
            assert!(!answered.text().contains(card));
        }
    }
}

#[tokio::test]
async fn whatever_the_client_says_to_the_model_is_judged() {
    let upstream = saying(&answer(CHAT, "Hi", None)).await;
    let gateway = gateway(&upstream, &[usual()]);
    let predicted = r#"{"model":"route","messages":[{"role":"user","content":"x"}],"prediction":{"type":"content","content":"1234567812345678"}}"#;
    gateway.post(CHAT, predicted).await;
    assert_eq!(upstream.received()[0].json()["prediction"]["content"], "[card]");
    let suffix = r#"{"model":"route","prompt":"x","suffix":"1234567812345678"}"#;
    gateway.post("/v1/completions", suffix).await;
    assert_eq!(upstream.received()[1].json()["suffix"], "[card]");
    let upstream = saying(&answer(RESPONSES, "Hi", None)).await;
    let variables = r#"{"model":"route","prompt":{"id":"pmpt_1","variables":{"name":"1234567812345678","data":{"type":"input_text","text":"1234567812345678"}}}}"#;
    start(&upstream, RESPONSES).post(RESPONSES, variables).await;
    let variables = &upstream.received()[0].json()["prompt"]["variables"];
    assert_eq!((&variables["name"], &variables["data"]["text"]), (&json!("[card]"), &json!("[card]")));
    // A kind is the same however it is written.
    let upstream = saying(&answer(MESSAGES, "Hi", None)).await;
    let document = r#"{"model":"route","max_tokens":9,"messages":[{"role":"user","content":[
        {"type":"document","source":{"type":"te\u0078t","media_type":"text/plain","data":"1234567812345678"}}]}]}"#;
    start(&upstream, MESSAGES).post(MESSAGES, document).await;
    assert_eq!(upstream.received()[0].json()["messages"][0]["content"][0]["source"]["data"], "[card]");
}

#[tokio::test]
async fn a_guardrail_that_wants_to_see_something_is_not_content_with_nothing() {
    let topics = json!([{"name": "topic", "check": {"topics": {"allow": ["billing"]}}, "action": "block"}]);
    let shape = json!([{"name": "shape", "check": {"json_schema": {"type": "object"}}, "action": "block"}]);
    let silent = json!({"id": "c1", "object": "chat.completion", "model": "gpt-4o-mini", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": null}, "finish_reason": "length"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let upstream = saying(&silent).await;
    let asks = gateway(&upstream, &[json!({"input": topics})]);
    let picture = r#"{"model":"route","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}"#;
    let answered = asks.post(CHAT, picture).await;
    assert_eq!(read(CHAT, &answered.json()).1, withheld(CHAT), "{}", answered.text());
    assert!(upstream.received().is_empty());
    let answers = gateway(&upstream, &[json!({"output": shape})]);
    let answered = answers.post(CHAT, ask(CHAT, "Hi", false)).await;
    assert_eq!(read(CHAT, &answered.json()).1, withheld(CHAT), "{}", answered.text());
}
