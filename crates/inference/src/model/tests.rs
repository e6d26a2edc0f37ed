//! The fused encoder held against plain arithmetic and against candle, with every instruction set that this machine has.

use super::attention::{self, Heads, attend};
use super::gemm::{Activation, Packed, product};
use super::math;
use super::rows::{Norm, add_and_normalise};
use super::{Batch, Fused, Reference, Scratch, Shape, Weights};
use crate::testing::{self, Kind, noise};
use proptest::prelude::*;
use pulp::{Arch, Simd, WithSimd};

fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        archs.extend(pulp::x86::V4::try_new().map(Arch::V4));
    }
    archs
}

struct Map<'a> {
    values: &'a mut [f32],
    gelu: bool,
}

impl WithSimd for Map<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "as in the code under test")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for chunk in self.values.chunks_mut(S::F32_LANES) {
            let x = simd.partial_load_f32s(chunk);
            let y = if self.gelu { math::gelu(simd, x) } else { math::exp(simd, x) };
            simd.partial_store_f32s(chunk, y);
        }
    }
}

/// The error function to double precision: its series near zero, its continued fraction far from it.
fn erf(x: f64) -> f64 {
    if x.abs() < 3.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let square = x * x;
    let mut fraction = 0.0;
    for n in (1..100).rev() {
        fraction = f64::from(n) / 2.0 / (x.abs() + fraction);
    }
    let tail = (-square).exp() / ((x.abs() + fraction) * std::f64::consts::PI.sqrt());
    (1.0 - tail).copysign(x)
}

#[test]
fn gelu_is_exact_to_single_precision() {
    let inputs: Vec<f32> = (-1200_i16..=1200).map(|n| f32::from(n) / 100.0).collect();
    for arch in archs() {
        let mut values = inputs.clone();
        arch.dispatch(Map { values: &mut values, gelu: true });
        for (x, y) in inputs.iter().zip(values) {
            let x = f64::from(*x);
            let expected = 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2));
            assert!((f64::from(y) - expected).abs() < 1e-6, "{arch:?}: gelu({x}) = {y}, expected {expected}");
        }
    }
}

#[test]
fn exp_is_exact_to_single_precision_below_zero() {
    let inputs: Vec<f32> = (0_i16..=8600).map(|n| f32::from(-n) / 100.0).collect();
    for arch in archs() {
        let mut values = inputs.clone();
        arch.dispatch(Map { values: &mut values, gelu: false });
        for (x, y) in inputs.iter().zip(values) {
            let expected = f64::from(*x).exp();
            let error = (f64::from(y) - expected).abs() / expected;
            assert!(error < 3e-7, "{arch:?}: exp({x}) = {y}, expected {expected}");
        }
    }
}

proptest! {
    #[test]
    fn a_product_is_the_sum_of_products(
        rows in 0_usize..20, depth in 1_usize..40, width in 1_usize..150, seed in any::<u32>(),
    ) {
        let (left, weight, bias) = (noise(rows * depth, seed), noise(width * depth, seed ^ 1), noise(width, seed ^ 2));
        let mut expected = Vec::new();
        for row in left.chunks_exact(depth) {
            for (column, bias) in weight.chunks_exact(depth).zip(&bias) {
                expected.push(row.iter().zip(column).map(|(a, b)| a * b).sum::<f32>() + bias);
            }
        }
        for arch in archs() {
            let packed = Packed::new(arch, &weight, &bias, depth);
            let mut out = vec![f32::NAN; rows * width];
            product(arch, &left, &packed, Activation::None, &mut out);
            prop_assert!(close(&out, &expected, 1e-4), "{arch:?}");
            product(arch, &left, &packed, Activation::Relu, &mut out);
            let positive: Vec<f32> = expected.iter().map(|value| value.max(0.0)).collect();
            prop_assert!(close(&out, &positive, 1e-4), "{arch:?}");
        }
    }

    #[test]
    fn attention_is_a_weighted_mean_of_values(
        tokens in 1_usize..70, count in 1_usize..4, size in 1_usize..40, seed in any::<u32>(),
    ) {
        let width = count * size;
        let projected: Vec<f32> = noise(tokens * 3 * width, seed).iter().map(|value| value * 4.0).collect();
        let expected = plain_attention(&projected, tokens, Heads { count, size });
        for arch in archs() {
            let mut out = vec![f32::NAN; tokens * width];
            // What an earlier call left behind must not show.
            let mut scratch = attention::Scratch::default();
            attend(arch, &noise(90 * 3 * width, 7), Heads { count, size }, &mut scratch, &mut vec![0.0; 90 * width]);
            attend(arch, &projected, Heads { count, size }, &mut scratch, &mut out);
            prop_assert!(close(&out, &expected, 1e-4), "{arch:?}");
        }
    }

    #[test]
    fn a_normalised_row_has_mean_zero_and_variance_one(width in 2_usize..100, seed in any::<u32>()) {
        let (rows, added) = (noise(3 * width, seed), noise(3 * width, seed ^ 1));
        let norm = Norm { weight: vec![2.0; width], bias: vec![0.5; width], epsilon: 1e-12 };
        let mut expected = Vec::new();
        for (row, added) in rows.chunks_exact(width).zip(added.chunks_exact(width)) {
            let sums: Vec<f64> = row.iter().zip(added).map(|(a, b)| f64::from(*a) + f64::from(*b)).collect();
            let count = f64::from(u16::try_from(width).unwrap());
            let mean = sums.iter().sum::<f64>() / count;
            let variance = sums.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            #[expect(clippy::cast_possible_truncation, reason = "compared in single precision")]
            expected.extend(sums.iter().map(|value| ((value - mean) / variance.sqrt() * 2.0 + 0.5) as f32));
        }
        for arch in archs() {
            let mut out = rows.clone();
            add_and_normalise(arch, &mut out, &added, &norm);
            prop_assert!(close(&out, &expected, 1e-3), "{arch:?}");
        }
    }
}

