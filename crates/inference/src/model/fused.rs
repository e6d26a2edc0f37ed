//! The encoder on a CPU core: weights packed at load, no copies between steps, no padding, buffers kept from call to call.
//!
//! Sequences lie end to end, so that products run over all tokens at once; only attention goes sequence by sequence. The
//! feed-forward part, whose inner rows are the widest, goes some rows at a time so that they stay in the second-level cache.

use super::Batch;
use super::attention::{self, Heads, attend};
use super::config::{Act, Shape};
use super::gemm::{Activation, Packed, product};
use super::rows::{Norm, add_and_normalise};
use super::weights::{self, Pair, Weights};
use crate::ModelError;
use candle_core::Tensor;
use pulp::Arch;

/// Rows of the feed-forward part that are worked on at a time; a multiple of the tile's rows.
const CHUNK: usize = 96;

/// A packed encoder.
#[derive(Debug)]
pub(crate) struct Fused {
    arch: Arch,
    heads: Heads,
    hidden: usize,
    first_position: usize,
    words: Vec<f32>,
    positions: Vec<f32>,
    /// Empty where there are no segments.
    types: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    activation: Activation,
}

#[derive(Debug)]
struct Layer {
    /// Queries (scaled), keys and values side by side.
    project: Packed,
    output: Packed,
    output_norm: Norm,
    up: Packed,
    down: Packed,
    norm: Norm,
}

/// Buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    rows: Vec<f32>,
    projected: Vec<f32>,
    gathered: Vec<f32>,
    inner: Vec<f32>,
    added: Vec<f32>,
    attention: attention::Scratch,
}

impl Fused {
    /// Packs the weights for this machine's processor.
    pub(crate) fn new(shape: &Shape, weights: &Weights) -> Result<Self, ModelError> {
        Self::with_arch(Arch::new(), shape, weights)
    }

    /// Packs the weights for an instruction set that this machine has.
    pub(super) fn with_arch(arch: Arch, shape: &Shape, weights: &Weights) -> Result<Self, ModelError> {
        let heads = Heads { count: shape.heads, size: shape.hidden / shape.heads };
        Ok(Self {
            arch,
            heads,
            hidden: shape.hidden,
            first_position: shape.first_position,
            words: values(&weights.words)?,
            positions: values(&weights.positions)?,
            types: weights.types.as_ref().map(values).transpose()?.unwrap_or_default(),
            norm: norm(&weights.norm, shape)?,
            layers: weights
                .layers
                .iter()
                .map(|layer| Layer::new(arch, shape, heads, layer))
                .collect::<Result<_, _>>()?,
            activation: match shape.act {
                Act::Gelu => Activation::Gelu,
                Act::Relu => Activation::Relu,
            },
        })
    }

    /// The last layer's vectors, one row a token; they lie in `scratch` until the next call.
    pub(crate) fn run<'s>(&self, batch: &Batch, scratch: &'s mut Scratch) -> &'s [f32] {
        self.embed(batch, &mut scratch.rows);
        for layer in &self.layers {
            self.layer(layer, &batch.lengths, scratch);
        }
        &scratch.rows
    }

    fn embed(&self, batch: &Batch, rows: &mut Vec<f32>) {
        rows.clear();
        rows.reserve(batch.ids.len() * self.hidden);
        let mut tokens = batch.ids.iter().zip(&batch.types);
        for length in &batch.lengths {
            for (position, (id, kind)) in tokens.by_ref().take(*length).enumerate() {
                let word = self.row(&self.words, *id as usize);
                let position = self.row(&self.positions, self.first_position + position);
                let sums = word.iter().zip(position).map(|(word, position)| word + position);
                if self.types.is_empty() {
                    rows.extend(sums);
                } else {
                    let kind = self.row(&self.types, *kind as usize);
                    rows.extend(sums.zip(kind).map(|(sum, kind)| sum + kind));
                }
            }
        }
        add_and_normalise(self.arch, rows, &[], &self.norm);
    }

    fn row<'t>(&self, table: &'t [f32], index: usize) -> &'t [f32] {
        &table[index * self.hidden..][..self.hidden]
    }

    fn layer(&self, layer: &Layer, lengths: &[usize], scratch: &mut Scratch) {
        let Scratch { rows, projected, gathered, inner, added, attention } = scratch;
        let tokens = rows.len() / self.hidden;
        projected.resize(tokens * 3 * self.hidden, 0.0);
        product(self.arch, rows, &layer.project, Activation::None, projected);

        gathered.resize(tokens * self.hidden, 0.0);
        let (mut from, mut to) = (projected.as_slice(), gathered.as_mut_slice());
        for length in lengths {
            let (sequence, others) = from.split_at(length * 3 * self.hidden);
            let (out, rest) = to.split_at_mut(length * self.hidden);
            attend(self.arch, sequence, self.heads, attention, out);
            (from, to) = (others, rest);
        }

        added.resize(tokens * self.hidden, 0.0);
        product(self.arch, gathered, &layer.output, Activation::None, added);
        add_and_normalise(self.arch, rows, added, &layer.output_norm);

        let width = layer.up.width();
        inner.resize(CHUNK.min(tokens) * width, 0.0);
        for rows in rows.chunks_mut(CHUNK * self.hidden) {
            let inner = &mut inner[..rows.len() / self.hidden * width];
            let added = &mut added[..rows.len()];
            product(self.arch, rows, &layer.up, self.activation, inner);
            product(self.arch, inner, &layer.down, Activation::None, added);
            add_and_normalise(self.arch, rows, added, &layer.norm);
        }
    }
}

impl Layer {
    #[expect(clippy::cast_precision_loss, reason = "a head has some dozens of values")]
    fn new(arch: Arch, shape: &Shape, heads: Heads, layer: &weights::Layer) -> Result<Self, ModelError> {
        let (mut weight, mut bias) = (values(&layer.query.weight)?, values(&layer.query.bias)?);
        // Scores are divided by the root of the head's size: done once, here.
        let scale = 1.0 / (heads.size as f32).sqrt();
        for value in weight.iter_mut().chain(&mut bias) {
            *value *= scale;
        }
        for pair in [&layer.key, &layer.value] {
            weight.extend(values(&pair.weight)?);
            bias.extend(values(&pair.bias)?);
        }
        Ok(Self {
            project: Packed::new(arch, &weight, &bias, shape.hidden),
            output: packed(arch, &layer.output, shape.hidden)?,
            output_norm: norm(&layer.output_norm, shape)?,
            up: packed(arch, &layer.up, shape.hidden)?,
            down: packed(arch, &layer.down, shape.intermediate)?,
            norm: norm(&layer.norm, shape)?,
        })
    }
}

fn packed(arch: Arch, pair: &Pair, depth: usize) -> Result<Packed, ModelError> {
    Ok(Packed::new(arch, &values(&pair.weight)?, &values(&pair.bias)?, depth))
}

fn norm(pair: &Pair, shape: &Shape) -> Result<Norm, ModelError> {
    Ok(Norm { weight: values(&pair.weight)?, bias: values(&pair.bias)?, epsilon: shape.epsilon })
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    tensor
        .flatten_all()
        .and_then(|flat| flat.to_vec1())
        .map_err(|source| ModelError::Device { action: "read weights", source })
}
