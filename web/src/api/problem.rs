//! An error as a page shows it: the status, one sentence, and the parameter at fault.

use serde::{Deserialize, Serialize};

/// What went wrong with a read or a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Problem {
    /// HTTP status; 0 when no answer came at all.
    pub status: u16,
    /// One sentence that names the field, the value and what is expected.
    pub message: String,
    /// The parameter at fault.
    #[serde(default)]
    pub param: Option<String>,
}

impl Problem {
    /// No answer came: network down, server gone.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { status: 0, message: message.into(), param: None }
    }
}

impl From<contracts::ApiError> for Problem {
    fn from(error: contracts::ApiError) -> Self {
        Self { status: error.status, message: error.message, param: error.param }
    }
}

impl From<crate::query::InvalidQuery> for Problem {
    fn from(error: crate::query::InvalidQuery) -> Self {
        Self { status: 400, message: error.to_string(), param: Some(error.param) }
    }
}
