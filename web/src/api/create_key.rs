//! Creates a key. Only an admin may.

use super::Problem;
use super::types::{KeyCreated, KeyRequest};

/// Creates a key. Only an admin may.
pub async fn create_key(request: KeyRequest) -> Result<KeyCreated, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::create_key(&crate::server::page::viewer()?, request)
            .await
            .map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::post("/api/v1/keys", &request).await
    }
}
