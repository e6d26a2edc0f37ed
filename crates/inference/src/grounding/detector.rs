//! The detector: splits, compares, judges.

use super::answer;
use super::citations::{Citation, citations};
use super::evidence::{Index, Unit, float};
use super::features::{self, Comparison, NAMES, compare};
use super::head::{Head, Weights};
use super::meaning::{self, Meaning};
use super::pairing::{self, Candidate, Pair};
use super::split::{self, Piece};
use super::types::{Assessment, Claim, ClaimKind, Evidence, Reason, Stage, Subject};
use super::words::{Keys, Reading, Sort, Word, words};
use crate::{Embedder, ModelError};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

const WEIGHTS: &str = include_str!("head.json");

/// Why weights cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelFault {
    /// Not the JSON expected.
    #[error("weights of the grounding head cannot be read: {0}")]
    Unreadable(String),
    /// Trained on other features than this program computes.
    #[error("weights of the grounding head were trained on other features than these; train them again")]
    OtherFeatures,
    /// A tree refers to nodes or leaves that it does not have.
    #[error("weights of the grounding head contain a tree with missing nodes")]
    BrokenTree,
}

/// How the detector works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetectorOptions {
    /// Claims beyond this many are listed but not assessed (support one half, no evidence).
    pub max_claims: usize,
    /// Bytes of encoded contexts that are kept for the next answer.
    pub most_kept: usize,
}

impl Default for DetectorOptions {
    fn default() -> Self {
        Self { max_claims: 512, most_kept: 64 << 20 }
    }
}

/// Finds out what an answer says that its context does not support. Same input, same result.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    options: DetectorOptions,
    meaning: Option<Meaning>,
}

/// A claim of the answer, compared.
struct Compared {
    piece: Piece,
    words: Vec<Word>,
    /// Absent when the time was over.
    found: Option<Comparison>,
    /// Probability that it is unsupported.
    risk: f64,
}

/// An answer in numbers, for training.
#[derive(Debug, serde::Serialize)]
pub struct Features {
    /// One row per claim, in the order of [`Detector::claim_features`]; without the last ones where there is no embedder.
    pub claims: Vec<Vec<f32>>,
    /// Bytes of each claim in the answer.
    pub ranges: Vec<Range<usize>>,
    /// What a cross-encoder would read of each claim; `None` where the answer's budget is spent.
    pub pairs: Vec<Option<Pair>>,
}

impl Detector {
    /// A detector with the weights that were compiled in, which works on words alone.
    pub fn new(options: DetectorOptions) -> Self {
        Self { options, meaning: None }
    }

    /// The same with an embedder, for the full stage.
    #[must_use]
    pub fn with_embedder(mut self, embedder: Arc<Embedder>) -> Self {
        self.meaning = Some(Meaning::new(embedder, self.options.most_kept));
        self
    }

    /// Names and directions of a claim's features (+1 speaks for support, −1 against it, 0 neither). The last ones need an
    /// embedder.
    pub fn claim_features() -> Vec<(String, i8)> {
        let meaning = meaning::NAMES.iter().map(|name| (*name, 1));
        NAMES.iter().copied().chain(meaning).map(|(name, direction)| (name.to_owned(), direction)).collect()
    }

    /// Names of an answer's features; more of any speaks against it.
    pub fn answer_features() -> Vec<String> {
        answer::NAMES.map(str::to_owned).to_vec()
    }

    /// An answer's features without any judgement: what the head is trained on.
    pub fn features(&self, subject: &Subject<'_>) -> Result<Features, ModelError> {
        let mut keys = Keys::default();
        let index = Index::new(subject.context, subject.question, &mut keys);
        let cited = citations(subject.answer, subject.context);
        let compared = self.compare_all(subject.answer, &cited, &index, &mut keys, None);
        let candidates = candidates(&compared, head().map(|head| &head.lexical));
        let pairs = pairing::pairs(subject.answer, subject.context, &index, &candidates);
        let mut out = Features { claims: Vec::new(), ranges: Vec::new(), pairs };
        for one in &compared {
            let Some(found) = &one.found else { continue };
            let mut row = found.features.to_vec();
            if let Some(meaning) = &self.meaning {
                row.extend(view(meaning, subject, one, found, &index)?);
            }
            out.claims.push(row);
            out.ranges.push(one.piece.range.clone());
        }
        Ok(out)
    }

