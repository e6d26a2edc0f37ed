//! Models that run on this machine: a sentence embedder and a grounding detector over it. Pure functions over text; nothing here
//! opens a connection.
//!
//! - [`models`]: where the weights lie.
//! - [`Embedder`]: vectors of sentences and of their tokens; [`ContentCache`] keeps what was computed from a text.
//! - [`grounding`]: which claims of an answer its context supports.

mod cache;
mod embedder;
mod error;
pub mod grounding;
mod model;
pub mod models;
#[cfg(test)]
mod testing;

pub use cache::{CacheUse, ContentCache, ContentKey};
pub use embedder::{Device, Embedder, EmbedderOptions, TokenEmbeddings};
pub use error::ModelError;
