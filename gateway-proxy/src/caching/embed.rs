//! The sentence embedder, as the cache takes it.

use crate::meaning::Meaning;
use cache::{Embed, EmbedError};
use inference::ModelError;
use std::sync::Arc;

/// A token has a byte at least, and two marks are put around a text: so much is read whole.
const SURELY_READ: usize = 254;

/// See the module.
#[derive(Debug)]
pub(super) struct Sentences(pub(super) Arc<Meaning>);

impl Embed for Sentences {
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        let Some(embedder) = self.0.embedder() else { return Ok(None) };
        let failed = |error: ModelError| EmbedError(Box::new(error));
        if text.len() > SURELY_READ {
            // What the model does not read to its end may mean something else.
            let tokens = embedder.embed_tokens(text).map_err(failed)?;
            if tokens.offsets.last().is_none_or(|last| last.end < text.trim_end().len()) {
                return Ok(None);
            }
        }
        Ok(embedder.embed(&[text]).map_err(failed)?.pop())
    }
}
