//! Which cascades are taken, and what is said of others.

use super::*;
use serde_json::{Value, json};

fn read(value: Value) -> Cascade {
    serde_json::from_value(value).unwrap()
}

fn sound() -> Value {
    json!({
        "tiers": [
            {
                "model": "small",
                "checks": ["refusal_or_empty", "json_schema", "tool_calls", "logprob_confidence",
                    {"self_consistency": {"samples": 3}}, "grounding",
                    {"verifier": {"url": "http://verifier:9000/score", "timeout_ms": 500}}],
                "threshold": -0.1,
                "combine": {"bias": 0.5, "terms": [{"signal": "grounding", "weight": 2.0, "absent": 0.6}]},
                "prospect": {"bias": 0.0, "terms": [{"signal": "structured_context", "weight": -1.0, "absent": 0.3}]},
                "entry": -0.2,
                "timeout_ms": 20000
            },
            {"model": "large"}
        ],
        "price_ceiling": "0.02",
        "streaming": {"mode": "optimistic", "tokens": 24, "min_logprob": -0.7},
        "on_deadline": "accept",
        "detector_deadline_ms": 150
    })
}

#[test]
fn a_cascade_round_trips_and_has_defaults() {
    let cascade = read(sound());
    assert_eq!(cascade.validate(), Ok(()));
    assert_eq!(read(serde_json::to_value(&cascade).unwrap()), cascade);
    let least = read(json!({"tiers": [{"model": "only"}]}));
    assert_eq!(least.validate(), Ok(()));
    assert_eq!(least.on_deadline, OnDeadline::Escalate);
    assert!(matches!(least.streaming, Streaming::Buffered { .. }));
}

#[test]
fn a_refusal_names_the_field_the_value_and_what_is_expected() {
    let term = json!({"signal": "grounding", "weight": 1.0, "absent": 0.5});
    for (at, value, told) in [
        ("/tiers", json!([]), ["tiers", "0", "1 to 8"]),
        ("/tiers/1/model", json!("small"), ["tiers[1].model", "small", "no tier before"]),
        ("/tiers/0/threshold", json!(1.5), ["tiers[0].threshold", "1.5", "-1 to 1"]),
        ("/tiers/0/entry", json!(-3.0), ["tiers[0].entry", "-3.0", "-1 to 1"]),
        ("/tiers/0/prospect", json!(null), ["tiers[0].entry", "-0.2", "prospect"]),
        (
            "/tiers/0/prospect/terms/0",
            term.clone(),
            ["tiers[0].prospect.terms[0].signal", "grounding", "request"],
        ),
        (
            "/tiers/0/combine/terms",
            json!([term, term]),
            ["tiers[0].combine.terms[1].signal", "grounding", "once"],
        ),
        (
            "/tiers/0/combine/terms/0/absent",
            json!(2.0),
            ["tiers[0].combine.terms[0].absent", "2.0", "0 to 1"],
        ),
        ("/tiers/0/timeout_ms", json!(0), ["tiers[0].timeout_ms", "0", "1 to"]),
        ("/tiers/0/checks", json!(["grounding", "grounding"]), ["tiers[0].checks[1]", "Grounding", "once"]),
        (
            "/tiers/0/checks/4",
            json!({"self_consistency": {"samples": 1}}),
            ["checks[4].self_consistency.samples", "1", "2 to"],
        ),
        (
            "/tiers/0/checks/6/verifier/url",
            json!("ftp://x"),
            ["checks[6].verifier.url", "ftp://x", "http://"],
        ),
        ("/price_ceiling", json!("0"), ["price_ceiling", "0", "above 0"]),
        ("/streaming/min_logprob", json!(0.5), ["streaming.min_logprob", "0.5", "at most 0"]),
        ("/detector_deadline_ms", json!(0), ["detector_deadline_ms", "0", "1 to"]),
    ] {
        let mut policy = sound();
        *policy.pointer_mut(at).unwrap() = value;
        let error = read(policy).validate().unwrap_err().to_string();
        assert!(told.iter().all(|part| error.contains(part)), "{at}: {error}");
    }
    let mut policy = sound();
    policy["tiers"][1]["entry"] = json!(0.1);
    assert!(read(policy).validate().unwrap_err().to_string().contains("tiers[1].entry"));
}

#[test]
fn an_unknown_field_is_refused() {
    let mut policy = sound();
    policy["tiers"][0]["treshold"] = json!(0.5);
    let error = serde_json::from_value::<Cascade>(policy).unwrap_err().to_string();
    assert!(error.contains("treshold"), "{error}");
}

#[test]
fn names_of_signals_are_those_that_are_read() {
    for (at, signal) in Signal::ALL.into_iter().enumerate() {
        assert_eq!(serde_json::to_value(signal).unwrap(), json!(signal.as_str()));
        assert_eq!(signal as usize, at);
    }
}
