//! Text into words: what they mean when their form is set aside.
//!
//! A word carries a *key*, by which words of equal meaning are equal: `1,000`, `1000` and `one thousand` share one,
//! and so do `run` and `running`. Keys are small integers handed out by [`Keys`], so that all later work compares
//! integers only.

use super::lists;
use super::numbers;
use super::stem::stem;
use std::collections::HashMap;
use std::ops::Range;

/// A word of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    /// Bytes in the text.
    pub(crate) range: Range<usize>,
    /// Lower-case form, as a key.
    pub(crate) form: u32,
    /// Stem, or number, as a key.
    pub(crate) key: u32,
    /// What sort of word.
    pub(crate) sort: Sort,
    /// Whether it is written with a capital (and not merely because a sentence starts there).
    pub(crate) capital: bool,
}

/// What sort of word, which decides how much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sort {
    /// Holds sentences together: `the`, `of`, `is`.
    Function,
    /// Carries meaning.
    Content,
    /// Carries a name.
    Name,
    /// Carries a number.
    Number,
    /// Carries a time of day or a calendar word (a month, a weekday).
    Date,
}

/// Hands out a number for each distinct spelling.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_text: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Keys {
    /// The key of a spelling; equal spellings have equal keys.
    pub(crate) fn of(&mut self, text: &str) -> u32 {
        if let Some(key) = self.by_text.get(text) {
            return *key;
        }
        let key = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.by_text.insert(text.to_owned(), key);
        self.texts.push(text.to_owned());
        key
    }

    /// The spelling behind a key.
    pub(crate) fn text(&self, key: u32) -> &str {
        self.texts.get(key as usize).map_or("", String::as_str)
    }
}

/// How a text is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    /// Break `OutdoorSeating` into two words, as in the keys of structured data.
    pub(crate) camel: bool,
}

/// The words of `text[within]`, in order. Ranges are bytes of the whole text and lie on character boundaries.
pub(crate) fn words(text: &str, within: Range<usize>, reading: Reading, keys: &mut Keys) -> Vec<Word> {
    let Some(part) = text.get(within.clone()) else { return Vec::new() };
    let mut raw = spans(part, reading);
    for range in &mut raw {
        range.start += within.start;
        range.end += within.start;
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut lower = String::new();
    let mut index = 0;
    while let Some(range) = raw.get(index) {
        let slice = &text[range.clone()];
        lower.clear();
        lower.extend(
            slice.chars().flat_map(char::to_lowercase).map(|c| if c == '\u{2019}' { '\'' } else { c }),
        );
        let form = keys.of(&lower);
        if let Some(number) = numbers::read(text, &raw[index..]) {
            let last = index + number.words - 1;
            let range = range.start..raw[last].end;
            let sort = if number.is_time { Sort::Date } else { Sort::Number };
            out.push(Word { range, form, key: keys.of(&number.key), sort, capital: false });
            index = last + 1;
            continue;
        }
        let capital = slice.chars().next().is_some_and(char::is_uppercase);
        let bare = lower.strip_suffix("'s").unwrap_or(&lower);
        let sort = if lists::is_function(&lower) || lower.chars().all(|c| c == '\'') {
            Sort::Function
        } else if lists::is_calendar(bare) {
            Sort::Date
        } else {
            Sort::Content
        };
        let key = if sort == Sort::Content { keys.of(&stem(bare)) } else { keys.of(bare) };
        out.push(Word { range: range.clone(), form, key, sort, capital });
        index += 1;
    }
    mark_names(text, within.start, &mut out);
    out
}

/// A capitalised content word is a name, unless the sentence merely starts with it. A word in capitals throughout, or
/// with a capital inside, is a name wherever it stands.
fn mark_names(text: &str, start: usize, words: &mut [Word]) {
    let shouting = words.iter().filter(|w| w.capital).count() * 10 > words.len() * 8 && words.len() > 5;
    for index in 0..words.len() {
        if !words[index].capital || words[index].sort != Sort::Content {
            continue;
        }
        let from = if index == 0 { start } else { words[index - 1].range.end };
        let between = text.get(from..words[index].range.start).unwrap_or("");
        let opens =
            index == 0 || between.contains(['.', '!', '?', ':', '\n', '"', '\u{201c}', '|', '*', '\u{2022}']);
        let slice = &text[words[index].range.clone()];
        let inner = slice.chars().skip(1).any(char::is_uppercase) && !shouting;
        let followed = words.get(index + 1).is_some_and(|next| {
            next.capital
                && next.sort == Sort::Content
                && text.get(words[index].range.end..next.range.start) == Some(" ")
        });
        if inner || (!shouting && (!opens || followed)) {
            words[index].sort = Sort::Name;
        } else {
            words[index].capital = false;
        }
    }
}

/// Runs of letters and digits. `3.5`, `1,000`, `12:30` and `don't` are one run each; an ideograph is one by itself.
fn spans(text: &str, reading: Reading) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::with_capacity(text.len() / 5);
    let mut open: Option<usize> = None;
    let mut before = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, c)| *c);
        let inside = c.is_alphanumeric() || is_joiner(before, c, next);
        let breaks = is_ideograph(c)
            || is_ideograph(before)
            || (reading.camel && before.is_lowercase() && c.is_uppercase())
            || (before.is_ascii_digit() && c.is_alphabetic() && !is_ordinal_tail(&text[at..]));
        if let Some(start) = open
            && (!inside || breaks)
        {
            out.push(start..at);
            open = None;
        }
        if inside && open.is_none() {
            open = Some(at);
        }
        before = c;
    }
    if let Some(start) = open {
        out.push(start..text.len());
    }
    out
}

fn is_joiner(before: char, c: char, next: char) -> bool {
    match c {
        '.' | ',' | ':' => before.is_ascii_digit() && next.is_ascii_digit(),
        '\'' | '\u{2019}' => before.is_alphabetic() && next.is_alphabetic(),
        _ => false,
    }
}

fn is_ordinal_tail(rest: &str) -> bool {
    let tail: String =
        rest.chars().take_while(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    matches!(tail.as_str(), "st" | "nd" | "rd" | "th" | "s")
}

fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c), 0x2E80..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}
