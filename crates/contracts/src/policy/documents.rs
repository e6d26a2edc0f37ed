//! The kinds of documents, and what each refers to.

use super::plan::Plan;
use super::pool::Pool;
use super::{Document, InvalidPolicy, Kind, Reference};

impl Document for Plan {
    const KIND: Kind = Kind::Plan;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }
}

impl Document for Pool {
    const KIND: Kind = Kind::Pool;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }

    fn references(&self) -> Vec<Reference> {
        let providers = self.deployments.iter().map(|deployment| Reference::Provider(deployment.provider.clone()));
        let fallbacks = self.fallbacks.iter().cloned().map(Reference::Model);
        providers.chain(fallbacks).collect()
    }
}
