//! The variables of a prompt: a JSON schema, compiled once.

use contracts::policy::InvalidPolicy;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Variables that do not fit the prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {value} is not valid, expected {expected}")]
pub struct VariableError {
    /// Which, as a path: `variables.order.items[2]`.
    pub path: String,
    /// What it holds, cut to a length that can be shown.
    pub value: String,
    /// What it may hold.
    pub expected: String,
}

/// A schema of variables.
#[derive(Debug)]
pub(crate) struct Variables {
    validator: Validator,
    names: Vec<String>,
    /// Whether names are allowed that it does not list.
    is_open: bool,
    defaults: Map<String, Value>,
}

impl Variables {
    pub(crate) fn new(schema: &Value) -> Result<Self, InvalidPolicy> {
        let validator = compile(schema).map_err(|error| {
            let field = format!("variables{}", path(error.instance_path().segments()));
            InvalidPolicy { field, value: cut(&error.instance().to_string()), expected: expected(&error) }
        })?;
        let properties = schema["properties"].as_object();
        let names = properties.into_iter().flat_map(Map::keys).cloned().collect();
        let elsewhere = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties"];
        let is_open = elsewhere.iter().any(|keyword| schema.get(keyword).is_some())
            || schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
        let default =
            |(name, property): (&String, &Value)| Some((name.clone(), property.get("default")?.clone()));
        let defaults = properties.into_iter().flatten().filter_map(default).collect();
        Ok(Self { validator, names, is_open, defaults })
    }

    /// Whether a template may use `name`.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.is_open || self.names.iter().any(|known| known == name)
    }

    /// The names that it lists.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds what is absent and has a default, then checks.
    pub(crate) fn check<'v>(&self, given: &'v Value) -> Result<Cow<'v, Value>, VariableError> {
        let complete = self.complete(given);
        // The first error is enough, and all of them may be many.
        if let Err(error) = self.validator.validate(&complete) {
            return Err(explain(&error));
        }
        Ok(complete)
    }

    fn complete<'v>(&self, given: &'v Value) -> Cow<'v, Value> {
        match given.as_object() {
            Some(map) if self.defaults.keys().any(|name| !map.contains_key(name)) => {
                let mut map = map.clone();
                for (name, value) in &self.defaults {
                    map.entry(name).or_insert_with(|| value.clone());
                }
                Cow::Owned(Value::Object(map))
            }
            _ => Cow::Borrowed(given),
        }
    }
}

/// Compiles a schema of draft 2020-12. Nothing is fetched, and patterns take linear time.
fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
    options.with_pattern_options(PatternOptions::regex()).build(schema)
}

fn explain(error: &ValidationError<'_>) -> VariableError {
    let path = format!("variables{}", path(error.instance_path().segments()));
    match error.kind() {
        ValidationErrorKind::Required { property } => VariableError {
            path: format!("{path}.{}", property.as_str().unwrap_or_default()),
            value: "nothing".into(),
            expected: "a value".into(),
        },
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let name = unexpected.first().map_or("", String::as_str);
            let value = error.instance().get(name).map(ToString::to_string).unwrap_or_default();
            VariableError {
                path: format!("{path}.{name}"),
                value: cut(&value),
                expected: "no such variable".into(),
            }
        }
        _ => VariableError { path, value: cut(&error.instance().to_string()), expected: expected(error) },
    }
}

fn expected(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => kind.to_string(),
        ValidationErrorKind::Enum { options } => format!("one of {}", cut(&options.to_string())),
        ValidationErrorKind::Constant { expected_value } => cut(&expected_value.to_string()),
        ValidationErrorKind::Minimum { limit } => format!("{limit} or more"),
        ValidationErrorKind::Maximum { limit } => format!("{limit} or less"),
        ValidationErrorKind::MinLength { limit } => format!("{limit} characters or more"),
        ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters"),
        ValidationErrorKind::Pattern { pattern } => format!("a text that matches {pattern}"),
        ValidationErrorKind::Format { format } => format!("a text of the format {format}"),
        _ => format!("otherwise: {}", cut(&error.masked().to_string())),
    }
}

fn path<'a>(segments: impl Iterator<Item = jsonschema::paths::LocationSegment<'a>>) -> String {
    use jsonschema::paths::LocationSegment::{Index, Property};
    use std::fmt::Write as _;
    let mut path = String::new();
    for segment in segments {
        let _ = match segment {
            Property(name) => write!(path, ".{name}"),
            Index(index) => write!(path, "[{index}]"),
        };
    }
    path
}

pub(crate) fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}
