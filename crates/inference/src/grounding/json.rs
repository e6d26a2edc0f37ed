//! The fields of a JSON text, each with the keys that lead to it. Tolerant: half a document gives half its fields.

use super::split::{Piece, sentences, trimmed};
use super::types::ClaimKind;
use std::ops::Range;

/// Keys deeper than this are not remembered.
const DEEPEST: usize = 64;

/// Whether a text is worth reading as JSON (or as Python's way of printing the same).
pub(crate) fn looks_like(text: &str) -> bool {
    let start = text.trim_start();
    let mut rest = start.chars();
    match rest.next() {
        Some('{') => matches!(rest.as_str().trim_start().chars().next(), Some('"' | '\'')),
        Some('[') => matches!(rest.as_str().trim_start().chars().next(), Some('{' | '[' | '"')),
        _ => false,
    }
}

/// The values of the document, in order. Long strings are given sentence by sentence.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut path: Vec<Option<Range<usize>>> = Vec::new();
    let mut key: Option<Range<usize>> = None;
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if path.len() < DEEPEST {
                    path.push(key.take());
                }
                at += 1;
            }
            b'}' | b']' => {
                path.pop();
                key = None;
                at += 1;
            }
            b'"' | b'\'' => {
                let end = string_end(bytes, at);
                let inner = at + 1..end.saturating_sub(1).max(at + 1);
                let after =
                    bytes[end..].iter().position(|b| !b.is_ascii_whitespace()).map(|skip| bytes[end + skip]);
                if after == Some(b':') {
                    key = Some(inner);
                } else {
                    push(text, inner, key.as_ref(), &path, &mut out);
                    key = None;
                }
                at = end;
            }
            b':' | b',' => at += 1,
            b if b.is_ascii_whitespace() => at += 1,
            _ => {
                let len = bytes[at..]
                    .iter()
                    .position(|b| matches!(b, b',' | b'}' | b']' | b'\n'))
                    .unwrap_or(bytes.len() - at);
                push(text, at..at + len.max(1), key.as_ref(), &path, &mut out);
                key = None;
                at += len.max(1);
            }
        }
    }
    out
}

fn push(
    text: &str,
    value: Range<usize>,
    key: Option<&Range<usize>>,
    path: &[Option<Range<usize>>],
    out: &mut Vec<Piece>,
) {
    if text.get(value.clone()).is_none() {
        return;
    }
    let value = trimmed(text, &value);
    if value.is_empty() {
        return;
    }
    let frame: Vec<_> = path.iter().flatten().chain(key).rev().take(3).cloned().collect();
    let piece = |range| Piece { range, kind: ClaimKind::TableCell, frame: frame.clone(), keyed: true };
    if value.len() > 80 {
        sentences(text, &value, |range| out.push(piece(range)));
    } else {
        out.push(piece(value));
    }
}

/// Just behind the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b if *b == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
