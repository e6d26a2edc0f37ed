//! Who is signed in.

use super::Problem;
use super::types::Me;

/// Who is signed in.
pub async fn me() -> Result<Me, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::me(&crate::server::page::viewer()?).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::get("/api/v1/me").await
    }
}
