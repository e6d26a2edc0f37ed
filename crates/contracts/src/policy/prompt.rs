//! Prompt templates, their versions and labels.
//!
//! A version never changes: what a name and a number mean today they mean for good. Labels such as `production` move from version to
//! version. Here is what an operator writes; the `prompts` crate compiles it, and refuses a template that does not parse.

use super::{InvalidPolicy, Reference};
use crate::ModelName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Messages of one prompt.
pub const MOST_MESSAGES: usize = 64;
/// Bytes of all templates of one prompt together.
pub const MOST_TEMPLATE_BYTES: usize = 256 * 1024;
/// Bytes of one template. Template engines count lines and columns in 16 bits.
pub const MOST_MESSAGE_BYTES: usize = 65_535;
/// Bytes of a JSON schema, as compact JSON.
pub const MOST_SCHEMA_BYTES: usize = 64 * 1024;
/// Texts at which a model stops, as many as any provider takes.
pub const MOST_STOPS: usize = 16;

/// One version of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// What comes before the caller's own messages, in this order.
    pub messages: Vec<Template>,
    /// JSON schema (draft 2020-12) of the variables, an object. Absent: the prompt has none, and a call that gives some is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Value>,
    /// What a request gets that does not say otherwise.
    #[serde(default, skip_serializing_if = "Defaults::is_empty")]
    pub defaults: Defaults,
}

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Who says it.
    pub role: Role,
    /// A Jinja template.
    pub content: String,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever runs the model; above all others.
    System,
    /// The same, as newer models of `OpenAI` call it.
    Developer,
    /// Who asks.
    User,
    /// The model, in examples.
    Assistant,
}

impl Role {
    /// `system`, `developer`, `user` or `assistant`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    /// Whether it instructs the model instead of speaking with it.
    pub const fn instructs(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

/// Parameters of a request, by what they mean; each protocol has its own names for them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Model or route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// Sampling temperature, 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Probability mass that is sampled from, above 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Tokens that the answer may have, 1 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Texts at which the model stops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

impl Defaults {
    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn validate(&self) -> Result<(), InvalidPolicy> {
        if let Some(value) = self.temperature.filter(|value| !(0.0..=2.0).contains(value)) {
            return Err(InvalidPolicy::new("temperature", value, "0 to 2"));
        }
        if let Some(value) = self.top_p.filter(|value| !(*value > 0.0 && *value <= 1.0)) {
            return Err(InvalidPolicy::new("top_p", value, "above 0, at most 1"));
        }
        if self.max_tokens == Some(0) {
            return Err(InvalidPolicy::new("max_tokens", 0, "1 or more"));
        }
        if self.stop.len() > MOST_STOPS {
            return Err(InvalidPolicy::new("stop", self.stop.len(), format!("at most {MOST_STOPS} texts")));
        }
        match self.stop.iter().position(String::is_empty) {
            Some(n) => Err(InvalidPolicy::new(format!("stop[{n}]"), "", "a text that is not empty")),
            None => Ok(()),
        }
    }
}

impl Prompt {
    /// Checks what the types do not say, but not whether templates and schema can be compiled.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if !(1..=MOST_MESSAGES).contains(&self.messages.len()) {
            let expected = format!("1 to {MOST_MESSAGES} messages");
            return Err(InvalidPolicy::new("messages", self.messages.len(), expected));
        }
        if let Some(n) = self.messages.iter().position(|message| message.content.is_empty()) {
            return Err(InvalidPolicy::new(format!("messages[{n}].content"), "", "a text that is not empty"));
        }
        let is_long = |message: &Template| message.content.len() > MOST_MESSAGE_BYTES;
        if let Some(n) = self.messages.iter().position(is_long) {
            let (bytes, expected) =
                (self.messages[n].content.len(), format!("at most {MOST_MESSAGE_BYTES} bytes"));
            return Err(InvalidPolicy::new(format!("messages[{n}].content"), bytes, expected));
        }
        let bytes: usize = self.messages.iter().map(|message| message.content.len()).sum();
        if bytes > MOST_TEMPLATE_BYTES {
            let expected = format!("at most {MOST_TEMPLATE_BYTES} bytes in all messages together");
            return Err(InvalidPolicy::new("messages", bytes, expected));
        }
        if let Some(schema) = &self.variables {
            schema_is_small(schema).map_err(|error| InvalidPolicy { field: "variables".into(), ..error })?;
            if schema["type"] != "object" {
                return Err(InvalidPolicy::new("variables.type", schema["type"].to_string(), "\"object\""));
            }
        }
        self.defaults.validate().map_err(|error| error.within("defaults"))
    }

    /// The model that it names.
    pub fn references(&self) -> Vec<Reference> {
        self.defaults.model.clone().map(Reference::Model).into_iter().collect()
    }
}

/// Refuses a schema that is not an object, or is too large to be checked against on the way of a call.
pub(super) fn schema_is_small(schema: &Value) -> Result<(), InvalidPolicy> {
    if !schema.is_object() {
        return Err(InvalidPolicy::new("schema", schema.to_string(), "a JSON schema, an object"));
    }
    let bytes = schema.to_string().len();
    if bytes > MOST_SCHEMA_BYTES {
        let expected = format!("a schema of at most {MOST_SCHEMA_BYTES} bytes");
        return Err(InvalidPolicy::new("schema", bytes, expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::document::shape;
    use super::*;
    use serde_json::json;

    fn read(spec: &Value) -> Result<Prompt, InvalidPolicy> {
        let prompt: Prompt = shape(spec)?;
        prompt.validate()?;
        Ok(prompt)
    }

    #[test]
    fn a_prompt_reads_as_it_is_written() {
        let spec = json!({
            "messages": [{"role": "system", "content": "Answer {{ name }}."}],
            "variables": {"type": "object", "properties": {"name": {"type": "string"}}},
            "defaults": {"model": "small", "temperature": 0.2, "max_tokens": 100},
        });
        let prompt = read(&spec).unwrap();
        assert_eq!(serde_json::to_value(&prompt).unwrap(), spec);
        assert_eq!(prompt.references(), [Reference::Model("small".parse().unwrap())]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |name: &str, value: Value| {
            let mut spec = json!({"messages": [{"role": "user", "content": "x"}]});
            spec[name] = value;
            spec
        };
        let cases = [
            (with("messages", json!([])), "messages"),
            (with("messages", json!([{"role": "robot", "content": "x"}])), "messages[0].role"),
            (with("messages", json!([{"role": "user", "content": ""}])), "messages[0].content"),
            (
                with("messages", json!([{"role": "user", "content": "x".repeat(65_536)}])),
                "messages[0].content",
            ),
            (
                with("messages", json!(vec![json!({"role": "user", "content": "x".repeat(60_000)}); 5])),
                "messages",
            ),
            (with("variables", json!([])), "variables"),
            (with("variables", json!({"type": "string"})), "variables.type"),
            (with("variables", json!({"type": "object", "title": "x".repeat(70_000)})), "variables"),
            (with("defaults", json!({"temperature": 3})), "defaults.temperature"),
            (with("defaults", json!({"top_p": 0})), "defaults.top_p"),
            (with("defaults", json!({"max_tokens": 0})), "defaults.max_tokens"),
            (with("defaults", json!({"stop": ["a", ""]})), "defaults.stop[1]"),
        ];
        for (spec, field) in cases {
            let error = read(&spec).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }
}
