//! One call with its trace.

use super::{Bind, CallColumns, Pairs, check_hex, map};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use contracts::Usd;
use contracts::reads::{CallDetail, SpanEvent, SpanView, TenantScope};

/// Spans of a trace at most: what a person can look at.
const MAX_SPANS: u32 = 2000;

/// How far from a call the other spans of its trace, or from a hint the call, may start: an agent can run for hours.
const AROUND_NS: i64 = 24 * 3600 * 1_000_000_000;

#[derive(clickhouse::Row, serde::Deserialize)]
struct SpanColumns {
    span_id: String,
    parent_span_id: String,
    name: String,
    kind: String,
    service_name: String,
    start_ns: i64,
    duration_ns: u64,
    status: String,
    status_message: String,
    input_messages: String,
    output_messages: String,
    system_instructions: String,
    tool_definitions: String,
    typed_attributes: Pairs,
    span_attributes: Pairs,
    resource_attributes: Pairs,
    event_time_ns: Vec<i64>,
    event_name: Vec<String>,
    event_attributes: Vec<Pairs>,
}

impl From<SpanColumns> for SpanView {
    fn from(row: SpanColumns) -> Self {
        let events = row.event_time_ns.into_iter().zip(row.event_name).zip(row.event_attributes);
        let mut attributes = map(row.span_attributes);
        attributes.extend(row.typed_attributes);
        Self {
            span_id: row.span_id,
            parent_span_id: row.parent_span_id,
            name: row.name,
            kind: row.kind,
            service: row.service_name,
            start_ns: row.start_ns,
            duration_ns: row.duration_ns,
            status: row.status,
            status_message: row.status_message,
            input_messages: row.input_messages,
            output_messages: row.output_messages,
            system_instructions: row.system_instructions,
            tool_definitions: row.tool_definitions,
            attributes,
            resource: map(row.resource_attributes),
            events: events
                .map(|((time_ns, name), attributes)| SpanEvent { time_ns, name, attributes: map(attributes) })
                .collect(),
        }
    }
}

impl Warehouse {
    /// One call with its trace. `span_id` picks one of several calls of a trace, the earliest is taken otherwise; `near_ms`
    /// (milliseconds since the epoch) tells to within a day when it started, and only makes the read faster.
    ///
    /// `None` when there is no such call or the scope may not see it. The trace is cut after 2,000 spans.
    pub async fn call(
        &self,
        scope: &TenantScope,
        trace_id: &str,
        span_id: Option<&str>,
        near_ms: Option<i64>,
    ) -> Result<Option<CallDetail>, WarehouseError> {
        check_hex("trace_id", trace_id, 32)?;
        if let Some(span_id) = span_id {
            check_hex("span_id", span_id, 16)?;
        }
        let (after_ns, until_ns) = near_ms.map_or((0, i64::MAX), |ms| around(ms.saturating_mul(1_000_000)));
        let query = self
            .read(read::CALL, Limits::NARROW)
            .tenants(scope)
            .param("trace", trace_id)
            .param("span", span_id.unwrap_or_default())
            .param("after_ns", after_ns)
            .param("until_ns", until_ns);
        let call = within(query.fetch_optional::<CallColumns>()).await.map_err(failed("find the call"))?;
        let Some(call) = call else { return Ok(None) };
        let (after_ns, until_ns) = around(call.start_ns);
        let query = self
            .read(read::CALL_SPANS, Limits::TEXT)
            .param("tenants", vec![call.tenant_id.as_str()])
            .param("trace", trace_id)
            .param("after_ns", after_ns)
            .param("until_ns", until_ns)
            .param("rows", MAX_SPANS);
        let spans =
            within(query.fetch_all::<SpanColumns>()).await.map_err(failed("read the trace of the call"))?;
        let near_ms = call.start_ns.div_euclid(1_000_000);
        let verdicts = self.evaluations_of_call(scope, trace_id, &call.span_id, Some(near_ms)).await?;
        Ok(Some(CallDetail {
            cost_input: Usd::from_picos(call.cost_input),
            cost_output: Usd::from_picos(call.cost_output),
            cost_cache: Usd::from_picos(call.cost_cache),
            price_book_version: call.price_book_version.clone(),
            call: call.into(),
            spans: spans.into_iter().map(SpanView::from).collect(),
            verdicts: verdicts.into_iter().map(|stored| stored.verdict).collect(),
        }))
    }
}

fn around(ns: i64) -> (i64, i64) {
    (ns.saturating_sub(AROUND_NS).max(0), ns.saturating_add(AROUND_NS))
}
