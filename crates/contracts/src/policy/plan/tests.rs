//! Plans as operators write them, and what is wrong with some.

use super::*;

fn plan(json: &str) -> Plan {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_bare_amount_is_a_hard_limit() {
    let plan = plan(
        r#"{"requests_per_minute": 60, "tokens_per_minute": {"hard": 1000, "soft": 800}, "dollars_per_day": "2.50",
            "concurrent_requests": {"soft": 5}, "weight": 3, "priority": "interactive"}"#,
    );
    assert_eq!(plan.requests_per_minute, NonZeroU32::new(60).map(Limit::hard));
    assert_eq!(
        plan.tokens_per_minute,
        Some(Limit { hard: NonZeroU64::new(1000), soft: NonZeroU64::new(800) })
    );
    assert_eq!(plan.dollars_per_day, Some(Limit::hard("2.5".parse().unwrap())));
    assert_eq!(plan.concurrent_requests, NonZeroU32::new(5).map(Limit::soft));
    assert_eq!(plan.validate(), Ok(()));
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(
        text,
        r#"{"requests_per_minute":60,"tokens_per_minute":{"hard":1000,"soft":800},"concurrent_requests":{"soft":5},"dollars_per_day":"2.5","weight":3,"priority":"interactive"}"#
    );
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn the_empty_plan_limits_nothing() {
    let plan = plan("{}");
    assert_eq!(plan, Plan::default());
    assert_eq!(plan.validate(), Ok(()));
    assert!(!plan.limits_calls());
}

#[test]
fn what_cannot_be_read_says_what_is_expected() {
    for (json, told) in [
        (r#"{"requests_per_minute": 0}"#, "nonzero"),
        (r#"{"requests_per_minute": -1}"#, "nonzero"),
        (r#"{"requests_per_minute": true}"#, "`hard`, `soft` or both"),
        (r#"{"requests_per_minute": {"hrad": 1}}"#, "hrad"),
        (r#"{"dollars_per_day": "2,50"}"#, "decimal number of US dollars"),
        (r#"{"dollars_per_day": 2}"#, "string"),
        (r#"{"requests_per_hour": 1}"#, "requests_per_hour"),
        (r#"{"priority": "urgent"}"#, "interactive"),
        (r#"{"weight": 0}"#, "nonzero"),
    ] {
        let error = serde_json::from_str::<Plan>(json).unwrap_err().to_string();
        assert!(error.contains(told), "{json}: {error}");
    }
}

#[test]
fn what_makes_no_sense_names_the_field() {
    for (json, field) in [
        (r#"{"requests_per_minute": {}}"#, "requests_per_minute"),
        (r#"{"tokens_per_minute": {"hard": 10, "soft": 11}}"#, "tokens_per_minute.soft"),
        (r#"{"dollars_per_month": "0"}"#, "dollars_per_month.hard"),
        (r#"{"dollars_per_minute": {"soft": "-1"}}"#, "dollars_per_minute.soft"),
        (r#"{"weight": 10001}"#, "weight"),
        (r#"{"priority": "interactive", "highest_priority": "batch"}"#, "highest_priority"),
    ] {
        assert_eq!(plan(json).validate().unwrap_err().field, field, "{json}");
    }
}

#[test]
fn a_call_is_never_more_urgent_than_both_plans_allow() {
    use Band::{Batch, Interactive, Standard};
    let tenant = plan(r#"{"highest_priority": "interactive"}"#);
    let patient = plan(r#"{"priority": "batch"}"#);
    for (tenant, key, asked, expected) in [
        (None, None, None, Standard),
        (None, None, Some(Interactive), Standard),
        (None, None, Some(Batch), Batch),
        (Some(&tenant), None, None, Standard),
        (Some(&tenant), None, Some(Interactive), Interactive),
        (Some(&tenant), Some(&patient), None, Batch),
        (Some(&tenant), Some(&patient), Some(Interactive), Batch),
        (Some(&patient), Some(&tenant), Some(Interactive), Batch),
        (None, Some(&tenant), Some(Interactive), Interactive),
    ] {
        assert_eq!(band(tenant, key, asked), expected, "{tenant:?} {key:?} {asked:?}");
    }
}
