//! What the console and the JSON API read: questions and answers. `warehouse` answers them, `web` shows them, in the
//! browser too, so these types are plain data that builds for wasm.

use crate::{TenantId, TokenUsage, Usd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A half-open range of time, in milliseconds since the epoch: `from <= t < to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// First millisecond inside.
    pub from_ms: i64,
    /// First millisecond after.
    pub to_ms: i64,
}

/// Whose data a read may see: at least one tenant, always named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantScope(Vec<TenantId>);

impl TenantScope {
    /// One tenant.
    pub fn one(tenant: TenantId) -> Self {
        Self(vec![tenant])
    }

    /// Several; `None` when the list is empty, for then there is nothing to see.
    pub fn many(tenants: Vec<TenantId>) -> Option<Self> {
        if tenants.is_empty() { None } else { Some(Self(tenants)) }
    }

    /// The tenants.
    pub fn tenants(&self) -> &[TenantId] {
        &self.0
    }
}

/// Filters that the Overview and the Calls page share. Empty means any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CallFilter {
    /// Route names.
    pub routes: Vec<String>,
    /// Models, as asked for.
    pub models: Vec<String>,
    /// API key ids.
    pub keys: Vec<String>,
    /// Succeeded, failed, or either.
    pub outcome: Option<Outcome>,
    /// Least total cost.
    pub min_cost: Option<Usd>,
    /// Least duration, milliseconds.
    pub min_duration_ms: Option<u64>,
    /// Text contained in the prompt or the answer, case-insensitive; or an exact request, trace or response id.
    pub text: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Answered in full.
    Ok,
    /// Refused, failed or cut off.
    Error,
}

/// Counts, money and latency over some set of calls. Latencies are milliseconds; `None` where nothing was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Client requests.
    pub calls: u64,
    /// Of them, failed.
    pub errors: u64,
    /// Tokens by kind.
    pub usage: TokenUsage,
    /// What they cost.
    pub cost: Usd,
    /// Of the calls, those whose usage was estimated or partial rather than reported.
    pub estimated: u64,
    /// Of the calls, those that had usage but no known price: they are in `cost` with nothing.
    pub unpriced: u64,
    /// Median duration.
    pub duration_p50_ms: Option<f64>,
    /// 95th percentile of duration.
    pub duration_p95_ms: Option<f64>,
    /// 99th percentile of duration.
    pub duration_p99_ms: Option<f64>,
    /// Median time to first token.
    pub ttft_p50_ms: Option<f64>,
    /// 95th percentile of time to first token.
    pub ttft_p95_ms: Option<f64>,
}

/// One bucket of a time series.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Bucket {
    /// Start of the bucket, milliseconds since the epoch.
    pub start_ms: i64,
    /// What fell into it.
    pub totals: Totals,
}

/// Totals of one group, such as one model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// What belongs to it.
    pub totals: Totals,
}

/// Shares of calls and tokens; `None` while nothing was observed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shares {
    /// Failed calls / calls.
    pub error_rate: Option<f64>,
    /// Input tokens read from a provider's cache / input tokens.
    pub cache_read_share: Option<f64>,
}

/// The golden signals, each as its query in `queries/read/signal_*.sql` defines it and with how much it rests on; `None` while
/// nothing was observed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signals {
    /// Retrievals with a document that the answer used or the truth set names / retrievals.
    pub retrieval_hit_rate: Option<f64>,
    /// Retrievals.
    pub retrievals: u64,
    /// Of the retrievals, how many can be told: the rest have no verdict and no truth, and count as misses.
    pub retrievals_known: u64,
    /// To the first token, per request.
    pub ttft_per_request: Option<Quantiles>,
    /// To the first token, per attempt.
    pub ttft_per_attempt: Option<Quantiles>,
    /// Mean probability that an answer contains what its context does not support.
    pub hallucination_proxy: Option<f64>,
    /// Answers that it is the mean of.
    pub hallucination_judged: u64,
    /// Mean share of an answer's claims that the context supports.
    pub grounding_coverage: Option<f64>,
    /// Answers that it is the mean of.
    pub grounding_judged: u64,
    /// Failed tool executions / tool executions.
    pub tool_error_rate: Option<f64>,
    /// Tool executions.
    pub tools: u64,
    /// All cost of the calls tied to actions / useful actions.
    pub dollars_per_useful_action: Option<Usd>,
    /// Actions of which a call is known.
    pub actions: u64,
    /// Of them, the useful ones.
    pub useful_actions: u64,
}

/// Exact quantiles, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many were measured.
    pub measured: u64,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
}

/// The Overview page.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overview {
    /// Over the whole range.
    pub totals: Totals,
    /// Over the range of equal length just before, to compare with.
    pub previous: Totals,
    /// Width of a bucket, seconds.
    pub bucket_seconds: u32,
    /// Every bucket of the range, empty ones included, oldest first.
    pub series: Vec<Bucket>,
    /// By model asked for, dearest first.
    pub by_model: Vec<Group>,
    /// By tenant, dearest first.
    pub by_tenant: Vec<Group>,
    /// By error class, most frequent first.
    pub by_error: Vec<Group>,
    /// Shares.
    pub shares: Shares,
}

/// One line of the Calls page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRow {
    /// Whose call.
    pub tenant_id: String,
    /// When it started, milliseconds since the epoch.
    pub start_ms: i64,
    /// 32 hex digits.
    pub trace_id: String,
    /// The SERVER span, 16 hex digits.
    pub span_id: String,
    /// As returned in `x-request-id`.
    pub request_id: String,
    /// `chat`, `embeddings`, …
    pub operation: String,
    /// API key's public id.
    pub key_id: String,
    /// Route, empty when the model was asked for directly.
    pub route: String,
    /// Model asked for.
    pub request_model: String,
    /// Model that answered.
    pub response_model: String,
    /// Provider that answered.
    pub provider: String,
    /// Tier that answered.
    pub tier: String,
    /// Whether it was streamed.
    pub stream: bool,
    /// HTTP status returned.
    pub http_status: u16,
    /// Class of the error, empty when there was none.
    pub error_type: String,
    /// Why generation ended.
    pub finish_reason: String,
    /// Milliseconds from the request's arrival to the last byte of the answer.
    pub duration_ms: f64,
    /// Milliseconds to the first content.
    pub ttft_ms: Option<f64>,
    /// Tokens by kind.
    pub usage: TokenUsage,
    /// `reported`, `estimated` or `partial`.
    pub usage_source: String,
    /// What it cost; zero when the price is not known.
    pub cost: Usd,
    /// Whether `cost` is known: false when there was usage but no price for it.
    pub priced: bool,
    /// `hit_exact`, `hit_semantic`, `miss`, `bypass` or empty.
    pub cache_status: String,
    /// What it would have cost, where its answer was given before.
    #[serde(default)]
    pub cache_saved: Usd,
    /// Attempts at upstreams.
    pub attempts: u16,
    /// Probability that its answer is acceptable, where a cascade judged it.
    #[serde(default)]
    pub cascade_score: Option<f64>,
}

/// Where a page of calls goes on: the last row shown. Opaque in URLs (`{start_ns}-{trace_id}-{span_id}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCursor {
    /// Nanoseconds since the epoch.
    pub start_ns: i64,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
}

/// A page of calls, newest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CallPage {
    /// The rows.
    pub calls: Vec<CallRow>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<CallCursor>,
}

