//! What a client is told, in a language that it understands.

use contracts::policy::InvalidPolicy;
use std::collections::BTreeMap;

/// What is said when a guardrail has no words of its own.
const PLAIN: &str = "This request cannot be answered: it is against the rule {rule}.";

/// Ranges of a header that are looked at.
const MOST_RANGES: usize = 16;

/// Texts by language tag in lower case.
#[derive(Debug)]
pub(crate) struct Refusals(BTreeMap<String, String>);

impl Refusals {
    pub(crate) fn new(texts: &BTreeMap<String, String>) -> Result<Self, InvalidPolicy> {
        let mut by_tag = BTreeMap::new();
        for (tag, text) in texts {
            if by_tag.insert(tag.to_ascii_lowercase(), text.clone()).is_some() {
                return Err(InvalidPolicy::new("refusals", tag, "each language once, whatever its case"));
            }
        }
        Ok(Self(by_tag))
    }

    /// The text for an `accept-language` header: lookup of RFC 4647, section 3.4, with `en` when nothing fits.
    pub(crate) fn text(&self, accept_language: Option<&str>, rule: &str) -> String {
        let wanted =
            accept_language.and_then(|header| ranges(header).into_iter().find_map(|tag| self.lookup(&tag)));
        wanted.or_else(|| self.lookup("en")).unwrap_or(PLAIN).replace("{rule}", rule)
    }

    /// `de-ch-1996`, then `de-ch`, then `de`.
    fn lookup(&self, mut tag: &str) -> Option<&str> {
        loop {
            if let Some(text) = self.0.get(tag) {
                return Some(text);
            }
            tag = tag.rsplit_once('-')?.0;
        }
    }
}

/// Language ranges in lower case, the most wanted first. `*` and what is not wanted are left out.
fn ranges(header: &str) -> Vec<String> {
    let mut ranges: Vec<(u32, String)> = Vec::new();
    for range in header.split(',').take(MOST_RANGES) {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1000, thousandths);
        if weight > 0 && !tag.is_empty() && tag != "*" {
            ranges.push((weight, tag));
        }
    }
    // Stable, so that of two that are wanted alike the first wins.
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    ranges.into_iter().map(|(_, tag)| tag).collect()
}

/// `0.5` as 500; 0 for what is no weight.
fn thousandths(weight: &str) -> u32 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = format!("{fraction:0<3}");
    match (whole, digits.get(..3).and_then(|digits| digits.parse::<u32>().ok())) {
        ("1", Some(_)) => 1000,
        ("0", Some(thousandths)) => thousandths,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_most_wanted_that_is_there() {
        let texts = [("en", "No: {rule}."), ("de", "Nein."), ("pt-BR", "Não."), ("zh-Hant", "不")];
        let refusals =
            Refusals::new(&texts.map(|(tag, text)| (tag.to_owned(), text.to_owned())).into()).unwrap();
        let cases = [
            (None, "No: r."),
            (Some("de-CH"), "Nein."),
            (Some("fr, de;q=0.3, en;q=0.8"), "No: r."),
            (Some("fr;q=0.9, DE;q=0.8, en;q=0.1"), "Nein."),
            (Some("pt"), "No: r."),
            (Some("pt-br"), "Não."),
            (Some("zh-Hant-TW, en"), "不"),
            (Some("de;q=0, *"), "No: r."),
            (Some(";;,,q=;-"), "No: r."),
        ];
        for (header, expected) in cases {
            assert_eq!(refusals.text(header, "r"), expected, "{header:?}");
        }
        assert!(Refusals::new(&BTreeMap::new()).unwrap().text(Some("de"), "cards").contains("rule cards"));
    }
}
