//! Why a policy is refused.

/// One field of a policy that cannot be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value} is not valid, expected {expected}")]
pub struct InvalidPolicy {
    /// The field, as a path: `tiers[1].model`.
    pub field: String,
    /// What it holds, cut to a length that can be shown.
    pub value: String,
    /// What it may hold.
    pub expected: String,
}

impl InvalidPolicy {
    /// `field` holds `value`.
    pub fn new(field: impl Into<String>, value: impl std::fmt::Debug, expected: impl Into<String>) -> Self {
        let value = format!("{value:?}").chars().take(160).collect();
        Self { field: field.into(), value, expected: expected.into() }
    }

    /// The same, of a field within the one at `path`.
    #[must_use]
    pub fn within(self, path: &str) -> Self {
        Self { field: format!("{path}.{}", self.field), ..self }
    }
}
