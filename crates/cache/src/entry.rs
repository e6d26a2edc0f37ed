//! An answer as it is kept, here and in Redis.

use crate::question::{ExactKey, Question};
use bytes::Bytes;
use contracts::{TenantId, Timestamp, TokenUsage, Usd};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A model's whole answer, as the gateway hands it in.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// The whole answer's body (never a stream's events), in the form of the protocol that was asked: a gateway gives it again whole,
    /// or cuts it into events.
    pub body: Bytes,
    /// Its `content-type`.
    pub content_type: String,
    /// The model that gave it, as the provider names it.
    pub model: String,
    /// The tokens that it took.
    pub usage: TokenUsage,
    /// What it cost: what giving it again saves.
    pub cost: Usd,
}

impl fmt::Debug for Answer {
    /// Without the body, which is nobody's business in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Answer");
        shown.field("bytes", &self.body.len()).field("model", &self.model).field("cost", &self.cost);
        shown.finish_non_exhaustive()
    }
}

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Whose it is.
    pub tenant: TenantId,
    /// The key of the request that it answered.
    pub key: ExactKey,
    /// The answer.
    pub answer: Answer,
    /// When it was given first.
    pub created_at: Timestamp,
    /// When it is too old.
    pub expires_at: Timestamp,
    /// Whether requests of the same meaning may have it.
    pub by_meaning: bool,
}

/// Everything of an entry but its body.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u8,
    tenant: TenantId,
    route: String,
    protocol: u8,
    key: ExactKey,
    generations: Generations,
    content_type: String,
    model: String,
    usage: [u64; 8],
    /// Picodollars.
    cost: i128,
    created_at: i64,
    expires_at: i64,
    by_meaning: bool,
}

/// How often a tenant's answers, and those of one of its routes, were called invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Generations {
    pub(crate) tenant: u64,
    pub(crate) route: u64,
}

/// Grows when the stored form changes: others are not read.
const VERSION: u8 = 1;

impl Entry {
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.answer.body.len()
            + self.answer.content_type.len()
            + self.answer.model.len()
            + 32
    }

    /// The stored form: its head, then the body.
    pub(crate) fn encode(
        &self,
        question: &Question,
        generations: Generations,
    ) -> Result<Vec<u8>, postcard::Error> {
        let usage = &self.answer.usage;
        let head = Head {
            version: VERSION,
            tenant: self.tenant.clone(),
            route: question.route.to_string(),
            protocol: question.protocol as u8,
            key: self.key,
            generations,
            content_type: self.answer.content_type.clone(),
            model: self.answer.model.clone(),
            usage: [
                usage.input,
                usage.output,
                usage.cache_read,
                usage.cache_write,
                usage.cache_write_1h,
                usage.reasoning,
                usage.audio_input,
                usage.audio_output,
            ],
            cost: self.answer.cost.picos(),
            created_at: self.created_at.unix_nanos(),
            expires_at: self.expires_at.unix_nanos(),
            by_meaning: self.by_meaning,
        };
        let mut bytes = postcard::to_allocvec(&head)?;
        bytes.extend_from_slice(&self.answer.body);
        Ok(bytes)
    }

    /// Reads a stored form, where it is what was looked for: of this tenant and route, under this key, and not called invalid
    /// since.
    pub(crate) fn decode(
        bytes: &Bytes,
        question: &Question,
        key: ExactKey,
        generations: Generations,
    ) -> Option<Self> {
        let (head, body) = postcard::take_from_bytes::<Head>(bytes).ok()?;
        let body = bytes.slice(bytes.len() - body.len()..);
        let is_meant = head.version == VERSION
            && head.tenant == question.tenant
            && *head.route == *question.route
            && head.protocol == question.protocol as u8
            && head.key == key
            && head.generations == generations;
        let [input, output, cache_read, cache_write, cache_write_1h, reasoning, audio_input, audio_output] =
            head.usage;
        is_meant.then(|| Self {
            tenant: head.tenant,
            key,
            answer: Answer {
                body,
                content_type: head.content_type,
                model: head.model,
                usage: TokenUsage {
                    input,
                    output,
                    cache_read,
                    cache_write,
                    cache_write_1h,
                    reasoning,
                    audio_input,
                    audio_output,
                },
                cost: Usd::from_picos(head.cost),
            },
            created_at: Timestamp::from_unix_nanos(head.created_at),
            expires_at: Timestamp::from_unix_nanos(head.expires_at),
            by_meaning: head.by_meaning,
        })
    }
}
