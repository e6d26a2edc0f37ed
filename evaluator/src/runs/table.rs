//! Results as a table: Parquet for notebooks, groups for slices.

use super::{RunError, RunResult};
use polars_core::prelude::{Column, DataFrame};
use polars_io::prelude::ParquetWriter;
use std::collections::BTreeSet;
use std::path::Path;

/// Names of all judges, in order.
pub fn judges(results: &[RunResult]) -> Vec<String> {
    let names: BTreeSet<&str> = results.iter().flat_map(|r| &r.scores).map(|s| s.judge.as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Names of all slices, in order.
pub fn slices(results: &[RunResult]) -> Vec<String> {
    let names: BTreeSet<&str> = results.iter().flat_map(|r| r.slices.keys()).map(String::as_str).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// One line a result. Costs are exact: `cost_usd` is the decimal text, `cost_picodollars` the integer. A judge has the columns `score.NAME`
/// and `label.NAME`, a slice `slice.NAME`.
pub fn frame(results: &[RunResult]) -> Result<DataFrame, RunError> {
    let texts = |name: &str, of: fn(&RunResult) -> String| {
        Column::new(name.into(), results.iter().map(of).collect::<Vec<String>>())
    };
    let numbers = |name: &str, of: fn(&RunResult) -> i64| {
        Column::new(name.into(), results.iter().map(of).collect::<Vec<i64>>())
    };
    let picos = |amount: contracts::Usd| i64::try_from(amount.picos()).unwrap_or(i64::MAX);
    let mut columns = vec![
        texts("row_id", |r| r.row_id.clone()),
        numbers("repeat", |r| i64::from(r.repeat)),
        numbers("at_unix_ms", |r| r.at.unix_millis()),
        texts("trace_id", |r| r.trace_id.clone()),
        texts("request_ids", |r| r.calls.iter().map(|c| c.request_id.as_str()).collect::<Vec<_>>().join(",")),
        texts("model", |r| r.model.clone()),
        texts("answer", |r| r.answer.clone()),
        texts("error", |r| r.error.clone()),
        numbers("latency_ms", |r| i64::try_from(r.latency_ms).unwrap_or(i64::MAX)),
        texts("cost_usd", |r| r.cost().to_string()),
        Column::new("cost_picodollars".into(), results.iter().map(|r| picos(r.cost())).collect::<Vec<i64>>()),
        texts("cost_judges_usd", |r| r.cost_judges().to_string()),
    ];
    for slice in slices(results) {
        let values: Vec<Option<String>> = results.iter().map(|r| r.slices.get(&slice).cloned()).collect();
        columns.push(Column::new(format!("slice.{slice}").into(), values));
    }
    for judge in judges(results) {
        let scores: Vec<Option<f64>> = results.iter().map(|r| r.score(&judge)).collect();
        let label = |r: &RunResult| r.scores.iter().find(|s| s.judge == judge).map(|s| s.label.clone());
        let labels: Vec<Option<String>> = results.iter().map(label).collect();
        columns.push(Column::new(format!("score.{judge}").into(), scores));
        columns.push(Column::new(format!("label.{judge}").into(), labels));
    }
    Ok(DataFrame::new(results.len(), columns)?)
}

/// Writes the table as Parquet, as a whole or not at all.
pub fn write_parquet(results: &[RunResult], path: &Path) -> Result<(), RunError> {
    let failed = |source| RunError::File { path: path.display().to_string(), source };
    let beside = path.with_extension("parquet.new");
    let file = std::fs::File::create(&beside).map_err(failed)?;
    ParquetWriter::new(&file).finish(&mut frame(results)?)?;
    file.sync_all().and_then(|()| std::fs::rename(&beside, path)).map_err(failed)
}

/// The results of each value of a slice, by their places, in order of the values; results without it are left out.
pub fn groups(results: &[RunResult], slice: &str) -> Result<Vec<(String, Vec<usize>)>, RunError> {
    let values: Vec<Option<&str>> = results.iter().map(|r| r.slices.get(slice).map(String::as_str)).collect();
    let frame = DataFrame::new(results.len(), vec![Column::new(slice.into(), values.as_slice())])?;
    let grouped = frame.group_by([slice])?;
    let mut groups = Vec::new();
    for places in grouped.get_groups().iter() {
        use polars_core::prelude::GroupsIndicator;
        let places: Vec<usize> = match places {
            GroupsIndicator::Idx((_, all)) => all.iter().map(|place| *place as usize).collect(),
            GroupsIndicator::Slice([first, count]) => {
                (first..first + count).map(|place| place as usize).collect()
            }
        };
        if let Some(value) = places.first().and_then(|place| values[*place]) {
            groups.push((value.to_owned(), places));
        }
    }
    groups.sort();
    Ok(groups)
}
