//! The configured judges by name.

use super::budget::Ledger;
use super::custom::Custom;
use super::grounding::{Assessor, Grounding};
use super::language::LanguageMatch;
use super::model::{Gateway, ModelJudge};
use super::pii::PiiLeak;
use super::refusal::Refusal;
use super::relevance::Relevance;
use super::structure::{JsonValidity, ToolCorrectness};
use super::toxicity::Toxicity;
use super::uncertainty::Uncertainty;
use super::wire::Wire;
use super::{Judge, JudgesConfig};
use anyhow::Context;
use inference::Embedder;
use std::sync::Arc;

/// The configured judges, in the order of their configuration.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    judges: Arc<Vec<Arc<dyn Judge>>>,
}

impl Registry {
    /// Of these judges; a later one of the same name wins.
    pub fn new(judges: Vec<Arc<dyn Judge>>) -> Self {
        let mut kept: Vec<Arc<dyn Judge>> = Vec::with_capacity(judges.len());
        for judge in judges {
            match kept.iter_mut().find(|other| other.name() == judge.name()) {
                Some(slot) => *slot = judge,
                None => kept.push(judge),
            }
        }
        Self { judges: Arc::new(kept) }
    }

    /// The enabled built-in judges. Without an embedder those that need one are left out.
    pub fn built_in(config: &JudgesConfig, embedder: Option<&Arc<Embedder>>) -> Result<Self, regex::Error> {
        let assessor = Arc::new(Assessor::new(embedder));
        let mut judges: Vec<Arc<dyn Judge>> = Vec::new();
        for name in &config.enabled {
            let judge: Option<Arc<dyn Judge>> = match name.as_str() {
                "grounding" => Some(Arc::new(Grounding::coverage(assessor.clone()))),
                "hallucination" => Some(Arc::new(Grounding::hallucination(assessor.clone()))),
                "answer_relevance" => embedder.map(|e| Arc::new(Relevance::of_answer(e.clone())) as _),
                "context_relevance" => embedder.map(|e| Arc::new(Relevance::of_context(e.clone())) as _),
                "context_precision" => embedder.map(|e| Arc::new(Relevance::precision(e.clone())) as _),
                "refusal" => Some(Arc::new(Refusal)),
                "toxicity" => Some(Arc::new(Toxicity::new())),
                "pii_leak" => Some(Arc::new(PiiLeak::new()?)),
                "json_validity" => Some(Arc::new(JsonValidity)),
                "tool_calls" => Some(Arc::new(ToolCorrectness)),
                "language_match" => Some(Arc::new(LanguageMatch)),
                "uncertainty" => Some(Arc::new(Uncertainty)),
                _ => None,
            };
            judges.extend(judge);
        }
        Ok(Self::new(judges))
    }

    /// All configured judges: the built-in ones, those that ask a model at this gateway (URL and key) and write what they spend into
    /// `ledger`, and custom ones.
    pub fn configured(
        config: &JudgesConfig,
        gateway: Option<(&str, &str)>,
        embedder: Option<&Arc<Embedder>>,
        ledger: &Ledger,
    ) -> anyhow::Result<Self> {
        let mut more: Vec<Arc<dyn Judge>> = Vec::new();
        let wire = Wire::new()?;
        if !config.models.is_empty() {
            let (url, key) = gateway.context(
                "evaluator.judges.models: needs evaluator.gateway_url and evaluator.gateway_key, expected both",
            )?;
            let gateway = Gateway::new(wire.clone(), url, key).context(
                "evaluator.gateway_url, evaluator.gateway_key: expected a URL and a key that fit a request",
            )?;
            for model in &config.models {
                let (gateway, embedder) = (gateway.clone(), embedder.cloned());
                more.push(Arc::new(ModelJudge::new(model.clone(), gateway, embedder, ledger.clone())));
            }
        }
        for custom in &config.custom {
            more.push(Arc::new(Custom::new(custom.clone(), wire.clone())));
        }
        Ok(Self::built_in(config, embedder)?.with(more))
    }

    /// These and others.
    #[must_use]
    pub fn with(&self, more: Vec<Arc<dyn Judge>>) -> Self {
        Self::new(self.judges.iter().cloned().chain(more).collect())
    }

    /// The judge of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Judge>> {
        self.judges.iter().find(|judge| judge.name() == name)
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<dyn Judge>] {
        &self.judges
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.judges.iter().map(|judge| judge.name()).collect()
    }

    /// Each as `name@version`.
    pub fn versions(&self) -> Vec<String> {
        self.judges.iter().map(|judge| versioned(judge.as_ref())).collect()
    }
}

/// `name@version`.
pub fn versioned(judge: &dyn Judge) -> String {
    format!("{}@{}", judge.name(), judge.version())
}
