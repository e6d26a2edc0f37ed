//! JSON schemas that clients bring along, and whether a value holds to one. Whoever writes them is nobody's friend: a schema of a kilobyte
//! can lead to itself twice at each step, or deeper than any stack. So values are walked here, at so many steps and not one more, and only
//! what looks at a text alone is left to the library. A schema that takes more is one that cannot be used.

mod assertions;
mod document;
mod evaluated;
mod texts;
mod walk;

use document::Document;
use serde_json::Value;
use walk::Walk;

/// Values and patterns of a schema.
const MOST_VALUES: usize = 50_000;
const MOST_PATTERNS: usize = 64;

/// What speaks against a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the value, as a JSON pointer; empty for all of it.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

/// How patterns are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patterns {
    /// In linear time. A schema whose patterns look around cannot be used.
    Linear,
    /// Also those that look around, within a bound.
    LookAround,
}

/// Whether holding a small answer to it takes no time to speak of: it leads nowhere twice, and its texts are only compared.
pub fn is_plain(schema: &Value) -> bool {
    Document::new(schema).is_plain()
}

/// The first faults of `value`, at most so many; why the schema cannot be used where it cannot. Nothing is fetched for it.
pub fn faults(schema: &Value, value: &Value, most: usize, patterns: Patterns) -> Result<Vec<Fault>, String> {
    let document = Document::new(schema);
    for (what, found, most) in
        [("values", document.values, MOST_VALUES), ("patterns", document.patterns, MOST_PATTERNS)]
    {
        if found > most {
            return Err(format!("it has {found} {what}, expected at most {most}"));
        }
    }
    Walk::new(document, patterns, most).faults(schema, value)
}

/// A value in a few words.
fn brief(value: &Value) -> String {
    const MOST: usize = 80;
    match value {
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(members) => format!("an object of {}", members.len()),
        Value::String(text) => format!("{:?}", text.chars().take(MOST).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
