//! Vectors of one partition's questions, and the nearest of them.
//!
//! Every vector is looked at: 16-bit fixed-point numbers laid end to end, so a look-up is one pass over memory at the speed of
//! the machine's widest integer multiply-add. It misses nothing, adding and taking away are a copy each, and up to some ten thousand
//! questions it takes less time than embedding the question did. docs/CACHE.md has it beside a graph.

use crate::facts::Facts;
use crate::question::ExactKey;
use contracts::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// 1.0 in fixed point. Products of unit vectors sum up to its square at most, in any order (Cauchy and Schwarz), which fits 32 bits.
const ONE: f32 = 16_384.0;

/// Questions that are compared under one lock: some tenths of a millisecond.
const BLOCK: usize = 4096;

/// How many of the nearest are looked at, where the guard or age speak against the first.
const CANDIDATES: usize = 8;

/// A unit vector in fixed point: within 2⁻¹⁵ of each component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector(Arc<[i16]>);

impl Vector {
    /// From an embedder's vector, scaled to length 1; `None` where it has no length or a component is no number.
    #[expect(clippy::cast_possible_truncation, reason = "components of a unit vector are between -1 and 1")]
    pub fn new(components: &[f32]) -> Option<Self> {
        let length = components.iter().map(|value| value * value).sum::<f32>().sqrt();
        if !(length.is_finite() && length > 1e-6) {
            return None;
        }
        Some(Self(components.iter().map(|value| (value / length * ONE).round() as i16).collect()))
    }

    /// The cosine of two vectors of one model; 0 where they have different lengths.
    pub fn cosine(&self, other: &Self) -> f32 {
        if self.0.len() == other.0.len() { cosine(product(&self.0, &other.0)) } else { 0.0 }
    }

    /// Whether it has length 1, as far as fixed point tells: products of other vectors might not fit.
    pub(crate) fn is_unit(&self) -> bool {
        let length: i64 = self.0.iter().map(|value| i64::from(*value).pow(2)).sum();
        let one = f64::from(ONE).powi(2);
        #[expect(clippy::cast_precision_loss, reason = "compared within a hundredth")]
        let ratio = length as f64 / one;
        (0.99..1.01).contains(&ratio)
    }

    pub(crate) fn dimension(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[i16]>(&self.0)
    }
}

/// A question that came near.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) key: ExactKey,
    pub(crate) similarity: f32,
    pub(crate) facts: Arc<Facts>,
}

/// One partition's questions. Scans lock it block by block, so that nobody waits for one.
#[derive(Debug, Default)]
pub(crate) struct Index {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    dimension: usize,
    vectors: Vec<i16>,
    items: Vec<Item>,
    places: HashMap<ExactKey, usize>,
    /// Where the next one is taken away when there are too many: roughly the oldest, for new ones come to the end.
    next_out: usize,
}

#[derive(Debug)]
struct Item {
    key: ExactKey,
    facts: Arc<Facts>,
    expires_at: Timestamp,
}

impl Index {
    /// Adds a question, or renews it. Returns one that made place for it, where there were `most` already. A vector of another
    /// dimension than the others' is not taken.
    pub(crate) fn insert(
        &self,
        key: ExactKey,
        vector: &Vector,
        facts: Arc<Facts>,
        expires_at: Timestamp,
        most: usize,
    ) -> Option<ExactKey> {
        let mut state = self.write();
        if state.items.is_empty() {
            state.dimension = vector.dimension();
        }
        if state.dimension != vector.dimension() {
            return None;
        }
        if let Some(&place) = state.places.get(&key) {
            state.items[place].expires_at = expires_at;
            return None;
        }
        let out = (state.items.len() >= most.max(1)).then(|| state.take_one()).flatten();
        let place = state.items.len();
        state.places.insert(key, place);
        state.items.push(Item { key, facts, expires_at });
        state.vectors.extend_from_slice(&vector.0);
        out
    }

    /// Takes a question away.
    pub(crate) fn remove(&self, key: &ExactKey) {
        self.write().remove(key);
    }

    /// How many questions there are.
    pub(crate) fn len(&self) -> usize {
        self.read().items.len()
    }

    /// The nearest questions of at least this cosine that are not too old, nearest first.
    #[expect(clippy::cast_possible_truncation, reason = "at most 2^28")]
    pub(crate) fn nearest(&self, vector: &Vector, threshold: f64, now: Timestamp) -> Vec<Candidate> {
        let arch = pulp::Arch::new();
        let least = (threshold * f64::from(ONE) * f64::from(ONE)).floor() as i32;
        let mut found: Vec<(i32, Candidate)> = Vec::new();
        let mut start = 0;
        loop {
            let state = self.read();
            let block = start..(start + BLOCK).min(state.items.len());
            if block.is_empty() || state.dimension != vector.dimension() {
                break;
            }
            let rows = &state.vectors[block.start * state.dimension..block.end * state.dimension];
            let mut least = least;
            if let (CANDIDATES, Some((last, _))) = (found.len(), found.last()) {
                least = least.max(*last + 1);
            }
            let mut near = Vec::new();
            arch.dispatch(Scan { query: &vector.0, rows, least, near: &mut near });
            for (offset, product) in near {
                let item = &state.items[block.start + offset];
                if now < item.expires_at {
                    let candidate =
                        Candidate { key: item.key, similarity: cosine(product), facts: item.facts.clone() };
                    let place = found.partition_point(|(known, _)| *known >= product);
                    found.insert(place, (product, candidate));
                    found.truncate(CANDIDATES);
                }
            }
            start = block.end;
        }
        found.into_iter().map(|(_, candidate)| candidate).collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_one(&mut self) -> Option<ExactKey> {
        self.next_out = if self.next_out < self.items.len() { self.next_out } else { 0 };
        let key = self.items.get(self.next_out)?.key;
        self.remove(&key);
        self.next_out += 1;
        Some(key)
    }

    fn remove(&mut self, key: &ExactKey) {
        let Some(place) = self.places.remove(key) else { return };
        let last = self.items.len() - 1;
        self.items.swap_remove(place);
        let dimension = self.dimension;
        self.vectors.copy_within(last * dimension.., place * dimension);
        self.vectors.truncate(last * dimension);
        if let Some(moved) = self.items.get(place) {
            self.places.insert(moved.key, place);
        }
    }
}

/// Finds the rows whose product with the query is large enough.
struct Scan<'a> {
    query: &'a [i16],
    rows: &'a [i16],
    least: i32,
    near: &'a mut Vec<(usize, i32)>,
}

