//! Answers to questions of the same meaning.

use super::lead::Lead;
use super::{Found, Hit, Status, count};
use crate::control::Control;
use crate::facts::Facts;
use crate::index::{Candidate, Vector};
use crate::question::ExactKey;
use crate::shelf::Bearing;
use contracts::Timestamp;
use contracts::policy::cache::{Cache, Semantic};
use std::sync::Arc;

/// Answers that are fetched from Redis for one request, of those known to lie there.
const FETCHES: usize = 2;

/// A sentence embedder. It runs on threads for blocking work, several at once.
pub trait Embed: std::fmt::Debug + Send + Sync {
    /// A vector of any length but zero for a text; `None` where the text is longer than the model reads, so that its end would not
    /// count.
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError>;
}

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
#[error("cannot embed a question")]
pub struct EmbedError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Lead {
    /// Finds out where the question lies, without looking who lies near.
    pub(super) async fn embed(&mut self, policy: &Cache, control: &Control, now: Timestamp) {
        self.locate(policy, control, now, false).await;
    }

    /// The answer to the nearest question that nothing speaks against.
    pub(super) async fn nearest(&mut self, policy: &Cache, control: &Control, now: Timestamp) -> Option<Hit> {
        let candidates = self.locate(policy, control, now, true).await;
        let guard = policy.semantic.as_ref()?.guard;
        let facts = self.bearing.as_ref()?.facts.clone();
        let mut fetches = FETCHES;
        for candidate in candidates {
            if facts.veto(&candidate.facts, guard).is_some() {
                count(&self.inner.counters.vetoed);
                continue;
            }
            let entry = match self.shelf.get(&candidate.key, now) {
                Some(Found::Entry(entry)) => Some(entry),
                Some(Found::Elsewhere) if self.shares && fetches > 0 => {
                    fetches -= 1;
                    self.fetch(&candidate.key, now).await
                }
                _ => None,
            };
            let similarity = Some(candidate.similarity);
            let hit =
                entry.and_then(|entry| self.judge(entry, Status::HitSemantic, similarity, control, now));
            if hit.is_some() {
                return hit;
            }
        }
        None
    }

    /// An answer that another gateway gave; it is kept here from now on.
    async fn fetch(&self, key: &ExactKey, now: Timestamp) -> Option<Arc<crate::Entry>> {
        let (_, entry) = self.inner.shared.as_ref()?.get(&self.question, *key).await.ok()?;
        let live = entry.filter(|entry| entry.is_live(now)).map(Arc::new);
        if let Some(entry) = &live {
            self.shelf.fill(entry.clone(), self.most_bytes());
            self.inner.relieve();
        } else {
            self.shelf.remove(key);
        }
        live
    }

    /// Embeds the question, and looks who lies near.
    async fn locate(
        &mut self,
        policy: &Cache,
        control: &Control,
        now: Timestamp,
        look: bool,
    ) -> Vec<Candidate> {
        let (Some(semantic), Some(embed), true) =
            (&policy.semantic, self.inner.embed.clone(), self.compares(policy, control))
        else {
            return Vec::new();
        };
        let Some(meaning) = &self.question.meaning else { return Vec::new() };
        let turn = self.inner.embed_turns.clone().acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(self.inner.options.embed_wait, turn).await else {
            count(&self.inner.counters.not_embedded);
            return Vec::new();
        };
        let (partition, text) = (meaning.partition, meaning.text.clone());
        let (shelf, threshold) = (self.shelf.clone(), threshold(semantic, control));
        let found = tokio::task::spawn_blocking(move || {
            let vector = embed.embed(text.trim());
            drop(turn);
            let Some(vector) = vector?.as_deref().and_then(Vector::new) else { return Ok(None) };
            let near = if look { shelf.nearest(&partition, &vector, threshold, now) } else { Vec::new() };
            Ok::<_, EmbedError>(Some((vector, Arc::new(Facts::of(&text)), near)))
        });
        match found.await {
            Ok(Ok(Some((vector, facts, near)))) => {
                let most = usize::try_from(semantic.max_entries).unwrap_or(usize::MAX);
                self.bearing = Some(Bearing { partition, vector, facts, most });
                near
            }
            Ok(Ok(None)) => Vec::new(),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a question was not embedded");
                count(&self.inner.counters.not_embedded);
                Vec::new()
            }
            Err(_) => {
                count(&self.inner.counters.not_embedded);
                Vec::new()
            }
        }
    }
}

fn threshold(semantic: &Semantic, control: &Control) -> f64 {
    control.threshold.map_or(semantic.threshold, |wished| wished.max(semantic.threshold))
}
