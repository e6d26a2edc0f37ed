//! Text to token ids, with each token's place in the text.

use crate::ModelError;
use crate::model::{Batch, Shape};
use std::ops::Range;
use std::path::Path;
use tokenizers::{EncodeInput, Encoding, Tokenizer, TruncationParams};

/// A tokenizer that cuts what is too long and pads nothing.
#[derive(Debug)]
pub(super) struct Splitter {
    tokenizer: Tokenizer,
    /// Rows of the table of segments.
    types: usize,
}

/// A text's tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Encoded {
    pub(super) ids: Vec<u32>,
    pub(super) types: Vec<u32>,
    /// Where each token comes from; `None` for the tokenizer's own marks. Empty when nobody asked.
    pub(super) offsets: Vec<Option<Place>>,
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The first text or the second of a pair.
    pub(super) part: usize,
    pub(super) bytes: Range<usize>,
}

impl Encoded {
    /// These tokens alone.
    pub(super) fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        batch.push(&self.ids, &self.types);
        batch
    }
}

impl Splitter {
    /// Reads a directory's `tokenizer.json`; its own truncation and padding are for training and do not count.
    pub(super) fn load(dir: &Path, shape: &Shape, max_tokens: usize) -> Result<Self, ModelError> {
        let path = dir.join("tokenizer.json");
        if let Err(source) = std::fs::metadata(&path) {
            return Err(ModelError::Read { path, source });
        }
        let malformed = |reason: String| ModelError::Malformed {
            path: path.clone(),
            expected: "a tokenizer in JSON for these weights",
            reason,
        };
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| malformed(error.to_string()))?;
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if largest as usize >= shape.vocabulary {
            let vocabulary = shape.vocabulary;
            return Err(malformed(format!(
                "it has token {largest}, and config.json a vocab_size of {vocabulary}"
            )));
        }
        // Three marks, one token of each of two texts.
        if max_tokens < 5 {
            return Err(ModelError::Option {
                option: "max_tokens",
                found: max_tokens.to_string(),
                expected: "at least 5".to_owned(),
            });
        }
        let truncation = TruncationParams {
            max_length: max_tokens.min(shape.max_tokens()),
            ..TruncationParams::default()
        };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| malformed(error.to_string()))?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, types: shape.types })
    }

    /// Tokens without their places, which is quicker.
    pub(super) fn split(&self, text: &str) -> Result<Encoded, ModelError> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|error| failed(text, &error))?;
        Ok(self.encoded(&encoding, Vec::new()))
    }

    /// Tokens with their places.
    pub(super) fn split_with_offsets(&self, text: &str) -> Result<Encoded, ModelError> {
        let encoding = self.tokenizer.encode(text, true).map_err(|error| failed(text, &error))?;
        let places = places(&encoding);
        Ok(self.encoded(&encoding, places))
    }

    /// Tokens of two texts with their places.
    pub(super) fn split_pair(&self, one: &str, other: &str) -> Result<Encoded, ModelError> {
        let input = EncodeInput::Dual(one.into(), other.into());
        let encoding = self.tokenizer.encode(input, true).map_err(|error| failed(one, &error))?;
        let places = places(&encoding);
        Ok(self.encoded(&encoding, places))
    }

    fn encoded(&self, encoding: &Encoding, offsets: Vec<Option<Place>>) -> Encoded {
        let most = u32::try_from(self.types.saturating_sub(1)).unwrap_or(u32::MAX);
        Encoded {
            ids: encoding.get_ids().to_vec(),
            // A tokenizer may know more segments than the weights, when nothing was trained with two.
            types: encoding.get_type_ids().iter().map(|kind| (*kind).min(most)).collect(),
            offsets,
        }
    }
}

fn places(encoding: &Encoding) -> Vec<Option<Place>> {
    let parts = encoding.get_sequence_ids();
    let places = parts.into_iter().zip(encoding.get_offsets());
    places.map(|(part, (start, end))| part.map(|part| Place { part, bytes: *start..*end })).collect()
}

fn failed(text: &str, error: &tokenizers::Error) -> ModelError {
    ModelError::Tokenize { bytes: text.len(), reason: error.to_string() }
}
