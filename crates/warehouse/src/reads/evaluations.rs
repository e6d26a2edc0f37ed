//! Verdicts, and the calls that still want one.

use super::{Bind, check_hex, check_range};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use contracts::reads::{TenantScope, TimeRange};
use contracts::{SubjectRef, Timestamp, Usd, Verdict};
use serde::Deserialize;
use std::collections::BTreeSet;

/// How far from a hint a call may start, and from a call its retrievals.
const AROUND_NS: i64 = 24 * 3600 * 1_000_000_000;

/// By what calls lie in a range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallTime {
    /// When they started.
    Start,
    /// When they ended, which is when they come; of calls that lasted a day at most.
    End,
}

/// No call that is found by its end lasted longer; see `0012_calls_by_end.sql`.
const LONGEST_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Calls without a verdict that are asked for.
#[derive(Debug, Clone)]
pub struct UnjudgedQuery {
    /// Whose calls.
    pub scope: TenantScope,
    /// What the range is about.
    pub by: CallTime,
    /// First nanosecond of it.
    pub from_ns: i64,
    /// First nanosecond after.
    pub until_ns: i64,
    /// Each `name@version`.
    pub judges: Vec<String>,
    /// Tenant, route (`""` is any) and share in millionths. The first that fits counts; the last must fit all.
    pub sampled: Vec<(String, String, u32)>,
    /// Ids of keys whose calls are never judged.
    pub skipped_keys: Vec<String>,
    /// A judge that failed on a call before then (nanoseconds since the epoch) has not judged it.
    pub errors_since_ns: i64,
    /// Most rows.
    pub rows: u32,
}

/// A call that not every judge has judged.
#[derive(Debug, Clone, PartialEq, Eq, clickhouse::Row, Deserialize)]
pub struct UnjudgedCall {
    /// Whose.
    pub tenant_id: String,
    /// Its start, nanoseconds since the epoch.
    pub start_ns: i64,
    /// Its start or its end, whichever was asked for.
    pub at_ns: i64,
    /// Its trace.
    pub trace_id: String,
    /// Its span.
    pub span_id: String,
    /// The judges that have, as `name@version`.
    pub done: Vec<String>,
}

/// A call with everything that a judge looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default, clickhouse::Row, Deserialize)]
pub struct JudgeCall {
    /// Whose.
    pub tenant_id: String,
    /// Its start, nanoseconds since the epoch.
    pub start_ns: i64,
    /// Its trace.
    pub trace_id: String,
    /// Its span.
    pub span_id: String,
    /// The provider's id of the answer.
    pub response_id: String,
    /// Route.
    pub route: String,
    /// Model asked for.
    pub request_model: String,
    /// Model that answered.
    pub response_model: String,
    /// JSON array.
    pub input_messages: String,
    /// JSON array.
    pub output_messages: String,
    /// JSON or text.
    pub system_instructions: String,
    /// JSON array.
    pub tool_definitions: String,
    /// Days that the tenant keeps its telemetry.
    pub retention_days: u16,
    /// JSON array of `{id, text, score, source}`, or empty.
    pub context: String,
    /// JSON, or empty.
    pub response_format: String,
    /// JSON array of numbers, or empty.
    pub logprobs: String,
    /// Bytes of messages, instructions and tools that were cut off when they were recorded.
    pub truncated_bytes: u64,
    /// The judges that have judged it in the batch that was asked for, as `name@version`.
    pub done: Vec<String>,
}

/// A retrieval of a trace.
#[derive(Debug, Clone, PartialEq, Eq, clickhouse::Row, Deserialize)]
pub struct Retrieval {
    /// Whose.
    pub tenant_id: String,
    /// Its trace.
    pub trace_id: String,
    /// Its start, nanoseconds since the epoch.
    pub start_ns: i64,
    /// Data source.
    pub data_source_id: String,
    /// JSON array.
    pub retrieval_documents: String,
}

/// A call of a sample.
#[derive(Debug, Clone, PartialEq, Eq, clickhouse::Row, Deserialize)]
pub struct SampledCall {
    /// Its trace.
    pub trace_id: String,
    /// Its span.
    pub span_id: String,
    /// Its start, nanoseconds since the epoch.
    pub start_ns: i64,
}

