//! The sentence embedder, by which caches and cascades compare meanings, loaded when one of them first does.
//!
//! A gateway whose policies compare nothing does not pay its 100 MB.

use inference::{Embedder, EmbedderOptions, models};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// See the module.
#[derive(Debug)]
pub(crate) struct Meaning {
    dir: Option<PathBuf>,
    loaded: OnceLock<Option<Arc<Embedder>>>,
}

impl Meaning {
    /// Of the weights in `dir`; without a directory nothing is compared by meaning.
    pub(crate) const fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, loaded: OnceLock::new() }
    }

    /// Whether there are weights.
    pub(crate) const fn is_there(&self) -> bool {
        self.dir.is_some()
    }

    /// What the weights are called: vectors of different ones cannot be compared.
    pub(crate) fn name(&self) -> &str {
        let name = self.dir.as_deref().and_then(|dir| dir.file_name()?.to_str());
        name.unwrap_or(models::EMBEDDER)
    }

    /// The embedder; blocks while it is read from disk, once. `None` without weights, or when they cannot be read, which is logged.
    pub(crate) fn embedder(&self) -> Option<&Arc<Embedder>> {
        let load = || {
            let dir = self.dir.as_deref()?;
            match Embedder::load(dir, &EmbedderOptions::default()) {
                Ok(embedder) => Some(Arc::new(embedder)),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        dir = %dir.display(),
                        "the embedder cannot be loaded: caches go by exact requests and cascades by words alone"
                    );
                    None
                }
            }
        };
        self.loaded.get_or_init(load).as_ref()
    }
}
