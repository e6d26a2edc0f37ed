//! A page of calls for a URL's query.

use super::Problem;
use super::types::CallsAnswer;

/// A page of calls for a URL's query.
pub async fn calls(search: String) -> Result<CallsAnswer, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::calls(&crate::server::page::viewer()?, &search).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get(&format!("/api/v1/calls{search}")).await
    }
}
