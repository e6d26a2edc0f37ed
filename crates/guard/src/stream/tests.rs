//! However a text is cut into deltas, what is released is its masked form, and nothing of what must not be seen.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

fn guard(spec: &Value) -> Arc<Guard> {
    Arc::new(Guard::new(&serde_json::from_value(spec.clone()).unwrap()).unwrap())
}

fn regex(name: &str, patterns: &[&str], action: &Value) -> Value {
    json!({"name": name, "check": {"regex": {"patterns": patterns}}, "action": action})
}

/// What is released of the deltas, and the verdict.
fn streamed<'d>(guard: &Arc<Guard>, deltas: impl IntoIterator<Item = &'d str>) -> (String, Verdict) {
    let mut stream = StreamGuard::new(guard.clone());
    let mut released = String::new();
    for delta in deltas {
        stream.push(delta, &mut released);
    }
    stream.finish(&mut released);
    (released, stream.verdict().clone())
}

/// Cuts a text into pieces of these lengths in characters, over and over.
fn cut<'t>(text: &'t str, lengths: &[usize]) -> Vec<&'t str> {
    let mut rest = text;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let at = rest.char_indices().nth(*length).map_or(rest.len(), |(at, _)| at);
        pieces.push(&rest[..at]);
        rest = &rest[at..];
    }
    pieces
}

fn masks() -> Arc<Guard> {
    let with = |text: &str| json!({"mask": {"with": text}});
    guard(&json!({"output": [
        regex("a", &["ab{1,3}c?", "^b", "c$"], &with("1")),
        regex("b", &[r"\bca\b", "(?m)^a", "b\n"], &with("")),
        regex("c", &["a.{0,4}ö", r"\Bb\B", "c{1,3}?c"], &with("<masked>")),
        regex("d", &["aa", "[b-c]{5,12}"], &json!("flag")),
    ]}))
}

/// Long and short patterns, each with the automaton and without.
static GUARDS: LazyLock<[Arc<Guard>; 4]> =
    LazyLock::new(|| [masks(), looks(), without_automaton(masks()), without_automaton(looks())]);
static PLAIN: LazyLock<Arc<Guard>> =
    LazyLock::new(|| guard(&json!({"output": [regex("r", &["zzzzz"], &json!("block"))]})));

/// Every match looks at what is around it.
fn looks() -> Arc<Guard> {
    let with = |text: &str| json!({"mask": {"with": text}});
    guard(&json!({"output": [
        regex("a", &[r"ab\b", r"b\Bc"], &with("1")),
        regex("b", &[r"\Bca", "(?m)bb$", "^cc"], &with("2")),
        regex("c", &["c$", r"ö\b"], &json!("flag")),
    ]}))
}

fn without_automaton(mut guard: Arc<Guard>) -> Arc<Guard> {
    if let Some(guard) = Arc::get_mut(&mut guard) {
        guard.output.alive = None;
    }
    guard
}

#[test]
fn text_is_released_as_soon_as_it_is_settled() {
    let guard = guard(&json!({"output": [regex("card", &["[0-9]{16}"], &json!({"mask": {"with": "#"}}))]}));
    let mut stream = StreamGuard::new(guard);
    let mut released = String::new();
    stream.push("No. 12 is due", &mut released);
    assert_eq!((released.as_str(), stream.held()), ("No. 12 is due", 0), "nothing may become a card");
    for _ in 0..16 {
        stream.push("7", &mut released);
    }
    assert_eq!(released, "No. 12 is due", "no digit is out");
    stream.push(", so", &mut released);
    assert_eq!(released, "No. 12 is due#, so");
    stream.push("12", &mut released);
    assert_eq!((stream.held(), stream.flush(&mut released)), (2, Decision::Mask));
    stream.push(&"7".repeat(16), &mut released);
    assert_eq!(stream.finish(&mut released), Decision::Mask);
    assert_eq!(released, "No. 12 is due#, so12#");
}

