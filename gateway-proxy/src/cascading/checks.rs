//! What a cascade's checks are made with, of which all calls share one.

use super::verifier::Verifiers;
use crate::config::CascadeConfig;
use crate::meaning::Meaning;
use cascade::{Instruments, is_examined};
use contracts::policy::cascade::{Cascade, DetectsBy};
use inference::Embedder;
use inference::grounding::Detector;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// What checks are made with.
#[derive(Debug)]
pub(crate) struct Checks {
    by_words: Detector,
    /// Where there is an embedder.
    by_meaning: OnceLock<Option<Detector>>,
    meaning: Arc<Meaning>,
    /// So many are made at a time.
    pub(super) at_a_time: Arc<Semaphore>,
    pub(super) verifiers: Verifiers,
}

impl Checks {
    pub(crate) fn new(config: &CascadeConfig, meaning: Arc<Meaning>, tls: rustls::ClientConfig) -> Self {
        Self {
            by_words: Detector::default(),
            by_meaning: OnceLock::new(),
            meaning,
            at_a_time: Arc::new(Semaphore::new(config.checks_at_a_time)),
            verifiers: Verifiers::new(tls),
        }
    }

    /// Reads from disk what answers are examined with, while the first model is asked.
    pub(super) fn get_ready(self: &Arc<Self>, cascade: &Cascade) {
        let wants_meaning = cascade.detects_by != Some(DetectsBy::Words);
        if wants_meaning && self.by_meaning.get().is_none() && cascade.tiers.iter().any(is_examined) {
            let (checks, by) = (self.clone(), cascade.detects_by);
            drop(tokio::task::spawn_blocking(move || {
                checks.instruments(by);
            }));
        }
    }

    /// The embedder, where answers are compared by it. Blocks the first time, while it is read from disk.
    pub(super) fn embedder(&self, by: Option<DetectsBy>) -> Option<&Arc<Embedder>> {
        if by == Some(DetectsBy::Words) { None } else { self.meaning.embedder() }
    }

    /// What an answer is examined with. Blocks the first time, while it is read from disk.
    pub(super) fn instruments(&self, by: Option<DetectsBy>) -> Instruments<'_> {
        let by_words = Instruments { detector: Some(&self.by_words), embedder: None };
        if by == Some(DetectsBy::Words) {
            return by_words;
        }
        let embedder = self.embedder(by);
        let by_meaning = || embedder.map(|embedder| Detector::default().with_embedder(embedder.clone()));
        match self.by_meaning.get_or_init(by_meaning) {
            // Weights that were fitted on meanings make nothing of words.
            None if by.is_some() => Instruments { detector: None, embedder: None },
            None => by_words,
            detector => Instruments { detector: detector.as_ref(), embedder: embedder.map(Arc::as_ref) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_get_what_they_were_fitted_with_or_nothing() {
        let tls = runtime::tls::client_config("gateway.ca_file", None).unwrap();
        let checks = Checks::new(&CascadeConfig::default(), Arc::new(Meaning::new(None)), tls);
        let has_detector = |by| checks.instruments(by).detector.is_some();
        assert!(has_detector(None) && has_detector(Some(DetectsBy::Words)));
        assert!(!has_detector(Some(DetectsBy::Meaning)));
    }
}
