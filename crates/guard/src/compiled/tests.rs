//! What is refused when it is written, and what is found when it is judged.

use super::*;
use crate::verdict::Decision;
use serde_json::{Value, json};

fn guard(spec: &Value) -> Guard {
    Guard::new(&serde_json::from_value(spec.clone()).unwrap()).unwrap()
}

fn rule(name: &str, check: &Value, action: &Value) -> Value {
    json!({"name": name, "check": check, "action": action})
}

fn breached(verdict: &Verdict) -> Vec<(&str, Decision, Place)> {
    verdict.breaches.iter().map(|breach| (&*breach.rule, breach.action, breach.place)).collect()
}

#[test]
fn the_severest_decision_wins_and_masks_are_put_in() {
    let guard = guard(&json!({"input": [
        rule("cards", &json!({"regex": {"patterns": [r"\b[0-9]{16}\b"]}}), &json!({"mask": {"with": "[card]"}})),
        rule("mail", &json!({"regex": {"patterns": [r"[\w.]+@[\w.]+"]}}), &json!({"mask": {"with": "[mail]"}})),
        rule("rude", &json!({"regex": {"patterns": ["darn"], "case_insensitive": true}}), &json!("flag")),
        rule("secret", &json!({"topics": {"deny": ["project  x", "C++"]}}), &json!("block")),
    ]}));
    assert_eq!(guard.input(&["hello"], None), Verdict::default());
    let verdict = guard.input(&["a 1234567812345678 b@c.de 1111222233334444", "DARN it"], None);
    assert_eq!(verdict.decision, Decision::Mask);
    assert_eq!(verdict.masked, [(0, "a [card] [mail] [card]".to_owned())]);
    assert_eq!(verdict.text(1, "DARN it"), "DARN it");
    let expected = [
        ("cards", Decision::Mask, Place::Text(0)),
        ("mail", Decision::Mask, Place::Text(0)),
        ("rude", Decision::Flag, Place::Text(1)),
    ];
    assert_eq!(breached(&verdict), expected);
    for text in ["tell me of Project\n X!", "I like c++.", "(C++)"] {
        let verdict = guard.input(&[text], None);
        assert_eq!(verdict.decision, Decision::Block, "{text}");
        assert_eq!(&*verdict.severest().unwrap().rule, "secret");
    }
    assert_eq!(guard.input(&["projects x", "project xy"], None).decision, Decision::Pass);
}

#[test]
fn lengths_are_of_all_texts_together() {
    let guard = guard(&json!({"input": [
        rule("chars", &json!({"max_chars": 5}), &json!("block")),
        rule("tokens", &json!({"max_tokens": 2}), &json!("flag")),
    ]}));
    assert_eq!(guard.input(&["äöü", "ab"], None).decision, Decision::Pass);
    assert_eq!(
        breached(&guard.input(&["äöü", "abc"], None)),
        [("chars", Decision::Block, Place::Whole), ("tokens", Decision::Flag, Place::Whole),]
    );
}

