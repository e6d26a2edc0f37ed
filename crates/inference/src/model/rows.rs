//! What happens to each row between products: residual sum with layer normalisation, and softmax.

#![expect(
    clippy::inline_always,
    reason = "code over vectors must end up in a function compiled for their instruction set"
)]

use super::math;
use pulp::{Arch, Simd, WithSimd};

/// Scale and shift of a layer normalisation, and the number that keeps its variance off zero.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) epsilon: f32,
}

/// `rows = normalise(rows + added)`, each row as wide as the norm; `added` is empty when there is nothing to add.
pub(super) fn add_and_normalise(arch: Arch, rows: &mut [f32], added: &[f32], norm: &Norm) {
    arch.dispatch(AddAndNormalise { rows, added, norm });
}

struct AddAndNormalise<'a> {
    rows: &'a mut [f32],
    added: &'a [f32],
    norm: &'a Norm,
}

impl WithSimd for AddAndNormalise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.norm.weight.len();
        let mut added = self.added.chunks_exact(width);
        for row in self.rows.chunks_exact_mut(width) {
            row_sum_norm(simd, row, added.next(), self.norm);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a row has some hundreds of values")]
#[inline(always)]
fn row_sum_norm<S: Simd>(simd: S, row: &mut [f32], added: Option<&[f32]>, norm: &Norm) {
    let count = row.len() as f32;
    let mut total = simd.splat_f32s(0.0);
    let mut total_rest = 0.0;
    {
        let (vectors, rest) = S::as_mut_simd_f32s(row);
        if let Some(added) = added {
            let (more, more_rest) = S::as_simd_f32s(added);
            for (value, more) in vectors.iter_mut().zip(more) {
                *value = simd.add_f32s(*value, *more);
            }
            for (value, more) in rest.iter_mut().zip(more_rest) {
                *value += more;
            }
        }
        for value in vectors.iter() {
            total = simd.add_f32s(total, *value);
        }
        for value in rest.iter() {
            total_rest += value;
        }
    }
    let mean = (simd.reduce_sum_f32s(total) + total_rest) / count;
    let (vectors, rest) = S::as_mut_simd_f32s(row);
    let means = simd.splat_f32s(mean);
    let mut squares = simd.splat_f32s(0.0);
    let mut squares_rest = 0.0;
    for value in vectors.iter_mut() {
        *value = simd.sub_f32s(*value, means);
        squares = simd.mul_add_e_f32s(*value, *value, squares);
    }
    for value in rest.iter_mut() {
        *value -= mean;
        squares_rest += *value * *value;
    }
    let variance = (simd.reduce_sum_f32s(squares) + squares_rest) / count;
    let scale = 1.0 / (variance + norm.epsilon).sqrt();
    let scales = simd.splat_f32s(scale);
    let (weights, weights_rest) = S::as_simd_f32s(&norm.weight);
    let (biases, biases_rest) = S::as_simd_f32s(&norm.bias);
    for ((value, weight), bias) in vectors.iter_mut().zip(weights).zip(biases) {
        *value = simd.mul_add_e_f32s(simd.mul_f32s(*value, scales), *weight, *bias);
    }
    for ((value, weight), bias) in rest.iter_mut().zip(weights_rest).zip(biases_rest) {
        *value = *value * scale * weight + bias;
    }
}

/// Replaces each score by `e^(score - greatest)`; returns one over their sum, by which the caller scales what it makes of them.
#[inline(always)]
pub(super) fn softmax<S: Simd>(simd: S, scores: &mut [f32]) -> f32 {
    let (vectors, rest) = S::as_mut_simd_f32s(scores);
    let mut greatest = simd.splat_f32s(f32::NEG_INFINITY);
    for value in vectors.iter() {
        greatest = simd.max_f32s(greatest, *value);
    }
    // A row has at least one score, the token's own.
    let rest_greatest = rest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let greatest = simd.splat_f32s(simd.reduce_max_f32s(greatest).max(rest_greatest));
    let mut total = simd.splat_f32s(0.0);
    for value in vectors.iter_mut() {
        *value = math::exp(simd, simd.sub_f32s(*value, greatest));
        total = simd.add_f32s(total, *value);
    }
    let mut sum = simd.reduce_sum_f32s(total);
    if !rest.is_empty() {
        let powers = math::exp(simd, simd.sub_f32s(simd.partial_load_f32s(rest), greatest));
        simd.partial_store_f32s(rest, powers);
        for power in rest.iter() {
            sum += power;
        }
    }
    1.0 / sum
}
