//! The prices that a new control database starts with: `seed/*.toml`, one file a provider, each with its source and date.

use contracts::Timestamp;
use contracts::price::{Charge, ModelPrice, RateCard};
use serde::Deserialize;

/// Why the seed cannot be used; a test keeps this from ever being shipped.
#[derive(Debug, thiserror::Error)]
#[error("prices/seed/{file}: {source}")]
pub struct SeedError {
    /// The file at fault.
    pub file: &'static str,
    /// What is wrong with it.
    pub source: Box<toml::de::Error>,
}

macro_rules! files {
    ($($file:literal),* $(,)?) => {
        const FILES: &[(&str, &str)] = &[$(($file, include_str!(concat!("seed/", $file)))),*];
    };
}

files![
    "anthropic.toml",
    "azure.toml",
    "bedrock.toml",
    "cerebras.toml",
    "cohere.toml",
    "deepseek.toml",
    "fireworks.toml",
    "gemini.toml",
    "groq.toml",
    "mistral.toml",
    "moonshot.toml",
    "openai.toml",
    "perplexity.toml",
    "sim.toml",
    "together.toml",
    "vertex.toml",
    "xai.toml",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    provider: String,
    source: String,
    as_of: String,
    price: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    model: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default, with = "contracts::price::instant")]
    valid_from: Option<Timestamp>,
    cards: Vec<RateCard>,
}

/// The seed's entries.
pub fn entries() -> Result<Vec<ModelPrice>, SeedError> {
    let mut entries = Vec::new();
    for (file, text) in FILES {
        let parsed: File =
            toml::from_str(text).map_err(|source| SeedError { file, source: Box::new(source) })?;
        let source = format!("{}, as of {}", parsed.source, parsed.as_of);
        entries.extend(parsed.price.into_iter().map(|row| ModelPrice {
            provider: parsed.provider.clone(),
            model: row.model,
            aliases: row.aliases,
            prefixes: row.prefixes,
            valid_from: row.valid_from,
            charge: Charge::Tokens(row.cards),
            source: source.clone(),
        }));
    }
    Ok(entries)
}
