//! What is known of a request and an answer, as numbers of 0 to 1 ([`Signal`]).
//!
//! None of it names the model that answered: weights over these are fitted for each tier, where the author is known anyway.

use crate::facts::{Answer, Request};
use crate::words::{MOST_ANSWER, MOST_CONTEXT, Words, cut, length, overlap, share};
use contracts::policy::cascade::{Check, Signal, Tier};
use inference::Embedder;
use inference::grounding::{Assessment, Detector, Passage, Stage, Subject};
use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Instant;

/// Values of the signals that could be had.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Signals {
    values: [Option<f64>; Signal::ALL.len()],
    /// The detector was asked and had no time to look at every claim.
    late: bool,
}

impl Signals {
    /// A signal's value; `None` where it could not be had.
    pub fn get(&self, signal: Signal) -> Option<f64> {
        self.values[signal as usize]
    }

    /// Takes a value, cut to 0 to 1; what is no number is left out.
    pub fn set(&mut self, signal: Signal, value: f64) {
        if !value.is_nan() {
            self.values[signal as usize] = Some(value.clamp(0.0, 1.0));
        }
    }

    /// The same with a value.
    #[must_use]
    pub fn with(mut self, signal: Signal, value: f64) -> Self {
        self.set(signal, value);
        self
    }

    /// Those of `other` where this has none.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (value, other) in self.values.iter_mut().zip(other.values) {
            *value = value.or(other);
        }
        self.late |= other.late;
        self
    }

    /// Whether a check that should have been done was not done in time.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Notes that a check was not done in time.
    pub fn set_late(&mut self) {
        self.late = true;
    }

    /// All that there are, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (Signal, f64)> {
        Signal::ALL.into_iter().filter_map(|signal| Some((signal, self.get(signal)?)))
    }
}

/// A request, read once for all its tiers.
#[derive(Debug)]
pub struct RequestView<'a> {
    request: &'a Request<'a>,
    /// The prompt without the passages that it brings along.
    asked: Cow<'a, str>,
    context: Words,
    prompt: Words,
    signals: Signals,
}

impl<'a> RequestView<'a> {
    /// Reads the context and the prompt.
    pub fn new(request: &'a Request<'a>) -> Self {
        let mut context = Words::default();
        let mut left = MOST_CONTEXT;
        let mut structured = 0;
        for passage in request.context {
            let text = cut(passage, left);
            left -= text.len();
            structured += if is_structured(text) { text.len() } else { 0 };
            let from = context.all.len();
            let words = Words::of(text);
            context.numbers.extend(words.numbers.iter().map(|at| at + from));
            context.names.extend(words.names.iter().map(|at| at + from));
            context.all.extend(words.all);
        }
        let asked = without(request.prompt, request.context);
        let prompt = Words::of(cut(&asked, MOST_ANSWER));
        let read = MOST_CONTEXT - left;
        let mut signals = Signals::default();
        signals.set(Signal::PromptLength, length(prompt.all.len(), 4_096));
        signals.set(Signal::Question, f64::from(u8::from(is_question(&asked, &prompt))));
        if !request.context.is_empty() {
            signals.set(Signal::ContextLength, length(context.all.len(), 65_536));
            signals.set(Signal::StructuredContext, share(structured, read.max(1)));
            signals.set(Signal::ContextNumbers, share(context.numbers.len(), context.all.len().max(1)));
        }
        Self { request, asked, context, prompt, signals }
    }