#[derive(clickhouse::Row, Deserialize)]
struct VerdictColumns {
    tenant_id: String,
    call_ns: i64,
    trace_id: String,
    span_id: String,
    response_id: String,
    judge: String,
    version: String,
    score: Option<f64>,
    label: String,
    explanation: String,
    details: String,
    cost: i128,
    judged_ns: i64,
    source: String,
}

/// A verdict as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// Start of the judged call, nanoseconds since the epoch.
    pub call_ns: i64,
    /// Empty for our own evaluator, otherwise who sent it.
    pub source: String,
}

impl TryFrom<VerdictColumns> for StoredVerdict {
    type Error = WarehouseError;

    fn try_from(row: VerdictColumns) -> Result<Self, WarehouseError> {
        let tenant = row.tenant_id.parse().map_err(|_| WarehouseError::Invalid {
            field: "tenant_id",
            value: row.tenant_id.clone(),
            expected: "the id of a tenant",
        })?;
        let subject =
            SubjectRef { tenant, trace_id: row.trace_id, span_id: row.span_id, response_id: row.response_id };
        let verdict = Verdict {
            judge: row.judge,
            version: row.version,
            subject,
            score: row.score,
            label: row.label,
            explanation: row.explanation,
            cost: Usd::from_picos(row.cost),
            // Details of somebody else's judge may be any text.
            details: serde_json::from_str(&row.details)
                .unwrap_or_else(|_| serde_json::Value::String(row.details.clone())),
            at: Timestamp::from_unix_nanos(row.judged_ns),
        };
        Ok(Self { verdict, call_ns: row.call_ns, source: row.source })
    }
}

/// Which verdicts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerdictPage {
    /// Names of judges; empty is any.
    pub judges: Vec<String>,
    /// Labels; empty is any.
    pub labels: Vec<String>,
    /// Most rows.
    pub rows: u32,
}

impl Warehouse {
    /// Calls that not every one of these judges has judged, oldest first.
    pub async fn unjudged_calls(&self, query: &UnjudgedQuery) -> Result<Vec<UnjudgedCall>, WarehouseError> {
        let found = self
            .read(read::UNJUDGED_CALLS, Limits::TEXT)
            .tenants(&query.scope)
            .param("by_end", query.by == CallTime::End)
            .param("start_from_ns", query.start_from_ns())
            .param("from_ns", query.from_ns)
            .param("until_ns", query.until_ns)
            .param("errors_since_ns", query.errors_since_ns)
            .param("judges", &query.judges)
            .param("sampled", &query.sampled)
            .param("skipped_keys", &query.skipped_keys)
            .param("rows", query.rows);
        within(found.fetch_all::<UnjudgedCall>()).await.map_err(failed("look for calls without a verdict"))
    }

    /// The calls of these ids with everything that a judge looks at; some may be gone. Which of `judges` have judged them says the batch whose
    /// verdicts are of the time `judged_ns` (nanoseconds since the epoch).
    pub async fn judge_calls(
        &self,
        calls: &[UnjudgedCall],
        judges: &[String],
        judged_ns: i64,
    ) -> Result<Vec<JudgeCall>, WarehouseError> {
        let Some(ids) = Ids::of(calls) else { return Ok(Vec::new()) };
        let found = self
            .read(read::JUDGE_CALLS, Limits::TEXT)
            .param("tenants", ids.tenants)
            .param("traces", ids.traces)
            .param("spans", ids.spans)
            .param("from_ns", ids.first_ns)
            .param("to_ns", ids.last_ns)
            .param("judged_ns", judged_ns)
            .param("judges", judges);
        let found = within(found.fetch_all::<JudgeCall>()).await.map_err(failed("read calls to judge"))?;
        let wanted: BTreeSet<(&str, &str, &str)> = calls.iter().map(UnjudgedCall::key).collect();
        let is_wanted =
            |c: &JudgeCall| wanted.contains(&(c.tenant_id.as_str(), c.trace_id.as_str(), c.span_id.as_str()));
        Ok(found.into_iter().filter(is_wanted).collect())
    }

