//! What cannot be translated: as an error that stops a request, or as a warning beside one that goes on without it.

use serde_json::value::RawValue;
use std::fmt;

/// How much of an offending value is shown.
const SHOWN: usize = 160;

/// A request or an answer that cannot be translated as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value} cannot be translated, expected {expected}")]
pub struct Invalid {
    /// The field, as a path in the sender's own protocol: `messages[2].content[0].type`.
    pub field: String,
    /// What it holds, cut to a length that can be shown.
    pub value: String,
    /// What it may hold.
    pub expected: String,
}

impl Invalid {
    pub(crate) fn new(
        field: impl fmt::Display,
        value: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        let value = value.to_string().chars().take(SHOWN).collect();
        Self { field: field.to_string(), value, expected: expected.into() }
    }

    pub(crate) fn missing(field: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self::new(field, "nothing", expected)
    }
}

/// A field of a request that the provider's protocol has no place for: the request goes on without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field, as a path in the client's own protocol.
    pub field: String,
    /// What became of it and why.
    pub why: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Warnings as they come together.
#[derive(Debug, Default)]
pub(crate) struct Notes(pub Vec<Warning>);

/// Most warnings of one document: whoever has more reads none of them.
const MOST_NOTES: usize = 64;

impl Notes {
    pub fn add(&mut self, field: impl fmt::Display, why: impl Into<String>) {
        if self.0.len() < MOST_NOTES {
            self.0.push(Warning { field: field.to_string(), why: why.into() });
        }
    }

    /// The same once, however often it occurs.
    pub fn once(&mut self, field: &str, why: &str) {
        if !self.0.iter().any(|note| note.field == field && note.why == why) {
            self.add(field, why);
        }
    }
}

/// Where a value stands in a document. Costs nothing until an error shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub const ROOT: Self = Self { parent: None, step: Step::Root };

    pub const fn field(&'p self, name: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }

    pub const fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// Steps from the root.
    pub fn depth(&self) -> usize {
        std::iter::successors(self.parent, |path| path.parent).count()
    }

    pub fn invalid(&self, raw: &RawValue, expected: impl Into<String>) -> Invalid {
        Invalid::new(self, raw.get(), expected)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nested = match self.parent {
            Some(parent) => {
                parent.fmt(f)?;
                !matches!(parent.step, Step::Root)
            }
            None => false,
        };
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if nested => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}
