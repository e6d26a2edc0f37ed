//! From a kind at run time to its type: the one place that lists them.

use contracts::policy::{Document, InvalidPolicy, Kind, Reference, read, spec};
use serde_json::Value;

/// Reads a policy as its kind says and returns what it refers to.
pub(crate) fn check(kind: Kind, policy: &Value) -> Result<Vec<Reference>, InvalidPolicy> {
    fn of<D: Document>(policy: &Value) -> Result<Vec<Reference>, InvalidPolicy> {
        Ok(read::<D>(policy)?.references())
    }
    match kind {
        Kind::Plan => of::<spec::Plan>(policy),
        Kind::Budget => of::<spec::Budget>(policy),
        Kind::Pool => of::<spec::Pool>(policy),
        Kind::Cascade => of::<spec::Cascade>(policy),
        Kind::Cache => of::<spec::Cache>(policy),
        Kind::Guardrail => of::<spec::Guardrail>(policy),
        Kind::Experiment => of::<spec::Experiment>(policy),
        Kind::Prompt => of::<spec::Prompt>(policy),
    }
}
