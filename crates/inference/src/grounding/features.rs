//! A claim beside its evidence, in numbers. Every feature has a direction: it speaks for support or against it, and the
//! trained head may not turn it round.

use super::evidence::{Index, float, fourgrams};
use super::lists;
use super::words::{Keys, Sort, Word};
use std::collections::HashSet;

/// How many features a claim has.
pub(crate) const COUNT: usize = NAMES.len();

/// Their names and directions (+1: more of it speaks for support, −1: against, 0: neither by itself), in order.
pub(crate) const NAMES: [(&str, i8); 36] = [
    ("words_known", 1),
    ("covered", 1),
    ("covered_best", 1),
    ("covered_window", 1),
    ("covered_three", 1),
    ("pairs_known", 1),
    ("triples_known", 1),
    ("pairs_near", 1),
    ("pairs_apart", -1),
    ("common_subsequence", 1),
    ("copied_run", 1),
    ("copied_share", 1),
    ("fourgrams", 1),
    ("unknown_content", -1),
    ("unknown_run", -1),
    ("unknown_names", -1),
    ("names_outside_window", -1),
    ("unknown_numbers", -1),
    ("numbers_outside_window", -1),
    ("negation_differs", -1),
    ("opposite", -1),
    ("hedge_dropped", -1),
    ("order_broken", -1),
    ("bound_least", 1),
    ("bound_mean", 1),
    ("names", 0),
    ("numbers", 0),
    ("content_words", 0),
    ("units", 0),
    ("asked", 0),
    ("second_best", 0),
    ("spread", -1),
    ("outside_best", -1),
    ("short_known", 1),
    ("rival_number", -1),
    ("rival_name", -1),
];

/// What a claim was compared with and what came of it.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// In the order of [`NAMES`].
    pub(crate) features: [f32; COUNT],
    /// The unit of the context that comes closest.
    pub(crate) best: Option<usize>,
    /// The units that share most with the claim, the best first.
    pub(crate) closest: Vec<usize>,
    /// The units to read beside the claim, those that say most about it first.
    pub(crate) chosen: Vec<usize>,
    /// The claim's names, numbers and dates that its evidence lacks, by index into the claim's words.
    pub(crate) missing: Vec<usize>,
}

/// Claims and evidence longer than this many words are compared by their first ones.
const CLAIM_WORDS: usize = 96;
const WINDOW_WORDS: usize = 256;

/// So many units are looked at closely.
const CLOSEST: usize = 3;

/// Compares the words of a claim with the context.
pub(crate) fn compare(claim: &[Word], text: &str, index: &Index, keys: &mut Keys) -> Comparison {
    let claim = &claim[..claim.len().min(CLAIM_WORDS)];
    let mut features = [0.0; COUNT];
    let content: Vec<Known> = claim
        .iter()
        .enumerate()
        .filter(|(_, w)| w.sort != Sort::Function)
        .map(|(at, word)| Known::of(at, word, index, keys))
        .collect();
    let total: f64 = content.iter().map(|k| k.weight).sum::<f64>().max(f64::MIN_POSITIVE);
    let wanted = distinct(&content);
    let scores = index.score(&wanted);
    let best = scores.first().map(|(unit, _)| *unit);
    let view = View::new(best, index);
    let mut set = |name: &str, value: f64| {
        if let Some(at) = NAMES.iter().position(|(known, _)| *known == name) {
            features[at] = narrow(value);
        }
    };

    set("words_known", share(claim.iter(), |w| index.has_form(w.form) || index.has(w.key)));
    let covered = content.iter().map(|k| k.weight * k.grade).sum::<f64>() / total;
    set("covered", covered);
    let best_share = covered_by(&content, |key| view.best.contains(&key)) / total;
    set("covered_best", best_share);
    set("covered_window", covered_by(&content, |key| view.window_set.contains(&key)) / total);
    let (three, mut chosen) = greedy(&content, &scores, index, total);
    // A sentence's pronouns stand for names in the one before it.
    chosen.extend(best.into_iter().flat_map(|best| neighbours(best, [-1, 1], index)));
    chosen.extend(scores.iter().take(2 * CLOSEST).map(|(unit, _)| *unit));
    chosen.extend(best.into_iter().flat_map(|best| neighbours(best, [2, -2], index)));
    set("covered_three", three);
    set("spread", covered - three);
    set("outside_best", (covered - best_share).max(0.0));
    set(
        "second_best",
        scores.get(1).zip(scores.first()).map_or(0.0, |(b, a)| b.1 / a.1.max(f64::MIN_POSITIVE)),
    );
    sequences(claim, index, &mut set);
    set("fourgrams", known_fourgrams(text, index));
    unknowns(claim, &content, &view, index, &mut set);
    nearness(&content, index, &mut set);
    set("common_subsequence", common_subsequence(&content, &view));
    set("order_broken", inversions(&content, &view));
    polarity(claim, &content, &view, keys, &mut set);
    binding(&content, index, &mut set);
    set("content_words", float(content.len()).ln_1p());
    set("units", float(index.units.len()).ln_1p());
    set("asked", share(content.iter(), |k| index.asked(k.word.key)));
    let missing = content
        .iter()
        .filter(|k| {
            matches!(k.word.sort, Sort::Name | Sort::Number | Sort::Date) && !view.window_set.contains(&k.key)
        })
        .map(|k| k.at)
        .collect();
    let closest = scores.iter().take(CLOSEST).map(|(unit, _)| *unit).collect();
    Comparison { features, best, closest, chosen, missing }
}

