//! Attention of one sequence's tokens to each other: scores, softmax and weighted sum, a block of rows at a time, so that the
//! scores never leave the nearest cache. No token attends to padding, for there is none.

#![expect(
    clippy::inline_always,
    reason = "code over vectors must end up in a function compiled for their instruction set"
)]

use super::gemm::{panel_width, store, tile, wide};
use super::rows::softmax;
use pulp::{Arch, Simd, WithSimd};

/// Rows of queries that are worked on at a time: whole tiles of 6 and of 12.
const BLOCK: usize = 24;

/// How the model's vectors are cut into heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    /// Values of a head.
    pub(super) size: usize,
}

/// Buffers that are kept from call to call.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

/// `out` = what each token of a sequence gathers from all; `projected` holds a row of queries, keys and values for each token,
/// the queries scaled already.
pub(super) fn attend(arch: Arch, projected: &[f32], heads: Heads, scratch: &mut Scratch, out: &mut [f32]) {
    arch.dispatch(Attend { projected, heads, scratch, out });
}

struct Attend<'a> {
    projected: &'a [f32],
    heads: Heads,
    scratch: &'a mut Scratch,
    out: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.heads.count * self.heads.size;
        let tokens = self.out.len() / width;
        let padded = tokens.next_multiple_of(panel_width::<S>());
        self.scratch.scores.resize(BLOCK * padded, 0.0);
        for head in 0..self.heads.count {
            let at = head * self.heads.size;
            pack_keys::<S>(self.projected, width, at, self.heads.size, &mut self.scratch.keys);
            pack_values::<S>(self.projected, width, at, self.heads.size, &mut self.scratch.values);
            for first in (0..tokens).step_by(BLOCK) {
                let block = Block { width, at, size: self.heads.size, tokens, padded, first };
                let rows = BLOCK.min(tokens - first);
                let Scratch { keys, values, scores } = &mut *self.scratch;
                if wide::<S>() {
                    block.scores::<S, 4>(simd, self.projected, keys, rows, scores);
                } else {
                    block.scores::<S, 2>(simd, self.projected, keys, rows, scores);
                }
                let mut scales = [0.0; BLOCK];
                for (row, scale) in scores.chunks_exact_mut(padded).zip(&mut scales).take(rows) {
                    *scale = softmax(simd, &mut row[..tokens]);
                }
                block.gather::<S>(simd, scores, values, &scales[..rows], self.out);
            }
        }
    }
}

/// Keys in panels, as [`super::gemm::Packed`] lays out weights: token `n` is column `n`.
#[inline(always)]
fn pack_keys<S: Simd>(projected: &[f32], width: usize, at: usize, size: usize, out: &mut Vec<f32>) {
    let panel = panel_width::<S>();
    let tokens = projected.len() / (3 * width);
    out.clear();
    out.resize(tokens.div_ceil(panel) * size * panel, 0.0);
    for (token, row) in projected.chunks_exact(3 * width).enumerate() {
        let key = &row[width + at..][..size];
        let start = token / panel * size * panel + token % panel;
        for (value, place) in key.iter().zip(out[start..].iter_mut().step_by(panel)) {
            *place = *value;
        }
    }
}

/// Values in panels of two vectors: a head's value `n` is column `n`.
#[inline(always)]
fn pack_values<S: Simd>(projected: &[f32], width: usize, at: usize, size: usize, out: &mut Vec<f32>) {
    let panel = 2 * S::F32_LANES;
    let tokens = projected.len() / (3 * width);
    out.clear();
    out.resize(size.div_ceil(panel) * tokens * panel, 0.0);
    for (columns, first) in out.chunks_exact_mut(tokens * panel).zip((0..size).step_by(panel)) {
        let kept = panel.min(size - first);
        for (place, row) in columns.chunks_exact_mut(panel).zip(projected.chunks_exact(3 * width)) {
            place[..kept].copy_from_slice(&row[2 * width + at + first..][..kept]);
        }
    }
}

/// Some rows of queries of one head.
#[derive(Clone, Copy)]
struct Block {
    width: usize,
    at: usize,
    size: usize,
    tokens: usize,
    padded: usize,
    first: usize,
}

impl Block {
    #[inline(always)]
    fn scores<S: Simd, const V: usize>(
        self,
        simd: S,
        projected: &[f32],
        keys: &[f32],
        rows: usize,
        scores: &mut [f32],
    ) {
        let panel = V * S::F32_LANES;
        let stride = 3 * self.width;
        for (index, columns) in keys.chunks_exact(self.size * panel).enumerate() {
            let mut row = 0;
            while row < rows {
                let queries = &projected[(self.first + row) * stride + self.at..];
                let out = &mut scores[row * self.padded + index * panel..];
                row += match rows - row {
                    1 => self.score::<S, 1, V>(simd, queries, columns, out),
                    2 => self.score::<S, 2, V>(simd, queries, columns, out),
                    3 => self.score::<S, 3, V>(simd, queries, columns, out),
                    4 => self.score::<S, 4, V>(simd, queries, columns, out),
                    5 => self.score::<S, 5, V>(simd, queries, columns, out),
                    _ => self.score::<S, 6, V>(simd, queries, columns, out),
                };
            }
        }
    }

    #[inline(always)]
    fn score<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        queries: &[f32],
        columns: &[f32],
        out: &mut [f32],
    ) -> usize {
        let sums = tile::<S, R, V>(simd, queries, 3 * self.width, columns, self.size);
        for (r, row) in sums.iter().enumerate() {
            store(row, &mut out[r * self.padded..][..V * S::F32_LANES], simd);
        }
        R
    }

    #[inline(always)]
    fn gather<S: Simd>(self, simd: S, scores: &[f32], values: &[f32], scales: &[f32], out: &mut [f32]) {
        let panel = 2 * S::F32_LANES;
        for (columns, first) in values.chunks_exact(self.tokens * panel).zip((0..self.size).step_by(panel)) {
            let kept = panel.min(self.size - first);
            let mut row = 0;
            while row < scales.len() {
                let scores = &scores[row * self.padded..];
                let out = &mut out[(self.first + row) * self.width + self.at + first..];
                let scales = &scales[row..];
                row += match scales.len() {
                    1 => self.sum::<S, 1>(simd, scores, columns, scales, out, kept),
                    2 | 3 => self.sum::<S, 2>(simd, scores, columns, scales, out, kept),
                    4 | 5 => self.sum::<S, 4>(simd, scores, columns, scales, out, kept),
                    6..12 => self.sum::<S, 6>(simd, scores, columns, scales, out, kept),
                    // Twelve rows by two vectors fill 24 of 32 registers, and would spill out of 16.
                    _ if wide::<S>() => self.sum::<S, 12>(simd, scores, columns, scales, out, kept),
                    _ => self.sum::<S, 6>(simd, scores, columns, scales, out, kept),
                };
            }
        }
    }

    #[inline(always)]
    fn sum<S: Simd, const R: usize>(
        self,
        simd: S,
        scores: &[f32],
        columns: &[f32],
        scales: &[f32],
        out: &mut [f32],
        kept: usize,
    ) -> usize {
        let mut sums = tile::<S, R, 2>(simd, scores, self.padded, columns, self.tokens);
        for (row, scale) in sums.iter_mut().zip(scales) {
            for value in row {
                *value = simd.mul_f32s(*value, simd.splat_f32s(*scale));
            }
        }
        for (r, row) in sums.iter().enumerate() {
            store(row, &mut out[r * self.width..][..kept], simd);
        }
        R
    }
}