#[test]
fn without_an_automaton_what_the_longest_match_needs_waits() {
    let rules = json!({"output": [regex("r", &["[0-9]{16}"], &json!("block"))]});
    let mut stream = StreamGuard::new(without_automaton(guard(&rules)));
    let mut released = String::new();
    stream.push(&"x".repeat(100), &mut released);
    assert_eq!((released.len(), stream.held()), (84, 16));
    stream.finish(&mut released);
    assert_eq!(released.len(), 100);
}

#[test]
fn an_answer_without_rules_is_not_held() {
    let (released, verdict) = streamed(&guard(&json!({})), ["a", "", "b"]);
    assert_eq!((released.as_str(), verdict), ("ab", Verdict::default()));
}

#[test]
fn a_long_answer_takes_no_more_memory_than_is_held() {
    let mut stream = StreamGuard::new(masks());
    let (mut released, mut longest) = (String::new(), 0);
    for _ in 0..20_000 {
        stream.push("abcö xy ", &mut released);
        longest = longest.max(stream.buffer.len());
    }
    assert!(longest < DROP + 600, "{longest}");
}

#[test]
fn what_must_not_be_seen_ends_the_answer_before_it() {
    let guard = guard(&json!({"output": [
        regex("x", &["secret [a-z]{1,9}"], &json!("block")), regex("y", &["y"], &json!({"mask": {"with": "?"}})),
    ]}));
    let text = "my y is secret sauce, is it";
    for lengths in [[1], [3], [100]] {
        let mut stream = StreamGuard::new(guard.clone());
        let mut released = String::new();
        for delta in cut(text, &lengths) {
            stream.push(delta, &mut released);
        }
        assert_eq!(stream.finish(&mut released), Decision::Block);
        assert_eq!(released, "m? ? is ");
        assert_eq!(stream.push("more", &mut released), Decision::Block);
        assert_eq!(stream.tool(&ToolCall { name: "f", arguments: "{}" }), None);
        assert_eq!(released, "m? ? is ");
    }
}

#[test]
fn limits_end_the_answer_where_they_are_exceeded() {
    let limit =
        |check: Value, action: &str| json!({"output": [{"name": "r", "check": check, "action": action}]});
    let text = "äbcdefghij";
    for lengths in [[1], [4], [100]] {
        let of = |spec: &Value| streamed(&guard(spec), cut(text, &lengths));
        assert_eq!(of(&limit(json!({"max_chars": 4}), "block")).0, "äbcd");
        assert_eq!(of(&limit(json!({"max_tokens": 1}), "escalate")).0, "äbc");
        let (released, verdict) = of(&limit(json!({"max_chars": 4}), "flag"));
        assert_eq!((released.as_str(), verdict.decision, verdict.breaches.len()), (text, Decision::Flag, 1));
        assert_eq!(of(&limit(json!({"max_chars": 10}), "block")), (text.to_owned(), Verdict::default()));
    }
}

