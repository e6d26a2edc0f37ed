//! What counts for a key and a partition, and what keeps a request out of the cache.

use super::*;
use contracts::policy::cache::Semantic;
use proptest::prelude::*;
use serde_json::{Value, json};

fn policy() -> Cache {
    Cache { semantic: Some(Semantic::default()), ..Cache::default() }
}

fn read_as(protocol: Protocol, body: &Value) -> Result<Question, Bypass> {
    let tenant: TenantId = "acme".parse().unwrap();
    let place =
        Place { tenant: &tenant, route: "support", protocol, variant: &["v1"], embedder: "test-model" };
    Question::read(&place, body.to_string().as_bytes(), &policy())
}

fn chat(body: &Value) -> Question {
    read_as(Protocol::Chat, body).unwrap()
}

fn request() -> Value {
    json!({
        "model": "support",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How long may I return shoes?"},
        ],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = request();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[member] = value;
    body
}

#[test]
fn delivery_and_filing_do_not_count() {
    let mut body = request();
    for member in LEFT_OUT {
        body[member] = json!(if member == "store" { json!(false) } else { json!({"any": "thing"}) });
    }
    assert_eq!(chat(&body), chat(&request()));
}

#[test]
fn everything_else_counts_for_key_and_partition() {
    for (pointer, value) in [
        ("/model", json!("other")),
        ("/tools", json!([{"type": "function", "function": {"name": "f"}}])),
        ("/tool_choice", json!("none")),
        ("/response_format", json!({"type": "json_object"})),
        ("/top_p", json!(0.5)),
        ("/max_tokens", json!(5)),
        ("/max_completion_tokens", json!(5)),
        ("/stop", json!(["."])),
        ("/seed", json!(1)),
        ("/n", json!(2)),
        ("/reasoning_effort", json!("low")),
        ("/member_of_tomorrow", json!(1)),
        ("/messages/0/content", json!("Be long.")),
        ("/messages/0/role", json!("developer")),
        ("/messages/1/name", json!("bob")),
    ] {
        let (one, other) = (chat(&request()), chat(&with(pointer, value)));
        assert_ne!(one.key(), other.key(), "{pointer}");
        assert_ne!(one.partition().unwrap(), other.partition().unwrap(), "{pointer}");
    }
}

#[test]
fn the_last_question_counts_for_the_key_only() {
    let (one, other) = (chat(&request()), chat(&with("/messages/1/content", json!("Returns of shoes?"))));
    assert_ne!(one.key(), other.key());
    assert_eq!(one.partition(), other.partition());
    let parts = chat(&with("/messages/1/content", json!([{"type": "text", "text": "Returns of shoes?"}])));
    assert_eq!(parts.meaning, other.meaning);
}

#[test]
fn what_was_said_before_the_last_question_counts() {
    let mut body = request();
    let turns = body["messages"].as_array_mut().unwrap();
    turns.insert(1, json!({"role": "user", "content": "Hello"}));
    turns.insert(2, json!({"role": "assistant", "content": "Hello!"}));
    assert_ne!(chat(&body).partition(), chat(&request()).partition());
}

#[test]
fn the_place_counts() {
    let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
    let base = Place {
        tenant: &acme,
        route: "support",
        protocol: Protocol::Chat,
        variant: &["a", "b"],
        embedder: "m",
    };
    let read =
        |place: &Place<'_>| Question::read(place, request().to_string().as_bytes(), &policy()).unwrap();
    for place in [
        Place { tenant: &other, ..base },
        Place { route: "sales", ..base },
        Place { variant: &["ab"], ..base },
        Place { variant: &["a", "b", ""], ..base },
    ] {
        assert_ne!(read(&place).key(), read(&base).key(), "{place:?}");
        assert_ne!(read(&place).partition(), read(&base).partition(), "{place:?}");
    }
    let other_model = read(&Place { embedder: "n", ..base });
    assert_eq!(other_model.key(), read(&base).key());
    assert_ne!(other_model.partition(), read(&base).partition());
}

#[test]
fn temperatures_of_one_class_share_by_meaning_and_high_ones_do_not() {
    let at = |temperature: Value| chat(&with("/temperature", temperature));
    assert_eq!(at(json!(0.1)).partition(), at(json!(0.3)).partition());
    assert_ne!(at(json!(0.1)).key(), at(json!(0.3)).key());
    let classes: std::collections::HashSet<_> =
        [json!(null), json!(0), json!(0.2), json!(0.5)].map(|t| at(t).partition()).into();
    assert_eq!(classes.len(), 4);
    for out in [json!(0.8), json!(-1), json!("hot")] {
        assert_eq!(at(out).partition(), None);
    }
    let warm = Cache { semantic: Some(Semantic { max_temperature: 2.0, ..Semantic::default() }), ..policy() };
    let tenant = "acme".parse().unwrap();
    let place = Place { tenant: &tenant, route: "r", protocol: Protocol::Chat, variant: &[], embedder: "m" };
    let body = with("/temperature", json!(1.5)).to_string();
    assert!(Question::read(&place, body.as_bytes(), &warm).unwrap().partition().is_some());
}

#[test]
fn only_questions_are_compared_by_meaning() {
    let ends_with = |message: Value| {
        let mut body = request();
        body["messages"].as_array_mut().unwrap().push(message);
        read_as(Protocol::Chat, &body)
    };
    assert_eq!(ends_with(json!({"role": "assistant", "content": "You may"})).unwrap().partition(), None);
    assert_eq!(
        ends_with(json!({"role": "tool", "tool_call_id": "x", "content": "1"})),
        Err(Bypass::ToolResults)
    );
    assert_eq!(chat(&with("/messages/1/content", json!("x".repeat(401)))).partition(), None);
    assert_eq!(chat(&with("/messages/1/content", json!("  "))).partition(), None);
}

#[test]
fn what_no_cache_can_answer_for_is_left_alone() {
    let image =
        json!([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "u"}}]);
    for (pointer, value, why) in [
        ("/messages/1/content", image.clone(), Bypass::Media),
        ("/messages/0/content", image, Bypass::Media),
        ("/messages/1/content", json!([{"type": "part_of_tomorrow"}]), Bypass::Media),
        ("/modalities", json!(["text", "audio"]), Bypass::Media),
        ("/store", json!(true), Bypass::State),
        ("/background", json!(true), Bypass::Background),
        ("/web_search_options", json!({}), Bypass::HostedTool),
        ("/tools", json!([{"type": "web_search"}]), Bypass::HostedTool),
        ("/messages", json!([]), Bypass::Unreadable),
        ("/messages", json!("hello"), Bypass::Unreadable),
    ] {
        assert_eq!(read_as(Protocol::Chat, &with(pointer, value)), Err(why), "{pointer}");
    }
}

