//! How far several samples of one answer agree.

use crate::facts::Request;
use crate::words::{MOST_ANSWER, Words, cut, overlap, share};
use serde_json::Value;

/// As far as two texts agree that need not be the same, by their index.
#[derive(Clone, Copy)]
pub enum Alike<'a> {
    /// As far as they have their words in common.
    Words,
    /// As far as this says, 0 to 1.
    Meaning(&'a dyn Fn(usize, usize) -> f64),
    /// Nobody knows.
    Unknown,
}

/// Whether samples agree only when they are the same, of which these are some: JSON was asked for, or they are at most eight words.
pub fn must_be_same(request: &Request<'_>, samples: &[&str]) -> bool {
    is_structured(request) || samples.iter().all(|sample| is_short(&Words::of(cut(sample, MOST_ANSWER))))
}

fn is_structured(request: &Request<'_>) -> bool {
    request.json || request.schema.is_some()
}

fn is_short(words: &Words) -> bool {
    words.all.len() <= 8
}

/// Agreement of samples, 0 to 1, and the one that agrees with most others (its index).
///
/// Structured answers (JSON was asked for, or all samples are at most eight words) agree when they are the same once
/// normalised: the share of the largest group, pairs counted. Texts agree as far as `alike` says; the mean over all pairs. `None` for
/// fewer than two samples, and for texts of which nobody knows how far they agree.
pub fn self_consistency(request: &Request<'_>, samples: &[&str], alike: Alike<'_>) -> Option<(f64, usize)> {
    if samples.len() < 2 {
        return None;
    }
    let words: Vec<Words> = samples.iter().map(|sample| Words::of(cut(sample, MOST_ANSWER))).collect();
    let same: Vec<String> = if is_structured(request) {
        samples.iter().map(|sample| canonical(sample)).collect()
    } else if words.iter().all(is_short) {
        words.iter().map(|words| words.all.join(" ")).collect()
    } else if matches!(alike, Alike::Unknown) {
        return None;
    } else {
        Vec::new()
    };
    let pair = |one: usize, other: usize| match (same.get(one).zip(same.get(other)), alike) {
        (Some((one, other)), _) => f64::from(u8::from(one == other)),
        (None, Alike::Meaning(alike)) => alike(one, other).clamp(0.0, 1.0),
        (None, Alike::Words | Alike::Unknown) => overlap(&words[one], &words[other]),
    };
    let mut support = vec![0.0; samples.len()];
    for one in 0..samples.len() {
        for other in one + 1..samples.len() {
            let agreement = pair(one, other);
            support[one] += agreement;
            support[other] += agreement;
        }
    }
    let others = samples.len() - 1;
    // The first of equals: it is the one that was asked for without any need of samples.
    let best = (0..samples.len()).rev().max_by(|a, b| support[*a].total_cmp(&support[*b]))?;
    let mean = support.iter().sum::<f64>() * share(1, samples.len() * others);
    Some((mean, best))
}

/// JSON with its keys sorted and without white space; other text as it is, trimmed.
fn canonical(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            value.sort_all_objects();
            value.to_string()
        }
        Err(_) => text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_samples_agree_when_they_are_the_same() {
        let json = Request { json: true, ..Request::default() };
        let samples = ["{\"a\":2,\"b\":1}", "{\"a\":1,\"b\":2}", "{ \"b\": 2, \"a\": 1 }"];
        assert!(must_be_same(&json, &samples[..1]) && must_be_same(&Request::default(), &["In Paris."]));
        let (agreement, best) = self_consistency(&json, &samples, Alike::Unknown).unwrap();
        assert!((agreement - 1.0 / 3.0).abs() < 1e-12, "{agreement}");
        assert_eq!(best, 1);
        let (agreement, best) =
            self_consistency(&Request::default(), &["In Paris.", "in paris"], Alike::Unknown).unwrap();
        assert!((agreement - 1.0).abs() < 1e-12);
        assert_eq!(best, 0);
    }

    #[test]
    fn texts_agree_by_their_words_or_by_meaning() {
        let one = "The bridge was opened to traffic in the spring of 1932.";
        let other = "The bridge was closed to traffic in the autumn of 1932.";
        let far = "Nobody knows who made the oldest map that is kept here today.";
        let (close, _) = self_consistency(&Request::default(), &[one, other], Alike::Words).unwrap();
        let (away, _) = self_consistency(&Request::default(), &[one, far], Alike::Words).unwrap();
        assert!(close > 0.7 && away < 0.3, "{close} {away}");
        let by_meaning = |_: usize, _: usize| 0.25;
        let (given, _) =
            self_consistency(&Request::default(), &[one, far], Alike::Meaning(&by_meaning)).unwrap();
        assert!((given - 0.25).abs() < 1e-12);
        assert_eq!(self_consistency(&Request::default(), &[one], Alike::Words), None);
        assert!(!must_be_same(&Request::default(), &[one]));
        assert_eq!(self_consistency(&Request::default(), &[one, other], Alike::Unknown), None);
    }
}
