//! The figures of the Overview page for a URL's query.

use super::Problem;
use super::types::OverviewAnswer;

/// The figures of the Overview page for a URL's query.
pub async fn overview(search: String) -> Result<OverviewAnswer, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::overview(&crate::server::page::viewer()?, &search).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get(&format!("/api/v1/overview{search}")).await
    }
}
