//! Revokes a key for good. Only an admin may.

use super::Problem;
use super::types::KeyInfo;

/// Revokes a key for good. Only an admin may.
pub async fn revoke_key(id: String) -> Result<KeyInfo, Problem> {
    #[cfg(feature = "ssr")]
    {
        crate::server::reads::revoke_key(&crate::server::page::viewer()?, &id).await.map_err(Problem::from)
    }
    #[cfg(not(feature = "ssr"))]
    {
        super::browser::post(&format!("/api/v1/keys/{id}/revoke"), &()).await
    }
}
