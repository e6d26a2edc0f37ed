//! Bodies of each form, and that what a caller wrote stays as it is.

use super::*;
use contracts::policy::prompt::Role;
use proptest::prelude::*;
use serde_json::json;

fn messages() -> Vec<Message> {
    [
        (Role::System, "Be \"kind\"."),
        (Role::Developer, "Be brief."),
        (Role::User, "1+1?"),
        (Role::Assistant, "2"),
    ]
    .map(|(role, content)| Message { role, content: content.into() })
    .into()
}

fn merged(form: Form, body: &str, defaults: &Value) -> String {
    let defaults: Defaults = serde_json::from_value(defaults.clone()).unwrap();
    let body = Body::read(body.as_bytes()).unwrap();
    String::from_utf8(merge(form, &body, &messages(), &defaults).unwrap()).unwrap()
}

const ALL: &str = r#"{"role":"system","content":"Be \"kind\"."},{"role":"developer","content":"Be brief."},{"role":"user","content":"1+1?"},{"role":"assistant","content":"2"}"#;
const TALK: &str = r#"{"role":"user","content":"1+1?"},{"role":"assistant","content":"2"}"#;

#[test]
fn chat_gets_messages_first_and_loses_the_call() {
    let body = r#"{ "model" : "a",  "prompt": {"name":"x"}, "messages": [ {"role":"user","content":"\u0041"} ], "n":1.0 }"#;
    let expected = format!(
        r#"{{ "model" : "a", "messages": [{ALL}, {{"role":"user","content":"\u0041"}} ], "n":1.0 }}"#
    );
    assert_eq!(merged(Form::Chat, body, &json!({})), expected);
    assert_eq!(merged(Form::Chat, r#"{"messages":[ ]}"#, &json!({})), format!(r#"{{"messages":[{ALL} ]}}"#));
    assert_eq!(merged(Form::Chat, r#"{"prompt":{}}"#, &json!({})), format!(r#"{{"messages":[{ALL}]}}"#));
    assert_eq!(merged(Form::Chat, r#"{"messages":null}"#, &json!({})), format!(r#"{{"messages":[{ALL}]}}"#));
}

#[test]
fn a_response_gets_instructions_and_input() {
    let body = r#"{"model":"a","input":"caf\u00e9","prompt":{"id":"x"}}"#;
    let expected = format!(
        r#"{{"model":"a","input":[{TALK},{{"role":"user","content":"caf\u00e9"}}],"instructions":"Be \"kind\".\n\nBe brief."}}"#
    );
    assert_eq!(merged(Form::Responses, body, &json!({})), expected);
    let body = r#"{"instructions":"Own\t.","input":[{"type":"x"}]}"#;
    let expected = format!(
        r#"{{"instructions":"Be \"kind\".\n\nBe brief.\n\nOwn\t.","input":[{TALK},{{"type":"x"}}]}}"#
    );
    assert_eq!(merged(Form::Responses, body, &json!({})), expected);
}

#[test]
fn anthropic_gets_its_system_whether_text_or_blocks() {
    let body = r#"{"system":"Own.","messages":[{"role":"user","content":[]}]}"#;
    let expected = format!(
        r#"{{"system":"Be \"kind\".\n\nBe brief.\n\nOwn.","messages":[{TALK},{{"role":"user","content":[]}}]}}"#
    );
    assert_eq!(merged(Form::Messages, body, &json!({})), expected);
    let body =
        r#"{"system":[{"type":"text","text":"Own.","cache_control":{"type":"ephemeral"}}],"messages":[]}"#;
    let value: Value = serde_json::from_str(&merged(Form::Messages, body, &json!({}))).unwrap();
    assert_eq!(value["system"][0], json!({"type": "text", "text": "Be \"kind\".\n\nBe brief."}));
    assert_eq!(value["system"][1]["cache_control"]["type"], "ephemeral");
}

#[test]
fn parameters_are_filled_in_where_the_caller_gives_none() {
    let defaults =
        json!({"model": "small", "temperature": 0.2, "top_p": 1.0, "max_tokens": 9, "stop": ["\n"]});
    let all = |form| {
        let value: Value = serde_json::from_str(&merged(form, r#"{"temperature":null}"#, &defaults)).unwrap();
        value
    };
    let chat = all(Form::Chat);
    assert_eq!((&chat["model"], &chat["temperature"]), (&json!("small"), &json!(0.2)));
    assert_eq!((&chat["max_completion_tokens"], &chat["stop"]), (&json!(9), &json!(["\n"])));
    assert_eq!(all(Form::Responses)["max_output_tokens"], 9);
    assert_eq!(all(Form::Responses).get("stop"), None);
    assert_eq!(
        (&all(Form::Messages)["max_tokens"], &all(Form::Messages)["stop_sequences"]),
        (&json!(9), &json!(["\n"]))
    );
    let body = r#"{"model":"own","temperature":1,"top_p":0.5,"max_tokens":1,"stop":"x","messages":[]}"#;
    assert_eq!(merged(Form::Chat, body, &defaults), body.replace("[]", &format!("[{ALL}]")));
}

#[test]
fn bodies_that_cannot_take_a_prompt_are_refused() {
    let cases = [
        (Form::Chat, "[]", "body"),
        (Form::Chat, r#"{"messages":{}}"#, "messages"),
        (Form::Chat, r#"{"messages":[],"messages":[]}"#, "body"),
        (Form::Responses, r#"{"input":3}"#, "input"),
        (Form::Responses, r#"{"instructions":[]}"#, "instructions"),
        (Form::Messages, r#"{"system":{}}"#, "system"),
    ];
    for (form, body, field) in cases {
        let read = Body::read(body.as_bytes());
        let merged = read.and_then(|body| merge(form, &body, &messages(), &Defaults::default()));
        let error = merged.unwrap_err();
        assert_eq!(error.field, field, "{error}");
    }
    assert_eq!(Body::read(b"\xff{}").unwrap_err().field, "body");
}

#[test]
fn an_arms_parameters_replace_the_callers() {
    let members = json!({"temperature": 0, "seed": 7});
    let body = br#"{"temperature": 1, "messages": []}"#;
    let text = String::from_utf8(set_members(body, members.as_object().unwrap()).unwrap()).unwrap();
    assert_eq!(text, r#"{"temperature": 0, "messages": [],"seed":7}"#);
}

proptest! {
    #[test]
    fn nothing_of_a_body_is_lost(
        others in prop::collection::btree_map("[x-z\"\\\\]{1,3}", "[a-z\"\\\\\u{e9}]{0,5}".prop_map(Value::from), 0..4),
        own in prop::collection::vec("[a-z\"{]{0,4}", 0..3),
        form in prop_oneof![Just(Form::Chat), Just(Form::Responses), Just(Form::Messages)],
        call_first in any::<bool>(),
    ) {
        let list = if form == Form::Responses { "input" } else { "messages" };
        let own: Vec<Value> = own.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let mut parts: Vec<String> = others.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
        parts.push(format!("\"{list}\" :{}", json!(own)));
        parts.insert(if call_first { 0 } else { parts.len() }, r#""prompt": {"name":"a"}"#.into());
        let body = format!("{{{}}}", parts.join(" ,"));
        let result: Map<String, Value> = serde_json::from_str(&merged(form, &body, &json!({}))).unwrap();
        for (name, value) in &others {
            prop_assert_eq!(&result[name], value);
        }
        let rest = result[list].as_array().unwrap();
        prop_assert_eq!(&rest[rest.len() - own.len()..], &own[..]);
        prop_assert!(!result.contains_key("prompt"));
    }
}
