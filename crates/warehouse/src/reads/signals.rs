//! The golden signals, each from its own named query.

use super::{Bind, DAY_MS, check_range, searched_text};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use clickhouse::query::Query;
use clickhouse::{Row, RowOwned, RowRead};
use contracts::Usd;
use contracts::outcomes::{Costs, OutcomeGroup};
use contracts::reads::{CallFilter, Quantiles, Signals, TenantScope, TimeRange};
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
    actions: u64,
}

/// Spans of a call's trace start within a day of it, and calls that served an action within 31: a filter looks that far around the range.
const AROUND_CALLS_MS: i64 = DAY_MS;
const AROUND_ACTIONS_MS: i64 = 31 * DAY_MS;

/// What the signals are asked for.
#[derive(Clone, Copy)]
struct Question<'a> {
    scope: &'a TenantScope,
    range: TimeRange,
    filter: &'a CallFilter,
}

impl Warehouse {
    /// The golden signals of a range, over calls that `filter` picks and what belongs to them. The time to the first token is left out
    /// where it is not asked for: exact quantiles read every call, half a second for ten million.
    pub async fn golden_signals(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        filter: &CallFilter,
        first_token: bool,
    ) -> Result<Signals, WarehouseError> {
        let asked = Question { scope, range: check_range(range)?, filter };
        let (retrieval, tools, hallucination, grounding, first, dollars) = tokio::try_join!(
            self.signal::<Retrievals>(read::SIGNAL_RETRIEVAL, asked, AROUND_CALLS_MS),
            self.signal::<Share>(read::SIGNAL_TOOLS, asked, AROUND_CALLS_MS),
            self.signal::<Mean>(read::SIGNAL_HALLUCINATION, asked, AROUND_CALLS_MS),
            self.signal::<Mean>(read::SIGNAL_GROUNDING, asked, AROUND_CALLS_MS),
            async {
                if first_token {
                    self.long_signal::<FirstToken>(read::SIGNAL_TTFT, asked, AROUND_CALLS_MS).await
                } else {
                    Ok(Vec::new())
                }
            },
            self.dollars(asked),
        )?;
        let per = |scope: &str| {
            let row = first.iter().find(|row| row.scope == scope)?;
            let FirstToken { measured, p50_ms, p95_ms, p99_ms, .. } = *row;
            Some(Quantiles { measured, p50_ms, p95_ms, p99_ms })
        };
        let mean = |rows: &[Mean]| rows.first().and_then(|row| ratio(row.total, row.of));
        let judged = |rows: &[Mean]| rows.first().map_or(0, |row| row.of);
        Ok(Signals {
            retrieval_hit_rate: retrieval.first().and_then(|row| share(row.hits, row.of)),
            retrievals: retrieval.first().map_or(0, |row| row.of),
            retrievals_known: retrieval.first().map_or(0, |row| row.known),
            ttft_per_request: per("request"),
            ttft_per_attempt: per("attempt"),
            hallucination_proxy: mean(&hallucination),
            hallucination_judged: judged(&hallucination),
            grounding_coverage: mean(&grounding),
            grounding_judged: judged(&grounding),
            tool_error_rate: tools.first().and_then(|row| share(row.hits, row.of)),
            tools: tools.first().map_or(0, |row| row.of),
            dollars_per_useful_action: dollars.first().and_then(per_useful),
            actions: dollars.first().map_or(0, |row| row.actions),
            useful_actions: dollars.first().map_or(0, |row| row.useful),
        })
    }

    /// Not asked where nobody told of an action: to plan that query takes longer than to see that there is none.
    async fn dollars(&self, asked: Question<'_>) -> Result<Vec<Dollars>, WarehouseError> {
        let query = self.read(read::ANY_ACTION, Limits::NARROW).tenants(asked.scope).range(asked.range);
        let any: Vec<u8> = within(query.fetch_all()).await.map_err(failed("look for actions"))?;
        if any.is_empty() {
            return Ok(Vec::new());
        }
        self.long_signal(read::SIGNAL_DOLLARS, asked, AROUND_ACTIONS_MS).await
    }

    async fn signal<R: RowOwned + RowRead + Send>(
        &self,
        sql: &'static str,
        asked: Question<'_>,
        around_ms: i64,
    ) -> Result<Vec<R>, WarehouseError> {
        let query = self.signal_query(sql, asked, around_ms);
        within(query.fetch_all()).await.map_err(failed("read a golden signal"))
    }

    /// A signal that goes over all calls of a range.
    async fn long_signal<R: RowOwned + RowRead + Send>(
        &self,
        sql: &'static str,
        asked: Question<'_>,
        around_ms: i64,
    ) -> Result<Vec<R>, WarehouseError> {
        let query = self.signal_query(sql, asked, around_ms);
        self.in_turn(query.fetch_all()).await.map_err(failed("read a golden signal"))
    }

    fn signal_query(&self, sql: &'static str, asked: Question<'_>, around_ms: i64) -> Query {
        // A text is looked for in the messages themselves.
        let is_text = searched_text(asked.filter).is_some();
        let limits = if is_text { Limits { priority: 2, ..Limits::TEXT } } else { Limits::LONG };
        let TimeRange { from_ms, to_ms } = asked.range;
        let around = TimeRange { from_ms: (from_ms - around_ms).max(0), to_ms: to_ms + around_ms };
        self.read(sql, Limits { memory_bytes: 1 << 30, ..limits })
            .tenants(asked.scope)
            .range(asked.range)
            .picked(around, asked.filter, *asked.filter != CallFilter::default())
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
