//! Which fields a request may have, and of which type. Unknown fields pass: an upstream may know more than we do.

use super::json::Member;
use contracts::ApiError;

/// A JSON type. `null` is always allowed where a field is optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// A field that we know.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// Types it may have.
    pub(crate) kinds: &'static [Kind],
    /// Whether it must be there, not null, and not an empty string or array.
    pub(crate) required: bool,
}

impl Field {
    pub(crate) const fn optional(name: &'static str, kinds: &'static [Kind]) -> Self {
        Self { name, kinds, required: false }
    }

    pub(crate) const fn required(name: &'static str, kinds: &'static [Kind]) -> Self {
        Self { name, kinds, required: true }
    }

    fn expected(&self) -> String {
        let article = if self.required { "a non-empty " } else { "" };
        let kinds: Vec<&str> = self.kinds.iter().map(|k| k.name()).collect();
        format!("{article}{}", kinds.join(" or "))
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// Whether the value written as `text` is of this kind. The text is JSON already, so its first byte tells.
    fn fits(self, text: &str) -> bool {
        match (self, text.as_bytes().first()) {
            (Self::Boolean, Some(b't' | b'f'))
            | (Self::String, Some(b'"'))
            | (Self::Array, Some(b'['))
            | (Self::Object, Some(b'{'))
            | (Self::Number, Some(b'-' | b'0'..=b'9')) => true,
            (Self::Integer, Some(b'-' | b'0'..=b'9')) => !text.contains(['.', 'e', 'E']),
            _ => false,
        }
    }
}

/// What a value is, for messages.
pub(crate) fn kind_of(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b't' | b'f') => "boolean",
        Some(b'"') => "string",
        Some(b'[') => "array",
        Some(b'{') => "object",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// Checks `members` against `fields`; the error names the field, what it is and what it should be.
pub(crate) fn check(fields: &[Field], members: &[Member<'_>]) -> Result<(), ApiError> {
    for field in fields.iter().filter(|f| f.required) {
        if !members.iter().any(|m| m.name == field.name) {
            return Err(missing(field.name, &field.expected()));
        }
    }
    for member in members {
        let Some(field) = fields.iter().find(|f| f.name == member.name) else { continue };
        let text = member.text();
        if text == "null" && !field.required {
            continue;
        }
        if !field.kinds.iter().any(|kind| kind.fits(text)) {
            let article = field.expected();
            let message = format!("{}: {} is not valid here: expected {article}", field.name, kind_of(text));
            return Err(wrong_type(field.name, message));
        }
        if field.required && is_empty(text) {
            let message = format!("{}: {text} is empty: expected {}", field.name, field.expected());
            return Err(wrong_type(field.name, message));
        }
    }
    Ok(())
}

/// A required field is not there.
pub(crate) fn missing(name: &str, expected: &str) -> ApiError {
    ApiError {
        code: Some("missing_required_parameter"),
        ..ApiError::invalid(name, format!("{name}: required but missing: expected {expected}"))
    }
}

/// A field has the wrong type.
pub(crate) fn wrong_type(name: &str, message: String) -> ApiError {
    ApiError { code: Some("invalid_type"), ..ApiError::invalid(name, message) }
}

fn is_empty(text: &str) -> bool {
    let inner = |open, close| text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
    inner('[', ']').is_some_and(|t| t.trim().is_empty()) || text == "\"\""
}