    /// The retrievals in the traces of these calls.
    pub async fn judge_retrievals(&self, calls: &[UnjudgedCall]) -> Result<Vec<Retrieval>, WarehouseError> {
        let Some(ids) = Ids::of(calls) else { return Ok(Vec::new()) };
        let found = self
            .read(read::JUDGE_RETRIEVALS, Limits::TEXT)
            .param("tenants", ids.tenants)
            .param("traces", ids.traces)
            .param("from_ns", ids.first_ns.saturating_sub(AROUND_NS).max(0))
            .param("to_ns", ids.last_ns.saturating_add(AROUND_NS));
        within(found.fetch_all::<Retrieval>()).await.map_err(failed("read the retrievals of calls"))
    }

    /// What judges say of one call. `near_ms` (milliseconds since the epoch) tells to within a day when it started, and
    /// only makes the read faster.
    pub async fn evaluations_of_call(
        &self,
        scope: &TenantScope,
        trace_id: &str,
        span_id: &str,
        near_ms: Option<i64>,
    ) -> Result<Vec<StoredVerdict>, WarehouseError> {
        check_hex("trace_id", trace_id, 32)?;
        check_hex("span_id", span_id, 16)?;
        let (after_ns, until_ns) = near_ms.map_or((0, i64::MAX), |ms| {
            let ns = ms.saturating_mul(1_000_000);
            (ns.saturating_sub(AROUND_NS).max(0), ns.saturating_add(AROUND_NS))
        });
        let found = self
            .read(read::EVALUATIONS_CALL, Limits::TEXT)
            .tenants(scope)
            .param("trace", trace_id)
            .param("span", span_id)
            .param("after_ns", after_ns)
            .param("until_ns", until_ns);
        let found = within(found.fetch_all::<VerdictColumns>())
            .await
            .map_err(failed("read the verdicts of a call"))?;
        found.into_iter().map(StoredVerdict::try_from).collect()
    }

    /// Judged calls of a range of time, at most `rows` of them, evenly over it.
    pub async fn sample_calls(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        judges: &[String],
        labels: &[String],
        rows: u32,
    ) -> Result<Vec<SampledCall>, WarehouseError> {
        let found = self
            .read(read::SAMPLE_CALLS, Limits::NARROW)
            .tenants(scope)
            .range(check_range(range)?)
            .param("judges", judges)
            .param("labels", labels)
            .param("rows", rows);
        within(found.fetch_all()).await.map_err(failed("take a sample of judged calls"))
    }

    /// Verdicts by the start of the judged call, newest first.
    pub async fn evaluations(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        page: &VerdictPage,
    ) -> Result<Vec<StoredVerdict>, WarehouseError> {
        let range = check_range(range)?;
        let found = self
            .read(read::EVALUATIONS, Limits::TEXT)
            .tenants(scope)
            .range(range)
            .param("judges", &page.judges)
            .param("labels", &page.labels)
            .param("rows", page.rows);
        let found = within(found.fetch_all::<VerdictColumns>()).await.map_err(failed("read verdicts"))?;
        found.into_iter().map(StoredVerdict::try_from).collect()
    }
}

impl UnjudgedQuery {
    fn start_from_ns(&self) -> i64 {
        match self.by {
            CallTime::Start => self.from_ns,
            CallTime::End => self.from_ns.saturating_sub(LONGEST_NS).max(0),
        }
    }
}

impl UnjudgedCall {
    /// What makes it one call.
    pub fn key(&self) -> (&str, &str, &str) {
        (&self.tenant_id, &self.trace_id, &self.span_id)
    }
}

/// The ids of calls, each once, as parameters.
struct Ids<'a> {
    tenants: BTreeSet<&'a str>,
    traces: BTreeSet<&'a str>,
    spans: BTreeSet<&'a str>,
    first_ns: i64,
    last_ns: i64,
}

impl<'a> Ids<'a> {
    fn of(calls: &'a [UnjudgedCall]) -> Option<Self> {
        Some(Self {
            first_ns: calls.iter().map(|call| call.start_ns).min()?,
            last_ns: calls.iter().map(|call| call.start_ns).max()?,
            tenants: calls.iter().map(|call| call.tenant_id.as_str()).collect(),
            traces: calls.iter().map(|call| call.trace_id.as_str()).collect(),
            spans: calls.iter().map(|call| call.span_id.as_str()).collect(),
        })
    }
}