    /// Judges an answer. After the deadline, the full stage is left out, and claims not yet looked at are listed without a
    /// judgement. A fault of the embedder's has the same effect as its absence.
    pub fn assess(&self, subject: &Subject<'_>, deadline: Option<Instant>) -> Assessment {
        let head = head();
        let mut keys = Keys::default();
        let index = Index::new(subject.context, subject.question, &mut keys);
        let cited = citations(subject.answer, subject.context);
        let mut compared = self.compare_all(subject.answer, &cited, &index, &mut keys, deadline);
        let full = head.and_then(|head| head.full.as_ref());
        let mut stage = Stage::Lexical;
        let mut weights = head.map(|head| &head.lexical);
        if let Some(risks) = full.and_then(|full| self.full_risks(full, subject, &compared, &index, deadline))
        {
            compared.iter_mut().zip(risks).for_each(|(one, risk)| one.risk = risk);
            stage = Stage::Full;
            weights = full;
        } else if let Some(weights) = weights {
            for one in &mut compared {
                one.risk = one.found.as_ref().map_or(0.5, |found| weights.risk(&found.features));
            }
        }
        let risks: Vec<f64> = compared.iter().filter(|c| c.found.is_some()).map(|c| c.risk).collect();
        let hallucination = match weights {
            Some(weights) if !risks.is_empty() => {
                weights.curve.at(weights.answer.score(&answer::gather(&risks)))
            }
            Some(_) if compared.is_empty() => 0.0,
            _ => 0.5,
        };
        let main: Vec<Claim> = compared.iter().map(|c| claim(c, &index)).collect();
        let supported = main.iter().filter(|c| c.support >= 0.5).count();
        let coverage = if main.is_empty() { 1.0 } else { float(supported) / float(main.len()) };
        let citation_validity = validity(&cited, &compared, &main, &index);
        let claims = compared.iter().zip(main).flat_map(|(c, main)| with_details(c, main, &index)).collect();
        let version = head.map_or(Cow::Borrowed("none"), |head| Cow::Borrowed(head.version.as_str()));
        Assessment { claims, coverage, hallucination, citation_validity, stage, version }
    }

    fn compare_all(
        &self,
        answer: &str,
        cited: &[Citation],
        index: &Index,
        keys: &mut Keys,
        deadline: Option<Instant>,
    ) -> Vec<Compared> {
        let mut out = Vec::new();
        for piece in split::pieces(answer) {
            if out.len() >= self.options.max_claims || is_over(deadline) {
                out.push(Compared { piece, words: Vec::new(), found: None, risk: 0.5 });
                continue;
            }
            let words = claim_words(answer, &piece, cited, keys);
            if words.is_empty() {
                continue;
            }
            let found = compare(&words, &answer[piece.range.clone()], index, keys);
            out.push(Compared { piece, words, found: Some(found), risk: 0.5 });
        }
        out
    }

    /// The claims' risks by words and meaning; `None` without an embedder, when it fails, or when the time is over.
    fn full_risks(
        &self,
        weights: &Weights,
        subject: &Subject<'_>,
        compared: &[Compared],
        index: &Index,
        deadline: Option<Instant>,
    ) -> Option<Vec<f64>> {
        let meaning = self.meaning.as_ref()?;
        let mut risks = Vec::with_capacity(compared.len());
        for one in compared {
            let Some(found) = &one.found else {
                risks.push(0.5);
                continue;
            };
            if is_over(deadline) {
                return None;
            }
            let mut row = found.features.to_vec();
            row.extend(view(meaning, subject, one, found, index).ok()?);
            risks.push(weights.risk(&row));
        }
        Some(risks)
    }
}

/// The claims that were compared, with their risk by words alone.
fn candidates<'a>(compared: &'a [Compared], weights: Option<&Weights>) -> Vec<Candidate<'a>> {
    let candidate = |one: &'a Compared| {
        let found = one.found.as_ref()?;
        let risk = weights.map_or(0.5, |weights| weights.risk(&found.features));
        Some(Candidate { piece: &one.piece, words: &one.words, found, risk })
    };
    compared.iter().filter_map(candidate).collect()
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() > deadline)
}

fn view(
    meaning: &Meaning,
    subject: &Subject<'_>,
    one: &Compared,
    found: &Comparison,
    index: &Index,
) -> Result<[f32; meaning::NAMES.len()], ModelError> {
    meaning.compare(subject.answer, &one.piece.range, &one.words, &found.closest, index, subject.context)
}

/// The compiled-in weights. They are checked by a test; a build without sound ones judges nothing (0.5).
fn head() -> Option<&'static Head> {
    static HEAD: OnceLock<Option<Head>> = OnceLock::new();
    HEAD.get_or_init(|| {
        let lexical = NAMES.map(|(name, _)| name);
        let full: Vec<&str> = lexical.iter().chain(&meaning::NAMES).copied().collect();
        Head::read(WEIGHTS, &lexical, &full, &answer::NAMES).ok()
    })
    .as_ref()
}

/// A claim's words: those of its frame first, without the citations in it.
fn claim_words(answer: &str, piece: &Piece, cited: &[Citation], keys: &mut Keys) -> Vec<Word> {
    let mut out = Vec::new();
    for frame in &piece.frame {
        out.extend(words(answer, frame.clone(), Reading { camel: piece.keyed }, keys));
    }
    let mut from = piece.range.start;
    for citation in
        cited.iter().filter(|c| c.range.start >= piece.range.start && c.range.end <= piece.range.end)
    {
        out.extend(words(answer, from..citation.range.start, Reading::default(), keys));
        from = citation.range.end;
    }
    out.extend(words(answer, from..piece.range.end, Reading::default(), keys));
    out
}

