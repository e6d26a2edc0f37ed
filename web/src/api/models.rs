//! The models and routes that clients may ask for.

use super::Problem;
use super::types::ModelsAnswer;

/// The models and routes that clients may ask for.
pub async fn models() -> Result<ModelsAnswer, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::models(&crate::server::page::viewer()?).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get("/api/v1/models").await
    }
}