#[test]
fn topics_languages_and_schemas_judge_whole_texts() {
    let guard = guard(&json!({"output": [
        rule("topic", &json!({"topics": {"allow": ["returns", "shipping"]}}), &json!("escalate")),
        rule("tongue", &json!({"language": ["eng"]}), &json!("flag")),
        rule("shape", &json!({"json_schema": {"type": "object", "required": ["a"]}}), &json!("flag")),
    ]}));
    let verdict = guard.output(r#"{"a": "Shipping"}"#, &[], None);
    assert_eq!(verdict, Verdict::default());
    let german = "Die Rücksendung ist leider nicht mehr möglich, weil die Frist schon seit einer Woche abgelaufen ist.";
    let verdict = guard.output(german, &[], None);
    assert_eq!(verdict.decision, Decision::Escalate);
    assert_eq!(verdict.breaches.len(), 3);
    assert_eq!(verdict.breaches[1].reason, "its language is deu");
    let verdict = guard.output(r#"{"b": "returns"}"#, &[], None);
    assert_eq!(verdict.breaches[0].reason, "`required` of the schema does not hold");
}

#[test]
fn tools_are_checked_by_name_and_arguments() {
    let guard = guard(&json!({
        "output": [rule("cards", &json!({"regex": {"patterns": ["[0-9]{16}"]}}), &json!({"mask": {"with": "#"}}))],
        "tools": {"allow": [
            {"name": "pay", "arguments": {"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}}}},
            {"name": "any"},
        ]},
    }));
    let judge = |name, arguments| guard.output("", &[ToolCall { name, arguments }], None);
    assert_eq!(judge("pay", r#"{"n": 5}"#), Verdict::default());
    assert_eq!(judge("any", ""), Verdict::default());
    for (name, arguments, reason) in [
        ("rm", "{}", "the tool is not allowed"),
        ("pay", r#"{"n": 6}"#, "its arguments: at /n: `maximum` of the schema does not hold"),
        ("any", "{", "its arguments are not JSON"),
    ] {
        let verdict = judge(name, arguments);
        assert_eq!((verdict.decision, verdict.breaches[0].reason.as_str()), (Decision::Block, reason));
        assert_eq!(breached(&verdict), [("tools", Decision::Block, Place::Tool(0))]);
    }
    // Escapes do not hide a match, and masks leave JSON.
    let verdict = judge(
        "any",
        r#"{"a": ["x\u00311112222333344445"], "b": 1111222233334444, "1111222233334444": true}"#,
    );
    assert_eq!(verdict.decision, Decision::Mask);
    let masked: Value = serde_json::from_str(&verdict.masked_tools[0].1).unwrap();
    assert_eq!(masked, json!({"a": ["x#5"], "b": "#", "#": true}));
    assert_eq!(judge("any", "{1111222233334444").decision, Decision::Block);
}

#[test]
fn redaction_comes_before_the_rules_and_is_undone_after_them() {
    struct Names;
    impl Redactor for Names {
        fn redact<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
            text.replace("Ada", "<P1>").into()
        }
        fn restore<'t>(&self, text: &'t str) -> Cow<'t, str> {
            text.replace("<P1>", "Ada").into()
        }
    }
    let rules = json!([
        rule("ada", &json!({"topics": {"deny": ["Ada"]}}), &json!("block")),
        rule("x", &json!({"topics": {"deny": ["x"]}}), &json!({"mask": {"with": "y"}})),
    ]);
    let guard = guard(&json!({"input": rules, "output": rules}));
    let verdict = guard.input(&["Ada x", "none"], Some(&mut Names));
    assert_eq!((verdict.decision, verdict.masked), (Decision::Mask, vec![(0, "<P1> y".to_owned())]));
    let call = ToolCall { name: "f", arguments: r#"{"to":"<P1>"}"# };
    let verdict = guard.output("<P1> x", &[call], Some(&Names));
    assert_eq!((verdict.decision, verdict.masked), (Decision::Mask, vec![(0, "Ada y".to_owned())]));
    assert_eq!(verdict.masked_tools, [(0, r#"{"to":"Ada"}"#.to_owned())]);
}

#[test]
fn what_cannot_be_compiled_is_refused_by_field() {
    let regex = |side: &str, pattern: &str| json!({side: [rule("r", &json!({"regex": {"patterns": ["ok", pattern]}}), &json!("block"))]});
    let cases = [
        (regex("input", "("), "input[0].check.regex.patterns[1]", "unclosed group"),
        (regex("input", "(?<=a)b"), "input[0].check.regex.patterns[1]", "look-around"),
        (regex("input", "a*"), "input[0].check.regex.patterns[1]", "not the empty text"),
        (regex("input", "[a&&b]"), "input[0].check.regex.patterns[1]", "matches something"),
        (regex("input", r"((\w{100}){100}){100}"), "input[0].check.regex.patterns[1]", "bytes when compiled"),
        (regex("output", "ab+"), "output[0].check.regex.patterns[1]", "without bound"),
        (regex("output", "a{600}"), "output[0].check.regex.patterns[1]", "600 bytes"),
        (
            json!({"input": [rule("r", &json!({"language": ["qqq"]}), &json!("block"))]}),
            "input[0].check.language[0]",
            "can be told",
        ),
        (
            json!({"input": [rule("r", &json!({"json_schema": {"type": "text"}}), &json!("block"))]}),
            "input[0].check.json_schema.type",
            "a JSON schema",
        ),
        (
            json!({"tools": {"allow": [{"name": "a", "arguments": {"$ref": "https://example.com/a"}}]}}),
            "tools.allow[0].arguments",
            "a JSON schema",
        ),
        (json!({"refusals": {"en": "a", "EN": "b"}}), "refusals", "each language once"),
    ];
    for (spec, field, expected) in cases {
        let error = Guard::new(&serde_json::from_value(spec).unwrap()).unwrap_err();
        assert_eq!(error.field, field, "{error}");
        assert!(error.expected.contains(expected), "{error}");
    }
    guard(&regex("input", "ab+"));
}
