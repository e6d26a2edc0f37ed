//! The evaluator's own records: streams and chunks of calls to judge, leases, annotations.

use contracts::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// The right to do what only one may do at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What.
    pub name: String,
    /// Who.
    pub holder: String,
    /// Grows with each new holder.
    pub fence: i64,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A range of time whose calls are to be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgingStream {
    /// Its id; `live-…` goes on for ever.
    pub id: String,
    /// Which set of judges at which versions plans and works it.
    pub generation: String,
    /// Each `name@version`.
    pub judges: Vec<String>,
    /// Of this tenant alone.
    pub tenant: Option<TenantId>,
    /// Everything that started before this has been planned, nanoseconds since the epoch.
    pub next_ns: i64,
    /// The first nanosecond that is not its own; none goes on for ever.
    pub until_ns: Option<i64>,
    /// Calls that it has planned so far.
    pub planned: i64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When everything was planned.
    pub finished_at: Option<Timestamp>,
}

/// One call of a chunk: tenant, start in nanoseconds, trace, span.
pub type ChunkCall = (String, i64, String, String);

/// A chunk to plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChunk {
    /// Names the batch in which its verdicts are written.
    pub id: String,
    /// Which stream it belongs to.
    pub stream_id: String,
    /// As of its stream.
    pub generation: String,
    /// The judges that are to look at its calls, each `name@version`.
    pub judges: Vec<String>,
    /// The calls.
    pub calls: Vec<ChunkCall>,
}

/// A chunk that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What was planned.
    pub plan: NewChunk,
    /// When it was planned; the same whoever works it.
    pub planned_at: Timestamp,
    /// How often it was taken.
    pub fence: i64,
    /// How often it could not be judged for a reason that lies in its calls.
    pub failures: i64,
}

/// A chunk whose calls nobody else may plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenChunk {
    /// Which stream it belongs to.
    pub stream_id: String,
    /// As of its stream.
    pub generation: String,
    /// The judges that look at its calls, each `name@version`.
    pub judges: Vec<String>,
    /// The calls.
    pub calls: Vec<ChunkCall>,
    /// Whether its verdicts are written.
    pub finished: bool,
}

/// What a round of planning changes in one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamProgress {
    /// Which.
    pub id: String,
    /// Where the round found the stream. Where it was moved meanwhile, it stays.
    pub from_ns: i64,
    /// Where to go on.
    pub next_ns: i64,
    /// Calls planned in this round.
    pub planned: i64,
    /// Whether nothing is left to plan.
    pub finished: bool,
}

/// A call that people are asked to label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Its id.
    pub id: String,
    /// Whose call.
    pub tenant: TenantId,
    /// Which queue.
    pub queue: String,
    /// The call's trace.
    pub trace_id: String,
    /// The call's span.
    pub span_id: String,
    /// What there is to look at, JSON.
    pub subject: serde_json::Value,
    /// What judges said of it when it was queued: `[{judge, version, score, label, cost}]`.
    pub verdicts: serde_json::Value,
    /// When it was queued.
    pub created_at: Timestamp,
    /// What a person said, once somebody has.
    pub label: Option<HumanLabel>,
    /// Set when nobody will.
    pub skipped_at: Option<Timestamp>,
}

/// What a person and judges said of a call, without the call.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// `pass`, `fail` or another class, by the person.
    pub label: String,
    /// By judges: `[{judge, version, score, label, cost}]`.
    pub verdicts: serde_json::Value,
}

/// A queue in which people have labelled calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledQueue {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub queue: String,
    /// How many labels.
    pub labels: i64,
    /// When the last was given.
    pub last_at: Timestamp,
}

/// What a person said of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HumanLabel {
    /// `pass`, `fail` or another class.
    pub label: String,
    /// 0 to 1.
    pub score: Option<f64>,
    /// Why.
    pub comment: String,
    /// Who.
    pub annotator: String,
    /// When.
    pub at: Timestamp,
}

/// A call to queue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAnnotation {
    /// Whose call.
    pub tenant: TenantId,
    /// Which queue.
    pub queue: String,
    /// The call's trace.
    pub trace_id: String,
    /// The call's span.
    pub span_id: String,
    /// What there is to look at.
    pub subject: serde_json::Value,
    /// What judges said of it.
    pub verdicts: serde_json::Value,
}