/// A word of the claim that carries meaning.
struct Known<'a> {
    at: usize,
    word: &'a Word,
    /// The key to look for in the context: its own, or that of a word alike.
    key: u32,
    weight: f64,
    /// 1 where the context has it, less where it has something alike or only the question has it, 0 where none has.
    grade: f64,
}

impl<'a> Known<'a> {
    fn of(at: usize, word: &'a Word, index: &Index, keys: &Keys) -> Self {
        let weight = match word.sort {
            Sort::Function => 0.1,
            Sort::Content => 1.0,
            Sort::Date => 1.2,
            Sort::Name | Sort::Number => 1.5,
        } * (0.4 + 0.6 * index.rarity(word.key));
        let wordy = matches!(word.sort, Sort::Content | Sort::Name);
        let (key, grade) = if index.has(word.key) {
            (word.key, 1.0)
        } else if let Some(other) = index.alike(word.key, word.capital, keys).filter(|_| wordy) {
            (other, 0.75)
        } else if index.asked(word.key) {
            (word.key, 0.5)
        } else {
            (word.key, 0.0)
        };
        Self { at, word, key, weight, grade }
    }
}

/// The closest unit and its neighbours.
struct View {
    best: HashSet<u32>,
    best_words: Vec<Word>,
    window: Vec<u32>,
    window_set: HashSet<u32>,
    window_forms: HashSet<u32>,
}

impl View {
    fn new(best: Option<usize>, index: &Index) -> Self {
        let best_words = best.map_or(&[][..], |unit| index.words_of(unit));
        let passage = best.and_then(|unit| index.units.get(unit)).map(|u| u.passage);
        let mut window = Vec::new();
        let mut window_forms = HashSet::new();
        if let Some(unit) = best {
            for near in unit.saturating_sub(1)..=unit + 1 {
                if index.units.get(near).map(|u| u.passage) == passage {
                    let words = index.words_of(near);
                    let room = WINDOW_WORDS.saturating_sub(window.len());
                    window.extend(words.iter().take(room).map(|w| w.key));
                    window_forms.extend(words.iter().map(|w| w.form));
                }
            }
        }
        Self {
            best: best_words.iter().map(|w| w.key).collect(),
            best_words: best_words.iter().take(WINDOW_WORDS).cloned().collect(),
            window_set: window.iter().copied().collect(),
            window,
            window_forms,
        }
    }
}

