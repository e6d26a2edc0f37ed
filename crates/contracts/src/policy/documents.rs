//! Which policies are documents, and what each refers to.

use super::budget::Scope;
use super::spec::{Budget, Cache, Cascade, Experiment, Guardrail, Plan, Pool, Prompt};
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
        let providers =
            self.deployments.iter().map(|deployment| Reference::Provider(deployment.provider.clone()));
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

impl Document for Cascade {
    const KIND: Kind = Kind::Cascade;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }

    fn references(&self) -> Vec<Reference> {
        self.tiers.iter().map(|tier| Reference::Model(tier.model.clone())).collect()
    }
}

impl Document for Cache {
    const KIND: Kind = Kind::Cache;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }
}

impl Document for Experiment {
    const KIND: Kind = Kind::Experiment;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }

    fn references(&self) -> Vec<Reference> {
        Self::references(self)
    }
}

impl Document for Guardrail {
    const KIND: Kind = Kind::Guardrail;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }

    fn references(&self) -> Vec<Reference> {
        Self::references(self)
    }
}

impl Document for Prompt {
    const KIND: Kind = Kind::Prompt;

    fn validate(&self) -> Result<(), InvalidPolicy> {
        Self::validate(self)
    }

    fn references(&self) -> Vec<Reference> {
        Self::references(self)
    }
}
