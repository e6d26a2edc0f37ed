//! What a judge says of an answer: the one shape that the evaluator writes, ClickHouse keeps and the console shows.

use crate::{TenantId, Timestamp, Usd};
use serde::{Deserialize, Serialize};

/// Name of the event that carries a verdict (OpenTelemetry GenAI).
pub const EVENT_NAME: &str = "gen_ai.evaluation.result";
/// Name of the event that carries what judging cost where no verdict is kept that says so; its attributes are those of a verdict.
pub const COST_EVENT_NAME: &str = "control_tower.judging.cost";

/// One judge's opinion of one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the judge, such as `grounding`.
    pub judge: String,
    /// Its version; a new one judges again.
    pub version: String,
    /// What was judged.
    pub subject: SubjectRef,
    /// The higher the more of what the judge's name says, usually 0 to 1. Absent when the judge does not apply.
    pub score: Option<f64>,
    /// A class: `pass`, `fail`, `not_applicable`, `error` or one of the judge's own.
    pub label: String,
    /// Why, for people; empty when the label says it all.
    #[serde(default)]
    pub explanation: String,
    /// What the judging cost.
    #[serde(default)]
    pub cost: Usd,
    /// What the judge wants to keep beside: claims with offsets and evidence, found fields, samples.
    #[serde(default)]
    pub details: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

/// The call that a verdict is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectRef {
    /// Whose call.
    pub tenant: TenantId,
    /// 32 hex digits.
    #[serde(default)]
    pub trace_id: String,
    /// 16 hex digits.
    #[serde(default)]
    pub span_id: String,
    /// The provider's id of the answer; may be empty.
    #[serde(default)]
    pub response_id: String,
}
