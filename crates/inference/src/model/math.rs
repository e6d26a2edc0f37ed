//! Functions over vectors of single-precision numbers, each within a few units in the last place.

// The constants are those of the sources named below, digit for digit.
#![expect(
    clippy::inline_always,
    reason = "code over vectors must end up in a function compiled for their instruction set"
)]
#![expect(clippy::excessive_precision, reason = "published coefficients")]

use pulp::Simd;

/// `x Φ(x)`, Φ the normal distribution's cumulative function.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let half = simd.mul_f32s(x, simd.splat_f32s(0.5));
    let erf = erf(simd, simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2)));
    simd.mul_add_e_f32s(half, erf, half)
}

/// The error function as a quotient of polynomials in `x²` on [-4, 4]; beyond, it is ±1 in single precision (Eigen,
/// `generic_fast_erf_float`).
#[inline(always)]
pub(super) fn erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const ABOVE: [f32; 7] = [
        -2.726_142_258_013_06e-10,
        2.770_681_424_959_02e-08,
        -2.101_024_020_825_08e-06,
        -5.692_506_394_623_46e-05,
        -7.349_906_303_268_55e-04,
        -2.954_599_808_540_25e-03,
        -1.609_603_332_624_15e-02,
    ];
    const BELOW: [f32; 5] = [
        -1.456_607_184_649_96e-05,
        -2.133_740_552_789_05e-04,
        -1.682_826_974_382_03e-03,
        -7.373_329_167_204_68e-03,
        -1.426_473_905_141_89e-02,
    ];
    let x = simd.max_f32s(simd.min_f32s(x, simd.splat_f32s(4.0)), simd.splat_f32s(-4.0));
    let square = simd.mul_f32s(x, x);
    let above = polynomial(simd, square, &ABOVE);
    let below = polynomial(simd, square, &BELOW);
    simd.div_f32s(simd.mul_f32s(x, above), below)
}

/// e to the power of `x`, for `x` ≤ 0 as softmax needs it; below -87 it is taken for -87.
///
/// `x = n ln 2 + r` with |r| ≤ ½ ln 2; the polynomial in `r` is Cephes' `expf`, and `n` goes into the exponent's bits.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_150_0e-4,
        1.398_199_950_7e-3,
        8.333_451_907_3e-3,
        4.166_579_589_4e-2,
        1.666_666_545_9e-1,
        5.000_000_120_1e-1,
    ];
    // 1.5 · 2²³: adding it leaves the nearest integer in the low bits of the sum.
    const MAGIC: f32 = 12_582_912.0;
    let x = simd.max_f32s(x, simd.splat_f32s(-87.0));
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(MAGIC));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(MAGIC));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-0.693_359_375), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(2.121_944_4e-4), r);
    let tail = polynomial(simd, r, &COEFFICIENTS);
    let value = simd.mul_add_e_f32s(simd.mul_f32s(r, r), tail, simd.add_f32s(r, simd.splat_f32s(1.0)));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(value), exponent))
}

/// A polynomial, highest coefficient first.
#[inline(always)]
fn polynomial<S: Simd>(simd: S, x: S::f32s, coefficients: &[f32]) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(*coefficient));
    }
    sum
}
