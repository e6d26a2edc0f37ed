//! What a run cost, twice: as the gateway told each call, and as it stands in `calls`; and the results handed to ClickHouse.

use super::{Ended, Header, Journal, RunError, RunResult};
use contracts::reads::TenantScope;
use contracts::{Timestamp, Usd};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use warehouse::{EvalCall, EvalResultRow, EvalRunRow, Warehouse};

/// Results handed over together.
const TOGETHER: usize = 1_000;
/// Between two looks at `calls`.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Clocks of gateway and runner may differ by this much.
const SKEW_NANOS: i64 = 600_000_000_000;

/// The account of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Sum of what the gateway told for the calls of all results.
    pub cost: Usd,
    /// What judges spent.
    pub cost_judges: Usd,
    /// The check against `calls`; none where ClickHouse was not asked.
    pub check: Option<Check>,
}

/// What `calls` says of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Sum over the calls of all results.
    pub metered: Usd,
    /// Cost of calls that left no result: cut off by a crash or a timeout. Part of the bill all the same.
    pub lost: Usd,
    /// How many such calls.
    pub lost_calls: u64,
    /// Calls of results that had not arrived in ClickHouse.
    pub missing: u64,
    /// Request ids whose cost differs from what the gateway told.
    pub differing: Vec<String>,
}

impl Check {
    /// Whether every call arrived and each cost is the one that was told.
    pub fn holds(&self) -> bool {
        self.missing == 0 && self.differing.is_empty()
    }
}

/// The account by what the gateway told alone.
pub fn told(results: &[RunResult]) -> Account {
    Account {
        cost: results.iter().map(RunResult::cost).sum(),
        cost_judges: results.iter().map(RunResult::cost_judges).sum(),
        check: None,
    }
}

