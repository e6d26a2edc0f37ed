//! Whether the tables that follow from `spans` agree with it: what makes "exactly once" more than a claim.

use super::{Bind, check_range};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use contracts::Usd;
use contracts::reads::{TenantScope, TimeRange};

#[derive(clickhouse::Row, serde::Deserialize)]
struct Columns {
    spans: u64,
    distinct_spans: u64,
    span_calls: u64,
    span_attempts: u64,
    span_steps: u64,
    span_cost: i128,
    calls: u64,
    calls_cost: i128,
    attempts: u64,
    steps: u64,
    minute_calls: u64,
    minute_cost: i128,
    hour_calls: u64,
    hour_cost: i128,
    latency_minute_calls: u64,
    latency_hour_calls: u64,
}

/// Counts of one range in `spans`, and where another table disagrees with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// Spans stored.
    pub spans: u64,
    /// Of them, calls.
    pub calls: u64,
    /// Of them, attempts.
    pub attempts: u64,
    /// What the calls cost.
    pub cost: Usd,
    /// One sentence per disagreement; none when all is well.
    pub faults: Vec<String>,
}

impl Warehouse {
    /// Compares every table that follows from `spans` with it. Start and end of the range must be whole hours.
    pub async fn consistency(
        &self,
        scope: &TenantScope,
        range: TimeRange,
    ) -> Result<Consistency, WarehouseError> {
        let range = check_range(range)?;
        if range.from_ms % 3_600_000 != 0 || range.to_ms % 3_600_000 != 0 {
            return Err(WarehouseError::Invalid {
                field: "range",
                value: format!("{} to {}", range.from_ms, range.to_ms),
                expected: "whole hours",
            });
        }
        let query = self.read(read::CONSISTENCY, Limits::NARROW).tenants(scope).range(range);
        let row = within(query.fetch_one::<Columns>()).await.map_err(failed("compare the tables"))?;
        Ok(row.into())
    }
}

impl From<Columns> for Consistency {
    fn from(row: Columns) -> Self {
        let counts = [
            ("spans by trace and span id", row.distinct_spans, row.spans),
            ("calls", row.calls, row.span_calls),
            ("attempts", row.attempts, row.span_attempts),
            ("steps", row.steps, row.span_steps),
            ("calls in usage_minute", row.minute_calls, row.span_calls),
            ("calls in usage_hour", row.hour_calls, row.span_calls),
            ("calls in latency_minute", row.latency_minute_calls, row.span_calls),
            ("calls in latency_hour", row.latency_hour_calls, row.span_calls),
        ];
        let costs = [
            ("cost in calls", row.calls_cost),
            ("cost in usage_minute", row.minute_cost),
            ("cost in usage_hour", row.hour_cost),
        ];
        let counts = counts
            .iter()
            .filter(|(_, found, expected)| found != expected)
            .map(|(what, found, expected)| format!("{what}: {found}, the spans say {expected}"));
        let cost = Usd::from_picos(row.span_cost);
        let costs = costs
            .iter()
            .filter(|(_, found)| *found != row.span_cost)
            .map(|(what, found)| format!("{what}: {}, the spans say {cost}", Usd::from_picos(*found)));
        let faults = counts.chain(costs).collect();
        Self { spans: row.spans, calls: row.span_calls, attempts: row.span_attempts, cost, faults }
    }
}
