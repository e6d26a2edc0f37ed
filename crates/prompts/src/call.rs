//! How a call asks for a prompt: `prompt: {name, version | label, variables}`, or as OpenAI's Responses write it
//! `prompt: {id, version, variables}`.

use crate::json::{Object, shown};
use contracts::PolicyName;
use contracts::policy::PromptRef;
use serde_json::{Map, Value};

/// What may stand in the object.
const KNOWN: [&str; 5] = ["name", "id", "version", "label", "variables"];

/// What a call asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which prompt; [`PromptRef::selector`] says which of its versions.
    pub prompt: PromptRef,
    /// Its variables, an object.
    pub variables: Value,
}

/// A member of the request that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value} is not valid, expected {expected}")]
pub struct CallError {
    /// Which, as a path: `prompt.version`.
    pub field: String,
    /// What it holds, cut to a length that can be shown.
    pub value: String,
    /// What it may hold.
    pub expected: String,
}

impl CallError {
    fn new(field: &str, value: &str, expected: &str) -> Self {
        Self { field: field.into(), value: shown(value), expected: expected.into() }
    }
}

impl Call {
    /// Reads the value of the member `prompt`, which must be an object. (In legacy completions a `prompt` is text: no call.)
    pub fn parse(text: &str) -> Result<Self, CallError> {
        let object = Object::read(text)
            .map_err(|error| CallError::new("prompt", text, &format!("an object with a name ({error})")))?;
        if let Some(other) = object.members().iter().find(|member| !KNOWN.contains(&&*member.name)) {
            let expected = "no such member, only name, id, version, label and variables";
            return Err(CallError::new(&format!("prompt.{}", other.name), other.value, expected));
        }
        let get = |name| object.get(name).map(|member| member.value);
        let name = match (get("name"), get("id")) {
            (Some(name), None) => name_of("prompt.name", name)?,
            (None, Some(id)) => name_of("prompt.id", id)?,
            (Some(_), Some(id)) => return Err(CallError::new("prompt.id", id, "either a name or an id")),
            (None, None) => return Err(CallError::new("prompt.name", "nothing", "the name of a prompt")),
        };
        let version = get("version").map(version_of).transpose()?;
        let label = get("label").map(label_of).transpose()?;
        let prompt = PromptRef { name, version, label };
        prompt.validate().map_err(|error| CallError {
            field: format!("prompt.{}", error.field),
            value: error.value,
            expected: error.expected,
        })?;
        let variables = get("variables").map_or_else(|| Ok(Map::new()), variables_of)?;
        Ok(Self { prompt, variables: Value::Object(variables) })
    }
}

fn name_of(field: &str, value: &str) -> Result<PolicyName, CallError> {
    let name: Option<String> = serde_json::from_str(value).ok();
    name.and_then(|name| name.parse().ok())
        .ok_or_else(|| CallError::new(field, value, "a name, 1 to 128 characters of A-Z a-z 0-9 . _ : / -"))
}

/// A number, or one in a string as OpenAI's clients send it.
fn version_of(value: &str) -> Result<u64, CallError> {
    let number = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_number = number.bytes().all(|b| b.is_ascii_digit());
    let version = number.parse().ok().filter(|version| is_number && *version > 0);
    version.ok_or_else(|| CallError::new("prompt.version", value, "the number of a version, 1 or more"))
}

fn label_of(value: &str) -> Result<String, CallError> {
    serde_json::from_str(value).map_err(|_| CallError::new("prompt.label", value, "a string"))
}

fn variables_of(value: &str) -> Result<Map<String, Value>, CallError> {
    let variables: Map<String, Value> = serde_json::from_str(value)
        .map_err(|_| CallError::new("prompt.variables", value, "an object of variables"))?;
    variables.into_iter().map(|(name, value)| plain(&name, value).map(|value| (name, value))).collect()
}

/// OpenAI's clients may send a text as `{"type": "input_text", "text": …}`. Images and files have no place in a template.
fn plain(name: &str, value: Value) -> Result<Value, CallError> {
    match (value["type"].as_str(), &value["text"]) {
        (Some("input_text"), text @ Value::String(_)) => Ok(text.clone()),
        (Some("input_image" | "input_file"), _) => {
            Err(CallError::new(&format!("prompt.variables.{name}"), &value.to_string(), "a text"))
        }
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::policy::Selector;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn both_ways_of_asking_are_understood() {
        let call =
            Call::parse(r#"{"name": "support/greeting", "label": "staging", "variables": {"a": [1]}}"#)
                .unwrap();
        assert_eq!(call.prompt.name.as_str(), "support/greeting");
        assert_eq!(call.prompt.selector(), Selector::Label("staging"));
        assert_eq!(call.variables, json!({"a": [1]}));
        let call = Call::parse(
            r#"{"id": "pmpt_1", "version": "2", "variables": {"a": {"type": "input_text", "text": "x"}, "b": "y"}}"#,
        )
        .unwrap();
        assert_eq!((call.prompt.name.as_str(), call.prompt.selector()), ("pmpt_1", Selector::Version(2)));
        assert_eq!(call.variables, json!({"a": "x", "b": "y"}));
        let call = Call::parse(r#"{"name": "a", "version": null, "variables": null}"#).unwrap();
        assert_eq!((call.prompt.selector(), call.variables), (Selector::Label("production"), json!({})));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("[]", "prompt"),
            ("{}", "prompt.name"),
            (r#"{"name": 3}"#, "prompt.name"),
            (r#"{"name": "a b"}"#, "prompt.name"),
            (r#"{"name": "a", "id": "b"}"#, "prompt.id"),
            (r#"{"name": "a", "version": 0}"#, "prompt.version"),
            (r#"{"name": "a", "version": "+1"}"#, "prompt.version"),
            (r#"{"name": "a", "version": 1.5}"#, "prompt.version"),
            (r#"{"name": "a", "version": 1, "label": "b"}"#, "prompt.version"),
            (r#"{"name": "a", "label": "B b"}"#, "prompt.label"),
            (r#"{"name": "a", "label": 1}"#, "prompt.label"),
            (r#"{"name": "a", "variables": []}"#, "prompt.variables"),
            (r#"{"name": "a", "variables": {"p": {"type": "input_image"}}}"#, "prompt.variables.p"),
            (r#"{"name": "a", "verison": 1}"#, "prompt.verison"),
            (r#"{"name": "a", "name": "b"}"#, "prompt"),
        ];
        for (text, field) in cases {
            let error = Call::parse(text).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in r#"[\[\]{}":,a1 ]{0,30}"#) {
            let _ = Call::parse(&text);
        }
    }
}
