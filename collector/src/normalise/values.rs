//! OTLP attribute values as what a column holds: senders disagree on whether a count is an integer, a double or a text, and
//! a map of texts must hold arrays, lists and bytes too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Value as Json};

/// The largest integer below which every integer is a double of its own.
const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// Any value as text: texts as they are, numbers and truth values written out, bytes as base64, arrays and lists as JSON.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.clone(),
        Value::DoubleValue(number) => number.to_string(),
        Value::ArrayValue(_) | Value::KvlistValue(_) => json(value).to_string(),
        Value::BoolValue(_) | Value::IntValue(_) | Value::BytesValue(_) | Value::StringValueStrindex(_) => {
            match json(value) {
                Json::String(text) => text,
                other => other.to_string(),
            }
        }
    }
}

/// Any value as JSON. Bytes become base64; what JSON cannot say (NaN, infinities) becomes a text.
pub(super) fn json(value: &Value) -> Json {
    match value {
        Value::StringValue(text) => Json::String(text.clone()),
        Value::BoolValue(truth) => Json::Bool(*truth),
        Value::IntValue(number) => Json::from(*number),
        Value::DoubleValue(number) => serde_json::Number::from_f64(*number)
            .map_or_else(|| Json::String(number.to_string()), Json::Number),
        Value::ArrayValue(array) => Json::Array(array.values.iter().map(any).collect()),
        Value::KvlistValue(list) => Json::Object(object(&list.values)),
        Value::BytesValue(bytes) => Json::String(STANDARD.encode(bytes)),
        // Only profiles have the table that such an index points into.
        Value::StringValueStrindex(index) => Json::from(*index),
    }
}

fn any(value: &AnyValue) -> Json {
    value.value.as_ref().map_or(Json::Null, json)
}

fn object(entries: &[KeyValue]) -> Map<String, Json> {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.as_ref().map_or(Json::Null, any))).collect()
}

/// A text that may be JSON: parsed when it is an object or an array, else the text itself.
pub(super) fn parsed_text(text: String) -> Json {
    let looks_structured = matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['));
    if looks_structured && let Ok(json) = serde_json::from_str(&text) { json } else { Json::String(text) }
}

/// A count: an integer from 0 on, however it is written.
pub(super) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::IntValue(number) => u64::try_from(*number).ok(),
        Value::DoubleValue(number) => count_from_double(*number),
        Value::StringValue(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(count_from_double))
        }
        _ => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number in range"
)]
fn count_from_double(number: f64) -> Option<u64> {
    ((0.0..=EXACT_DOUBLE).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

/// A duration in units of `unit_ns` nanoseconds, as nanoseconds.
pub(super) fn nanos(value: &Value, unit_ns: f64) -> Option<u64> {
    let number = match value {
        #[expect(clippy::cast_precision_loss, reason = "a duration beyond 2^53 units is refused below")]
        Value::IntValue(number) => *number as f64,
        Value::DoubleValue(number) => *number,
        Value::StringValue(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    count_from_double((number * unit_ns).round())
}

/// A truth value, however it is written.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::BoolValue(truth) => Some(*truth),
        Value::IntValue(0) => Some(false),
        Value::IntValue(1) => Some(true),
        Value::StringValue(text) => match text.trim() {
            "true" | "True" | "1" => Some(true),
            "false" | "False" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A list of texts: an array, a JSON array in a text, or one text.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let list = match value {
        Value::StringValue(text) => parsed_text(text.clone()),
        other => json(other),
    };
    match list {
        Json::Array(items) => items.into_iter().filter(|item| !item.is_null()).map(plain).collect(),
        Json::Null => Vec::new(),
        Json::String(text) if text.is_empty() => Vec::new(),
        other => vec![plain(other)],
    }
}

/// JSON as text, without quotes around a text.
pub(super) fn plain(json: Json) -> String {
    match json {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    use proptest::prelude::*;

    fn string(text: &str) -> Value {
        Value::StringValue(text.to_owned())
    }

    #[test]
    fn a_count_may_be_written_in_many_ways() {
        for value in
            [Value::IntValue(42), Value::DoubleValue(42.0), string("42"), string("42.0"), string(" 42 ")]
        {
            assert_eq!(count(&value), Some(42), "{value:?}");
        }
        for value in [
            Value::IntValue(-1),
            Value::DoubleValue(1.5),
            Value::DoubleValue(f64::NAN),
            string("many"),
            string("-3"),
        ] {
            assert_eq!(count(&value), None, "{value:?}");
        }
        assert_eq!(count(&string("18446744073709551615")), Some(u64::MAX));
    }

    #[test]
    fn seconds_become_nanoseconds() {
        assert_eq!(nanos(&Value::DoubleValue(0.25), 1e9), Some(250_000_000));
        assert_eq!(nanos(&string("1.5"), 1e6), Some(1_500_000));
        assert_eq!(nanos(&Value::DoubleValue(-1.0), 1e9), None);
        assert_eq!(nanos(&Value::DoubleValue(f64::INFINITY), 1e9), None);
    }

    #[test]
    fn structured_values_become_json_and_bytes_base64() {
        let some = |value| AnyValue { value: Some(value) };
        let entry = KeyValue {
            key: "a".into(),
            value: Some(some(Value::BytesValue(vec![1, 2, 3]))),
            ..KeyValue::default()
        };
        let list = Value::KvlistValue(KeyValueList { values: vec![entry] });
        let array = Value::ArrayValue(ArrayValue {
            values: vec![some(Value::DoubleValue(f64::NAN)), some(list), AnyValue::default()],
        });
        assert_eq!(text(&array), r#"["NaN",{"a":"AQID"},null]"#);
        assert_eq!(text(&Value::BytesValue(vec![1, 2, 3])), "AQID");
        assert_eq!(text(&Value::BoolValue(true)), "true");
        assert_eq!(text(&Value::DoubleValue(0.1)), "0.1");
    }

    #[test]
    fn a_list_of_texts_may_be_one_text_or_json() {
        assert_eq!(texts(&string("stop")), ["stop"]);
        assert_eq!(texts(&string(r#"["stop","length"]"#)), ["stop", "length"]);
        assert!(texts(&string("")).is_empty());
    }

    proptest! {
        #[test]
        fn numbers_from_any_text_never_panic(text in ".{0,24}") {
            let value = Value::StringValue(text);
            let _ = (count(&value), nanos(&value, 1e9), truth(&value), texts(&value));
        }

        #[test]
        fn numbers_from_any_double_never_panic(number in proptest::num::f64::ANY) {
            let value = Value::DoubleValue(number);
            let _ = (count(&value), nanos(&value, 1e9), text(&value), json(&value));
        }
    }
}
