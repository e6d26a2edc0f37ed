//! Citations in an answer: `[2]`, `[1, 3]`, `[doc-7]`, `【4】`, `(passage 2)`. They name passages and claim nothing themselves.

use super::types::Passage;
use std::ops::Range;

/// A citation, with the passages that it names.
#[derive(Debug, PartialEq)]
pub(crate) struct Citation {
    /// Bytes in the answer, brackets included.
    pub(crate) range: Range<usize>,
    /// Indices of passages; `None` stands for a name that no passage bears.
    pub(crate) passages: Vec<Option<usize>>,
}

/// Longest text between brackets that is looked at.
const LONGEST: usize = 80;

/// Finds the citations of an answer.
pub(crate) fn citations(answer: &str, context: &[Passage<'_>]) -> Vec<Citation> {
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(open) = answer[from..].find(['[', '(', '\u{3010}']).map(|at| from + at) {
        let Some(bracket) = answer[open..].chars().next() else { break };
        let inner = open + bracket.len_utf8();
        let close = match bracket {
            '[' => ']',
            '(' => ')',
            _ => '\u{3011}',
        };
        from = inner;
        let Some(end) = answer[inner..]
            .char_indices()
            .take_while(|(at, _)| *at <= LONGEST)
            .find(|(_, c)| *c == close)
            .map(|(at, _)| inner + at)
        else {
            continue;
        };
        if let Some(passages) = named(&answer[inner..end], bracket == '(', context) {
            from = end + close.len_utf8();
            out.push(Citation { range: open..from, passages });
        }
    }
    out
}

/// The passages that the text between brackets names; `None` when it is no citation.
fn named(inner: &str, round: bool, context: &[Passage<'_>]) -> Option<Vec<Option<usize>>> {
    let mut passages = Vec::new();
    for part in inner.split([',', ';', '&']) {
        let part = part.trim();
        if part.is_empty() {
            return None;
        }
        if let Some(at) = context.iter().position(|p| !p.id.is_empty() && p.id == part) {
            passages.push(Some(at));
            continue;
        }
        let lower = part.to_lowercase();
        let bare = ["passage", "document", "source", "context", "doc", "ref", "^"].iter().find_map(|word| {
            lower.strip_prefix(word).map(|rest| rest.trim_matches([' ', '#', ':', '_', '-']))
        });
        // In round brackets a bare number is a year or a count.
        let number = match bare {
            Some(rest) => rest,
            None if round => return None,
            None => lower.as_str(),
        };
        let number: usize = number.parse().ok().filter(|n| *n < 1_000)?;
        passages.push(number.checked_sub(1).filter(|at| *at < context.len()));
    }
    Some(passages)
}
