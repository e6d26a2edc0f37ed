//! Products of a matrix with weights that were packed once, when the model was loaded.
//!
//! A general product packs both sides on every call. Weights never change, so theirs is paid at load: columns lie in panels as
//! wide as the register tile, and the inner loop reads them in order. Rows of the left side are read in place. On top of that,
//! bias and activation are applied while a tile is still in registers.

#![expect(
    clippy::inline_always,
    reason = "code over vectors must end up in a function compiled for their instruction set"
)]

use super::math;
use pulp::{Arch, Simd, WithSimd};

/// Rows of a register tile that is four vectors wide (32 registers) or two (16 registers).
const ROWS: usize = 6;

/// What follows the product and the bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    /// The exact form, `x Φ(x)`, which BERT is trained with.
    Gelu,
    /// `max(0, x)`.
    Relu,
}

/// A matrix of `depth` rows and `width` columns in panels, with a bias for each column.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    depth: usize,
    width: usize,
    data: Vec<f32>,
    bias: Vec<f32>,
}

impl Packed {
    /// Packs weights as `PyTorch` stores them: `width` rows of `depth` values, so that column `n` of the product is row `n` here.
    pub(super) fn new(arch: Arch, weight: &[f32], bias: &[f32], depth: usize) -> Self {
        let width = bias.len();
        let panel = arch.dispatch(PanelWidth);
        let panels = width.div_ceil(panel);
        let mut data = vec![0.0; panels * depth * panel];
        for (column, row) in weight.chunks_exact(depth).enumerate().take(width) {
            let start = column / panel * depth * panel + column % panel;
            for (value, place) in row.iter().zip(data[start..].iter_mut().step_by(panel)) {
                *place = *value;
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(panels * panel, 0.0);
        Self { depth, width, data, bias: padded }
    }

    /// Columns of the product.
    pub(super) fn width(&self) -> usize {
        self.width
    }
}

/// `out = activation(left · weights + bias)`, for rows of `left` that lie one after another.
pub(super) fn product(arch: Arch, left: &[f32], weights: &Packed, activation: Activation, out: &mut [f32]) {
    let rows = left.len() / weights.depth;
    debug_assert_eq!(left.len(), rows * weights.depth);
    debug_assert_eq!(out.len(), rows * weights.width);
    arch.dispatch(Product { left, rows, weights, activation, out });
}

/// How many columns a panel has on this processor.
struct PanelWidth;

impl WithSimd for PanelWidth {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        panel_width::<S>()
    }
}

/// Columns of a panel: as many vectors as leave registers for the tile's rows.
#[inline(always)]
pub(super) const fn panel_width<S: Simd>() -> usize {
    if wide::<S>() { 4 * S::F32_LANES } else { 2 * S::F32_LANES }
}

/// Whether the tile may be four vectors wide.
#[inline(always)]
pub(super) const fn wide<S: Simd>() -> bool {
    S::REGISTER_COUNT >= 32
}

struct Product<'a> {
    left: &'a [f32],
    rows: usize,
    weights: &'a Packed,
    activation: Activation,
    out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if wide::<S>() {
            self.run::<S, 4>(simd);
        } else {
            self.run::<S, 2>(simd);
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let Self { left, rows, weights, activation, out } = self;
        let (depth, width, panel) = (weights.depth, weights.width, V * S::F32_LANES);
        let panels = weights.data.chunks_exact(depth * panel).zip(weights.bias.chunks_exact(panel));
        for (index, (columns, bias)) in panels.enumerate() {
            let column = index * panel;
            let kept = panel.min(width - column);
            let mut row = 0;
            while row < rows {
                let left = &left[row * depth..];
                let out = &mut out[row * width + column..];
                row += match rows - row {
                    1 => finish::<S, 1, V>(simd, left, columns, bias, depth, activation, out, width, kept),
                    2 => finish::<S, 2, V>(simd, left, columns, bias, depth, activation, out, width, kept),
                    3 => finish::<S, 3, V>(simd, left, columns, bias, depth, activation, out, width, kept),
                    4 => finish::<S, 4, V>(simd, left, columns, bias, depth, activation, out, width, kept),
                    5 => finish::<S, 5, V>(simd, left, columns, bias, depth, activation, out, width, kept),
                    _ => finish::<S, ROWS, V>(simd, left, columns, bias, depth, activation, out, width, kept),
                };
            }
        }
    }
}

/// One tile of the product with all that follows it; returns its rows.
#[expect(clippy::too_many_arguments, reason = "the registers of one inner loop, spelled out")]
#[inline(always)]
fn finish<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: &[f32],
    columns: &[f32],
    bias: &[f32],
    depth: usize,
    activation: Activation,
    out: &mut [f32],
    stride: usize,
    kept: usize,
) -> usize {
    let mut sums = tile::<S, R, V>(simd, left, depth, columns, depth);
    let bias = &S::as_simd_f32s(bias).0[..V];
    for row in &mut sums {
        for v in 0..V {
            row[v] = simd.add_f32s(row[v], bias[v]);
        }
    }
    match activation {
        Activation::None => {}
        Activation::Gelu => {
            for value in sums.iter_mut().flatten() {
                *value = math::gelu(simd, *value);
            }
        }
        Activation::Relu => {
            for value in sums.iter_mut().flatten() {
                *value = simd.max_f32s(*value, simd.splat_f32s(0.0));
            }
        }
    }
    for (r, row) in sums.iter().enumerate() {
        store(row, &mut out[r * stride..][..kept], simd);
    }
    R
}

/// Sums of one tile: `R` rows of `left`, `stride` apart, by `V` vectors of columns; the first `depth` rows of the panel.
#[inline(always)]
pub(super) fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: &[f32],
    stride: usize,
    panel: &[f32],
    depth: usize,
) -> [[S::f32s; V]; R] {
    let mut rows: [&[f32]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &left[r * stride..][..depth];
    }
    let (panel, _) = S::as_simd_f32s(panel);
    let (panel, _) = panel.as_chunks::<V>();
    let panel = &panel[..depth];
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for k in 0..depth {
        let columns = panel[k];
        for r in 0..R {
            let value = simd.splat_f32s(rows[r][k]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(value, columns[v], sums[r][v]);
            }
        }
    }
    // A copy value by value: whatever the caller does to it in loops, the sums above stay in registers.
    let mut done = [[simd.splat_f32s(0.0); V]; R];
    for r in 0..R {
        for v in 0..V {
            done[r][v] = sums[r][v];
        }
    }
    done
}

/// Writes as many values of a tile's row as `out` has room for.
#[inline(always)]
pub(super) fn store<S: Simd, const V: usize>(row: &[S::f32s; V], out: &mut [f32], simd: S) {
    if out.len() == V * S::F32_LANES {
        S::as_mut_simd_f32s(out).0.copy_from_slice(row);
    } else {
        for (value, place) in row.iter().zip(out.chunks_mut(S::F32_LANES)) {
            simd.partial_store_f32s(place, *value);
        }
    }
}
