//! What is recorded of calls that people labelled.

use super::Bind;
use super::runs::DatasetCall;
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use contracts::reads::TenantScope;
use std::collections::BTreeSet;

/// Calls that are asked for together: each comes with its messages.
const TOGETHER: usize = 200;

impl Warehouse {
    /// The calls of these traces and spans that are still there and started before `until_ns` (nanoseconds since the epoch).
    pub async fn dataset_annotated(
        &self,
        scope: &TenantScope,
        calls: &[(String, String)],
        until_ns: i64,
    ) -> Result<Vec<DatasetCall>, WarehouseError> {
        let mut found = Vec::new();
        for some in calls.chunks(TOGETHER) {
            let wanted: BTreeSet<(&str, &str)> =
                some.iter().map(|(trace, span)| (trace.as_str(), span.as_str())).collect();
            let traces: Vec<&str> = wanted.iter().map(|(trace, _)| *trace).collect();
            let spans: Vec<&str> = wanted.iter().map(|(_, span)| *span).collect();
            let query = self
                .read(read::DATASET_ANNOTATED, Limits::TEXT)
                .tenants(scope)
                .param("traces", traces)
                .param("spans", spans)
                .param("until_ns", until_ns);
            let calls =
                within(query.fetch_all::<DatasetCall>()).await.map_err(failed("read labelled calls"))?;
            found.extend(
                calls.into_iter().filter(|c| wanted.contains(&(c.trace_id.as_str(), c.span_id.as_str()))),
            );
        }
        Ok(found)
    }
}
