//! Language match: does the answer speak the language of the question?
//!
//! Trigram statistics (whatlang). Short texts, code and lists of names say little about their language, so the judge does not apply
//! unless both sides are recognised reliably. A question that asks for a translation is answered in another language on purpose.

use super::{Judge, Judging, Subject};
use serde_json::json;

/// Letters from which a text is long enough to be recognised.
const LETTERS: usize = 24;
/// Words by which a question asks for another language, lower case.
const TRANSLATES: &[&str] =
    &["translat", "übersetz", "tradui", "traduc", "traduz", "in english", "auf deutsch", "en français"];

/// `language_match`: 1 or 0.
#[derive(Debug, Clone, Copy)]
pub struct LanguageMatch;

impl Judge for LanguageMatch {
    fn name(&self) -> &'static str {
        "language_match"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        Box::pin(async move {
            let Some(question) = subject.question.as_deref() else {
                return Ok(subject.not_applicable(self, "there is no question"));
            };
            let asked = question.to_lowercase();
            if TRANSLATES.iter().any(|word| asked.contains(word)) {
                return Ok(subject.not_applicable(self, "the question names a language"));
            }
            let (Some(asked), Some(answered)) = (language(question), language(&subject.answer)) else {
                return Ok(subject.not_applicable(self, "the texts are too short to tell their language"));
            };
            let same = asked == answered;
            let mut verdict =
                subject.verdict(self, Some(f64::from(u8::from(same))), if same { "pass" } else { "fail" });
            verdict.explanation = format!("asked in {asked}, answered in {answered}");
            verdict.details = json!({ "question": asked, "answer": answered });
            Ok(verdict)
        })
    }
}

/// ISO 639-3 code, when it is clear.
fn language(text: &str) -> Option<&'static str> {
    if text.chars().filter(|c| c.is_alphabetic()).count() < LETTERS {
        return None;
    }
    let found = whatlang::detect(text)?;
    (found.is_reliable()).then(|| found.lang().code())
}
