//! What an import did, and what it could not do and why. Nothing is left out silently.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// A public price list's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `data.json` of pydantic/genai-prices, version 2: a list of providers.
    GenaiPrices,
    /// `model_prices_and_context_window.json` of LiteLLM: an object of models.
    Litellm,
}

impl Format {
    /// `genai-prices` or `litellm`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GenaiPrices => "genai-prices",
            Self::Litellm => "litellm",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("format {0:?} is not valid: expected genai-prices or litellm")]
pub struct InvalidFormat(String);

impl FromStr for Format {
    type Err = InvalidFormat;
    fn from_str(text: &str) -> Result<Self, InvalidFormat> {
        match text {
            "genai-prices" => Ok(Self::GenaiPrices),
            "litellm" => Ok(Self::Litellm),
            _ => Err(InvalidFormat(text.chars().take(64).collect())),
        }
    }
}

/// What an import did to the price book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportReport {
    /// The format that was read.
    pub format: Format,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Models in the file.
    pub models: usize,
    /// Prices that the file's mapped models gave; a model with dated prices gives several.
    pub mapped: usize,
    /// Prices that the book did not have.
    pub added: usize,
    /// Prices that replaced one, or gave it further names.
    pub changed: usize,
    /// Prices that the book had already.
    pub unchanged: usize,
    /// Models left out, each with the reason.
    pub dropped: Vec<Note>,
    /// Details that have no place in the book, each with the reason; of the models taken, and of some left out.
    pub partial: Vec<Note>,
}

/// Something that could not be mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Note {
    /// The provider as the file calls it; empty when it has none.
    pub provider: String,
    /// The model as the file calls it.
    pub model: String,
    /// The field in question; empty when it is the model as a whole.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// Why a file could not be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is not JSON, or not of the shape that the format has.
    #[error("the file is not {format}: {source}")]
    Shape {
        /// What was expected.
        format: Format,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// Neither format begins like this.
    #[error(
        "the file's format is not known: expected a JSON array (genai-prices data.json) or a JSON object (LiteLLM model_prices_and_context_window.json)"
    )]
    UnknownFormat,
    /// More than any price list.
    #[error("the file has {0} bytes: expected at most 67108864")]
    TooLarge(usize),
    /// The merged book is not valid; nothing was written.
    #[error(transparent)]
    Invalid(#[from] contracts::price::InvalidPrice),
    /// The control database failed.
    #[error(transparent)]
    Control(#[from] crate::ControlError),
}

/// What a file's models became, before they meet the book.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) models: usize,
    pub(super) prices: Vec<contracts::price::ModelPrice>,
    pub(super) dropped: Vec<Note>,
    pub(super) partial: Vec<Note>,
}

impl Parsed {
    pub(super) fn drop(&mut self, provider: &str, model: &str, field: &str, reason: impl Into<String>) {
        self.dropped.push(note(provider, model, field, reason));
    }

    pub(super) fn lose(&mut self, provider: &str, model: &str, field: &str, reason: impl Into<String>) {
        self.partial.push(note(provider, model, field, reason));
    }
}

pub(super) fn note(provider: &str, model: &str, field: &str, reason: impl Into<String>) -> Note {
    let short = |text: &str| text.chars().take(200).collect();
    Note { provider: short(provider), model: short(model), field: short(field), reason: reason.into() }
}