    /// What is known before any model is asked.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Everything that the answer's words, its log-probabilities and the answer of the tier before say.
    pub fn lexical(&self, answer: &Answer<'_>, before: Option<&Answer<'_>>) -> Signals {
        let mut signals = self.signals;
        let words = Words::of(cut(answer.text, MOST_ANSWER));
        let known: HashSet<&str> = self.context.set().into_iter().chain(self.prompt.set()).collect();
        let has = |at: &&usize| known.contains(words.all[**at].as_str());
        let hits = words.all.iter().filter(|word| known.contains(word.as_str())).count();
        signals.set(Signal::AnswerLength, length(words.all.len(), 4_096));
        signals.set(Signal::Hedging, hedging(answer.text));
        if !self.request.context.is_empty() {
            let pairs = self.context.pairs();
            let copied =
                words.all.windows(2).filter(|p| pairs.contains(&(p[0].as_str(), p[1].as_str()))).count();
            signals.set(Signal::KnownWords, share(hits, words.all.len()));
            signals.set(
                Signal::KnownNumbers,
                share(words.numbers.iter().filter(has).count(), words.numbers.len()),
            );
            signals.set(Signal::KnownNames, share(words.names.iter().filter(has).count(), words.names.len()));
            signals.set(Signal::Copied, share(copied, words.all.len().saturating_sub(1)));
        }
        if let Some(before) = before {
            let other = Words::of(cut(before.text, MOST_ANSWER));
            let theirs = other.number_set();
            let shared = words.numbers.iter().filter(|at| theirs.contains(words.all[**at].as_str())).count();
            signals.set(Signal::Agreement, overlap(&words, &other));
            signals.set(Signal::NumberAgreement, share(shared, words.numbers.len()));
        }
        if let Some(confidence) = confidence(answer.logprobs) {
            signals.set(Signal::LogprobConfidence, confidence);
        }
        signals
    }

    /// What the detector says; late where it had no time for every claim. Nothing without a context.
    pub fn grounding(&self, answer: &Answer<'_>, detector: &Detector, deadline: Option<Instant>) -> Signals {
        let mut signals = Signals::default();
        if self.request.context.is_empty() {
            return signals;
        }
        let mut left = MOST_CONTEXT;
        let passages: Vec<Passage<'_>> = self
            .request
            .context
            .iter()
            .map(|text| {
                let text = cut(text, left);
                left -= text.len();
                Passage { id: "", text }
            })
            .collect();
        let answer = cut(answer.text, MOST_ANSWER);
        let subject = Subject { question: Some(&self.asked), context: &passages, answer };
        let assessment = detector.assess(&subject, deadline);
        // A late detector lists what it did not look at at one half, which would pass for a judgement.
        if deadline.is_some_and(|deadline| Instant::now() > deadline) && assessment.stage == Stage::Lexical {
            signals.set_late();
            return signals;
        }
        read_assessment(&assessment, &mut signals);
        signals
    }
}

/// What signals are taken with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Instruments<'a> {
    /// Judges answers against their context.
    pub detector: Option<&'a Detector>,
    /// Compares the meaning of two answers.
    pub embedder: Option<&'a Embedder>,
}

impl RequestView<'_> {
    /// All signals that a tier's checks and weights ask for: what the gateway calls, and what weights are fitted on. `before` is the
    /// answer of the tier asked before.
    pub fn examine(
        &self,
        tier: &Tier,
        answer: &Answer<'_>,
        before: Option<&Answer<'_>>,
        instruments: &Instruments<'_>,
        deadline: Option<Instant>,
    ) -> Signals {
        let mut signals = self.lexical(answer, before);
        if let Some(detector) = instruments.detector.filter(|_| tier.checks.contains(&Check::Grounding)) {
            signals = signals.or(&self.grounding(answer, detector, deadline));
        }
        let weighs =
            |signal| tier.combine.iter().flat_map(|model| &model.terms).any(|term| term.signal == signal);
        if let Some((before, embedder)) = before.zip(instruments.embedder)
            && weighs(Signal::MeaningAgreement)
            && let Some(agreement) = meaning_agreement(answer.text, before.text, embedder)
        {
            signals.set(Signal::MeaningAgreement, agreement);
        }
        signals
    }
}

/// The prompt without the passages that it brings along.
fn without<'a>(prompt: &'a str, context: &[&str]) -> Cow<'a, str> {
    let mut out = Cow::Borrowed(prompt);
    for passage in context.iter().map(|passage| passage.trim()).filter(|passage| !passage.is_empty()) {
        if let Some(at) = out.find(passage) {
            out = Cow::Owned(format!("{}{}", &out[..at], &out[at + passage.len()..]));
        }
    }
    out
}

