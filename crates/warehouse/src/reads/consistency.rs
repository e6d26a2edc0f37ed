//! Whether the tables that follow from `spans` agree with it: what makes "exactly once" more than a claim.

use super::{Bind, DAY_MS, check_range};
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
    span_models: u64,
    span_routes: u64,
    span_keys: u64,
    calls: u64,
    calls_cost: i128,
    attempts: u64,
    steps: u64,
    usage_5min_calls: u64,
    usage_5min_cost: i128,
    usage_hour_calls: u64,
    usage_hour_cost: i128,
    latency_5min_calls: u64,
    latency_hour_calls: u64,
    latency_hour_model_calls: u64,
    latency_day_calls: u64,
    latency_day_model_calls: u64,
    facet_models: u64,
    facet_routes: u64,
    facet_keys: u64,
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
    /// Compares every table that follows from `spans` with it. Start and end of the range must be whole days (UTC).
    pub async fn consistency(
        &self,
        scope: &TenantScope,
        range: TimeRange,
    ) -> Result<Consistency, WarehouseError> {
        let range = check_range(range)?;
        if range.from_ms % DAY_MS != 0 || range.to_ms % DAY_MS != 0 {
            return Err(WarehouseError::Invalid {
                field: "range",
                value: format!("{} to {}", range.from_ms, range.to_ms),
                expected: "whole days (UTC)",
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
            ("calls in usage_5min", row.usage_5min_calls, row.span_calls),
            ("calls in usage_hour", row.usage_hour_calls, row.span_calls),
            ("calls in latency_5min", row.latency_5min_calls, row.span_calls),
            ("calls in latency_hour", row.latency_hour_calls, row.span_calls),
            ("calls by model in latency_hour", row.latency_hour_model_calls, row.span_calls),
            ("calls in latency_day", row.latency_day_calls, row.span_calls),
            ("calls by model in latency_day", row.latency_day_model_calls, row.span_calls),
            ("calls with a model in facets_hour", row.facet_models, row.span_models),
            ("calls with a route in facets_hour", row.facet_routes, row.span_routes),
            ("calls with a key in facets_hour", row.facet_keys, row.span_keys),
        ];
        let costs = [
            ("cost in calls", row.calls_cost),
            ("cost in usage_5min", row.usage_5min_cost),
            ("cost in usage_hour", row.usage_hour_cost),
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
