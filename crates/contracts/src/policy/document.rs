//! Policy documents: what operators write as JSON or TOML, one kind of thing each, kept by the control database under a name.
//!
//! A kind is a type that implements [`Document`]. [`read`] turns what an operator wrote into it and says what is wrong with it by the
//! path of the field.

use super::{InvalidPolicy, PromptRef};
use crate::{KeyId, ModelName, OrganisationId, PolicyName, ProviderId, TenantId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::fmt;
use std::str::FromStr;

/// A kind of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// How often and how much a tenant or a key may call.
    Plan,
    /// How much may be spent.
    Budget,
    /// The deployments of a model and what waits before them. Its name is the model's.
    Pool,
    /// Which models a route asks in turn.
    Cascade,
    /// Which answers may be given again.
    Cache,
    /// What may go in and come out.
    Guardrail,
    /// What a route compares.
    Experiment,
    /// A prompt template. Prompts have versions and labels, so they are kept apart from the other kinds.
    Prompt,
}

impl Kind {
    /// The kinds that are kept as documents: one content under one name.
    pub const DOCUMENTS: [Self; 7] =
        [Self::Plan, Self::Budget, Self::Pool, Self::Cascade, Self::Cache, Self::Guardrail, Self::Experiment];

    /// `plan`, `budget` …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Budget => "budget",
            Self::Pool => "pool",
            Self::Cascade => "cascade",
            Self::Cache => "cache",
            Self::Guardrail => "guardrail",
            Self::Experiment => "experiment",
            Self::Prompt => "prompt",
        }
    }

    /// `plans`, `budgets` …, as in paths of the admin API.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Plan => "plans",
            Self::Budget => "budgets",
            Self::Pool => "pools",
            Self::Cascade => "cascades",
            Self::Cache => "caches",
            Self::Guardrail => "guardrails",
            Self::Experiment => "experiments",
            Self::Prompt => "prompts",
        }
    }

    /// Whether one tenant may have its own. Models are shared by all tenants, and so is what stands behind them.
    pub const fn may_be_of_a_tenant(self) -> bool {
        !self.is_of_a_model()
    }

    /// Whether its name is that of a model, which must exist.
    pub const fn is_of_a_model(self) -> bool {
        matches!(self, Self::Pool)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = Self::DOCUMENTS.into_iter().chain([Self::Prompt]);
        kinds.clone().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let expected: Vec<&str> = kinds.map(Self::as_str).collect();
            format!("kind {text:?} is not known: expected {}", expected.join(", "))
        })
    }
}

/// What an operator writes under a name.
pub trait Document: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Which kind it is.
    const KIND: Kind;

    /// Checks what the types do not say.
    fn validate(&self) -> Result<(), InvalidPolicy>;

    /// What it refers to. All of it must exist when it is written, and stays while it is referred to.
    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

/// Something that a policy refers to by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A model.
    Model(ModelName),
    /// A document: the tenant's own of that name, or the shared one.
    Document(Kind, PolicyName),
    /// A tenant.
    Tenant(TenantId),
    /// An API key.
    Key(KeyId),
    /// A route: the tenant's own of that name, or the shared one. The tenant is that of the document when none is given.
    Route(Option<TenantId>, ModelName),
    /// A provider.
    Provider(ProviderId),
    /// A version or a label of a prompt: the tenant's own of that name, or the shared one.
    Prompt(PromptRef),
    /// An organisation. There is no list of them, so it exists by being named.
    Organisation(OrganisationId),
    /// A tag that requests carry; exists by being named.
    Tag(String),
}

impl Reference {
    /// What is referred to: `model`, `plan`, `tenant` …
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Model(_) => "model",
            Self::Document(kind, _) => kind.as_str(),
            Self::Tenant(_) => "tenant",
            Self::Key(_) => "key",
            Self::Route(..) => "route",
            Self::Provider(_) => "provider",
            Self::Prompt(_) => "prompt",
            Self::Organisation(_) => "organisation",
            Self::Tag(_) => "tag",
        }
    }

    /// Its name; of a prompt without version and label.
    pub fn name(&self) -> &str {
        match self {
            Self::Model(name) | Self::Route(_, name) => name.as_str(),
            Self::Document(_, name) => name.as_str(),
            Self::Tenant(id) => id.as_str(),
            Self::Key(id) => id.as_str(),
            Self::Provider(id) => id.as_str(),
            Self::Prompt(prompt) => prompt.name.as_str(),
            Self::Organisation(id) => id.as_str(),
            Self::Tag(tag) => tag,
        }
    }
}

