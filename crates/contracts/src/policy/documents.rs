//! The kinds of documents, and what each refers to.

use super::budget::{Budget, Scope};
use super::plan::Plan;
use super::pool::Pool;
use super::{Document, InvalidPolicy, Kind, Reach, Reaching, Reference};

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

impl Document for Budget {
    const KIND: Kind = Kind::Budget;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }

    fn references(&self) -> Vec<Reference> {
        self.reach().references()
    }
}

impl Reaching for Budget {
    fn reach(&self) -> Reach {
        match &self.scope {
            // An organisation's name was checked to be an id when the budget was written.
            Scope::Organisation { organisation } => {
                Reach { organisation: organisation.parse().ok(), ..Reach::default() }
            }
            Scope::Tenant { tenant } => Reach { tenant: Some(tenant.clone()), ..Reach::default() },
            Scope::Key { key } => Reach { key: Some(key.clone()), ..Reach::default() },
            Scope::Route { tenant, route } => {
                Reach { tenant: Some(tenant.clone()), route: Some(route.clone()), ..Reach::default() }
            }
            Scope::Tag { tenant, tag } => {
                Reach { tenant: Some(tenant.clone()), tag: Some(tag.clone()), ..Reach::default() }
            }
        }
    }
}
