//! What goes into the detector and what comes out. All of it is serialisable: a verdict keeps the assessment as it is.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// An answer and what it was given to answer from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The question or instruction, when known. Its words count as known, not as claims.
    pub question: Option<&'a str>,
    /// The passages that the answer may rest on, in the order in which the model saw them.
    pub context: &'a [Passage<'a>],
    /// The answer.
    pub answer: &'a str,
}

/// One retrieved document, table, or message.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'a> {
    /// What the answer's citations may call it; may be empty. The passage's number, counted from 1, works as well.
    pub id: &'a str,
    /// Its text: prose, Markdown, JSON, or a table.
    pub text: &'a str,
}

/// What the detector found out about one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The answer's claims, in order; empty for an answer that claims nothing.
    pub claims: Vec<Claim>,
    /// Share of the claims whose support is at least one half, 0 to 1; 1 for an answer that claims nothing.
    pub coverage: f64,
    /// Calibrated probability that the answer contains something that the context does not support, 0 to 1.
    pub hallucination: f64,
    /// Share of the answer's citations that name a passage which supports the claim they stand in; absent without
    /// citations.
    pub citation_validity: Option<f64>,
    /// How far the detector went.
    pub stage: Stage,
    /// Version of the features and weights; results of different versions are not comparable.
    pub version: Cow<'static, str>,
}

/// How far the detector went before it was done or ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Words, numbers, names and their order.
    Lexical,
    /// The same and the embedder's view of meaning.
    Full,
}

/// A part of the answer that is either supported or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Bytes in the answer.
    pub range: Range<usize>,
    /// What kind of text it stands in, or what kind of detail it is.
    pub kind: ClaimKind,
    /// Probability that the context supports it, 0 to 1.
    pub support: f64,
    /// What speaks against it, when support is below one half.
    pub reason: Option<Reason>,
    /// Where in the context the closest text stands; absent when nothing resembles the claim.
    pub evidence: Option<Evidence>,
}

/// What a claim is. Numbers, dates and names are details of the sentence, item or cell before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// A sentence of running text.
    Sentence,
    /// One item of a list.
    ListItem,
    /// One cell of a table, read together with the head of its column and the first cell of its row.
    TableCell,
    /// A number, an amount or a quantity within a claim.
    Number,
    /// A date or a time within a claim.
    Date,
    /// A name within a claim.
    Name,
}

impl ClaimKind {
    /// Whether the claim is a detail of the claim before it.
    pub fn is_detail(self) -> bool {
        matches!(self, Self::Number | Self::Date | Self::Name)
    }
}

/// What speaks against a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It names something that the context does not name.
    UnsupportedEntity,
    /// Its evidence gives another number, date or amount, or none.
    NumberMismatch,
    /// It denies what its evidence says, or the other way round.
    Negation,
    /// Nothing in the context says it.
    NoEvidence,
}

/// The text of the context that comes closest to a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Index of the passage in [`Subject::context`].
    pub passage: usize,
    /// Bytes in the passage's text.
    pub range: Range<usize>,
    /// Share of the claim's weighted words that stand there, 0 to 1.
    pub score: f64,
}
