//! The context, indexed so that the text closest to a claim is found without reading it all again.

use super::lists;
use super::split::{self, Piece};
use super::types::Passage;
use super::words::{Keys, Reading, Sort, Word, words};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// A sentence, item, cell or field of the context.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Which passage.
    pub(crate) passage: usize,
    /// Bytes in the passage.
    pub(crate) range: Range<usize>,
    /// Bytes in the passage to read it in full: with the key before a field's value.
    pub(crate) read: Range<usize>,
    /// Bytes in the passage of the heads and keys that it is read with, and whether they are keys.
    pub(crate) frame: Vec<Range<usize>>,
    pub(crate) keyed: bool,
    /// Its words' positions in [`Index::stream`], the frame's first.
    pub(crate) at: Range<usize>,
}

/// The context's words.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) units: Vec<Unit>,
    /// Every word of every unit, one after the other.
    pub(crate) stream: Vec<Word>,
    unit_of: Vec<u32>,
    positions: HashMap<u32, Vec<u32>>,
    frequency: HashMap<u32, u32>,
    forms: HashSet<u32>,
    pairs: HashSet<(u32, u32)>,
    triples: HashSet<(u32, u32, u32)>,
    fourgrams: HashSet<u32>,
    by_prefix: HashMap<[u8; 4], Vec<u32>>,
    initials: HashSet<String>,
    question: HashSet<u32>,
}

