//! One call with its trace.

use super::Problem;
use contracts::reads::CallDetail;

/// One call with its trace.
pub async fn call(trace_id: String, span_id: String, near_ms: Option<i64>) -> Result<CallDetail, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::call(&crate::server::page::viewer()?, &trace_id, &span_id, near_ms)
            .await
            .map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        let at = near_ms.map(|ms| format!("?at={ms}")).unwrap_or_default();
        super::browser::get(&format!("/api/v1/calls/{trace_id}/{span_id}{at}")).await
    }
}