fn plain_attention(projected: &[f32], tokens: usize, heads: Heads) -> Vec<f32> {
    let width = heads.count * heads.size;
    let at = |token: usize, part: usize, value: usize| projected[token * 3 * width + part * width + value];
    let mut out = vec![0.0; tokens * width];
    for head in 0..heads.count {
        let values = head * heads.size..(head + 1) * heads.size;
        for query in 0..tokens {
            let score = |key| values.clone().map(|v| at(query, 0, v) * at(key, 1, v)).sum::<f32>();
            let scores: Vec<f32> = (0..tokens).map(score).collect();
            let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = scores.iter().map(|score| (score - greatest).exp()).collect();
            let sum: f32 = powers.iter().sum();
            for v in values.clone() {
                let total: f32 = powers.iter().enumerate().map(|(key, power)| power * at(key, 2, v)).sum();
                out[query * width + v] = total / sum;
            }
        }
    }
    out
}

#[test]
fn every_family_gives_what_candle_gives() {
    for kind in [Kind::Bert, Kind::Roberta, Kind::DistilBert] {
        let dir = testing::tiny(kind);
        let shape = Shape::read(dir.path()).unwrap();
        let weights = Weights::read(dir.path(), &shape).unwrap();
        let mut batch = Batch::default();
        for length in [1_u32, 7, 13, 26] {
            let ids: Vec<u32> = (0..length).map(|n| (n * 5 + length) % testing::VOCABULARY).collect();
            let types: Vec<u32> = (0..length).map(|n| u32::from(kind == Kind::Bert && n > 5)).collect();
            batch.push(&ids, &types);
        }
        let expected =
            Reference::new(&shape, &weights, &candle_core::Device::Cpu).unwrap().run(&batch).unwrap();
        for arch in archs() {
            let fused = Fused::with_arch(arch, &shape, &weights).unwrap();
            assert!(close(fused.run(&batch, &mut Scratch::default()), &expected, 1e-4), "{kind:?} {arch:?}");
        }
    }
}

#[test]
fn the_default_model_gives_what_candle_gives() {
    let dir = testing::default_model();
    let shape = Shape::read(&dir).unwrap();
    let weights = Weights::read(&dir, &shape).unwrap();
    let mut batch = Batch::default();
    for length in [3_u32, 40, 100] {
        let ids: Vec<u32> = (0..length).map(|n| 1000 + n * 211).collect();
        batch.push(&ids, &vec![0; ids.len()]);
    }
    let expected = Reference::new(&shape, &weights, &candle_core::Device::Cpu).unwrap().run(&batch).unwrap();
    let fused = Fused::new(&shape, &weights).unwrap();
    assert!(close(fused.run(&batch, &mut Scratch::default()), &expected, 1e-4));
}

/// Whether no two values are further apart; a NaN is far from everything.
fn close(found: &[f32], expected: &[f32], most: f32) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= most)
}