impl Index {
    /// Reads the context and the question.
    pub(crate) fn new(context: &[Passage<'_>], question: Option<&str>, keys: &mut Keys) -> Self {
        let mut index = Self::default();
        for (passage, Passage { text, .. }) in context.iter().enumerate() {
            for piece in split::pieces(text) {
                index.add(passage, text, &piece, keys);
            }
            fourgrams(text, |gram| {
                index.fourgrams.insert(gram);
            });
        }
        index.finish(keys);
        if let Some(question) = question {
            index.question.extend(
                words(question, 0..question.len(), Reading::default(), keys)
                    .iter()
                    .filter(|w| w.sort != Sort::Function)
                    .map(|w| w.key),
            );
        }
        index
    }

    fn add(&mut self, passage: usize, text: &str, piece: &Piece, keys: &mut Keys) {
        let start = self.stream.len();
        for frame in &piece.frame {
            self.stream.extend(words(text, frame.clone(), Reading { camel: piece.keyed }, keys));
        }
        let found = words(text, piece.range.clone(), Reading::default(), keys);
        if piece.keyed && is_empty_value(&text[piece.range.clone()]) {
            // `"OutdoorSeating": false` says that there is none.
            let not = keys.of("not");
            self.stream.push(Word {
                range: piece.range.clone(),
                form: not,
                key: not,
                sort: Sort::Function,
                capital: false,
            });
        }
        self.stream.extend(found);
        if self.stream.len() == start {
            return;
        }
        let unit = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
        self.unit_of.resize(self.stream.len(), unit);
        let key = piece.frame.first().filter(|key| piece.keyed && key.end <= piece.range.start);
        let read = key.map_or(piece.range.start, |key| key.start)..piece.range.end;
        self.units.push(Unit {
            passage,
            range: piece.range.clone(),
            read,
            frame: piece.frame.clone(),
            keyed: piece.keyed,
            at: start..self.stream.len(),
        });
    }

    fn finish(&mut self, keys: &mut Keys) {
        for (at, word) in self.stream.iter().enumerate() {
            let places = self.positions.entry(word.key).or_default();
            let unit = self.unit_of[at];
            if places.last().is_none_or(|last| self.unit_of[*last as usize] != unit) {
                *self.frequency.entry(word.key).or_default() += 1;
            }
            places.push(u32::try_from(at).unwrap_or(u32::MAX));
            self.forms.insert(word.form);
        }
        for pair in self.stream.windows(2) {
            self.pairs.insert((pair[0].key, pair[1].key));
        }
        for triple in self.stream.windows(3) {
            self.triples.insert((triple[0].key, triple[1].key, triple[2].key));
        }
        let mut vocabulary: Vec<u32> = self
            .stream
            .iter()
            .filter(|w| matches!(w.sort, Sort::Content | Sort::Name))
            .map(|w| w.key)
            .collect();
        vocabulary.sort_unstable();
        vocabulary.dedup();
        for key in vocabulary {
            if let Some(prefix) = prefix(keys.text(key)) {
                self.by_prefix.entry(prefix).or_default().push(key);
            }
        }
        self.collect_initials(keys);
    }

    /// `United Nations` also goes by `un`.
    fn collect_initials(&mut self, keys: &Keys) {
        let mut run = String::new();
        for word in &self.stream {
            if word.capital {
                run.extend(keys.text(word.form).chars().next());
                if run.len() > 1 && run.len() < 8 {
                    self.initials.insert(run.clone());
                }
            } else if word.sort != Sort::Function
                || !matches!(keys.text(word.form), "of" | "the" | "and" | "for")
            {
                run.clear();
            }
        }
    }

    /// Whether the key occurs in the context.
    pub(crate) fn has(&self, key: u32) -> bool {
        self.positions.contains_key(&key)
    }

    /// Whether the word occurs in the context in this very form.
    pub(crate) fn has_form(&self, form: u32) -> bool {
        self.forms.contains(&form)
    }

    /// Whether the question uses the word.
    pub(crate) fn asked(&self, key: u32) -> bool {
        self.question.contains(&key)
    }

    /// Whether the two follow each other somewhere.
    pub(crate) fn has_pair(&self, a: u32, b: u32) -> bool {
        self.pairs.contains(&(a, b))
    }

    /// Whether the three follow each other somewhere.
    pub(crate) fn has_triple(&self, a: u32, b: u32, c: u32) -> bool {
        self.triples.contains(&(a, b, c))
    }

    /// Whether four characters in a row occur.
    pub(crate) fn has_fourgram(&self, gram: u32) -> bool {
        self.fourgrams.contains(&gram)
    }

    /// Where the key stands in the stream.
    pub(crate) fn places(&self, key: u32) -> &[u32] {
        self.positions.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The unit that a place of the stream belongs to.
    pub(crate) fn unit_at(&self, place: u32) -> usize {
        self.unit_of.get(place as usize).map_or(0, |unit| *unit as usize)
    }

    /// How much a word says here, 0 to 1: rare words more than those of every sentence.
    pub(crate) fn rarity(&self, key: u32) -> f64 {
        let units = float(self.units.len());
        let with = self.frequency.get(&key).map_or(0.5, |n| f64::from(*n));
        (units / with).ln_1p() / (units / 0.5).ln_1p().max(f64::MIN_POSITIVE)
    }

    /// A word of the context that begins alike (`Portuguese`, `Portugal`), or an abbreviation's expansion.
    pub(crate) fn alike(&self, key: u32, capital: bool, keys: &Keys) -> Option<u32> {
        let text = keys.text(key);
        if let Some(bucket) = prefix(text).and_then(|prefix| self.by_prefix.get(&prefix)) {
            let best = bucket
                .iter()
                .map(|other| (common_prefix(text, keys.text(*other)), *other))
                .max_by_key(|(n, other)| (*n, std::cmp::Reverse(*other)));
            if let Some((common, other)) = best
                && common * 3 >= text.len().max(keys.text(other).len()) * 2
            {
                return Some(other);
            }
        }
        (capital && self.initials.contains(text)).then_some(key)
    }

    /// The keys of a unit's words.
    pub(crate) fn words_of(&self, unit: usize) -> &[Word] {
        self.units.get(unit).and_then(|u| self.stream.get(u.at.clone())).unwrap_or(&[])
    }

    /// Scores every unit that shares a word with the claim by the weight of the words shared.
    pub(crate) fn score(&self, claim: &[(u32, f64)]) -> Vec<(usize, f64)> {
        let mut scores: HashMap<u32, f64> = HashMap::new();
        for (key, weight) in claim {
            let mut last = u32::MAX;
            for place in self.places(*key) {
                let unit = self.unit_of[*place as usize];
                if unit != last {
                    *scores.entry(unit).or_default() += weight;
                    last = unit;
                }
            }
        }
        let mut scores: Vec<(usize, f64)> =
            scores.into_iter().map(|(unit, score)| (unit as usize, score)).collect();
        scores.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scores
    }
}

/// Calls back with each run of four letters or digits, hashed.
pub(crate) fn fourgrams(text: &str, mut found: impl FnMut(u32)) {
    let mut window = [' '; 4];
    for c in text.chars().flat_map(char::to_lowercase) {
        let c = if c.is_alphanumeric() { c } else { ' ' };
        if c == ' ' && window[3] == ' ' {
            continue;
        }
        window.rotate_left(1);
        window[3] = c;
        let hash =
            window.iter().fold(0x811c_9dc5_u32, |hash, c| (hash ^ u32::from(*c)).wrapping_mul(0x0100_0193));
        found(hash);
    }
}

/// A count as a number to reckon with. Counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts of words are far below 2^52")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}

fn is_empty_value(value: &str) -> bool {
    let value = value.trim_start_matches(['u', '\'', '"']).trim_end_matches(['\'', '"']);
    matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "none" | "null" | "n/a" | "never" | "0")
        || lists::is_negation(value)
}

fn prefix(text: &str) -> Option<[u8; 4]> {
    text.as_bytes().get(..4)?.try_into().ok()
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}
