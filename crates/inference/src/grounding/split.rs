//! Text into pieces that can be true or false by themselves: sentences, list items, table cells, fields of JSON.
//!
//! The same splitter reads answers and contexts, so that a table's cell meets its like. Pieces are in order, do not
//! overlap, and lie on character boundaries; any text is accepted.

use super::json;
use super::types::ClaimKind;
use std::ops::Range;

/// A sentence, an item, a cell or a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    /// Bytes in the text.
    pub(crate) range: Range<usize>,
    /// What it stands in.
    pub(crate) kind: ClaimKind,
    /// Bytes elsewhere in the text that it is read with: the head of its column, the key of its field.
    pub(crate) frame: Vec<Range<usize>>,
    /// Whether the frame holds keys of structured data, which are written `LikeThis`.
    pub(crate) keyed: bool,
}

/// No piece is longer than this many bytes: text without sentence ends is cut at the next space.
const LONGEST: usize = 1_000;

/// Words that end in a full stop without ending a sentence.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "inc", "ltd", "co", "corp", "no", "gen",
    "col", "lt", "sgt", "rep", "sen", "gov", "rev", "hon", "e.g", "i.e", "u.s", "u.k", "u.n", "a.m", "p.m",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "fig", "approx",
    "dept", "est", "al", "ft", "mt", "cf",
];

/// Splits a text. Headings and lead-ins (`Features:`) are left out unless there is nothing else.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    if json::looks_like(text) {
        let found = json::pieces(text);
        if !found.is_empty() {
            return found;
        }
    }
    let mut out = Vec::new();
    let mut headings = Vec::new();
    let mut table: Option<Table> = None;
    for line in lines(text) {
        if let Some(cells) = table_cells(text, &line) {
            match &mut table {
                Some(open) => open.row(text, &cells, &mut out),
                None => table = Some(Table::open(cells, &mut out)),
            }
            continue;
        }
        table = None;
        let (body, kind) = item(text, &line);
        if body.is_empty() {
            continue;
        }
        let into = if is_heading(&text[body.clone()]) { &mut headings } else { &mut out };
        sentences(text, &body, |range| into.push(Piece { range, kind, frame: Vec::new(), keyed: false }));
    }
    if out.is_empty() { headings } else { out }
}

/// A table that is being read.
struct Table {
    head: Vec<Range<usize>>,
    /// Whether the line under the head was seen: without one, the first row is data like the others.
    ruled: bool,
    first_row_at: usize,
}

impl Table {
    fn open(cells: Vec<Range<usize>>, out: &mut Vec<Piece>) -> Self {
        let first_row_at = out.len();
        push_row(&[], &cells, out);
        Self { head: cells, ruled: false, first_row_at }
    }

    fn row(&mut self, text: &str, cells: &[Range<usize>], out: &mut Vec<Piece>) {
        let is_rule =
            cells.iter().all(|cell| text[cell.clone()].chars().all(|c| matches!(c, '-' | ':' | '=' | ' ')));
        if is_rule {
            if !self.ruled {
                out.truncate(self.first_row_at);
                self.ruled = true;
            }
            return;
        }
        push_row(if self.ruled { &self.head } else { &[] }, cells, out);
    }
}

/// A cell is read with its column's head and its row's first cell.
fn push_row(head: &[Range<usize>], cells: &[Range<usize>], out: &mut Vec<Piece>) {
    for (column, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        let mut frame: Vec<_> = head.get(column).cloned().into_iter().collect();
        if column > 0 {
            frame.extend(cells.first().cloned());
        }
        out.push(Piece { range: cell.clone(), kind: ClaimKind::TableCell, frame, keyed: false });
    }
}