#[test]
fn responses_are_read() {
    let ask = |more: Value| {
        let mut body = json!({"model": "m", "instructions": "Be brief.", "input": "Why?"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read_as(Protocol::Responses, &body)
    };
    let plain = ask(json!({})).unwrap();
    assert_eq!(plain.meaning.as_ref().unwrap().text, "Why?");
    assert_eq!(ask(json!({"input": "How?"})).unwrap().partition(), plain.partition());
    assert_ne!(ask(json!({"instructions": "Be long."})).unwrap().partition(), plain.partition());
    let item = |content: Value| json!({"input": [{"type": "message", "role": "user", "content": content}]});
    let listed = ask(item(json!([{"type": "input_text", "text": "Why?"}]))).unwrap();
    assert_eq!(listed.meaning.unwrap().text, "Why?");
    let output = |output: Value| json!({"input": [{"type": "function_call_output", "call_id": "c", "output": output}]});
    for (more, why) in [
        (json!({"previous_response_id": "r"}), Bypass::State),
        (json!({"conversation": {"id": "c"}}), Bypass::State),
        (json!({"prompt": {"id": "p"}}), Bypass::State),
        (json!({"background": true}), Bypass::Background),
        (json!({"tools": [{"type": "file_search"}]}), Bypass::HostedTool),
        (item(json!([{"type": "input_image", "image_url": "u"}])), Bypass::Media),
        (json!({"input": [{"type": "item_reference", "id": "i"}]}), Bypass::State),
        (json!({"input": [{"type": "item_of_tomorrow"}]}), Bypass::Media),
        (output(json!("1")), Bypass::ToolResults),
        (output(json!([{"type": "input_image", "image_url": "u"}])), Bypass::Media),
    ] {
        assert_eq!(ask(more.clone()), Err(why), "{more}");
    }
    // Items on the way may be anything that is text.
    let agent = json!({"input": [
        {"type": "reasoning", "id": "r"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"role": "user", "content": "And now?"},
    ]});
    assert!(ask(agent).unwrap().partition().is_some());
}

#[test]
fn messages_are_read() {
    let ask = |content: Value, system: Value| {
        let body = json!({
            "model": "m", "max_tokens": 9, "system": system, "messages": [{"role": "user", "content": content}],
        });
        read_as(Protocol::Messages, &body)
    };
    let blocks = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]);
    let plain = ask(json!("Why?"), blocks.clone()).unwrap();
    assert_eq!(plain.meaning.as_ref().unwrap().text, "Why?");
    assert_ne!(ask(json!("Why?"), json!("Be long.")).unwrap().partition(), plain.partition());
    let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": "1"}]);
    assert_eq!(ask(result, blocks.clone()), Err(Bypass::ToolResults));
    let shown = json!([{"type": "tool_result", "content": [{"type": "image", "source": {}}]}]);
    assert_eq!(ask(shown, blocks.clone()), Err(Bypass::Media));
    assert_eq!(ask(json!([{"type": "document", "source": {}}]), blocks), Err(Bypass::Media));
    let hosted = json!({
        "model": "m", "messages": [{"role": "user", "content": "Why?"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    });
    assert_eq!(read_as(Protocol::Messages, &hosted), Err(Bypass::HostedTool));
}

proptest! {
    #[test]
    fn reading_never_panics(body in ".{0,80}", protocol in 0_usize..3) {
        let protocol = [Protocol::Chat, Protocol::Responses, Protocol::Messages][protocol];
        let tenant = "acme".parse().unwrap();
        let place = Place { tenant: &tenant, route: "r", protocol, variant: &[], embedder: "m" };
        let _ = Question::read(&place, body.as_bytes(), &policy());
        let _ = read_as(protocol, &json!({"messages": body, "input": [body]}));
    }
}
