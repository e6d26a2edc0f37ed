//! Caches beyond what every document has: doing with what they keep.

use super::{Documents, repository};
use crate::ControlError;
use crate::records::Document;
use contracts::policy::cache::Cache;
use contracts::policy::{Kind, read};
use contracts::{PolicyName, TenantId, Timestamp};
use serde_json::json;

repository! {
    /// Caches of answers. Their documents are written as all are ([`Documents`]).
    Caches
}

impl Caches {
    /// Purges a cache, of `tenant` or shared: from the next revision on, which it is given here, nothing is answered with what was kept
    /// before. All else that it says stays as it is there at this moment.
    pub async fn purge(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        now: Timestamp,
    ) -> Result<Document, ControlError> {
        let (documents, kind) = (Documents::new(self.db.clone()), Kind::Cache);
        loop {
            let found = documents.get(kind, tenant, name).await?;
            let found = found.ok_or_else(|| ControlError::not_found(kind.as_str(), name))?;
            let cache: Cache =
                read(&found.spec).map_err(|invalid| ControlError::policy(kind.as_str(), name, invalid))?;
            let mut spec = found.spec;
            if let Some(members) = spec.as_object_mut() {
                members.insert("generation".to_owned(), json!(cache.generation.wrapping_add(1)));
            }
            match documents.put(kind, tenant, name, &spec, Some(found.revision), now).await {
                // Somebody wrote it in between, or deleted it: what they left is what is to be purged.
                Err(ControlError::Stale { .. }) => {}
                written => return written,
            }
        }
    }
}
