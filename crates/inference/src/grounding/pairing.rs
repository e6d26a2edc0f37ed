//! What a cross-encoder is trained to read: each claim beside the text of the context that says most about it.
//!
//! Reading pairs costs time by the token, so an answer has a budget. It goes to the claims that words alone find riskiest;
//! the fewer there are, the more of the context each of them gets.

use super::evidence::{Index, float};
use super::features::Comparison;
use super::split::Piece;
use super::types::Passage;
use super::words::Word;
use std::collections::HashSet;
use std::ops::Range;

/// A claim longer than this is read by its beginning.
const CLAIM_BYTES: usize = 400;
/// Evidence for one claim, at least and at most.
const EVIDENCE_BYTES: Range<usize> = 160..480;
/// All pairs of an answer: about 700 tokens, or four times the answer, whichever is more; and never more than this.
const LEAST_BUDGET: usize = 3_000;
const BUDGET_PER_BYTE: usize = 4;
const MOST_BUDGET: usize = 48_000;

/// A claim beside its evidence, as text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pair {
    /// The claim, with the head of its column or the key of its field.
    pub claim: String,
    /// Parts of the context, in its order.
    pub evidence: String,
}

/// A claim that may be paired.
pub(crate) struct Candidate<'a> {
    pub(crate) piece: &'a Piece,
    pub(crate) words: &'a [Word],
    pub(crate) found: &'a Comparison,
    /// How risky words alone find it.
    pub(crate) risk: f64,
}

/// The pairs of an answer, one for each candidate; `None` for those that the budget leaves out.
pub(crate) fn pairs(
    answer: &str,
    context: &[Passage<'_>],
    index: &Index,
    candidates: &[Candidate<'_>],
) -> Vec<Option<Pair>> {
    let budget = (answer.len() * BUDGET_PER_BYTE).clamp(LEAST_BUDGET, MOST_BUDGET);
    let mut order: Vec<(usize, &Candidate<'_>, String)> = candidates
        .iter()
        .enumerate()
        .map(|(at, candidate)| (at, candidate, framed(answer, candidate.piece)))
        .collect();
    order.sort_by(|a, b| b.1.risk.total_cmp(&a.1.risk));
    let mut used = 0;
    order.retain(|(_, _, claim)| {
        let cost = claim.len() + EVIDENCE_BYTES.start;
        let fits = used + cost <= budget;
        used += if fits { cost } else { 0 };
        fits
    });
    let spare = (budget - used) / order.len().max(1);
    let room = (EVIDENCE_BYTES.start + spare).min(EVIDENCE_BYTES.end);
    let mut out: Vec<Option<Pair>> = candidates.iter().map(|_| None).collect();
    for (at, candidate, claim) in order {
        out[at] = Some(Pair { claim, evidence: evidence(candidate, context, index, room) });
    }
    out
}

/// The text of a claim, after the heads and keys that it is read with.
fn framed(text: &str, piece: &Piece) -> String {
    let mut out = String::new();
    if piece.kind == super::ClaimKind::TableCell {
        push_frame(text, &piece.frame, piece.keyed, &mut out);
    }
    push_cut(&text[piece.range.clone()], CLAIM_BYTES, &mut out);
    out
}

fn push_frame(text: &str, frame: &[Range<usize>], keyed: bool, out: &mut String) {
    for part in frame {
        let mut lower = false;
        for c in text.get(part.clone()).unwrap_or_default().chars() {
            if keyed && lower && c.is_uppercase() {
                out.push(' ');
            }
            lower = c.is_lowercase();
            out.push(c);
        }
        out.push_str(": ");
    }
}

/// Adds as much of a text as fits in so many bytes, on one line.
fn push_cut(text: &str, most: usize, out: &mut String) {
    let end = text.floor_char_boundary(most.min(text.len()));
    out.extend(text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }));
}

/// The units that say most about a claim, in the order of the context, in at most so many bytes (and a few for joints).
fn evidence(candidate: &Candidate<'_>, context: &[Passage<'_>], index: &Index, room: usize) -> String {
    let mut parts: Vec<(usize, String)> = Vec::new();
    let mut left = room;
    let keys: HashSet<u32> = candidate.words.iter().map(|word| word.key).collect();
    let chosen = &candidate.found.chosen;
    // A context that shares no word with the claim is read from its beginning.
    let beginning = if chosen.is_empty() { 0..4 } else { 0..0 };
    for unit in chosen.iter().copied().chain(beginning) {
        if left < 24 || parts.iter().any(|(known, _)| *known == unit) {
            continue;
        }
        let Some(text) = unit_text(unit, &keys, context, index, left) else { continue };
        left -= text.len().min(left);
        parts.push((unit, text));
    }
    parts.sort_by_key(|(unit, _)| *unit);
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
}

/// A unit with its keys; of one that is too long, the part that shares most words with the claim.
fn unit_text(
    unit: usize,
    keys: &HashSet<u32>,
    context: &[Passage<'_>],
    index: &Index,
    most: usize,
) -> Option<String> {
    let unit = index.units.get(unit)?;
    let text = context.get(unit.passage)?.text;
    let mut out = String::new();
    push_frame(text, &unit.frame, unit.keyed, &mut out);
    let range = unit.range.clone();
    if range.len() <= most {
        push_cut(text.get(range)?, most, &mut out);
        return Some(out);
    }
    let words = index.stream.get(unit.at.clone())?;
    let words: Vec<&Word> = words.iter().filter(|word| word.range.start >= range.start).collect();
    let (mut from, mut best) = (range.start, 0.0);
    let (mut shared, mut last) = (0, 0);
    for first in 0..words.len() {
        let start = words[first].range.start;
        while words.get(last).is_some_and(|word| word.range.end <= start + most) {
            shared += usize::from(keys.contains(&words[last].key));
            last += 1;
        }
        if float(shared) > best {
            (from, best) = (start, float(shared));
        }
        shared -= usize::from(last > first && keys.contains(&words[first].key));
        last = last.max(first + 1);
    }
    push_cut(text.get(from..range.end)?, most, &mut out);
    Some(out)
}
