//! Truth sets and runs over them: written whole by one command, read whole.

use super::Bind;
use crate::client::{Limits, Warehouse, within};
use crate::error::{Failure, InsertError, WarehouseError, failed, insert_error};
use crate::queries::read;
use clickhouse::Row;
use contracts::reads::{TenantScope, TimeRange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Trace ids of one question: as many as a URL can hold.
const TRACES_AT_ONCE: usize = 500;
/// Rows of one answer or insert.
const ROWS_AT_ONCE: u64 = 10_000;

/// A version of a dataset, as `dataset_versions` has it.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct DatasetVersionRow {
    /// Whose.
    pub tenant_id: String,
    /// Name of the dataset.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// SHA-256 of the canonical rows, hex.
    pub version: String,
    /// How many rows.
    pub rows: u64,
    /// JSON: where they come from.
    pub origin: String,
}

/// A row of a version, as `dataset_rows` has it.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct DatasetRowRow {
    /// Whose.
    pub tenant_id: String,
    /// SHA-256, hex.
    pub version: String,
    /// From 0.
    pub position: u64,
    /// Canonical JSON.
    pub row: String,
}

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct DatasetVersion {
    /// Name of the dataset.
    pub name: String,
    /// SHA-256 of the canonical rows, hex.
    pub version: String,
    /// How many rows.
    pub row_count: u64,
    /// When it was last made, nanoseconds since the epoch.
    pub created_ns: i64,
    /// JSON: where the rows come from.
    pub origin: String,
}

/// A production call that may become a row. Messages are JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Row, Serialize, Deserialize)]
pub struct DatasetCall {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Nanoseconds since the epoch.
    pub start_ns: i64,
    /// Route taken.
    pub route: String,
    /// Model that answered.
    pub response_model: String,
    /// Version of the prompt.
    pub prompt_version: String,
    /// JSON or text.
    pub system_instructions: String,
    /// JSON array.
    pub input_messages: String,
    /// JSON array.
    pub output_messages: String,
    /// JSON array of passages; may be empty.
    pub context: String,
}

/// Which production calls.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetFilter {
    /// When they started.
    pub range: TimeRange,
    /// Routes; empty: any.
    pub routes: Vec<String>,
    /// Models asked for; empty: any.
    pub models: Vec<String>,
    /// Version of the prompt.
    pub prompt_version: Option<String>,
    /// Only those that this judge scored from the first to the second number.
    pub judged: Option<(String, f64, f64)>,
    /// At most this many, the newest.
    pub limit: u32,
}

/// How a run stands, as `eval_runs` has it. Times in nanoseconds since the epoch, costs in picodollars.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the column of its name, which the schema explains")]
pub struct EvalRunRow {
    pub tenant_id: String,
    pub run_id: String,
    pub ended_at: i64,
    pub started_at: i64,
    pub dataset: String,
    pub version: String,
    pub target: String,
    pub judges: Vec<String>,
    pub repeat: u32,
    pub state: String,
    pub planned: u64,
    pub results: u64,
    pub errors: u64,
    pub cost: i128,
    pub cost_lost: i128,
    pub cost_judges: i128,
}

/// A run in a list. Times in nanoseconds since the epoch, costs in picodollars.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the column of its name, which the schema explains")]
pub struct EvalRun {
    pub run_id: String,
    pub started_ns: i64,
    pub ended_ns: i64,
    pub dataset: String,
    pub version: String,
    pub target: String,
    pub judges: Vec<String>,
    pub repeat: u32,
    pub state: String,
    pub planned: u64,
    pub results: u64,
    pub errors: u64,
    pub cost: i128,
    pub cost_lost: i128,
    pub cost_judges: i128,
}

/// A result, as `eval_results` has it. Times in nanoseconds since the epoch, costs in picodollars.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the column of its name, which the schema explains")]
pub struct EvalResultRow {
    pub tenant_id: String,
    pub run_id: String,
    pub row_id: String,
    pub repeat: u32,
    pub at: i64,
    pub trace_id: String,
    pub request_ids: Vec<String>,
    pub model: String,
    pub answer: String,
    pub error: String,
    pub latency_ms: u64,
    pub cost: i128,
    pub cost_judges: i128,
    pub slices: Vec<(String, String)>,
    #[serde(rename = "scores.judge")]
    pub judge: Vec<String>,
    #[serde(rename = "scores.version")]
    pub judge_version: Vec<String>,
    #[serde(rename = "scores.score")]
    pub score: Vec<Option<f64>>,
    #[serde(rename = "scores.label")]
    pub label: Vec<String>,
    #[serde(rename = "scores.explanation")]
    pub explanation: Vec<String>,
}

