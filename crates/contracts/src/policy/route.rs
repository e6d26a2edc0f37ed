//! What a route does beside leading to a model.

use super::{InvalidPolicy, Kind, Reference};
use crate::PolicyName;
use serde::{Deserialize, Serialize};

/// Tags that a route may put on its requests.
pub const MOST_TAGS: usize = 32;

/// The label of a prompt that is meant when nothing else is said.
pub const DEFAULT_LABEL: &str = "production";

/// A route as an operator writes it. Names are of the route's tenant, or shared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSpec {
    /// The models to ask in turn; the route's model alone when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cascade: Option<PolicyName>,
    /// Which answers may be given again; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PolicyName>,
    /// What may go in and come out, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guardrails: Vec<PolicyName>,
    /// What is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<PolicyName>,
    /// The prompt that requests without one get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptRef>,
    /// Tags that each request through the route carries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Milliseconds within which the first token is promised. A call that would wait in a queue for so long that the model, which takes
    /// its usual time from then on, could not keep that is refused at once, and one that has waited for so long is given up, so that its
    /// client can go elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_slo_ms: Option<u64>,
}

/// The longest promise of a first token that makes sense: clients give up sooner.
const MOST_TTFT_MS: u64 = 60 * 60 * 1_000;

impl RouteSpec {
    /// Checks what the types do not say.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if self.tags.len() > MOST_TAGS {
            return Err(InvalidPolicy::new("tags", self.tags.len(), format!("at most {MOST_TAGS}")));
        }
        for (n, tag) in self.tags.iter().enumerate() {
            tag_is_valid(tag).map_err(|error| InvalidPolicy { field: format!("tags[{n}]"), ..error })?;
        }
        for (n, name) in self.guardrails.iter().enumerate() {
            if self.guardrails[..n].contains(name) {
                let expected = "each guardrail once";
                return Err(InvalidPolicy::new(format!("guardrails[{n}]"), name.as_str(), expected));
            }
        }
        if let Some(slo) = self.ttft_slo_ms
            && !(1..=MOST_TTFT_MS).contains(&slo)
        {
            let expected = format!("milliseconds from 1 to {MOST_TTFT_MS}");
            return Err(InvalidPolicy::new("ttft_slo_ms", slo, expected));
        }
        match &self.prompt {
            Some(prompt) => prompt.validate().map_err(|error| error.within("prompt")),
            None => Ok(()),
        }
    }

    /// What it refers to.
    pub fn references(&self) -> Vec<Reference> {
        let document = |kind| move |name: &PolicyName| Reference::Document(kind, name.clone());
        let mut references: Vec<Reference> = Vec::new();
        references.extend(self.cascade.as_ref().map(document(Kind::Cascade)));
        references.extend(self.cache.as_ref().map(document(Kind::Cache)));
        references.extend(self.guardrails.iter().map(document(Kind::Guardrail)));
        references.extend(self.experiment.as_ref().map(document(Kind::Experiment)));
        references.extend(self.prompt.clone().map(Reference::Prompt));
        references
    }
}

/// A tag: 1 to 64 visible ASCII characters.
pub fn tag_is_valid(tag: &str) -> Result<(), InvalidPolicy> {
    if (1..=64).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(InvalidPolicy::new("tag", tag, "1 to 64 visible ASCII characters without spaces"))
}

/// Which prompt, and which of its versions: a number, what a label stands on, or what `production` stands on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptRef {
    /// The prompt.
    pub name: PolicyName,
    /// One version for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The version that the label stands on when a request comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl PromptRef {
    /// Refuses a version and a label at once.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        match (self.version, &self.label) {
            (Some(version), Some(_)) => {
                Err(InvalidPolicy::new("version", version, "either a version or a label"))
            }
            (Some(0), None) => Err(InvalidPolicy::new("version", 0, "1 or more")),
            (None, Some(label)) => label_is_valid(label),
            _ => Ok(()),
        }
    }

    /// What is asked for.
    pub fn selector(&self) -> Selector<'_> {
        match (self.version, &self.label) {
            (Some(version), _) => Selector::Version(version),
            (None, Some(label)) => Selector::Label(label),
            (None, None) => Selector::Label(DEFAULT_LABEL),
        }
    }
}

/// Which version of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector<'a> {
    /// This one.
    Version(u64),
    /// The one that the label stands on.
    Label(&'a str),
}

/// A label: 1 to 64 characters of `a-z 0-9 . _ -`.
pub fn label_is_valid(label: &str) -> Result<(), InvalidPolicy> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    if (1..=64).contains(&label.len()) && label.bytes().all(valid) {
        return Ok(());
    }
    Err(InvalidPolicy::new("label", label, "1 to 64 characters of a-z 0-9 . _ -"))
}

#[cfg(test)]
mod tests {
    use super::super::document::shape;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_says_what_it_refers_to() {
        let spec: RouteSpec = shape(&json!({
            "cascade": "cheap", "guardrails": ["pii", "length"], "prompt": {"name": "greeting"}, "tags": ["a"],
        }))
        .unwrap();
        spec.validate().unwrap();
        let named: Vec<(&str, String)> =
            spec.references().iter().map(|r| (r.kind(), r.name().to_owned())).collect();
        let expected =
            [("cascade", "cheap"), ("guardrail", "pii"), ("guardrail", "length"), ("prompt", "greeting")];
        assert_eq!(named, expected.map(|(kind, name)| (kind, name.to_owned())));
        assert_eq!(spec.prompt.unwrap().selector(), Selector::Label("production"));
        assert_eq!(serde_json::to_value(RouteSpec::default()).unwrap(), json!({}));
    }

    #[test]
    fn what_cannot_be_names_its_field() {
        let cases = [
            (json!({"ttft_slo_ms": 0}), "ttft_slo_ms"),
            (json!({"tags": ["a", "two words"]}), "tags[1]"),
            (json!({"guardrails": ["a", "a"]}), "guardrails[1]"),
            (json!({"prompt": {"name": "p", "version": 1, "label": "x"}}), "prompt.version"),
            (json!({"prompt": {"name": "p", "version": 0}}), "prompt.version"),
            (json!({"prompt": {"name": "p", "label": "Big"}}), "prompt.label"),
        ];
        for (json, field) in cases {
            assert_eq!(shape::<RouteSpec>(&json).unwrap().validate().unwrap_err().field, field);
        }
    }
}
