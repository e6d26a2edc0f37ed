//! The typed reads behind the console and the JSON API. Each takes whose data it may see as its first argument.

use crate::client::Warehouse;
use crate::error::WarehouseError;
use contracts::reads::{CallCursor, CallDetail, CallFilter, CallPage, Facets, Overview, TenantScope, TimeRange};

impl Warehouse {
    /// The Overview page: totals, series and groups over a range. Buckets start at multiples of `bucket_seconds` since the
    /// epoch, so the first and the last may reach beyond the range; they count only what is inside it.
    pub async fn overview(
        &self,
        _scope: &TenantScope,
        _range: TimeRange,
        _bucket_seconds: u32,
        _filter: &CallFilter,
    ) -> Result<Overview, WarehouseError> {
        Ok(Overview::default())
    }

    /// A page of calls, newest first, after `cursor`.
    pub async fn calls(
        &self,
        _scope: &TenantScope,
        _range: TimeRange,
        _filter: &CallFilter,
        _cursor: Option<&CallCursor>,
        _limit: u32,
    ) -> Result<CallPage, WarehouseError> {
        Ok(CallPage::default())
    }

    /// One call with its trace. `span_id` picks one of several calls of a trace; `near_ms` (milliseconds since the epoch)
    /// is about when it started, and only makes the read faster.
    pub async fn call(
        &self,
        _scope: &TenantScope,
        _trace_id: &str,
        _span_id: Option<&str>,
        _near_ms: Option<i64>,
    ) -> Result<Option<CallDetail>, WarehouseError> {
        Ok(None)
    }

    /// Values that filters can take within the range.
    pub async fn facets(&self, _scope: &TenantScope, _range: TimeRange) -> Result<Facets, WarehouseError> {
        Ok(Facets::default())
    }
}
