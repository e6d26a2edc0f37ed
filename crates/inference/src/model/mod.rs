//! Transformer encoders of the BERT family, from tokens to one vector a token.
//!
//! Two implementations of the same arithmetic: [`fused`], which the CPU runs, and [`reference`] over candle's tensors, which a
//! GPU runs and which the tests hold the first against.

mod attention;
mod config;
mod fused;
mod gemm;
mod math;
mod reference;
mod rows;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use config::Shape;
pub(crate) use fused::{Fused, Scratch};
pub(crate) use reference::Reference;
pub(crate) use weights::Weights;

/// Sequences of tokens laid end to end, without padding.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    /// Token ids of all sequences.
    pub(crate) ids: Vec<u32>,
    /// Which segment each token is of.
    pub(crate) types: Vec<u32>,
    /// Tokens of each sequence.
    pub(crate) lengths: Vec<usize>,
}

impl Batch {
    /// Adds a sequence.
    pub(crate) fn push(&mut self, ids: &[u32], types: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.types.extend_from_slice(types);
        self.lengths.push(ids.len());
    }
}
