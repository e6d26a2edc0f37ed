//! The API keys of the viewer's tenants.

use super::Problem;
use super::types::KeysAnswer;

/// The API keys of the viewer's tenants.
pub async fn keys() -> Result<KeysAnswer, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::keys(&crate::server::page::viewer()?).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get("/api/v1/keys").await
    }
}