/// A result as it is read.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the column of its name, which the schema explains")]
pub struct EvalResult {
    pub row_id: String,
    pub repeat: u32,
    pub at_ns: i64,
    pub trace_id: String,
    pub request_ids: Vec<String>,
    pub model: String,
    pub answer: String,
    pub error: String,
    pub latency_ms: u64,
    pub cost: i128,
    pub cost_judges: i128,
    pub slices: Vec<(String, String)>,
    pub judge: Vec<String>,
    pub judge_version: Vec<String>,
    pub score: Vec<Option<f64>>,
    pub label: Vec<String>,
    pub explanation: Vec<String>,
}

/// What a call of a run cost, picodollars.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct EvalCall {
    /// As the client was told it.
    pub request_id: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// Picodollars.
    pub cost: i128,
}

impl Warehouse {
    /// Stores a version: its rows, then itself. Doing so again changes nothing that can be seen.
    pub async fn insert_dataset(
        &self,
        version: &DatasetVersionRow,
        rows: &[DatasetRowRow],
    ) -> Result<(), InsertError> {
        let refused = |error| insert_error(Failure::from(error));
        for (index, chunk) in rows.chunks(1_000).enumerate() {
            let chunk: Vec<&DatasetRowRow> = chunk.iter().collect();
            let token = format!("dataset-{}-{}-{index}", version.tenant_id, version.version);
            self.write("dataset_rows", &chunk, &token).await.map_err(refused)?;
        }
        let token = format!(
            "dataset-{}-{}-{}-{}",
            version.tenant_id, version.name, version.version, version.created_at
        );
        self.write("dataset_versions", &[version], &token).await.map_err(refused)
    }

    /// All versions of all datasets, or of the one called `name`, newest first.
    pub async fn dataset_versions(
        &self,
        scope: &TenantScope,
        name: Option<&str>,
    ) -> Result<Vec<DatasetVersion>, WarehouseError> {
        let query = self
            .read(read::DATASET_VERSIONS, Limits::NARROW)
            .tenants(scope)
            .param("name", name.unwrap_or(""));
        within(query.fetch_all()).await.map_err(failed("list datasets"))
    }

    /// The rows of a version that has `count` of them, canonical JSON, in order.
    pub async fn dataset_rows(
        &self,
        scope: &TenantScope,
        version: &str,
        count: u64,
    ) -> Result<Vec<String>, WarehouseError> {
        let mut rows = Vec::new();
        for from in (0..count).step_by(usize::try_from(ROWS_AT_ONCE).unwrap_or(1)) {
            let query = self
                .read(read::DATASET_ROWS, Limits::TEXT)
                .tenants(scope)
                .param("version", version)
                .param("from_position", from)
                .param("to_position", from + ROWS_AT_ONCE);
            let page: Vec<String> = within(query.fetch_all()).await.map_err(failed("read a dataset"))?;
            rows.extend(page);
        }
        Ok(rows)
    }

    /// Production calls for a dataset, newest first.
    pub async fn dataset_calls(
        &self,
        scope: &TenantScope,
        filter: &DatasetFilter,
    ) -> Result<Vec<DatasetCall>, WarehouseError> {
        let range = super::check_range(filter.range)?;
        let (judge, least, most) = filter
            .judged
            .as_ref()
            .map_or(("", 0.0, 0.0), |(judge, least, most)| (judge.as_str(), *least, *most));
        let query = self
            .read(read::DATASET_CALLS, Limits::TEXT)
            .tenants(scope)
            .range(range)
            .param("routes", &filter.routes)
            .param("models", &filter.models)
            .param("prompt_version", filter.prompt_version.as_deref().unwrap_or(""))
            .param("judge", judge)
            .param("min_score", least)
            .param("max_score", most)
            .param("rows", filter.limit);
        within(query.fetch_all()).await.map_err(failed("find calls for a dataset"))
    }

    /// Stores results under a token that names exactly these, and can be told again.
    pub async fn insert_eval_results(
        &self,
        results: &[EvalResultRow],
        token: &str,
    ) -> Result<(), InsertError> {
        let rows: Vec<&EvalResultRow> = results.iter().collect();
        self.write("eval_results", &rows, token).await.map_err(|error| insert_error(Failure::from(error)))
    }

    /// Stores how a run stands.
    pub async fn insert_eval_run(&self, run: &EvalRunRow) -> Result<(), InsertError> {
        let token = format!("run-{}-{}-{}", run.tenant_id, run.run_id, run.ended_at);
        self.write("eval_runs", &[run], &token).await.map_err(|error| insert_error(Failure::from(error)))
    }