/// Reads a document: its types, then what [`Document::validate`] checks.
pub fn read<D: Document>(spec: &Value) -> Result<D, InvalidPolicy> {
    let document: D = shape(spec)?;
    document.validate()?;
    Ok(document)
}

/// Reads an object of the right types. The error names the path of what is not, what stands there and what is expected.
pub fn shape<T: DeserializeOwned>(spec: &Value) -> Result<T, InvalidPolicy> {
    // serde also takes an array for a struct, field by field: an empty one would be a policy that says nothing.
    if !spec.is_object() {
        return Err(InvalidPolicy { field: "spec".into(), value: shown(spec), expected: "an object".into() });
    }
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let reason = error.inner().to_string();
        let value = at(spec, error.path());
        let field = match error.path().to_string() {
            root if matches!(root.as_str(), "." | "?") => String::from("spec"),
            path => path,
        };
        // What serde says itself: "invalid type: …, expected a string", "unknown field `a`, expected one of …".
        let expected = match reason.split_once(", expected ") {
            Some((_, expected)) if reason.starts_with("invalid ") => expected.to_owned(),
            Some((what, expected)) => format!("{expected} ({what})"),
            None => format!("something else ({reason})"),
        };
        InvalidPolicy { field, value: shown(value), expected }
    })
}

/// What stands at a path, as far as it leads.
fn at<'v>(spec: &'v Value, path: &Path) -> &'v Value {
    let mut value = spec;
    for segment in path {
        let next = match segment {
            Segment::Seq { index } => value.get(index),
            Segment::Map { key } => value.get(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some(next) = next else { break };
        value = next;
    }
    value
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        windows: Vec<Window>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Window {
        seconds: u32,
    }

    impl Document for Limits {
        const KIND: Kind = Kind::Plan;

        fn validate(&self) -> Result<(), InvalidPolicy> {
            match self.windows.iter().position(|window| window.seconds == 0) {
                Some(n) => {
                    Err(InvalidPolicy::new("seconds", 0, "1 or more").within(&format!("windows[{n}]")))
                }
                None => Ok(()),
            }
        }
    }

    #[test]
    fn errors_name_path_value_and_what_is_expected() {
        let cases = [
            (json!({"windows": [{"seconds": 1}, {"seconds": "x"}]}), "windows[1].seconds", "\"x\"", "u32"),
            (json!({"windows": [{"seconds": -1}]}), "windows[0].seconds", "-1", "u32"),
            (json!({"windows": [{"seconds": 0}]}), "windows[0].seconds", "0", "1 or more"),
            (
                json!({"windows": [{"colour": 1}]}),
                "windows[0].colour",
                "1",
                "`seconds` (unknown field `colour`)",
            ),
            (json!({"windows": [{}]}), "windows[0]", "{}", "missing field `seconds`"),
            (json!({}), "spec", "{}", "missing field `windows`"),
            (json!([]), "spec", "[]", "an object"),
            (json!([[{"seconds": 1}]]), "spec", "[[{\"seconds\":1}]]", "an object"),
            (json!("windows"), "spec", "\"windows\"", "an object"),
        ];
        for (spec, field, value, expected) in cases {
            let error = read::<Limits>(&spec).unwrap_err();
            assert_eq!((error.field.as_str(), error.value.as_str()), (field, value), "{error}");
            assert!(error.expected.contains(expected), "{error}");
        }
        let fine = json!({"windows": [{"seconds": 1}]});
        assert_eq!(read::<Limits>(&fine).unwrap(), Limits { windows: vec![Window { seconds: 1 }] });
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::DOCUMENTS.into_iter().chain([Kind::Prompt]) {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("plans".parse::<Kind>().unwrap_err().contains("expected plan, budget"));
    }
}