#[test]
fn rules_on_the_whole_answer_hold_it_until_its_end() {
    let schema = |action: &str| {
        guard(&json!({
            "output": [{"name": "shape", "check": {"json_schema": {"type": "object"}}, "action": action},
                       regex("y", &["y"], &json!({"mask": {"with": "?"}}))],
            "stream": {"max_whole": 1024},
        }))
    };
    let mut stream = StreamGuard::new(schema("block"));
    let mut released = String::new();
    stream.push(r#"{"y": "#, &mut released);
    assert_eq!((released.as_str(), stream.held()), ("", 6));
    stream.push("1}", &mut released);
    assert_eq!((stream.finish(&mut released), released.as_str()), (Decision::Mask, r#"{"?": 1}"#));
    assert_eq!(streamed(&schema("escalate"), ["[1", "]"]).0, "");
    let (released, verdict) = streamed(&schema("flag"), ["[1", "]"]);
    assert_eq!((released.as_str(), verdict.decision), ("[1]", Decision::Flag));
    let long = "x".repeat(2000);
    let (released, verdict) = streamed(&schema("block"), [long.as_str(), "x"]);
    assert_eq!((released.as_str(), verdict.decision), ("", Decision::Block));
    let (released, verdict) = streamed(&schema("flag"), [long.as_str()]);
    assert_eq!((released.len(), verdict.breaches.len()), (2000, 1));
}

#[test]
fn tools_of_a_stream_are_judged_in_turn() {
    let guard = guard(&json!({
        "output": [regex("y", &["y"], &json!({"mask": {"with": "?"}}))], "tools": {"allow": [{"name": "f"}]},
    }));
    let mut stream = StreamGuard::new(guard);
    assert_eq!(stream.tool(&ToolCall { name: "f", arguments: r#"{ "a": 1 }"# }).unwrap(), r#"{ "a": 1 }"#);
    assert_eq!(stream.tool(&ToolCall { name: "f", arguments: r#"{"a": "y"}"# }).unwrap(), r#"{"a":"?"}"#);
    assert_eq!(stream.tool(&ToolCall { name: "g", arguments: "{}" }), None);
    assert_eq!(stream.verdict().breaches.last().unwrap().place, Place::Tool(2));
}

/// Deltas of one character to more than anything that is held.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..4, 1_usize..60], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_released_is_the_masked_form(
        text in "[abcö \n]{0,120}", lengths in lengths(), which in 0_usize..4,
    ) {
        let guard = &GUARDS[which];
        let whole = guard.output(&text, &[], None);
        let (released, verdict) = streamed(guard, cut(&text, &lengths));
        prop_assert_eq!(released, whole.text(0, &text));
        prop_assert_eq!(verdict.decision, whole.decision);
        let names = |verdict: &Verdict| {
            let mut names: Vec<String> = verdict.breaches.iter().map(|breach| breach.rule.to_string()).collect();
            names.sort();
            names
        };
        prop_assert_eq!(names(&verdict), names(&whole));
    }

}

proptest! {
    // Each compiles a guardrail of its own.
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nothing_of_what_is_blocked_is_released(text in "[abc ]{0,120}", lengths in lengths(), most in 1_u64..150) {
        let rules = json!([
            regex("mask", &["ca{1,4}"], &json!({"mask": {"with": "#"}})),
            regex("stop", &["abc?a", r"bb\b"], &json!("block")),
            {"name": "long", "check": {"max_chars": most}, "action": "escalate"},
        ]);
        let stops = [regex::Regex::new("abc?a").unwrap(), regex::Regex::new(r"bb\b").unwrap()];
        let found = stops.iter().filter_map(|stop| Some(stop.find(&text)?.start())).min();
        let limit = usize::try_from(most).unwrap();
        let end = found.unwrap_or(usize::MAX).min(if text.len() > limit { limit } else { usize::MAX });
        // What is before the end, with the masks of matches that begin there.
        let mut expected = String::new();
        let mut done = 0;
        for found in regex::Regex::new("ca{1,4}").unwrap().find_iter(&text).take_while(|found| found.start() <= end.min(text.len())) {
            expected.push_str(&text[done..found.start()]);
            expected.push('#');
            done = found.end();
        }
        if done < end.min(text.len()) {
            expected.push_str(&text[done..end.min(text.len())]);
        }
        let (released, verdict) = streamed(&guard(&json!({"output": rules})), cut(&text, &lengths));
        prop_assert_eq!(released, expected);
        prop_assert_eq!(verdict.decision.stops(), end != usize::MAX);
    }

    #[test]
    fn deltas_of_any_text_come_through(text in ".{0,300}", lengths in lengths()) {
        prop_assert_eq!(streamed(&PLAIN, cut(&text, &lengths)).0, text);
    }
}