impl pulp::WithSimd for Scan<'_> {
    type Output = ();

    // Inlined into a caller that is compiled for what the processor has; the loop below becomes its multiply-adds.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "features of the processor reach only what is inlined")]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (place, row) in self.rows.chunks_exact(self.query.len().max(1)).enumerate() {
            let product = product(self.query, row);
            if product >= self.least {
                self.near.push((place, product));
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "features of the processor reach only what is inlined")]
fn product(one: &[i16], other: &[i16]) -> i32 {
    // Nothing wraps, see `ONE`; but to look for it would keep the loop from becoming wide.
    one.iter()
        .zip(other)
        .fold(0, |sum: i32, (a, b)| sum.wrapping_add(i32::from(*a).wrapping_mul(i32::from(*b))))
}

#[expect(clippy::cast_precision_loss, reason = "24 bits are more than the vectors have")]
fn cosine(product: i32) -> f32 {
    (product as f32 / (ONE * ONE)).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(100);
    const LATER: Timestamp = Timestamp::from_unix_seconds(200);

    fn key(number: u32) -> ExactKey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        ExactKey(bytes)
    }

    fn add(index: &Index, number: u32, components: &[f32], most: usize) -> Option<ExactKey> {
        index.insert(key(number), &Vector::new(components).unwrap(), Arc::default(), LATER, most)
    }

    fn near(index: &Index, components: &[f32], threshold: f64) -> Vec<(ExactKey, f32)> {
        let found = index.nearest(&Vector::new(components).unwrap(), threshold, NOW);
        found.into_iter().map(|candidate| (candidate.key, candidate.similarity)).collect()
    }

    #[test]
    fn nearest_come_first_and_far_ones_not_at_all() {
        let index = Index::default();
        for (number, components) in [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]].iter().enumerate() {
            add(&index, u32::try_from(number).unwrap(), components, 10);
        }
        let found = near(&index, &[2.0, 0.0], 0.5);
        assert_eq!(found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(0), key(1)]);
        assert!((found[0].1 - 1.0).abs() < 1e-4);
    }

    #[test]
    fn the_old_and_those_of_another_model_are_not_found() {
        let index = Index::default();
        let vector = Vector::new(&[1.0, 0.0]).unwrap();
        index.insert(key(1), &vector, Arc::default(), NOW, 10);
        assert!(near(&index, &[1.0, 0.0], 0.5).is_empty());
        add(&index, 2, &[1.0, 0.0, 0.0], 10);
        assert_eq!(index.len(), 1);
        assert!(near(&index, &[1.0, 0.0, 0.0], 0.0).is_empty());
    }

    #[test]
    fn what_is_no_direction_is_no_vector() {
        for components in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
            assert_eq!(Vector::new(components), None);
        }
    }

    fn components() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1.0_f32..1.0, 12).prop_filter("length", |c| c.iter().any(|v| v.abs() > 0.1))
    }

    proptest! {
        #[test]
        fn it_finds_what_comparing_each_finds(
            steps in prop::collection::vec((0_u32..40, any::<bool>(), components()), 1..80),
            query in components(),
            threshold in 0.0..0.9_f64,
            most in 1_usize..30,
        ) {
            let index = Index::default();
            let mut kept: HashMap<ExactKey, Vector> = HashMap::new();
            for (number, remove, vector) in steps {
                if remove {
                    index.remove(&key(number));
                    kept.remove(&key(number));
                } else {
                    let vector = Vector::new(&vector).unwrap();
                    if let Some(out) = index.insert(key(number), &vector, Arc::default(), LATER, most) {
                        prop_assert!(kept.remove(&out).is_some());
                    }
                    kept.entry(key(number)).or_insert(vector);
                }
                prop_assert_eq!(index.len(), kept.len());
                prop_assert!(kept.len() <= most);
            }
            let query = Vector::new(&query).unwrap();
            let mut expected: Vec<i32> = kept.values().map(|vector| product(&vector.0, &query.0)).collect();
            expected.retain(|found| f64::from(cosine(*found)) >= threshold);
            expected.sort_unstable_by_key(|found| std::cmp::Reverse(*found));
            expected.truncate(CANDIDATES);
            let found = index.nearest(&query, threshold, NOW);
            let expected: Vec<f32> = expected.into_iter().map(cosine).collect();
            prop_assert_eq!(found.iter().map(|c| c.similarity).collect::<Vec<_>>(), expected);
            for candidate in found {
                prop_assert!((candidate.similarity - kept[&candidate.key].cosine(&query)).abs() < 1e-9);
            }
        }

        #[test]
        fn fixed_point_is_near_the_cosine(one in components(), other in components()) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let exact = dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt();
            let found = Vector::new(&one).unwrap().cosine(&Vector::new(&other).unwrap());
            prop_assert!((found - exact).abs() < 3e-4, "{found} {exact}");
        }
    }
}
