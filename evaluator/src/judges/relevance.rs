//! Relevance by meaning: is the answer about the question, and are the passages?
//!
//! Similarity of sentence embeddings. `answer_relevance` is the best similarity between the question and a sentence of the answer;
//! `context_relevance` the mean over passages of their best sentence's similarity to the question; `context_precision` the share
//! of passages that are relevant, each position weighted as in average precision, so that relevant passages should come first.

use super::{Judge, JudgeError, Judging, Subject};
use contracts::Verdict;
use inference::Embedder;
use serde_json::json;
use std::sync::Arc;

/// Similarity from which a passage counts as relevant. With all-MiniLM-L6-v2 unrelated English texts lie below 0.2, and
/// passages that answer a question mostly above 0.4.
const RELEVANT: f64 = 0.35;
/// Sentences of one text that are looked at.
const MOST_SENTENCES: usize = 24;
/// Passages that are looked at.
const MOST_PASSAGES: usize = 32;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Answer,
    Context,
    Precision,
}

/// One of the three judges.
#[derive(Debug)]
pub struct Relevance {
    embedder: Arc<Embedder>,
    of: Of,
}

impl Relevance {
    /// `answer_relevance`.
    pub fn of_answer(embedder: Arc<Embedder>) -> Self {
        Self { embedder, of: Of::Answer }
    }

    /// `context_relevance`.
    pub fn of_context(embedder: Arc<Embedder>) -> Self {
        Self { embedder, of: Of::Context }
    }

    /// `context_precision`.
    pub fn precision(embedder: Arc<Embedder>) -> Self {
        Self { embedder, of: Of::Precision }
    }

    /// For each text the best similarity of one of its sentences to the question.
    fn best(&self, question: &str, texts: &[&str]) -> Result<Vec<f64>, JudgeError> {
        let mut flat = vec![question];
        let mut of_text = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            for sentence in sentences(text) {
                flat.push(sentence);
                of_text.push(index);
            }
        }
        let vectors = self.embedder.embed(&flat).map_err(|error| JudgeError::Failed {
            judge: self.name().to_owned(),
            reason: error.to_string(),
            retryable: false,
        })?;
        let mut best = vec![0.0_f64; texts.len()];
        if let Some((question, sentences)) = vectors.split_first() {
            for (vector, index) in sentences.iter().zip(of_text) {
                let similarity: f32 = question.iter().zip(vector).map(|(a, b)| a * b).sum();
                if let Some(best) = best.get_mut(index) {
                    *best = best.max(f64::from(similarity));
                }
            }
        }
        Ok(best)
    }

    fn look(&self, subject: &Subject) -> Result<Verdict, JudgeError> {
        let Some(question) = subject.question.as_deref() else {
            return Ok(subject.not_applicable(self, "there is no question"));
        };
        if self.of == Of::Answer {
            if subject.answer.trim().is_empty() {
                return Ok(subject.not_applicable(self, "there is no answer in words"));
            }
            let score = self.best(question, &[&subject.answer])?.first().copied().unwrap_or(0.0);
            return Ok(subject.verdict(self, Some(score.clamp(0.0, 1.0)), pass(score >= RELEVANT)));
        }
        if subject.context.is_empty() {
            return Ok(subject.not_applicable(self, "there is no context"));
        }
        let texts: Vec<&str> =
            subject.context.iter().take(MOST_PASSAGES).map(|passage| passage.text.as_str()).collect();
        let similarities = self.best(question, &texts)?;
        let score = match self.of {
            Of::Precision => average_precision(&similarities),
            Of::Answer | Of::Context => mean(&similarities),
        };
        let mut verdict = subject.verdict(self, Some(score.clamp(0.0, 1.0)), pass(score >= RELEVANT));
        verdict.details = json!({ "similarities": similarities, "relevant_from": RELEVANT });
        Ok(verdict)
    }
}

impl Judge for Relevance {
    fn name(&self) -> &str {
        match self.of {
            Of::Answer => "answer_relevance",
            Of::Context => "context_relevance",
            Of::Precision => "context_precision",
        }
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        Box::pin(async move { self.look(subject) })
    }
}

fn pass(holds: bool) -> &'static str {
    if holds { "pass" } else { "fail" }
}

#[expect(clippy::cast_precision_loss, reason = "a handful of passages")]
fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Mean over the relevant passages of the precision at their place; 0 when none is relevant.
#[expect(clippy::cast_precision_loss, reason = "a handful of passages")]
fn average_precision(similarities: &[f64]) -> f64 {
    let mut relevant = 0_usize;
    let mut sum = 0.0;
    for (index, similarity) in similarities.iter().enumerate() {
        if *similarity >= RELEVANT {
            relevant += 1;
            sum += relevant as f64 / (index + 1) as f64;
        }
    }
    if relevant == 0 { 0.0 } else { sum / relevant as f64 }
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '!', '?', '\n', '。', '！', '？'])
        .map(str::trim)
        .filter(|sentence| sentence.chars().filter(|c| c.is_alphanumeric()).count() >= 3)
        .take(MOST_SENTENCES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_wants_the_relevant_first() {
        let close = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-12, "{value}");
        close(average_precision(&[0.9, 0.9, 0.1]), 1.0);
        close(average_precision(&[0.1, 0.9, 0.9]), f64::midpoint(0.5, 2.0 / 3.0));
        close(average_precision(&[0.1]), 0.0);
        close(mean(&[0.2, 0.4]), 0.3);
    }

    #[test]
    fn sentences_are_those_with_words() {
        let found: Vec<&str> = sentences("Rome is old. - ! Is it?\nYes, very").collect();
        assert_eq!(found, ["Rome is old.", "Is it?", "Yes, very"]);
    }
}
