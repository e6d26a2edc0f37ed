//! Experiments beyond what every document has: whether they run, and what they deal.

use super::{Documents, documents, measurements, repository};
use crate::ControlError;
use crate::records::{Document, ExperimentShares};
use contracts::policy::experiment::{Experiment, Status};
use contracts::policy::{Kind, Named, read};
use contracts::{PolicyName, TenantId, Timestamp};
use serde_json::json;

repository! {
    /// Experiments. Their documents are written as all are ([`Documents`]).
    Experiments
}

impl Experiments {
    /// Pauses an experiment, of `tenant` or shared, or lets it run again. All else that it says stays as it is there at this moment.
    /// Nothing changes, the revision neither, when that is its status already.
    pub async fn set_status(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        status: Status,
        now: Timestamp,
    ) -> Result<Document, ControlError> {
        let (documents, kind) = (Documents::new(self.db.clone()), Kind::Experiment);
        loop {
            let found = documents.get(kind, tenant, name).await?;
            let found = found.ok_or_else(|| ControlError::not_found(kind.as_str(), name))?;
            let experiment: Experiment =
                read(&found.spec).map_err(|invalid| ControlError::policy(kind.as_str(), name, invalid))?;
            if experiment.status == status {
                return Ok(found);
            }
            let mut spec = found.spec;
            if let Some(members) = spec.as_object_mut() {
                members.insert("status".to_owned(), json!(status));
            }
            match documents.put(kind, tenant, name, &spec, Some(found.revision), now).await {
                // Somebody wrote it in between, or deleted it: what they left is what is to be changed.
                Err(ControlError::Stale { .. }) => {}
                written => return written,
            }
        }
    }

    /// What an experiment, of `tenant` or shared, deals at this moment. Gateways deal so once they have polled.
    pub async fn shares(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
    ) -> Result<ExperimentShares, ControlError> {
        let kind = Kind::Experiment;
        let mut tx = self.db.read().await?;
        let found = documents::find(&mut tx, kind, tenant, name).await?;
        let Document { tenant, name, revision, spec, .. } =
            found.ok_or_else(|| ControlError::not_found(kind.as_str(), name))?;
        let spec: Experiment =
            read(&spec).map_err(|invalid| ControlError::policy(kind.as_str(), &name, invalid))?;
        let measured = measurements::find(&mut tx, tenant.as_ref(), &name).await?;
        let named = Named { tenant, name, revision, spec };
        let weights = measured
            .as_ref()
            .and_then(|(measured, _)| (self.db.compilers().weights)(&named.full_name(), &named, measured));
        Ok(ExperimentShares::new(named.tenant, named.name, named.spec, measured, weights))
    }
}
