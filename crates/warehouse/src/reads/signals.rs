//! The golden signals, each from its own named query.

use super::{Bind, check_range};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use clickhouse::{Row, RowOwned, RowRead};
use contracts::Usd;
use contracts::outcomes::{Costs, OutcomeGroup};
use contracts::reads::{Quantiles, Signals, TenantScope, TimeRange};
use serde::Deserialize;

#[derive(Row, Deserialize)]
struct Share {
    hits: u64,
    of: u64,
}

#[derive(Row, Deserialize)]
struct Retrievals {
    hits: u64,
    of: u64,
    known: u64,
}

#[derive(Row, Deserialize)]
struct Mean {
    total: f64,
    of: u64,
}

#[derive(Row, Deserialize)]
struct FirstToken {
    scope: String,
    measured: u64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

#[derive(Row, Deserialize)]
struct Dollars {
    cost: i128,
    useful: u64,
    #[expect(dead_code, reason = "for people who run the query")]
    actions: u64,
}

impl Warehouse {
    /// The golden signals of a range.
    pub async fn golden_signals(
        &self,
        scope: &TenantScope,
        range: TimeRange,
    ) -> Result<Signals, WarehouseError> {
        let range = check_range(range)?;
        let (retrieval, tools, hallucination, grounding, first, dollars) = tokio::try_join!(
            self.signal::<Retrievals>(read::SIGNAL_RETRIEVAL, scope, range),
            self.signal::<Share>(read::SIGNAL_TOOLS, scope, range),
            self.signal::<Mean>(read::SIGNAL_HALLUCINATION, scope, range),
            self.signal::<Mean>(read::SIGNAL_GROUNDING, scope, range),
            self.signal::<FirstToken>(read::SIGNAL_TTFT, scope, range),
            self.signal::<Dollars>(read::SIGNAL_DOLLARS, scope, range),
        )?;
        let per = |scope: &str| {
            let row = first.iter().find(|row| row.scope == scope)?;
            let FirstToken { measured, p50_ms, p95_ms, p99_ms, .. } = *row;
            Some(Quantiles { measured, p50_ms, p95_ms, p99_ms })
        };
        let mean = |rows: &[Mean]| rows.first().and_then(|row| ratio(row.total, row.of));
        Ok(Signals {
            retrieval_hit_rate: retrieval.first().and_then(|row| share(row.hits, row.of)),
            retrievals_known: retrieval.first().map_or(0, |row| row.known),
            ttft_per_request: per("request"),
            ttft_per_attempt: per("attempt"),
            hallucination_proxy: mean(&hallucination),
            grounding_coverage: mean(&grounding),
            tool_error_rate: tools.first().and_then(|row| share(row.hits, row.of)),
            dollars_per_useful_action: dollars.first().and_then(per_useful),
        })
    }

    async fn signal<R: RowOwned + RowRead>(
        &self,
        sql: &'static str,
        scope: &TenantScope,
        range: TimeRange,
    ) -> Result<Vec<R>, WarehouseError> {
        let query = self.read(sql, Limits { memory_bytes: 1 << 30, ..Limits::NARROW });
        within(query.tenants(scope).range(range).fetch_all()).await.map_err(failed("read a golden signal"))
    }
}

/// The quotient, as the report of outcomes rounds it.
fn per_useful(row: &Dollars) -> Option<Usd> {
    let costs = Costs { answers: Usd::from_picos(row.cost), ..Costs::default() };
    let mut group = OutcomeGroup { useful: row.useful, costs, ..OutcomeGroup::default() };
    group.divide();
    group.per_useful
}

#[expect(clippy::cast_precision_loss, reason = "shares of counts")]
fn share(part: u64, of: u64) -> Option<f64> {
    ratio(part as f64, of)
}

#[expect(clippy::cast_precision_loss, reason = "shares of counts")]
fn ratio(total: f64, of: u64) -> Option<f64> {
    (of > 0).then(|| total / of as f64)
}
