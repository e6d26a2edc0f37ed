//! The Calls page: newest first, by keyset, so that the thousandth page costs what the first does.

use super::{Bind, CallColumns, check_hex, check_range, searched_text};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use contracts::reads::{CallCursor, CallFilter, CallPage, CallRow, TenantScope, TimeRange};

/// Rows of a page at most.
const MAX_LIMIT: u32 = 1000;

/// The newest part of a range that is tried first: a page is usually full long before the range is read.
const FIRST_TRY: i64 = 64;

impl Warehouse {
    /// A page of at most `limit` (1 to 1000) calls, newest first, after `cursor`.
    pub async fn calls(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        filter: &CallFilter,
        cursor: Option<&CallCursor>,
        limit: u32,
    ) -> Result<CallPage, WarehouseError> {
        let range = check_range(range)?;
        if let Some(cursor) = cursor {
            check_hex("cursor.trace_id", &cursor.trace_id, 32)?;
            check_hex("cursor.span_id", &cursor.span_id, 16)?;
        }
        let limit = limit.clamp(1, MAX_LIMIT);
        let end_ms =
            cursor.map_or(range.to_ms, |cursor| range.to_ms.min(cursor.start_ns.div_euclid(1_000_000) + 1));
        let newest =
            TimeRange { from_ms: end_ms - (range.to_ms - range.from_ms) / FIRST_TRY, to_ms: range.to_ms };
        let full = limit as usize + 1;
        let mut rows = Vec::new();
        if newest.from_ms > range.from_ms {
            rows = self.page(scope, newest, filter, cursor, full).await?;
        }
        if rows.len() < full {
            rows = self.page(scope, range, filter, cursor, full).await?;
        }
        let more = rows.len() == full;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|last| CallCursor {
            start_ns: last.start_ns,
            trace_id: last.trace_id.clone(),
            span_id: last.span_id.clone(),
        });
        Ok(CallPage { calls: rows.into_iter().map(CallRow::from).collect(), next })
    }

    async fn page(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        filter: &CallFilter,
        cursor: Option<&CallCursor>,
        rows: usize,
    ) -> Result<Vec<CallColumns>, WarehouseError> {
        let limits = if searched_text(filter).is_some() { Limits::TEXT } else { Limits::NARROW };
        // `g` is greater than every hex digit.
        let (before_ns, before_trace, before_span) =
            cursor.map_or((i64::MAX, "g", "g"), |c| (c.start_ns, c.trace_id.as_str(), c.span_id.as_str()));
        let query = self
            .read(read::CALLS, limits)
            .tenants(scope)
            .picked(range, filter, true)
            .param("before_ns", before_ns)
            .param("before_trace", before_trace)
            .param("before_span", before_span)
            .param("rows", rows);
        within(query.fetch_all::<CallColumns>()).await.map_err(failed("list calls"))
    }
}