    /// Runs, newest first; or the one of this id.
    pub async fn eval_runs(
        &self,
        scope: &TenantScope,
        run: Option<&str>,
    ) -> Result<Vec<EvalRun>, WarehouseError> {
        let query = self.read(read::EVAL_RUNS, Limits::NARROW).tenants(scope).param("run", run.unwrap_or(""));
        within(query.fetch_all()).await.map_err(failed("list runs"))
    }

    /// All results of a run, by row and repetition.
    pub async fn eval_results(
        &self,
        scope: &TenantScope,
        run: &str,
    ) -> Result<Vec<EvalResult>, WarehouseError> {
        let mut results: Vec<EvalResult> = Vec::new();
        loop {
            let (row, repeat) = results.last().map_or(("", 0), |last| (last.row_id.as_str(), last.repeat));
            let query = self
                .read(read::EVAL_RESULTS, Limits::TEXT)
                .tenants(scope)
                .param("run", run)
                .param("after_row", row)
                .param("after_repeat", repeat)
                .param("rows", ROWS_AT_ONCE);
            let page: Vec<EvalResult> =
                within(query.fetch_all()).await.map_err(failed("read a run's results"))?;
            let whole = page.len() as u64 == ROWS_AT_ONCE;
            results.extend(page);
            if !whole {
                return Ok(results);
            }
        }
    }

    /// What the calls of these traces cost, by request id; `range` in nanoseconds since the epoch.
    pub async fn eval_calls(
        &self,
        scope: &TenantScope,
        traces: &[String],
        range: (i64, i64),
    ) -> Result<BTreeMap<String, EvalCall>, WarehouseError> {
        let mut calls = BTreeMap::new();
        for chunk in traces.chunks(TRACES_AT_ONCE) {
            let query = self
                .read(read::EVAL_CALLS, Limits::NARROW)
                .tenants(scope)
                .param("traces", chunk)
                .param("from_ns", range.0)
                .param("to_ns", range.1);
            let page: Vec<EvalCall> =
                within(query.fetch_all()).await.map_err(failed("read the cost of a run's calls"))?;
            calls.extend(page.into_iter().map(|call| (call.request_id.clone(), call)));
        }
        Ok(calls)
    }
}

/// A row in each table of this module, for tests of all queries.
#[cfg(all(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "in a test, what cannot be had must end it")]
pub(crate) async fn put_samples(warehouse: &Warehouse, tenant: &str) {
    let version = DatasetVersionRow {
        tenant_id: tenant.to_owned(),
        name: "faq".to_owned(),
        created_at: 1,
        version: "v".to_owned(),
        rows: 1,
        origin: "{}".to_owned(),
    };
    let row = DatasetRowRow {
        tenant_id: tenant.to_owned(),
        version: "v".to_owned(),
        position: 0,
        row: "{}".to_owned(),
    };
    warehouse.insert_dataset(&version, &[row]).await.unwrap();
    let run = EvalRunRow {
        tenant_id: tenant.to_owned(),
        run_id: "run-1".to_owned(),
        ended_at: 2,
        started_at: 1,
        dataset: "faq".to_owned(),
        version: "v".to_owned(),
        target: "route:a".to_owned(),
        judges: vec!["grounding".to_owned()],
        repeat: 1,
        state: "finished".to_owned(),
        planned: 1,
        results: 1,
        errors: 0,
        cost: 1,
        cost_lost: 0,
        cost_judges: 0,
    };
    warehouse.insert_eval_run(&run).await.unwrap();
    let result = EvalResultRow {
        tenant_id: tenant.to_owned(),
        run_id: "run-1".to_owned(),
        row_id: "a".to_owned(),
        repeat: 1,
        at: 1,
        trace_id: "t".to_owned(),
        request_ids: vec!["r".to_owned()],
        model: "m".to_owned(),
        answer: "yes".to_owned(),
        error: String::new(),
        latency_ms: 1,
        cost: 1,
        cost_judges: 0,
        slices: vec![("task".to_owned(), "qa".to_owned())],
        judge: vec!["grounding".to_owned()],
        judge_version: vec!["1".to_owned()],
        score: vec![Some(0.5)],
        label: vec!["pass".to_owned()],
        explanation: vec![String::new()],
    };
    let (one, scope) = (std::slice::from_ref(&result), TenantScope::one(tenant.parse().unwrap()));
    warehouse.insert_eval_results(one, "one").await.unwrap();
    warehouse.insert_eval_results(one, "again").await.unwrap();
    let read = warehouse.eval_results(&scope, "run-1").await.unwrap();
    assert_eq!(read.len(), 1, "a result that was written twice is read once");
    assert_eq!((read[0].cost, &read[0].score, read[0].slices[0].1.as_str()), (1, &vec![Some(0.5)], "qa"));
}
