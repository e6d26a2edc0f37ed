//! Models that run on this machine: a sentence embedder and a grounding detector over it. Pure functions over text; nothing here
//! opens a connection.
//!
//! - [`models`]: where the weights lie.
//! - [`grounding`]: which claims of an answer its context supports.

mod error;
pub mod grounding;
pub mod models;

pub use error::ModelError;
