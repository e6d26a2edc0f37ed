//! A whole answer.

use super::Part;
use crate::finish::Finish;
use contracts::TokenUsage;

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    pub id: Option<String>,
    pub model: Option<String>,
    pub parts: Vec<Part>,
    pub finish: Option<Finish>,
    pub usage: Option<TokenUsage>,
    pub service_tier: Option<String>,
}
