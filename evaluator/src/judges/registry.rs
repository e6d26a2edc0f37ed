//! The configured judges by name.

use super::Judge;
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
}
