//! Answers that were given before: the same request again, or one that means the same.
//!
//! - [`Question`]: what a request asks, read from its body: whether its answer may be given again at all, the key of the exact same
//!   request, and the partition within which another may mean the same.
//! - [`Control`]: what a caller's headers say of the cache.
//! - [`AnswerCache`]: the answers, by tenant first; [`AnswerCache::ask`] before a model is called, [`Lead::keep`] after.
//! - [`Facts`]: what two questions have to agree in beside their vectors.
//! - [`fit`]: the threshold, from pairs of questions of which it is known whether they mean the same.
//!
//! Isolation is a matter of structure first: a tenant's answers lie in a map of its own, so no hash and no similarity can lead from
//! one tenant's request to another's answer. Partitions within a tenant are SHA-256 of everything that decides an answer but the
//! last question.

mod answer;
mod canonical;
mod control;
mod entry;
mod facts;
pub mod fit;
mod flight;
mod index;
mod question;
mod shared;
mod shelf;
mod store;
#[cfg(test)]
mod testing;

pub use answer::{Keepable, keepable};
pub use control::{Control, InvalidControl, Mode};
pub use entry::{Answer, Entry};
pub use facts::{Facts, Veto};
pub use index::Vector;
pub use question::{Bypass, ExactKey, Partition, Place, Protocol, Question};
pub use shared::{SharedOptions, Worker};
pub use store::{
    AnswerCache, Asked, CacheOptions, CacheUse, Embed, EmbedError, Hit, Lead, Reach, Scope, ShelfUse, Status,
};