/// Values that filters can take within a range, most frequent first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facets {
    /// Models asked for.
    pub models: Vec<String>,
    /// Routes.
    pub routes: Vec<String>,
    /// Keys.
    pub keys: Vec<String>,
}

/// One call with all that belongs to its trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallDetail {
    /// The call itself.
    pub call: CallRow,
    /// What it cost, by kind.
    pub cost_input: Usd,
    /// See `cost_input`.
    pub cost_output: Usd,
    /// See `cost_input`.
    pub cost_cache: Usd,
    /// Version of the price book.
    pub price_book_version: String,
    /// Every span of the trace that the tenant may see, by start; the call's own span among them.
    pub spans: Vec<SpanView>,
    /// What judges say of the call, by judge, the newest version first.
    #[serde(default)]
    pub verdicts: Vec<crate::Verdict>,
}

/// A span as the console shows it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SpanView {
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, empty for a root.
    pub parent_span_id: String,
    /// Name.
    pub name: String,
    /// `server`, `client`, `internal`, …
    pub kind: String,
    /// Emitting service.
    pub service: String,
    /// Start, nanoseconds since the epoch.
    pub start_ns: i64,
    /// Duration, nanoseconds.
    pub duration_ns: u64,
    /// `unset`, `ok` or `error`.
    pub status: String,
    /// Message of the status.
    pub status_message: String,
    /// Input messages, JSON.
    pub input_messages: String,
    /// Output messages, JSON.
    pub output_messages: String,
    /// System instructions, JSON or text.
    pub system_instructions: String,
    /// Tools offered, JSON.
    pub tool_definitions: String,
    /// Every attribute, typed ones included.
    pub attributes: BTreeMap<String, String>,
    /// Attributes of the emitting resource.
    pub resource: BTreeMap<String, String>,
    /// Events.
    pub events: Vec<SpanEvent>,
}

/// An event on a span.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SpanEvent {
    /// When, nanoseconds since the epoch.
    pub time_ns: i64,
    /// Name.
    pub name: String,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
}