fn claim(compared: &Compared, index: &Index) -> Claim {
    let Piece { range, kind, .. } = compared.piece.clone();
    let Some(comparison) = &compared.found else {
        return Claim { range, kind, support: 0.5, reason: None, evidence: None };
    };
    let support = 1.0 - compared.risk;
    let evidence =
        comparison.best.and_then(|best| index.units.get(best)).map(|Unit { passage, range, .. }| Evidence {
            passage: *passage,
            range: range.clone(),
            score: f64::from(comparison.features[features::COVERED_BEST]),
        });
    let reason = (support < 0.5).then(|| reason(compared, comparison));
    Claim { range, kind, support, reason, evidence }
}

/// The most telling thing that speaks against the claim.
fn reason(compared: &Compared, comparison: &Comparison) -> Reason {
    let value = |name: &str| features::value(&comparison.features, name);
    let any = |sorts: &[Sort]| comparison.missing.iter().any(|at| sorts.contains(&compared.words[*at].sort));
    if value("covered") < 0.35 {
        Reason::NoEvidence
    } else if value("unknown_numbers") > 0.0
        || (any(&[Sort::Number, Sort::Date]) && value("rival_number") > 0.0)
    {
        Reason::NumberMismatch
    } else if value("unknown_names") > 0.0 {
        Reason::UnsupportedEntity
    } else if value("negation_differs") > 0.0 || value("opposite") > 0.0 {
        Reason::Negation
    } else if any(&[Sort::Number, Sort::Date]) {
        Reason::NumberMismatch
    } else if any(&[Sort::Name]) {
        Reason::UnsupportedEntity
    } else {
        Reason::NoEvidence
    }
}

/// The claim, followed by its numbers, dates and names. A detail that its evidence lacks has a quarter of the support.
fn with_details(compared: &Compared, main: Claim, index: &Index) -> Vec<Claim> {
    let mut out = Vec::new();
    if let Some(comparison) = &compared.found {
        let mut at = 0;
        while let Some(word) = compared.words.get(at) {
            let (kind, reason) = match word.sort {
                Sort::Number => (ClaimKind::Number, Reason::NumberMismatch),
                Sort::Date => (ClaimKind::Date, Reason::NumberMismatch),
                Sort::Name => (ClaimKind::Name, Reason::UnsupportedEntity),
                _ => {
                    at += 1;
                    continue;
                }
            };
            let mut end = at + 1;
            while kind == ClaimKind::Name
                && compared.words.get(end).is_some_and(|w| {
                    w.sort == Sort::Name && w.range.start == compared.words[end - 1].range.end + 1
                })
            {
                end += 1;
            }
            let range = word.range.start..compared.words[end - 1].range.end;
            let lacks = (at..end).any(|n| comparison.missing.contains(&n));
            if range.start >= main.range.start && range.end <= main.range.end {
                let (support, reason) =
                    if lacks { (main.support / 4.0, Some(reason)) } else { (main.support.max(0.5), None) };
                let evidence = (!lacks).then(|| place_of(word, comparison.best, index)).flatten();
                out.push(Claim { range, kind, support, reason, evidence });
            }
            at = end;
        }
    }
    out.insert(0, main);
    out
}

/// Where a detail stands in the context, in the claim's evidence if it is there.
fn place_of(word: &Word, best: Option<usize>, index: &Index) -> Option<Evidence> {
    let places = index.places(word.key);
    let place = places.iter().find(|p| Some(index.unit_at(**p)) == best).or_else(|| places.first())?;
    let unit = index.units.get(index.unit_at(*place))?;
    Some(Evidence {
        passage: unit.passage,
        range: index.stream.get(*place as usize)?.range.clone(),
        score: 1.0,
    })
}

/// Share of citations that name a passage in which their claim's words are found.
fn validity(cited: &[Citation], compared: &[Compared], claims: &[Claim], index: &Index) -> Option<f64> {
    let mut named = 0;
    let mut valid = 0;
    for citation in cited {
        // A citation behind the full stop belongs to the claim before it.
        let owner = compared.iter().rposition(|c| c.piece.range.start <= citation.range.start);
        for passage in &citation.passages {
            named += 1;
            let Some((passage, owner)) = passage.zip(owner) else { continue };
            valid += usize::from(claims[owner].support >= 0.5 && covers(&compared[owner], passage, index));
        }
    }
    (named > 0).then(|| float(valid) / float(named))
}

/// Whether a passage has at least half of the claim's words that carry meaning.
fn covers(compared: &Compared, passage: usize, index: &Index) -> bool {
    let wanted: Vec<&Word> = compared.words.iter().filter(|w| w.sort != Sort::Function).collect();
    let found = wanted.iter().filter(|w| {
        index
            .places(w.key)
            .iter()
            .any(|p| index.units.get(index.unit_at(*p)).is_some_and(|u| u.passage == passage))
    });
    found.count() * 2 >= wanted.len()
}
