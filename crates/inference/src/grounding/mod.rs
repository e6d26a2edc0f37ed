//! Does the context support the answer? The grounding detector.
//!
//! The answer is split into claims; for each the closest text of the context is found and compared word by word: names,
//! numbers, negation, order. A small trained head turns the comparison into a probability for each claim and, from all
//! of them, for the answer. Everything up to here is the lexical stage, and takes milliseconds. With an embedder, the
//! full stage adds how close in meaning the two are.

mod answer;
mod citations;
mod detector;
mod evidence;
mod features;
mod head;
mod json;
mod lists;
mod meaning;
mod numbers;
mod pairing;
mod split;
mod stem;
#[cfg(test)]
mod tests;
mod types;
mod words;

pub use detector::{Detector, DetectorOptions, Features, ModelFault};
pub use pairing::Pair;
pub use types::{Assessment, Claim, ClaimKind, Evidence, Passage, Reason, Stage, Subject};
