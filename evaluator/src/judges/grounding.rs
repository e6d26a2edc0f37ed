//! Grounding and its complement: which claims of the answer the context supports, and how likely it is that one is made up.
//!
//! Both judges stand on one assessment by the detector; it is computed once for a call and kept until the other judge asks.

use super::{Judge, Judging, Subject};
use inference::Embedder;
use inference::grounding::{Assessment, Detector, Passage};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Share of supported claims from which an answer passes.
const PASS: f64 = 0.9;
/// Probability from which an answer counts as made up.
const LIKELY: f64 = 0.5;
/// Assessments that are kept for the judge that asks second.
const KEPT: usize = 256;

/// The detector with its latest results.
#[derive(Debug)]
pub struct Assessor {
    detector: Detector,
    version: String,
    kept: Mutex<VecDeque<([u8; 32], Arc<Assessment>)>>,
}

impl Assessor {
    /// With the weights that were compiled in, and meaning where there is an embedder.
    pub fn new(embedder: Option<&Arc<Embedder>>) -> Self {
        let (detector, stage) = match embedder {
            Some(embedder) => (Detector::default().with_embedder(embedder.clone()), "full"),
            None => (Detector::default(), "lexical"),
        };
        // The version is that of every assessment; an empty one costs nothing.
        let nothing = inference::grounding::Subject { question: None, context: &[], answer: "" };
        let version = format!("{}-{stage}", detector.assess(&nothing, None).version);
        Self { detector, version, kept: Mutex::default() }
    }

    fn assess(&self, subject: &Subject) -> Arc<Assessment> {
        let key = key(subject);
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept().iter().find(|(known, _)| *known == key) {
            return found.clone();
        }
        let context: Vec<Passage<'_>> =
            subject.context.iter().map(|p| Passage { id: &p.id, text: &p.text }).collect();
        let question = subject.question.as_deref();
        let asked = inference::grounding::Subject { question, context: &context, answer: &subject.answer };
        let assessment = Arc::new(self.detector.assess(&asked, None));
        let mut kept = kept();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((key, assessment.clone()));
        assessment
    }
}

fn key(subject: &Subject) -> [u8; 32] {
    let mut hash = Sha256::new();
    let passages = subject.context.iter().map(|passage| passage.text.as_str());
    let texts =
        [subject.question.as_deref().unwrap_or_default(), &subject.answer].into_iter().chain(passages);
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Coverage,
    Hallucination,
}

/// One of the two judges.
#[derive(Debug)]
pub struct Grounding {
    assessor: Arc<Assessor>,
    says: Says,
}

impl Grounding {
    /// `grounding`: share of the claims that the context supports; details hold the claims with their evidence.
    pub fn coverage(assessor: Arc<Assessor>) -> Self {
        Self { assessor, says: Says::Coverage }
    }

    /// `hallucination`: probability that the answer contains something that the context does not support.
    pub fn hallucination(assessor: Arc<Assessor>) -> Self {
        Self { assessor, says: Says::Hallucination }
    }
}

impl Judge for Grounding {
    fn name(&self) -> &str {
        match self.says {
            Says::Coverage => "grounding",
            Says::Hallucination => "hallucination",
        }
    }

    fn version(&self) -> &str {
        &self.assessor.version
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        Box::pin(async move {
            if subject.answer.trim().is_empty() {
                return Ok(subject.not_applicable(self, "there is no answer in words"));
            }
            if subject.context.is_empty() {
                return Ok(subject.not_applicable(self, "nothing is known that the answer could rest on"));
            }
            let found = self.assessor.assess(subject);
            let stage = json!(found.stage);
            Ok(match self.says {
                Says::Hallucination => {
                    let label = if found.hallucination < LIKELY { "pass" } else { "fail" };
                    let mut verdict = subject.verdict(self, Some(found.hallucination), label);
                    verdict.details = json!({ "stage": stage });
                    verdict
                }
                Says::Coverage => {
                    let label = if found.coverage >= PASS { "pass" } else { "fail" };
                    let mut verdict = subject.verdict(self, Some(found.coverage), label);
                    let whole = found.claims.iter().filter(|claim| !claim.kind.is_detail());
                    let (supported, all) = whole.fold((0, 0), |(supported, all), claim| {
                        (supported + usize::from(claim.support >= 0.5), all + 1)
                    });
                    verdict.explanation = format!("the context supports {supported} of {all} claims");
                    verdict.details = json!({
                        "stage": stage,
                        "claims": found.claims,
                        "citation_validity": found.citation_validity,
                        "passages": passages(subject, &found),
                    });
                    verdict
                }
            })
        })
    }
}

/// The passages that are evidence of a claim, cut to what is quoted, so that a reader needs nothing else.
fn passages(subject: &Subject, found: &Assessment) -> serde_json::Value {
    let mut cited: Vec<usize> =
        found.claims.iter().filter_map(|claim| claim.evidence.as_ref()).map(|e| e.passage).collect();
    cited.sort_unstable();
    cited.dedup();
    let cited = cited.into_iter().filter_map(|index| Some((index, subject.context.get(index)?)));
    cited
        .map(|(index, passage)| {
            let quotes: Vec<serde_json::Value> = found
                .claims
                .iter()
                .filter_map(|claim| claim.evidence.as_ref().filter(|e| e.passage == index))
                .filter_map(|e| {
                    let text = passage.text.get(e.range.clone())?;
                    Some(json!({ "start": e.range.start, "end": e.range.end, "text": text }))
                })
                .collect();
            json!({ "index": index, "id": passage.id, "source": passage.source, "quotes": quotes })
        })
        .collect()
}
