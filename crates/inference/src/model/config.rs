//! `config.json`: which family an encoder is of and how large it is, checked before a weight is read.

use crate::ModelError;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What the members of the family call the same things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Bert,
    /// BERT with positions that begin after the padding token's id; `XLM-RoBERTa` and `CamemBERT` are of it too.
    Roberta,
    /// BERT without segments, with names of its own.
    DistilBert,
}

/// The activation between the two products of a layer's feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Gelu,
    Relu,
}

/// An encoder's kind and sizes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) family: Family,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) vocabulary: usize,
    /// Rows of the position table.
    pub(crate) positions: usize,
    /// The first token's row in it.
    pub(crate) first_position: usize,
    pub(crate) types: usize,
    pub(crate) epsilon: f32,
    pub(crate) act: Act,
}

impl Shape {
    /// Reads and checks a directory's `config.json`.
    pub(crate) fn read(dir: &Path) -> Result<Self, ModelError> {
        let file = File::read(dir.join("config.json"))?;
        let family = match file.text("model_type")? {
            "bert" => Family::Bert,
            "roberta" | "xlm-roberta" | "camembert" => Family::Roberta,
            "distilbert" => Family::DistilBert,
            _ => {
                return Err(
                    file.wrong("model_type", "one of bert, roberta, xlm-roberta, camembert, distilbert")
                );
            }
        };
        let distil = family == Family::DistilBert;
        let key = |bert, distilbert| if distil { distilbert } else { bert };
        let act = key("hidden_act", "activation");
        let shape = Self {
            family,
            hidden: file.size(key("hidden_size", "dim"))?,
            layers: file.size(key("num_hidden_layers", "n_layers"))?,
            heads: file.size(key("num_attention_heads", "n_heads"))?,
            intermediate: file.size(key("intermediate_size", "hidden_dim"))?,
            vocabulary: file.size("vocab_size")?,
            positions: file.size("max_position_embeddings")?,
            first_position: if family == Family::Roberta { file.size_or("pad_token_id", 1)? + 1 } else { 0 },
            types: if distil { 0 } else { file.size("type_vocab_size")? },
            epsilon: file.epsilon()?,
            act: match file.text(act)? {
                "gelu" => Act::Gelu,
                "relu" => Act::Relu,
                _ => return Err(file.wrong(act, "gelu or relu")),
            },
        };
        if !shape.hidden.is_multiple_of(shape.heads) {
            let expected = format!("a divisor of the hidden size {}", shape.hidden);
            return Err(file.wrong(key("num_attention_heads", "n_heads"), &expected));
        }
        if shape.first_position >= shape.positions {
            return Err(file.wrong("max_position_embeddings", "more rows than pad_token_id + 1"));
        }
        match file.json.get("position_embedding_type") {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if kind == "absolute" => {}
            Some(_) => return Err(file.wrong("position_embedding_type", "absolute")),
        }
        Ok(shape)
    }

    /// The most tokens that a sequence may have.
    pub(crate) fn max_tokens(&self) -> usize {
        self.positions - self.first_position
    }
}

struct File {
    path: PathBuf,
    json: Value,
}

impl File {
    fn read(path: PathBuf) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        match serde_json::from_str::<Value>(&text) {
            Ok(json @ Value::Object(_)) => Ok(Self { path, json }),
            Ok(_) => Err(Self::malformed(path, "the text is not an object".to_owned())),
            Err(error) => Err(Self::malformed(path, error.to_string())),
        }
    }

    fn malformed(path: PathBuf, reason: String) -> ModelError {
        ModelError::Malformed { path, expected: "a model's configuration in JSON", reason }
    }

    fn wrong(&self, key: &str, expected: &str) -> ModelError {
        ModelError::Config {
            path: self.path.clone(),
            key: key.to_owned(),
            found: self.json.get(key).map_or_else(|| "missing".to_owned(), Value::to_string),
            expected: expected.to_owned(),
        }
    }

    fn text(&self, key: &str) -> Result<&str, ModelError> {
        self.json.get(key).and_then(Value::as_str).ok_or_else(|| self.wrong(key, "a text"))
    }

    /// A size: positive, and small enough that no product of two overflows.
    fn size(&self, key: &str) -> Result<usize, ModelError> {
        let value = self.json.get(key).and_then(Value::as_u64).and_then(|value| u32::try_from(value).ok());
        match value {
            Some(value) if (1..=1 << 24).contains(&value) => Ok(value as usize),
            _ => Err(self.wrong(key, "an integer from 1 to 16777216")),
        }
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        if self.json.get(key).is_none_or(Value::is_null) { Ok(default) } else { self.size(key) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "weights are single precision too")]
    fn epsilon(&self) -> Result<f32, ModelError> {
        let key = "layer_norm_eps";
        match self.json.get(key) {
            // What every member of the family has when its file says nothing.
            None | Some(Value::Null) => Ok(1e-12),
            Some(value) => match value.as_f64() {
                Some(value) if (0.0..1.0).contains(&value) => Ok(value as f32),
                _ => Err(self.wrong(key, "a number from 0 to 1")),
            },
        }
    }
}