/// Checks the account against `calls`, waiting up to `patience` for calls that are still on their way. `traces` are those of all
/// rows and repetitions of the run.
pub async fn check(
    warehouse: &Warehouse,
    header: &Header,
    results: &[RunResult],
    traces: &[String],
    now: Timestamp,
    patience: Duration,
) -> Result<Account, RunError> {
    let scope = scope(header)?;
    let range = (header.started_at.unix_nanos() - SKEW_NANOS, now.unix_nanos() + SKEW_NANOS);
    let deadline = tokio::time::Instant::now() + patience;
    let mut before: Option<Check> = None;
    loop {
        let calls = warehouse.eval_calls(&scope, traces, range).await?;
        let found = compare(results, &calls);
        // Two looks that agree: calls that a crash cut off come later than those that were answered.
        let settled = found.missing == 0 && before.as_ref() == Some(&found);
        if settled || tokio::time::Instant::now() >= deadline {
            return Ok(Account { check: Some(found), ..told(results) });
        }
        before = Some(found);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn compare(results: &[RunResult], calls: &BTreeMap<String, EvalCall>) -> Check {
    let mut left: BTreeMap<&str, &EvalCall> = calls.iter().map(|(id, call)| (id.as_str(), call)).collect();
    let mut check =
        Check { metered: Usd::ZERO, lost: Usd::ZERO, lost_calls: 0, missing: 0, differing: Vec::new() };
    for told in results.iter().flat_map(|result| &result.calls) {
        match left.remove(told.request_id.as_str()) {
            None => check.missing += 1,
            Some(call) => {
                let cost = Usd::from_picos(call.cost);
                check.metered += cost;
                if cost != told.cost {
                    check.differing.push(told.request_id.clone());
                }
            }
        }
    }
    check.lost = left.values().map(|call| Usd::from_picos(call.cost)).sum();
    check.lost_calls = left.len() as u64;
    check
}

/// Hands all results and how the run stands to ClickHouse. Doing so again, after a crash too, changes nothing.
pub async fn hand_over(
    warehouse: &Warehouse,
    journal: &mut Journal,
    account: &Account,
    ended: Ended,
    now: Timestamp,
) -> Result<(), RunError> {
    let header = journal.header().clone();
    for range in journal.seal(TOGETHER)? {
        let token = format!("eval-{}-{}-{}", header.tenant, header.run_id, range.end);
        let rows: Vec<EvalResultRow> =
            journal.results()[range].iter().map(|result| stored(&header, result)).collect();
        warehouse.insert_eval_results(&rows, &token).await?;
    }
    let results = journal.results();
    let state = if ended == Ended::Finished { "finished" } else { "stopped" };
    let row = EvalRunRow {
        tenant_id: header.tenant,
        run_id: header.run_id,
        ended_at: now.unix_nanos(),
        started_at: header.started_at.unix_nanos(),
        dataset: header.dataset,
        version: header.version,
        target: header.target,
        judges: header.judges,
        repeat: header.repeat,
        state: state.to_owned(),
        planned: header.planned,
        results: results.len() as u64,
        errors: results.iter().filter(|r| !r.error.is_empty()).count() as u64,
        cost: account.cost.picos(),
        cost_lost: account.check.as_ref().map_or(0, |check| check.lost.picos()),
        cost_judges: account.cost_judges.picos(),
    };
    Ok(warehouse.insert_eval_run(&row).await?)
}

fn scope(header: &Header) -> Result<TenantScope, RunError> {
    let tenant = header.tenant.parse().map_err(|_| RunError::Invalid {
        field: "--tenant",
        value: header.tenant.clone(),
        expected: "the id of a tenant".to_owned(),
    })?;
    Ok(TenantScope::one(tenant))
}

fn stored(header: &Header, result: &RunResult) -> EvalResultRow {
    let each = |of: fn(&super::Score) -> String| result.scores.iter().map(of).collect();
    EvalResultRow {
        tenant_id: header.tenant.clone(),
        run_id: header.run_id.clone(),
        row_id: result.row_id.clone(),
        repeat: result.repeat,
        at: result.at.unix_nanos(),
        trace_id: result.trace_id.clone(),
        request_ids: result.calls.iter().map(|call| call.request_id.clone()).collect(),
        model: result.model.clone(),
        answer: result.answer.clone(),
        error: result.error.clone(),
        latency_ms: result.latency_ms,
        cost: result.cost().picos(),
        cost_judges: result.cost_judges().picos(),
        slices: result.slices.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        judge: each(|score| score.judge.clone()),
        judge_version: each(|score| score.version.clone()),
        score: result.scores.iter().map(|score| score.score).collect(),
        label: each(|score| score.label.clone()),
        explanation: each(|score| score.explanation.clone()),
    }
}

/// The results of a run that ClickHouse keeps.
pub async fn fetch(
    warehouse: &Warehouse,
    tenant: &TenantScope,
    run_id: &str,
) -> Result<Vec<RunResult>, RunError> {
    let results = warehouse.eval_results(tenant, run_id).await?;
    Ok(results.into_iter().map(restored).collect())
}

fn restored(row: warehouse::EvalResult) -> RunResult {
    let first = row.request_ids.first().cloned().unwrap_or_default();
    // Only the sum was kept: it stands at the last call, the others at nothing.
    let last = row.request_ids.len().saturating_sub(1);
    let mut calls: Vec<super::CallCost> = row
        .request_ids
        .into_iter()
        .map(|request_id| super::CallCost { request_id, cost: Usd::ZERO, status: 0 })
        .collect();
    match calls.get_mut(last) {
        Some(call) => call.cost = Usd::from_picos(row.cost),
        None => calls.push(super::CallCost { request_id: first, cost: Usd::from_picos(row.cost), status: 0 }),
    }
    let mut scores: Vec<super::Score> = Vec::with_capacity(row.judge.len());
    let columns =
        row.judge.into_iter().zip(row.judge_version).zip(row.score).zip(row.label).zip(row.explanation);
    for ((((judge, version), score), label), explanation) in columns {
        scores.push(super::Score { judge, version, score, label, explanation, cost: Usd::ZERO });
    }
    if let Some(score) = scores.first_mut() {
        score.cost = Usd::from_picos(row.cost_judges);
    }
    RunResult {
        row_id: row.row_id,
        repeat: row.repeat,
        at: Timestamp::from_unix_nanos(row.at_ns),
        trace_id: row.trace_id,
        calls,
        model: row.model,
        answer: row.answer,
        error: row.error,
        latency_ms: row.latency_ms,
        slices: row.slices.into_iter().collect(),
        scores,
    }
}
