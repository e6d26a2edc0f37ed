//! Routes with arms that are compared.
//!
//! Who gets which arm is a hash of the experiment, its salt and the unit (a user, a conversation …), so no table of assignments is
//! kept anywhere and every gateway decides alike. A new salt deals anew.

use super::{InvalidPolicy, Kind, Named, PromptRef, Reference};
use crate::{ModelName, PolicyName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Arms of one experiment.
pub const MOST_ARMS: usize = 32;

/// An experiment. The first arm is the control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What is compared.
    pub arms: Vec<Arm>,
    /// Who always gets the same arm.
    #[serde(default)]
    pub sticky: Sticky,
    /// Deals anew when it changes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// Whether arms are dealt at all.
    #[serde(default)]
    pub status: Status,
    /// Moves shares to what does better; shares are fixed when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

/// One of the ways that are compared. What it does not set stays as the route and the request have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name, as on traces.
    pub name: String,
    /// Its share, relative to the sum of all weights.
    #[serde(default = "one")]
    pub weight: f64,
    /// The prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptRef>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// The cascade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<PolicyName>,
    /// Members of the request's body, which they replace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
}

/// Members that say what a call is, not how it is answered, and what an arm has fields of its own for.
const NOT_PARAMETERS: [&str; 8] =
    ["model", "prompt", "messages", "input", "system", "instructions", "stream", "background"];

const fn one() -> f64 {
    1.0
}

/// Who always gets the same arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sticky {
    /// An end user, as the request names it.
    #[default]
    User,
    /// A conversation.
    Conversation,
    /// An API key.
    Key,
    /// Nobody: each request is dealt for itself.
    Request,
}

impl Sticky {
    /// `user`, `conversation`, `key` or `request`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Conversation => "conversation",
            Self::Key => "key",
            Self::Request => "request",
        }
    }
}

/// Whether arms are dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// They are.
    #[default]
    Running,
    /// Everybody gets the control. Units come back to their arms when it runs again.
    Paused,
}

/// How shares follow what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// What is measured, 1 to 64 characters of `a-z 0-9 . _ -`.
    pub metric: String,
    /// How shares are chosen.
    #[serde(default)]
    pub kind: Bandit,
    /// What the metric yields.
    pub outcome: Outcome,
    /// Which way is better.
    #[serde(default)]
    pub goal: Goal,
    /// The share that no arm falls below, 0 to 1 / number of arms.
    #[serde(default = "five_percent")]
    pub min_share: f64,
    /// Observations that every arm needs before shares move.
    #[serde(default = "hundred")]
    pub min_observations: u64,
}

const fn five_percent() -> f64 {
    0.05
}

const fn hundred() -> u64 {
    100
}

/// How shares are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bandit {
    /// As often as the arm is likely to be the best.
    #[default]
    Thompson,
}

/// What a metric yields for one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Yes or no.
    Binary,
    /// A number.
    Continuous,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// More.
    #[default]
    Higher,
    /// Less, as of cost and latency.
    Lower,
}

/// What was measured of one arm, from the start of the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArmStats {
    /// Of a metric that is yes or no.
    Binary {
        /// How often yes.
        successes: u64,
        /// How often no.
        failures: u64,
    },
    /// Of a metric that is a number.
    Continuous {
        /// Observations.
        n: u64,
        /// Their mean.
        mean: f64,
        /// The sum of their squared differences from the mean (Welford's M2).
        m2: f64,
    },
}

impl ArmStats {
    /// How often it was measured; never, if what was measured are not numbers.
    pub fn observations(&self) -> u64 {
        match *self {
            Self::Binary { successes, failures } => successes.saturating_add(failures),
            Self::Continuous { n, mean, m2 } if mean.is_finite() && m2.is_finite() && m2 >= 0.0 => n,
            Self::Continuous { .. } => 0,
        }
    }

    /// The mean of what was observed; of a metric that is yes or no the part that is yes. Absent without observations.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts, of which the leading 53 bits are more than enough"
    )]
    pub fn mean(&self) -> Option<f64> {
        let observations = self.observations();
        (observations > 0).then_some(match *self {
            Self::Binary { successes, .. } => successes as f64 / observations as f64,
            Self::Continuous { mean, .. } => mean,
        })
    }
}

/// What was measured of an adaptive experiment. State, which evaluators write; no policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The metric.
    pub metric: String,
    /// The arms that were seen, by name.
    pub arms: BTreeMap<String, ArmStats>,
}

impl Named<Experiment> {
    /// The name under which arms are dealt: two tenants' experiments of one name are two.
    pub fn full_name(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{tenant}/{}", self.name),
            None => self.name.to_string(),
        }
    }
}

