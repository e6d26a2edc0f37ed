//! The encoder over candle's tensors: plain, padded and masked. A GPU runs this one; on a CPU it is what [`super::fused`] is
//! compared with.

use super::Batch;
use super::config::{Act, Shape};
use super::weights::{self, Pair, Weights};
use crate::ModelError;
use candle_core::{D, Device, Result, Tensor};

/// An encoder on a device.
#[derive(Debug)]
pub(crate) struct Reference {
    device: Device,
    shape: Shape,
    weights: Weights,
}

impl Reference {
    /// Moves the weights to the device.
    pub(crate) fn new(
        shape: &Shape,
        weights: &Weights,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let weights = weights
            .to_device(device)
            .map_err(|source| ModelError::Device { action: "move weights", source })?;
        Ok(Self { device: device.clone(), shape: shape.clone(), weights })
    }

    /// The last layer's vectors, one row a token, sequences end to end.
    pub(crate) fn run(&self, batch: &Batch) -> std::result::Result<Vec<f32>, ModelError> {
        self.forward(batch).map_err(|source| ModelError::Device { action: "run the encoder", source })
    }

    fn forward(&self, batch: &Batch) -> Result<Vec<f32>> {
        let count = batch.lengths.len();
        let longest = batch.lengths.iter().copied().max().unwrap_or(0);
        let mut rows = self.embed(batch, count, longest)?;
        let mask = self.mask(&batch.lengths, longest)?;
        for layer in &self.weights.layers {
            rows = self.layer(layer, &rows, &mask)?;
        }
        let width = self.shape.hidden;
        let padded: Vec<f32> = rows.flatten_all()?.to_vec1()?;
        let sequences = padded.chunks_exact(longest * width).zip(&batch.lengths);
        Ok(sequences.flat_map(|(rows, length)| &rows[..length * width]).copied().collect())
    }

    fn embed(&self, batch: &Batch, count: usize, longest: usize) -> Result<Tensor> {
        let pad = |values: &[u32]| {
            let mut rest = values;
            let mut padded = Vec::with_capacity(count * longest);
            for length in &batch.lengths {
                let (sequence, others) = rest.split_at(*length);
                padded.extend_from_slice(sequence);
                padded.resize(padded.len() + longest - length, 0);
                rest = others;
            }
            Tensor::from_vec(padded, (count, longest), &self.device)
        };
        let positions = self.weights.positions.narrow(0, self.shape.first_position, longest)?;
        let mut rows = lookup(&self.weights.words, &pad(&batch.ids)?)?.broadcast_add(&positions)?;
        if let Some(types) = &self.weights.types {
            rows = (rows + lookup(types, &pad(&batch.types)?)?)?;
        }
        self.normalise(&rows, &self.weights.norm)
    }

    /// 0 where there is a token, a number that no score outweighs where there is padding: sequences × 1 × 1 × tokens.
    fn mask(&self, lengths: &[usize], longest: usize) -> Result<Tensor> {
        let row = |length: &usize| {
            let length = *length;
            (0..longest).map(move |token| if token < length { 0.0_f32 } else { -1e9 })
        };
        let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
        Tensor::from_vec(mask, (lengths.len(), 1, 1, longest), &self.device)
    }

    #[expect(clippy::cast_precision_loss, reason = "a head has some dozens of values")]
    fn layer(&self, layer: &weights::Layer, rows: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (count, tokens, width) = rows.dims3()?;
        let size = width / self.shape.heads;
        let split = |pair| {
            linear(rows, pair)?
                .reshape((count, tokens, self.shape.heads, size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (query, key, value) = (split(&layer.query)?, split(&layer.key)?, split(&layer.value)?);
        let scores = (query.matmul(&key.t()?)? / (size as f64).sqrt())?.broadcast_add(mask)?;
        let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
        let gathered = weights.matmul(&value)?.transpose(1, 2)?.reshape((count, tokens, width))?;
        let rows = self.normalise(&(linear(&gathered, &layer.output)? + rows)?, &layer.output_norm)?;

        let inner = linear(&rows, &layer.up)?;
        let inner = match self.shape.act {
            Act::Gelu => inner.gelu_erf()?,
            Act::Relu => inner.relu()?,
        };
        self.normalise(&(linear(&inner, &layer.down)? + &rows)?, &layer.norm)
    }

    fn normalise(&self, rows: &Tensor, norm: &Pair) -> Result<Tensor> {
        candle_nn::ops::layer_norm(rows, &norm.weight, &norm.bias, self.shape.epsilon)
    }
}

impl Weights {
    fn to_device(&self, device: &Device) -> Result<Self> {
        let layer = |layer: &weights::Layer| {
            Ok(weights::Layer {
                query: layer.query.to_device(device)?,
                key: layer.key.to_device(device)?,
                value: layer.value.to_device(device)?,
                output: layer.output.to_device(device)?,
                output_norm: layer.output_norm.to_device(device)?,
                up: layer.up.to_device(device)?,
                down: layer.down.to_device(device)?,
                norm: layer.norm.to_device(device)?,
            })
        };
        Ok(Self {
            words: self.words.to_device(device)?,
            positions: self.positions.to_device(device)?,
            types: self.types.as_ref().map(|types| types.to_device(device)).transpose()?,
            norm: self.norm.to_device(device)?,
            layers: self.layers.iter().map(layer).collect::<Result<_>>()?,
        })
    }
}

impl Pair {
    fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { weight: self.weight.to_device(device)?, bias: self.bias.to_device(device)? })
    }
}

fn lookup(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let (count, tokens) = ids.dims2()?;
    table.index_select(&ids.flatten_all()?, 0)?.reshape((count, tokens, table.dim(1)?))
}

fn linear(rows: &Tensor, pair: &Pair) -> Result<Tensor> {
    let (count, tokens, width) = rows.dims3()?;
    let flat = rows.reshape((count * tokens, width))?;
    flat.matmul(&pair.weight.t()?)?.broadcast_add(&pair.bias)?.reshape((count, tokens, pair.bias.dim(0)?))
}