fn distinct(content: &[Known<'_>]) -> Vec<(u32, f64)> {
    let mut seen = HashSet::new();
    content.iter().filter(|k| k.grade > 0.6 && seen.insert(k.key)).map(|k| (k.key, k.weight)).collect()
}

fn covered_by(content: &[Known<'_>], has: impl Fn(u32) -> bool) -> f64 {
    content.iter().filter(|k| has(k.key)).map(|k| k.weight * k.grade.max(0.5)).sum()
}

/// The units at these distances from one, within its passage.
fn neighbours(unit: usize, at: [isize; 2], index: &Index) -> impl Iterator<Item = usize> {
    let passage = move |unit: usize| index.units.get(unit).map(|unit| unit.passage);
    let near = at.into_iter().filter_map(move |at| unit.checked_add_signed(at));
    near.filter(move |near| passage(*near) == passage(unit))
}

/// What the three units cover together that cover most, and which they are.
fn greedy(content: &[Known<'_>], scores: &[(usize, f64)], index: &Index, total: f64) -> (f64, Vec<usize>) {
    let mut chosen = Vec::new();
    let mut open: Vec<&Known<'_>> = content.iter().filter(|k| k.grade > 0.6).collect();
    let mut sum = 0.0;
    for _ in 0..3 {
        let gain = |unit: usize, open: &[&Known<'_>]| -> f64 {
            let words = index.words_of(unit);
            open.iter().filter(|k| words.iter().any(|w| w.key == k.key)).map(|k| k.weight * k.grade).sum()
        };
        let Some((unit, gained)) = scores
            .iter()
            .take(24)
            .map(|(unit, _)| (*unit, gain(*unit, &open)))
            .reduce(|a, b| if b.1 > a.1 { b } else { a })
        else {
            break;
        };
        let words = index.words_of(unit);
        open.retain(|k| !words.iter().any(|w| w.key == k.key));
        sum += gained;
        if chosen.is_empty() || gained > 0.0 {
            chosen.push(unit);
        }
    }
    (sum / total, chosen)
}

fn sequences(claim: &[Word], index: &Index, set: &mut impl FnMut(&str, f64)) {
    let pairs: Vec<bool> = claim.windows(2).map(|p| index.has_pair(p[0].key, p[1].key)).collect();
    let triples: Vec<bool> =
        claim.windows(3).map(|t| index.has_triple(t[0].key, t[1].key, t[2].key)).collect();
    set("pairs_known", share(pairs.iter(), |b| **b));
    set("triples_known", share(triples.iter(), |b| **b));
    let mut copied = vec![false; claim.len()];
    let (mut run, mut longest) = (0, 0);
    for (at, known) in triples.iter().enumerate() {
        run = if *known { run + 1 } else { 0 };
        if *known {
            copied[at..at + 3].fill(true);
            longest = longest.max(run + 2);
        }
    }
    set("copied_run", float(longest) / float(claim.len().max(1)));
    set("copied_share", share(copied.iter(), |b| **b));
}

fn known_fourgrams(text: &str, index: &Index) -> f64 {
    let (mut all, mut known) = (0, 0);
    fourgrams(text.get(..text.len().min(1_000)).unwrap_or(text), |gram| {
        all += 1;
        known += usize::from(index.has_fourgram(gram));
    });
    if all == 0 { 1.0 } else { float(known) / float(all) }
}

fn unknowns(
    claim: &[Word],
    content: &[Known<'_>],
    view: &View,
    index: &Index,
    set: &mut impl FnMut(&str, f64),
) {
    let count = |test: &dyn Fn(&Known<'_>) -> bool| float(content.iter().filter(|k| test(k)).count());
    let numeric = |k: &Known<'_>| matches!(k.word.sort, Sort::Number | Sort::Date);
    let name = |k: &Known<'_>| k.word.sort == Sort::Name;
    let outside = |k: &Known<'_>| !view.window_set.contains(&k.key);
    set("unknown_content", count(&|k| k.grade < 0.4).ln_1p());
    set("unknown_names", count(&|k| name(k) && k.grade < 0.6));
    set("names_outside_window", count(&|k| name(k) && outside(k)));
    set("unknown_numbers", count(&|k| numeric(k) && !index.has(k.key)));
    set("numbers_outside_window", count(&|k| numeric(k) && outside(k)));
    set("names", count(&name));
    set("numbers", count(&numeric));
    let best_has = |sort: &dyn Fn(Sort) -> bool| {
        view.best_words.iter().any(|w| sort(w.sort) && !claim.iter().any(|c| c.key == w.key))
    };
    let rival = |missing: f64, has: bool| if has { missing } else { 0.0 };
    set(
        "rival_number",
        rival(count(&|k| numeric(k) && outside(k)), best_has(&|s| s == Sort::Number || s == Sort::Date)),
    );
    set("rival_name", rival(count(&|k| name(k) && outside(k)), best_has(&|s| s == Sort::Name)));
    let (mut run, mut longest) = (0, 0);
    for known in content {
        run = if known.grade < 0.6 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    set("unknown_run", float(longest));
    set("short_known", if content.len() <= 4 { share(content.iter(), |k| k.grade > 0.6) } else { 0.5 });
}

/// Neighbours in the claim should be near each other in the context as well.
fn nearness(content: &[Known<'_>], index: &Index, set: &mut impl FnMut(&str, f64)) {
    let mut near = 0.0;
    let (mut pairs, mut apart) = (0, 0);
    for pair in content.windows(2) {
        if pair[0].grade < 0.6 || pair[1].grade < 0.6 || pair[0].key == pair[1].key {
            continue;
        }
        pairs += 1;
        let distance = distance(index.places(pair[0].key), index.places(pair[1].key));
        near += match distance {
            0..=4 => 1.0,
            5..=10 => 0.7,
            11..=24 => 0.35,
            _ => 0.0,
        };
        apart += usize::from(distance > 40);
    }
    set("pairs_near", if pairs == 0 { 0.5 } else { near / float(pairs) });
    set("pairs_apart", float(apart));
}

/// The least distance between a place of one list and a place of the other; both are sorted.
fn distance(a: &[u32], b: &[u32]) -> u32 {
    let (mut i, mut j, mut least) = (0, 0, u32::MAX);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        least = least.min(x.abs_diff(*y));
        if x < y { i += 1 } else { j += 1 }
    }
    least
}

fn common_subsequence(content: &[Known<'_>], view: &View) -> f64 {
    if content.is_empty() {
        return 1.0;
    }
    let mut row = vec![0_u16; view.window.len() + 1];
    for known in content {
        let mut diagonal = 0;
        for (at, key) in view.window.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if *key == known.key { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    f64::from(row.last().copied().unwrap_or(0)) / float(content.len())
}

/// Share of the claim's neighbouring words that stand the other way round in the evidence.
fn inversions(content: &[Known<'_>], view: &View) -> f64 {
    let places: Vec<usize> =
        content.iter().filter_map(|k| view.window.iter().position(|key| *key == k.key)).collect();
    if places.len() < 2 { 0.0 } else { share(places.windows(2), |p| p[0] > p[1]) }
}

/// Denial and its like on one side only.
fn polarity(
    claim: &[Word],
    content: &[Known<'_>],
    view: &View,
    keys: &mut Keys,
    set: &mut impl FnMut(&str, f64),
) {
    let denied = |words: &[Word], key: u32| {
        words.iter().position(|w| w.key == key).map(|at| {
            words[at.saturating_sub(5)..(at + 2).min(words.len())]
                .iter()
                .any(|w| lists::is_negation(keys.text(w.form)))
        })
    };
    let mut differs = 0;
    for known in content {
        if let (Some(here), Some(there)) =
            (denied(claim, known.word.key), denied(&view.best_words, known.key))
        {
            differs += usize::from(here != there);
        }
    }
    set("negation_differs", float(differs) / float(content.len().max(1)));
    let hedges = |words: &[Word]| words.iter().filter(|w| lists::is_hedge(keys.text(w.form))).count();
    set("hedge_dropped", float(hedges(&view.best_words).saturating_sub(hedges(claim)).min(2)));
    let mut opposite = 0;
    let spellings: Vec<(u32, String)> = claim
        .iter()
        .filter(|w| !view.window_forms.contains(&w.form))
        .map(|w| (w.form, keys.text(w.form).to_owned()))
        .collect();
    for (_, spelling) in &spellings {
        opposite +=
            usize::from(lists::opposites(spelling).any(|other| view.window_forms.contains(&keys.of(other))));
    }
    set("opposite", float(opposite));
}

/// Where the context has a name or number of the claim, how much of the claim stands round it there.
fn binding(content: &[Known<'_>], index: &Index, set: &mut impl FnMut(&str, f64)) {
    const REACH: u32 = 16;
    let (mut least, mut sum, mut details) = (1.0_f64, 0.0, 0);
    for (at, detail) in content.iter().enumerate() {
        if !matches!(detail.word.sort, Sort::Name | Sort::Number | Sort::Date) || !index.has(detail.key) {
            continue;
        }
        let others = content[at.saturating_sub(6)..(at + 7).min(content.len())]
            .iter()
            .filter(|o| o.key != detail.key && o.grade > 0.6);
        let others: Vec<&Known<'_>> = others.collect();
        let total: f64 = others.iter().map(|o| o.weight).sum();
        if total <= 0.0 {
            continue;
        }
        let bound = index.places(detail.key).iter().take(64).map(|place| {
            let here = others.iter().filter(|o| {
                let places = index.places(o.key);
                let from = places.partition_point(|p| *p + REACH < *place);
                places.get(from).is_some_and(|p| *p <= place + REACH)
            });
            here.map(|o| o.weight).sum::<f64>() / total
        });
        let bound = bound.fold(0.0, f64::max);
        least = least.min(bound);
        sum += bound;
        details += 1;
    }
    set("bound_least", least);
    set("bound_mean", if details == 0 { 0.8 } else { sum / float(details) });
}

fn share<T>(items: impl ExactSizeIterator<Item = T>, test: impl Fn(&T) -> bool) -> f64 {
    let all = items.len();
    if all == 0 {
        return 1.0;
    }
    float(items.filter(test).count()) / float(all)
}

#[expect(clippy::cast_possible_truncation, reason = "features are small; the head works in single precision")]
pub(crate) fn narrow(value: f64) -> f32 {
    value as f32
}

/// Where `covered_best` stands in [`NAMES`].
pub(crate) const COVERED_BEST: usize = 2;

/// A feature by its name; 0 for a name that there is not.
pub(crate) fn value(features: &[f32; COUNT], name: &str) -> f64 {
    NAMES.iter().position(|(known, _)| *known == name).map_or(0.0, |at| f64::from(features[at]))
}