impl Experiment {
    /// Checks what the types do not say.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if !(2..=MOST_ARMS).contains(&self.arms.len()) {
            return Err(InvalidPolicy::new("arms", self.arms.len(), format!("2 to {MOST_ARMS} arms")));
        }
        for (n, arm) in self.arms.iter().enumerate() {
            arm.validate().map_err(|error| error.within(&format!("arms[{n}]")))?;
            if self.arms[..n].iter().any(|other| other.name == arm.name) {
                return Err(InvalidPolicy::new(format!("arms[{n}].name"), &arm.name, "each name once"));
            }
        }
        if self.arms.iter().all(|arm| arm.weight == 0.0) {
            return Err(InvalidPolicy::new("arms[0].weight", 0, "one arm with a weight above 0"));
        }
        if self.salt.len() > 256 {
            return Err(InvalidPolicy::new("salt", &self.salt, "at most 256 bytes"));
        }
        match &self.adaptive {
            Some(adaptive) => adaptive.validate(self.arms.len()).map_err(|error| error.within("adaptive")),
            None => Ok(()),
        }
    }

    /// What its arms refer to.
    pub fn references(&self) -> Vec<Reference> {
        let mut references: Vec<Reference> = Vec::new();
        for arm in &self.arms {
            references.extend(arm.prompt.clone().map(Reference::Prompt));
            references.extend(arm.model.clone().map(Reference::Model));
            references.extend(arm.cascade.clone().map(|name| Reference::Document(Kind::Cascade, name)));
        }
        references
    }
}

impl Arm {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        is_a_word("name", &self.name)?;
        // Far more than any share needs, and far less than where sums lose the small ones.
        if !(0.0..=1e6).contains(&self.weight) {
            return Err(InvalidPolicy::new("weight", self.weight, "0 to 1000000"));
        }
        if self.model.is_some() && self.cascade.is_some() {
            let model = self.model.as_ref().map(ModelName::as_str);
            return Err(InvalidPolicy::new(
                "model",
                model.unwrap_or_default(),
                "either a model or a cascade",
            ));
        }
        if let Some(name) =
            self.parameters.iter().flat_map(Map::keys).find(|name| NOT_PARAMETERS.contains(&name.as_str()))
        {
            return Err(InvalidPolicy::new("parameters", name, "parameters such as temperature"));
        }
        match &self.prompt {
            Some(prompt) => prompt.validate().map_err(|error| error.within("prompt")),
            None => Ok(()),
        }
    }
}

impl Adaptive {
    fn validate(&self, arms: usize) -> Result<(), InvalidPolicy> {
        is_a_word("metric", &self.metric)?;
        #[expect(clippy::cast_precision_loss, reason = "few arms")]
        let most = 1.0 / arms as f64;
        if (0.0..=most).contains(&self.min_share) {
            return Ok(());
        }
        Err(InvalidPolicy::new(
            "min_share",
            self.min_share,
            format!("0 to {most:.4}, as there are {arms} arms"),
        ))
    }
}

fn is_a_word(field: &str, word: &str) -> Result<(), InvalidPolicy> {
    super::label_is_valid(word).map_err(|error| InvalidPolicy { field: field.to_owned(), ..error })
}

#[cfg(test)]
mod tests {
    use super::super::document::shape;
    use super::*;
    use serde_json::json;

    fn read(spec: &Value) -> Result<Experiment, InvalidPolicy> {
        let experiment: Experiment = shape(spec)?;
        experiment.validate()?;
        Ok(experiment)
    }

    #[test]
    fn an_experiment_says_what_it_refers_to() {
        let experiment = read(&json!({
            "arms": [
                {"name": "control", "weight": 9.0},
                {"name": "b", "prompt": {"name": "greeting", "version": 3}, "model": "small"},
                {"name": "c", "cascade": "cheap", "parameters": {"temperature": 0}},
            ],
            "adaptive": {"metric": "useful", "outcome": "binary"},
        }))
        .unwrap();
        assert_eq!((experiment.sticky, experiment.status), (Sticky::User, Status::Running));
        let references = experiment.references();
        let kinds: Vec<&str> = references.iter().map(Reference::kind).collect();
        assert_eq!(kinds, ["prompt", "model", "cascade"]);
        assert_eq!(read(&serde_json::to_value(&experiment).unwrap()).unwrap(), experiment);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let arm = |more: Value| {
            let mut arm = json!({"name": "b"});
            arm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"arms": [{"name": "a"}, arm]})
        };
        let adaptive = |more: Value| {
            let mut spec = arm(json!({}));
            spec["adaptive"] = json!({"metric": "useful", "outcome": "binary"});
            spec["adaptive"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let cases = [
            (json!({"arms": [{"name": "a"}]}), "arms"),
            (arm(json!({"name": "a"})), "arms[1].name"),
            (arm(json!({"name": "B b"})), "arms[1].name"),
            (arm(json!({"weight": -1})), "arms[1].weight"),
            (arm(json!({"model": "m", "cascade": "c"})), "arms[1].model"),
            (arm(json!({"parameters": {"messages": []}})), "arms[1].parameters"),
            (arm(json!({"prompt": {"name": "p", "version": 0}})), "arms[1].prompt.version"),
            (json!({"arms": [{"name": "a", "weight": 0}, {"name": "b", "weight": 0}]}), "arms[0].weight"),
            (adaptive(json!({"min_share": 0.6})), "adaptive.min_share"),
            (adaptive(json!({"metric": ""})), "adaptive.metric"),
            (adaptive(json!({"outcome": "text"})), "adaptive.outcome"),
        ];
        for (spec, field) in cases {
            let error = read(&spec).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }
}
