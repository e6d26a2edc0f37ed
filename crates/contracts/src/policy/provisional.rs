//! Stand-ins for the policies whose types are not here yet: any JSON object.

use super::{Document, InvalidPolicy, Kind, Reference};
use crate::{ModelName, PolicyName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! stand_in {
    ($($name:ident, $kind:ident);* $(;)?) => {$(
        /// Stand-in.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Value);

        impl Document for $name {
            const KIND: Kind = Kind::$kind;

            fn validate(&self) -> Result<(), InvalidPolicy> {
                check(&self.0)
            }

            fn references(&self) -> Vec<Reference> {
                references(&self.0)
            }
        }
    )*};
}

stand_in! {
    Guardrail, Guardrail;
    Experiment, Experiment;
    Prompt, Prompt;
}

fn check(spec: &Value) -> Result<(), InvalidPolicy> {
    if spec.is_object() { Ok(()) } else { Err(InvalidPolicy::new("spec", spec, "an object")) }
}

/// `model`: a model; `tiers[].model`: models; `cascade`: a cascade.
fn references(spec: &Value) -> Vec<Reference> {
    let tiers = spec["tiers"].as_array().into_iter().flatten().map(|tier| &tier["model"]);
    let models = tiers.chain([&spec["model"]]).filter_map(|name| name.as_str()?.parse::<ModelName>().ok());
    let cascade = spec["cascade"].as_str().and_then(|name| name.parse::<PolicyName>().ok());
    models.map(Reference::Model).chain(cascade.map(|name| Reference::Document(Kind::Cascade, name))).collect()
}
