//! Words, numbers and names of a text, cut to what may be read of it.

use std::collections::HashSet;

/// Bytes of a context that are read.
pub(crate) const MOST_CONTEXT: usize = 256 * 1024;
/// Bytes of an answer that are read.
pub(crate) const MOST_ANSWER: usize = 32 * 1024;

/// The beginning of a text, at most so many bytes, cut between characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// A text's words, lower-cased, in order.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Letters and digits; a number has its thousands put together (`1,200` is `1200`).
    pub(crate) all: Vec<String>,
    /// Indices of those that have a digit.
    pub(crate) numbers: Vec<usize>,
    /// Indices of those that begin with a capital where no sentence begins.
    pub(crate) names: Vec<usize>,
}

impl Words {
    pub(crate) fn of(text: &str) -> Self {
        let mut words = Self::default();
        let mut at_start = true;
        let mut chars = text.char_indices().peekable();
        while let Some((start, first)) = chars.next() {
            if !first.is_alphanumeric() {
                at_start = at_start && first.is_whitespace()
                    || matches!(first, '.' | '!' | '?' | ':' | '\n' | '*' | '#' | '"' | '|');
                continue;
            }
            let mut end = start + first.len_utf8();
            while let Some((at, next)) = chars.peek().copied() {
                let joins = matches!(next, ',' | '.') && digits_around(text, at);
                if !next.is_alphanumeric() && !joins {
                    break;
                }
                end = at + next.len_utf8();
                chars.next();
            }
            words.push(&text[start..end], first, at_start);
            at_start = false;
        }
        words
    }

    fn push(&mut self, word: &str, first: char, at_start: bool) {
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        if has_digit {
            self.numbers.push(self.all.len());
        } else if first.is_uppercase() && !at_start {
            self.names.push(self.all.len());
        }
        let mut lower = word.to_lowercase();
        if has_digit {
            lower.retain(|c| c != ',');
        }
        self.all.push(lower);
    }

    pub(crate) fn set(&self) -> HashSet<&str> {
        self.all.iter().map(String::as_str).collect()
    }

    pub(crate) fn number_set(&self) -> HashSet<&str> {
        self.numbers.iter().map(|at| self.all[*at].as_str()).collect()
    }

    pub(crate) fn pairs(&self) -> HashSet<(&str, &str)> {
        self.all.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect()
    }
}

/// Whether the point or comma at `at` stands between two digits.
fn digits_around(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    at > 0 && digit(at - 1) && digit(at + 1)
}

/// Share of `count` in `all`; 1 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of words, far below 2^53")]
pub(crate) fn share(count: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { count as f64 / all as f64 }
}

/// A length as a number of 0 to 1: `ln(1 + words) / ln(1 + most)`.
#[expect(clippy::cast_precision_loss, reason = "counts of words, far below 2^53")]
pub(crate) fn length(words: usize, most: usize) -> f64 {
    ((words as f64).ln_1p() / (most as f64).ln_1p()).min(1.0)
}

/// Harmonic mean of the shares that two bags of words have of each other: 1 where both are the same, 0 where nothing is shared.
pub(crate) fn overlap(one: &Words, other: &Words) -> f64 {
    if one.all.is_empty() || other.all.is_empty() {
        return if one.all.is_empty() && other.all.is_empty() { 1.0 } else { 0.0 };
    }
    let mut counts = std::collections::HashMap::<&str, usize>::new();
    for word in &other.all {
        *counts.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for word in &one.all {
        if let Some(left) = counts.get_mut(word.as_str()).filter(|left| **left > 0) {
            *left -= 1;
            common += 1;
        }
    }
    share(2 * common, one.all.len() + other.all.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_keep_their_points_and_names_are_not_sentence_starts() {
        let words = Words::of("The fee is 1,200.50 USD. Paid to Ann Lee in 2024, twice.");
        assert_eq!(words.number_set(), HashSet::from(["1200.50", "2024"]));
        let names: Vec<&str> = words.names.iter().map(|at| words.all[*at].as_str()).collect();
        assert_eq!(names, ["usd", "ann", "lee"]);
    }

    #[test]
    fn overlap_counts_words_as_often_as_they_come() {
        assert!((overlap(&Words::of("a b b"), &Words::of("b a b")) - 1.0).abs() < 1e-12);
        assert!((overlap(&Words::of("a a"), &Words::of("a b")) - 0.5).abs() < 1e-12);
        assert!(overlap(&Words::of(""), &Words::of("a")).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "\\PC{0,200}", most in 0_usize..64) {
            let cut = cut(&text, most);
            prop_assert!(cut.len() <= most);
            let words = Words::of(&text);
            prop_assert!(words.numbers.iter().chain(&words.names).all(|at| *at < words.all.len()));
            prop_assert!((overlap(&words, &words) - 1.0).abs() < 1e-12);
        }
    }
}
