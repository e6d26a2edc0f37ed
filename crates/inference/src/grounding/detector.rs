//! The detector: splits, compares, judges.

use super::answer;
use super::citations::{Citation, citations};
use super::evidence::{Index, Unit};
use super::features::{self, Comparison, NAMES, compare};
use super::head::{Head, logistic};
use super::split::{self, Piece};
use super::types::{Assessment, Claim, ClaimKind, Evidence, Reason, Stage, Subject};
use super::words::{Keys, Reading, Sort, Word, words};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;
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
}

impl Default for DetectorOptions {
    fn default() -> Self {
        Self { max_claims: 512 }
    }
}

/// Finds out what an answer says that its context does not support. Same input, same result.
#[derive(Debug, Default)]
pub struct Detector {
    options: DetectorOptions,
}

/// A claim of the answer, compared.
struct Compared {
    piece: Piece,
    words: Vec<Word>,
    result: Option<(Comparison, f64)>,
}

/// An answer in numbers, for training.
#[derive(Debug, serde::Serialize)]
pub struct Features {
    /// One row per claim, in the order of [`Detector::claim_features`].
    pub claims: Vec<Vec<f32>>,
    /// Bytes of each claim in the answer.
    pub ranges: Vec<Range<usize>>,
}

impl Detector {
    /// A detector with the weights that were compiled in.
    pub fn new(options: DetectorOptions) -> Self {
        Self { options }
    }

    /// Names and directions of a claim's features (+1 speaks for support, −1 against it, 0 neither).
    pub fn claim_features() -> Vec<(String, i8)> {
        NAMES.iter().map(|(name, direction)| ((*name).to_owned(), *direction)).collect()
    }

    /// Names of an answer's features; more of any speaks against it.
    pub fn answer_features() -> Vec<String> {
        answer::NAMES.map(str::to_owned).to_vec()
    }

    /// An answer's features without any judgement: what the head is trained on.
    pub fn features(&self, subject: &Subject<'_>) -> Features {
        let mut keys = Keys::default();
        let index = Index::new(subject.context, subject.question, &mut keys);
        let cited = citations(subject.answer, subject.context);
        let compared = self.compare_all(subject.answer, &cited, &index, &mut keys, None, None);
        let done = compared.iter().filter_map(|c| c.result.as_ref().map(|(r, _)| (c, r)));
        let (claims, ranges) = done.map(|(c, r)| (r.features.to_vec(), c.piece.range.clone())).unzip();
        Features { claims, ranges }
    }

    /// Judges an answer. After the deadline, what is left is listed without a judgement.
    pub fn assess(&self, subject: &Subject<'_>, deadline: Option<Instant>) -> Assessment {
        let head = head();
        let mut keys = Keys::default();
        let index = Index::new(subject.context, subject.question, &mut keys);
        let cited = citations(subject.answer, subject.context);
        let compared = self.compare_all(subject.answer, &cited, &index, &mut keys, head, deadline);
        let risks: Vec<f64> =
            compared.iter().filter_map(|c| c.result.as_ref().map(|(_, risk)| *risk)).collect();
        let hallucination = match head {
            Some(head) if !risks.is_empty() => head.curve.at(head.answer.score(&answer::gather(&risks))),
            Some(_) if compared.is_empty() => 0.0,
            _ => 0.5,
        };
        let main: Vec<Claim> = compared.iter().map(|c| claim(c, &index)).collect();
        let supported = main.iter().filter(|c| c.support >= 0.5).count();
        let coverage = if main.is_empty() {
            1.0
        } else {
            super::evidence::float(supported) / super::evidence::float(main.len())
        };
        let citation_validity = validity(&cited, &compared, &main, &index);
        let claims = compared.iter().zip(main).flat_map(|(c, main)| with_details(c, main, &index)).collect();
        let version = head.map_or(Cow::Borrowed("none"), |head| Cow::Owned(head.version.clone()));
        Assessment { claims, coverage, hallucination, citation_validity, stage: Stage::Lexical, version }
    }

    fn compare_all(
        &self,
        answer: &str,
        cited: &[Citation],
        index: &Index,
        keys: &mut Keys,
        head: Option<&Head>,
        deadline: Option<Instant>,
    ) -> Vec<Compared> {
        let mut out = Vec::new();
        for piece in split::pieces(answer) {
            let late = out.len() >= self.options.max_claims
                || deadline.is_some_and(|deadline| Instant::now() > deadline);
            let words = if late { Vec::new() } else { claim_words(answer, &piece, cited, keys) };
            if !late && words.is_empty() {
                continue;
            }
            let result = (!late).then(|| {
                let found = compare(&words, &answer[piece.range.clone()], index, keys);
                let risk = head.map_or(0.5, |head| logistic(f64::from(head.claim.score(&found.features))));
                (found, risk)
            });
            out.push(Compared { piece, words, result });
        }
        out
    }
}

/// The compiled-in weights. They are checked by a test; a build without sound ones judges nothing (0.5).
fn head() -> Option<&'static Head> {
    static HEAD: OnceLock<Option<Head>> = OnceLock::new();
    HEAD.get_or_init(|| Head::read(WEIGHTS, &NAMES.map(|(name, _)| name), &answer::NAMES).ok()).as_ref()
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
    let Some((comparison, risk)) = &compared.result else {
        return Claim { range, kind, support: 0.5, reason: None, evidence: None };
    };
    let support = 1.0 - risk;
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
    if let Some((comparison, _)) = &compared.result {
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
    (named > 0).then(|| super::evidence::float(valid) / super::evidence::float(named))
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
