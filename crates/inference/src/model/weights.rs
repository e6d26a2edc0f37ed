//! `model.safetensors`: the tensors of an encoder under the names of their family, each checked for its shape.

use super::config::{Family, Shape};
use crate::{ModelError, models};
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A product's weight (out × in) and bias, or a normalisation's scale and shift.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

/// One layer's tensors.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) query: Pair,
    pub(crate) key: Pair,
    pub(crate) value: Pair,
    pub(crate) output: Pair,
    pub(crate) output_norm: Pair,
    pub(crate) up: Pair,
    pub(crate) down: Pair,
    pub(crate) norm: Pair,
}

/// An encoder's tensors, in single precision.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub(crate) words: Tensor,
    pub(crate) positions: Tensor,
    /// Absent where there are no segments.
    pub(crate) types: Option<Tensor>,
    pub(crate) norm: Pair,
    pub(crate) layers: Vec<Layer>,
}

impl Weights {
    /// Reads a directory's `model.safetensors`.
    pub(crate) fn read(dir: &Path, shape: &Shape) -> Result<Self, ModelError> {
        let file = File::read(dir.join(models::WEIGHTS), shape.family)?;
        let hidden = shape.hidden;
        let types = match shape.family {
            Family::DistilBert => None,
            _ => Some(file.tensor("embeddings.token_type_embeddings.weight", &[shape.types, hidden])?),
        };
        Ok(Self {
            words: file.tensor("embeddings.word_embeddings.weight", &[shape.vocabulary, hidden])?,
            positions: file.tensor("embeddings.position_embeddings.weight", &[shape.positions, hidden])?,
            types,
            norm: file.norm("embeddings.LayerNorm", hidden)?,
            layers: (0..shape.layers).map(|index| file.layer(index, shape)).collect::<Result<_, _>>()?,
        })
    }
}

struct File {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    /// What a checkpoint with a head puts before the encoder's names.
    prefix: &'static str,
}

impl File {
    fn read(path: PathBuf, family: Family) -> Result<Self, ModelError> {
        // Candle's error would not tell a file that is missing from one that is broken.
        if let Err(source) = std::fs::metadata(&path) {
            return Err(ModelError::Read { path, source });
        }
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).map_err(|error| {
            let reason = error.to_string();
            ModelError::Malformed {
                path: path.clone(),
                expected: "a file of tensors in safetensors form",
                reason,
            }
        })?;
        let prefix = match family {
            Family::Bert => "bert.",
            Family::Roberta => "roberta.",
            Family::DistilBert => "distilbert.",
        };
        let prefixed = tensors.contains_key(&format!("{prefix}embeddings.word_embeddings.weight"));
        Ok(Self { path, tensors, prefix: if prefixed { prefix } else { "" } })
    }

    fn tensor(&self, name: &str, expected: &[usize]) -> Result<Tensor, ModelError> {
        let key = format!("{}{name}", self.prefix);
        let Some(tensor) = self.tensors.get(&key) else {
            return Err(ModelError::MissingTensor {
                path: self.path.clone(),
                key,
                expected: expected.to_vec(),
            });
        };
        if tensor.dims() != expected {
            return Err(ModelError::Shape {
                path: self.path.clone(),
                key,
                found: tensor.dims().to_vec(),
                expected: expected.to_vec(),
            });
        }
        tensor
            .to_dtype(DType::F32)
            .map_err(|source| ModelError::Device { action: "convert weights to single precision", source })
    }

    fn linear(&self, name: &str, from: usize, to: usize) -> Result<Pair, ModelError> {
        Ok(Pair {
            weight: self.tensor(&format!("{name}.weight"), &[to, from])?,
            bias: self.tensor(&format!("{name}.bias"), &[to])?,
        })
    }

    fn norm(&self, name: &str, width: usize) -> Result<Pair, ModelError> {
        Ok(Pair {
            weight: self.tensor(&format!("{name}.weight"), &[width])?,
            bias: self.tensor(&format!("{name}.bias"), &[width])?,
        })
    }

    fn layer(&self, index: usize, shape: &Shape) -> Result<Layer, ModelError> {
        let distil = shape.family == Family::DistilBert;
        let root = if distil { "transformer.layer" } else { "encoder.layer" };
        let name = |bert: &str, distilbert: &str| {
            format!("{root}.{index}.{}", if distil { distilbert } else { bert })
        };
        let (hidden, inner) = (shape.hidden, shape.intermediate);
        Ok(Layer {
            query: self.linear(&name("attention.self.query", "attention.q_lin"), hidden, hidden)?,
            key: self.linear(&name("attention.self.key", "attention.k_lin"), hidden, hidden)?,
            value: self.linear(&name("attention.self.value", "attention.v_lin"), hidden, hidden)?,
            output: self.linear(&name("attention.output.dense", "attention.out_lin"), hidden, hidden)?,
            output_norm: self.norm(&name("attention.output.LayerNorm", "sa_layer_norm"), hidden)?,
            up: self.linear(&name("intermediate.dense", "ffn.lin1"), hidden, inner)?,
            down: self.linear(&name("output.dense", "ffn.lin2"), inner, hidden)?,
            norm: self.norm(&name("output.LayerNorm", "output_layer_norm"), hidden)?,
        })
    }
}
