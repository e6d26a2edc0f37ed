//! What was noticed while spans were normalised, to be counted once a batch.

use std::collections::BTreeMap;

/// A set of attribute names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// General OpenTelemetry conventions.
    General,
    /// GenAI conventions of 2026.
    Main,
    /// GenAI conventions before them.
    OlderGenAi,
    /// OpenInference.
    OpenInference,
    /// OpenLLMetry.
    OpenLlmetry,
    /// Vercel AI SDK.
    Vercel,
    /// Our own, from our own services.
    ControlTower,
}

impl Dialect {
    /// As a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Main => "gen_ai",
            Self::OlderGenAi => "gen_ai_older",
            Self::OpenInference => "openinference",
            Self::OpenLlmetry => "openllmetry",
            Self::Vercel => "vercel",
            Self::ControlTower => "control_tower",
        }
    }
}

/// Counts of what happened to one span, or to many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Spans that used a dialect.
    pub dialects: BTreeMap<Dialect, u64>,
    /// Attributes that went into the map, by their first name segment where that is one of [`NAMESPACES`].
    pub unknown_attributes: BTreeMap<&'static str, u64>,
    /// Attributes that contradict one of higher authority.
    pub conflicts: u64,
    /// Attributes that do not fit their column's type.
    pub invalid_values: u64,
    /// Spans cut down to their metadata.
    pub truncated_spans: u64,
    /// Bytes cut off.
    pub truncated_bytes: u64,
    /// Spans moved into the accepted window of time.
    pub moved_spans: u64,
    /// Spans that ended before they started.
    pub negative_durations: u64,
}

/// Namespaces that unknown attributes are counted by; all others are `other`.
pub const NAMESPACES: &[&str] = &[
    "gen_ai",
    "llm",
    "ai",
    "openinference",
    "traceloop",
    "control_tower",
    "input",
    "output",
    "retrieval",
    "embedding",
];

impl Tally {
    /// The span used this dialect.
    pub(super) fn saw(&mut self, dialect: Dialect) {
        self.dialects.insert(dialect, 1);
    }

    /// An attribute goes into the map.
    pub(super) fn unknown(&mut self, key: &str) {
        let namespace = key.split('.').next().unwrap_or_default();
        let label = NAMESPACES.iter().find(|known| **known == namespace).copied().unwrap_or("other");
        *self.unknown_attributes.entry(label).or_default() += 1;
    }

    /// Adds another tally to this.
    pub fn add(&mut self, other: &Self) {
        for (dialect, spans) in &other.dialects {
            *self.dialects.entry(*dialect).or_default() += spans;
        }
        for (namespace, attributes) in &other.unknown_attributes {
            *self.unknown_attributes.entry(namespace).or_default() += attributes;
        }
        self.conflicts += other.conflicts;
        self.invalid_values += other.invalid_values;
        self.truncated_spans += other.truncated_spans;
        self.truncated_bytes += other.truncated_bytes;
        self.moved_spans += other.moved_spans;
        self.negative_durations += other.negative_durations;
    }
}
