//! Numbers and times of day, whatever their spelling: `1,000`, `1000`, `1k` and `one thousand`; `9 pm` and `21:00`.

use std::ops::Range;

/// A number that starts at the first of the words looked at.
#[derive(Debug, PartialEq)]
pub(crate) struct Reading {
    /// Equal for equal values.
    pub(crate) key: String,
    /// How many words it takes up, at least one.
    pub(crate) words: usize,
    /// Whether it is a time of day.
    pub(crate) is_time: bool,
}

/// Reads a number off the front of `spans`, which are words of `text`.
pub(crate) fn read(text: &str, spans: &[Range<usize>]) -> Option<Reading> {
    let first = text.get(spans.first()?.clone())?;
    if first.starts_with(|c: char| c.is_ascii_digit()) {
        digits(text, spans, first)
    } else {
        spelled(text, spans)
    }
}

fn digits(text: &str, spans: &[Range<usize>], first: &str) -> Option<Reading> {
    let mut words = 1;
    if let Some((hour, minute)) =
        first.split_once(':').and_then(|(h, m)| Some((h.parse::<u32>().ok()?, m.parse::<u32>().ok()?)))
        && hour < 25
        && minute < 60
    {
        let meridiem = half_of_day(text, spans, &mut words);
        return Some(time(hour, minute, meridiem, words));
    }
    let body = first.trim_end_matches(|c: char| c.is_alphabetic());
    let plain: String = body.chars().filter(|c| *c != ',').collect();
    let mut value: f64 = plain.parse().ok()?;
    if value.fract() == 0.0 && (1.0..=12.0).contains(&value) && body == first {
        let meridiem = half_of_day(text, spans, &mut words);
        if meridiem.is_some() {
            // In 1..=12, so that the cast is exact.
            return Some(time(small(value), 0, meridiem, words));
        }
    }
    value *= scale(text, spans, &mut words);
    Some(Reading { key: key(value), words, is_time: false })
}

fn spelled(text: &str, spans: &[Range<usize>]) -> Option<Reading> {
    let mut total = 0.0;
    let mut part = 0.0;
    let mut words = 0;
    let mut strong = false;
    for (index, span) in spans.iter().enumerate().take(8) {
        let word = text.get(span.clone())?.to_lowercase();
        if index > 0 && !joins(text, &spans[index - 1], span) {
            break;
        }
        if let Some(value) = unit(&word) {
            // `one` alone is mostly a pronoun.
            strong |= (value - 1.0).abs() > 0.5;
            part += value;
        } else if word == "hundred" && words > 0 {
            part *= 100.0;
        } else if let Some(factor) = factor(&word).filter(|_| words > 0) {
            total += part * factor;
            part = 0.0;
            strong = true;
        } else if word == "and"
            && words > 0
            && spans
                .get(index + 1)
                .and_then(|s| text.get(s.clone()))
                .is_some_and(|w| unit(&w.to_lowercase()).is_some())
            && total + part >= 100.0
        {
            continue;
        } else {
            break;
        }
        words = index + 1;
    }
    (words > 0 && (strong || words > 1)).then(|| Reading { key: key(total + part), words, is_time: false })
}

/// One key per value; six significant digits, so that rounding in a parse does not part equals.
fn key(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("#{value:.0}") } else { format!("#{value:.4}") }
}

fn time(hour: u32, minute: u32, meridiem: Option<bool>, words: usize) -> Reading {
    // Kept modulo twelve hours: `9 pm`, `21:00` and `9:00` of a table without am and pm agree.
    let _ = meridiem;
    Reading { key: format!("@{}", (hour % 12) * 60 + minute), words, is_time: true }
}

/// Whether `am` or `pm` follows; counts its words.
fn half_of_day(text: &str, spans: &[Range<usize>], words: &mut usize) -> Option<bool> {
    let next = text.get(spans.get(1)?.clone())?.to_lowercase();
    match next.as_str() {
        "am" | "pm" => {
            *words = 2;
            Some(next == "pm")
        }
        "a" | "p" => {
            let after = text.get(spans.get(2)?.clone())?;
            let dot = text.get(spans[1].end..spans[2].start)?;
            if after.eq_ignore_ascii_case("m") && dot == "." {
                *words = 3;
                return Some(next == "p");
            }
            None
        }
        _ => None,
    }
}

fn scale(text: &str, spans: &[Range<usize>], words: &mut usize) -> f64 {
    let Some(span) = spans.get(1) else { return 1.0 };
    let Some(word) = text.get(span.clone()) else { return 1.0 };
    if !joins(text, &spans[0], span) {
        return 1.0;
    }
    let glued = spans[0].end == span.start;
    let lower = word.to_lowercase();
    let factor = match lower.as_str() {
        "k" if glued => Some(1e3),
        "m" | "mn" if glued => Some(1e6),
        "b" if glued => Some(1e9),
        "bn" => Some(1e9),
        other => factor(other),
    };
    if factor.is_some() {
        *words = 2;
    }
    factor.unwrap_or(1.0)
}

fn joins(text: &str, a: &Range<usize>, b: &Range<usize>) -> bool {
    matches!(text.get(a.end..b.start), Some("" | " " | "-" | "\u{a0}"))
}

fn factor(word: &str) -> Option<f64> {
    Some(match word {
        "thousand" => 1e3,
        "million" | "millions" => 1e6,
        "billion" | "billions" => 1e9,
        "trillion" => 1e12,
        _ => return None,
    })
}

fn unit(word: &str) -> Option<f64> {
    const ONES: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    if let Some(at) = ONES.iter().position(|w| *w == word) {
        return u8::try_from(at).ok().map(f64::from);
    }
    if let Some(at) = TENS.iter().position(|w| *w == word) {
        return u8::try_from(at).ok().map(|t| f64::from(t) * 10.0 + 20.0);
    }
    match word {
        "dozen" => Some(12.0),
        "twice" => Some(2.0),
        _ => None,
    }
}

fn small(value: f64) -> u32 {
    (0..=12).find(|n| (f64::from(*n) - value).abs() < 0.5).unwrap_or(0)
}
