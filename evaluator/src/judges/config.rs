//! The section `[evaluator.judges]`.

use super::{CustomConfig, ModelConfig};
use crate::config::SECTION;
use runtime::config::InvalidSetting;
use serde::{Deserialize, Serialize};

/// The judges that work without being configured further. Those of relevance need the embedder's weights and are left out
/// where there are none.
pub const BUILT_IN: &[&str] = &[
    "grounding",
    "hallucination",
    "answer_relevance",
    "context_relevance",
    "context_precision",
    "refusal",
    "toxicity",
    "pii_leak",
    "json_validity",
    "tool_calls",
    "language_match",
    "uncertainty",
];

/// Which judges there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgesConfig {
    /// Built-in judges that look at every call.
    pub enabled: Vec<String>,
    /// Judges that ask a model; they need `evaluator.gateway_url` and `evaluator.gateway_key`.
    pub models: Vec<ModelConfig>,
    /// Judges of one's own, over HTTP or as a command.
    pub custom: Vec<CustomConfig>,
}

impl Default for JudgesConfig {
    fn default() -> Self {
        Self {
            enabled: BUILT_IN.iter().map(|name| (*name).to_owned()).collect(),
            models: Vec::new(),
            custom: Vec::new(),
        }
    }
}

impl JudgesConfig {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        for name in &self.enabled {
            SECTION.check(
                BUILT_IN.contains(&name.as_str()),
                "judges.enabled",
                name,
                "grounding, hallucination, answer_relevance, context_relevance, context_precision, refusal, toxicity, pii_leak, \
                 json_validity, tool_calls, language_match or uncertainty",
            )?;
        }
        self.models.iter().try_for_each(ModelConfig::validate)?;
        self.custom.iter().try_for_each(CustomConfig::validate)
    }
}