/// How far two answers agree in meaning: the cosine of their vectors; `None` where the embedder fails.
pub fn meaning_agreement(one: &str, other: &str, embedder: &Embedder) -> Option<f64> {
    let vectors = embedder.embed(&[cut(one, MOST_ANSWER), cut(other, MOST_ANSWER)]).ok()?;
    let [one, other] = vectors.as_slice() else { return None };
    Some(one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
}

/// How far any two of some texts agree in meaning, by their index, as [`meaning_agreement`]; each is embedded once.
pub fn meanings(texts: &[&str], embedder: &Embedder) -> Option<impl Fn(usize, usize) -> f64 + use<>> {
    let texts: Vec<&str> = texts.iter().map(|text| cut(text, MOST_ANSWER)).collect();
    let vectors = embedder.embed(&texts).ok()?;
    Some(move |one: usize, other: usize| {
        let (Some(one), Some(other)) = (vectors.get(one), vectors.get(other)) else { return 0.0 };
        one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    })
}

fn read_assessment(assessment: &Assessment, signals: &mut Signals) {
    signals.set(Signal::Grounding, 1.0 - assessment.hallucination);
    let (details, claims): (Vec<_>, Vec<_>) =
        assessment.claims.iter().partition(|claim| claim.kind.is_detail());
    let least = claims.iter().map(|claim| claim.support).fold(1.0, f64::min);
    signals.set(Signal::LeastSupport, least);
    let sum: f64 = claims.iter().map(|claim| claim.support).sum();
    signals.set(Signal::MeanSupport, if claims.is_empty() { 1.0 } else { sum * share(1, claims.len()) });
    let found = details.iter().filter(|claim| claim.reason.is_none()).count();
    signals.set(Signal::DetailSupport, share(found, details.len()));
}

/// The geometric mean of the tokens' probabilities.
fn confidence(logprobs: &[f32]) -> Option<f64> {
    if logprobs.is_empty() {
        return None;
    }
    let sum: f64 = logprobs.iter().map(|value| f64::from(*value)).sum();
    Some((sum * share(1, logprobs.len())).exp())
}

/// JSON objects or lists, wherever the passage's head ends.
fn is_structured(text: &str) -> bool {
    let text = text.trim_start();
    let keys = text.matches("\": ").count() + text.matches("\":").count();
    text.starts_with(['{', '[']) || keys * 60 > text.len()
}

fn is_question(prompt: &str, words: &Words) -> bool {
    const ASKING: [&str; 20] = [
        "are", "can", "did", "do", "does", "how", "is", "should", "was", "were", "what", "when", "where",
        "which", "who", "whom", "whose", "why", "will", "would",
    ];
    prompt.trim_end().ends_with('?') || words.all.first().is_some_and(|word| ASKING.contains(&word.as_str()))
}

/// Share of sentences with a word that takes something back.
fn hedging(text: &str) -> f64 {
    const HEDGES: [&str; 22] = [
        "may",
        "might",
        "could",
        "possibly",
        "perhaps",
        "probably",
        "likely",
        "appears",
        "appear",
        "seems",
        "seem",
        "suggests",
        "suggest",
        "approximately",
        "around",
        "typically",
        "generally",
        "often",
        "unclear",
        "unknown",
        "usually",
        "roughly",
    ];
    let text = cut(text, MOST_ANSWER);
    let sentences: Vec<&str> = text.split(['.', '!', '?', '\n']).filter(|s| !s.trim().is_empty()).collect();
    if sentences.is_empty() {
        return 0.0;
    }
    let hedges =
        |sentence: &&&str| Words::of(sentence).all.iter().any(|word| HEDGES.contains(&word.as_str()));
    share(sentences.iter().filter(hedges).count(), sentences.len())
}

#[cfg(test)]
mod tests;
