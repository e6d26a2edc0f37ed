//! Judges that compare with the reference answer of a row: they need nothing but the two texts.

use crate::judges::{Judge, Judging, Subject};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `exact_match` and `token_f1`, as the question-answering literature has them (Rajpurkar et al. 2016, SQuAD): without case,
/// punctuation and articles.
pub fn reference_judges() -> Vec<Arc<dyn Judge>> {
    vec![
        Arc::new(Reference { name: "exact_match", rate: exact }),
        Arc::new(Reference { name: "token_f1", rate: f1 }),
    ]
}

#[derive(Debug)]
struct Reference {
    name: &'static str,
    rate: fn(&[String], &[String]) -> f64,
}

impl Judge for Reference {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        let verdict = match &subject.expected {
            None => subject.not_applicable(self, "the row has no reference answer"),
            Some(expected) => {
                let score = (self.rate)(&words(&subject.answer), &words(expected));
                subject.verdict(self, Some(score), if score >= 0.5 { "pass" } else { "fail" })
            }
        };
        Box::pin(std::future::ready(Ok(verdict)))
    }
}

fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    parts.filter(|word| !matches!(*word, "a" | "an" | "the")).map(str::to_owned).collect()
}

fn exact(answer: &[String], expected: &[String]) -> f64 {
    f64::from(u8::from(answer == expected))
}

fn f1(answer: &[String], expected: &[String]) -> f64 {
    let mut left: BTreeMap<&String, usize> = BTreeMap::new();
    for word in expected {
        *left.entry(word).or_default() += 1;
    }
    let mut common: u64 = 0;
    for word in answer {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    let all = (answer.len() + expected.len()) as u64;
    if all == 0 { 1.0 } else { crate::stats::float(2 * common) / crate::stats::float(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_without_case_punctuation_and_articles() {
        assert_eq!(words("The Eiffel-Tower, a tower."), ["eiffel", "tower", "tower"]);
        assert!((exact(&words("Paris!"), &words("the paris")) - 1.0).abs() < f64::EPSILON);
        // Two of three words and two of two: 4 / 5.
        assert!((f1(&words("it is Paris"), &words("is Paris")) - 0.8).abs() < f64::EPSILON);
        assert!(f1(&words("no"), &words("yes")).abs() < f64::EPSILON);
    }
}