/// The cells of a line that is a row of a Markdown table.
fn table_cells(text: &str, line: &Range<usize>) -> Option<Vec<Range<usize>>> {
    let row = text[line.clone()].trim();
    if !row.starts_with('|') || row.len() < 3 || row[1..].find('|').is_none() {
        return None;
    }
    let inner = trimmed(text, line);
    let mut cells = Vec::new();
    let mut start = inner.start + 1;
    for (at, _) in text[start..inner.end].match_indices('|') {
        let end = inner.start + 1 + at;
        cells.push(trimmed(text, &(start..end)));
        start = end + 1;
    }
    if start < inner.end {
        cells.push(trimmed(text, &(start..inner.end)));
    }
    Some(cells)
}

fn lines(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    let breaks = text.char_indices().filter(|(_, c)| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}'));
    let ends = breaks.map(|(at, c)| (at, at + c.len_utf8())).chain(std::iter::once((text.len(), text.len())));
    ends.filter_map(move |(end, next)| {
        let line = start..end;
        start = next;
        let line = trimmed(text, &line);
        (!line.is_empty()).then_some(line)
    })
}

/// Takes a list marker off; says what the line is.
fn item(text: &str, line: &Range<usize>) -> (Range<usize>, ClaimKind) {
    let body = &text[line.clone()];
    if let Some(rest) = body.strip_prefix(['-', '*', '+', '\u{2022}', '\u{25aa}', '\u{2013}'])
        && rest.starts_with([' ', '\t'])
    {
        return (trimmed(text, &(line.end - rest.len()..line.end)), ClaimKind::ListItem);
    }
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=3).contains(&digits)
        && let Some(rest) = body[digits..].strip_prefix(['.', ')'])
        && rest.starts_with([' ', '\t'])
    {
        return (trimmed(text, &(line.end - rest.len()..line.end)), ClaimKind::ListItem);
    }
    (line.clone(), ClaimKind::Sentence)
}

fn is_heading(line: &str) -> bool {
    let bare = line.trim_matches(['*', '_', ' ']);
    let few = bare.split_whitespace().take(13).count() < 13;
    line.starts_with('#')
        || line.starts_with("```")
        || !line.contains(char::is_alphanumeric)
        || (few && bare.ends_with(':'))
        || (few
            && line.starts_with("**")
            && line.ends_with("**")
            && line.len() > 4
            && !line[2..line.len() - 2].contains("**"))
}

/// Calls back with each sentence of `text[within]`.
pub(crate) fn sentences(text: &str, within: &Range<usize>, mut found: impl FnMut(Range<usize>)) {
    let part = &text[within.clone()];
    let mut emit = |start: usize, end: usize| {
        let range = trimmed(text, &(within.start + start..within.start + end));
        if text[range.clone()].contains(char::is_alphanumeric) {
            found(range);
        }
    };
    let mut start = 0;
    let mut before = ' ';
    let mut chars = part.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let mut end = at + c.len_utf8();
        let overlong = end - start > LONGEST && (c.is_whitespace() || end - start > 4 * LONGEST);
        let ends = match c {
            '\u{3002}' | '\u{ff01}' | '\u{ff1f}' | '\u{61f}' | '\u{6d4}' | '\u{964}' => true,
            '.' | '!' | '?' => {
                while let Some((at, c)) = chars.next_if(|(_, c)| {
                    matches!(c, '.' | '!' | '?' | '"' | '\'' | ')' | ']' | '\u{201d}' | '\u{2019}' | '*')
                }) {
                    end = at + c.len_utf8();
                }
                ends_here(&part[start..at], c, before, &part[end..])
            }
            _ => false,
        };
        if ends || overlong {
            emit(start, end);
            start = end;
        }
        before = c;
    }
    emit(start, part.len());
}

/// Whether a full stop, question or exclamation mark ends the sentence that stands before it.
fn ends_here(sentence: &str, mark: char, before: char, rest: &str) -> bool {
    let Some(next) = rest.chars().next() else { return true };
    if !next.is_whitespace() {
        return false;
    }
    if before.is_whitespace() || mark != '.' {
        return true;
    }
    if rest.trim_start().starts_with(char::is_lowercase) {
        return false;
    }
    let word = sentence.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("");
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    !initial && !ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// The range without the white space at its ends.
pub(crate) fn trimmed(text: &str, range: &Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..(start + part.trim().len())
}
