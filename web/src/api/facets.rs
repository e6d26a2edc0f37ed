//! What filters can be set to within a URL's time range.

use super::Problem;
use super::types::FacetsAnswer;

/// What filters can be set to within a URL's time range.
pub async fn facets(search: String) -> Result<FacetsAnswer, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::facets(&crate::server::page::viewer()?, &search).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get(&format!("/api/v1/facets{search}")).await
    }
}
