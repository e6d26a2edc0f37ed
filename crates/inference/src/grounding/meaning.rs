//! How close in meaning a claim and its evidence are, by the embedder's view of their words.
//!
//! Only the few units that share most with a claim are encoded, each by itself, and what comes of a unit is kept by its
//! content: a context that comes again costs nothing.

use super::evidence::{Index, float};
use super::types::Passage;
use super::words::{Sort, Word};
use crate::{ContentCache, ContentKey, Embedder, ModelError, TokenEmbeddings};
use std::ops::Range;
use std::sync::Arc;

/// Names of these features; more of any speaks for support.
pub(crate) const NAMES: [&str; 4] = ["meaning_best", "words_near", "word_least_near", "detail_least_near"];

/// An embedder and what it made of contexts before.
#[derive(Clone)]
pub(crate) struct Meaning {
    embedder: Arc<Embedder>,
    kept: Arc<ContentCache<TokenEmbeddings>>,
}

impl std::fmt::Debug for Meaning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meaning").field("kept", &self.kept.usage()).finish_non_exhaustive()
    }
}

impl Meaning {
    /// Keeps at most so many bytes of encoded contexts.
    pub(crate) fn new(embedder: Arc<Embedder>, most_bytes: usize) -> Self {
        Self { embedder, kept: Arc::new(ContentCache::new(most_bytes)) }
    }

    /// Compares a claim, which stands at `range` in `answer`, with some units of the context.
    pub(crate) fn compare(
        &self,
        answer: &str,
        range: &Range<usize>,
        words: &[Word],
        units: &[usize],
        index: &Index,
        context: &[Passage<'_>],
    ) -> Result<[f32; NAMES.len()], ModelError> {
        let claim = self.embedder.embed_tokens(&answer[range.clone()])?;
        let whole = claim.mean(0..claim.len()).unwrap_or_default();
        let mut best = 0.0_f32;
        let mut nearest = vec![0.0_f32; claim.len()];
        let own: Vec<Vec<f32>> =
            (0..claim.len()).map(|t| unit_vector(claim.vector(t).unwrap_or(&[]))).collect();
        for unit in units {
            let Some(unit) = index.units.get(*unit) else { continue };
            let Some(text) = context.get(unit.passage).and_then(|p| p.text.get(unit.read.clone())) else {
                continue;
            };
            let kept = self.kept.get_or_make(ContentKey::new("grounding", text), || {
                let tokens = self.embedder.embed_tokens(text)?;
                let bytes = tokens.bytes();
                Ok::<_, ModelError>((tokens, bytes))
            })?;
            best = best.max(kept.mean(0..kept.len()).map_or(0.0, |other| dot(&whole, &other)));
            for token in 0..kept.len() {
                let Some(vector) = kept.vector(token) else { continue };
                let length = dot(vector, vector).sqrt().max(f32::MIN_POSITIVE);
                for (near, one) in nearest.iter_mut().zip(&own) {
                    *near = near.max(dot(one, vector) / length);
                }
            }
        }
        Ok(gather(best, &nearest, &claim.offsets, range.start, words))
    }
}

fn gather(
    best: f32,
    nearest: &[f32],
    offsets: &[Range<usize>],
    start: usize,
    words: &[Word],
) -> [f32; NAMES.len()] {
    let (mut sum, mut count, mut least, mut detail) = (0.0_f64, 0, 1.0_f32, 1.0_f32);
    for (near, offset) in nearest.iter().zip(offsets) {
        let at = start + offset.start;
        let Some(word) = words.iter().find(|w| w.range.start <= at && at < w.range.end) else { continue };
        if word.sort == Sort::Function {
            continue;
        }
        sum += f64::from(*near);
        count += 1;
        least = least.min(*near);
        if word.sort != Sort::Content {
            detail = detail.min(*near);
        }
    }
    let mean = if count == 0 { f64::from(best) } else { sum / float(count) };
    [best, super::features::narrow(mean), least, detail]
}

fn unit_vector(vector: &[f32]) -> Vec<f32> {
    let length = dot(vector, vector).sqrt().max(f32::MIN_POSITIVE);
    vector.iter().map(|x| x / length).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
