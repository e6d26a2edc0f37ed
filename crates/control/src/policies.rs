//! From a kind at run time to its type: the one place that lists them.

use crate::Compilers;
use contracts::policy::{Document, InvalidPolicy, Kind, Reference, read, spec};
use serde_json::Value;

/// Reads a policy as its kind says, tries whether it compiles, and returns what it refers to.
pub(crate) fn check(
    kind: Kind,
    policy: &Value,
    compilers: &Compilers,
) -> Result<Vec<Reference>, InvalidPolicy> {
    fn compiled<D: Document>(
        policy: &Value,
        compile: fn(&D) -> Result<(), InvalidPolicy>,
    ) -> Result<Vec<Reference>, InvalidPolicy> {
        let policy: D = read(policy)?;
        compile(&policy)?;
        Ok(policy.references())
    }
    fn of<D: Document>(policy: &Value) -> Result<Vec<Reference>, InvalidPolicy> {
        compiled::<D>(policy, |_| Ok(()))
    }
    match kind {
        Kind::Plan => of::<spec::Plan>(policy),
        Kind::Budget => of::<spec::Budget>(policy),
        Kind::Pool => of::<spec::Pool>(policy),
        Kind::Cascade => of::<spec::Cascade>(policy),
        Kind::Cache => of::<spec::Cache>(policy),
        Kind::Guardrail => compiled(policy, compilers.guardrail),
        Kind::Experiment => of::<spec::Experiment>(policy),
        Kind::Prompt => compiled(policy, compilers.prompt),
    }
}
