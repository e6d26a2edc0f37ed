//! Prices: what the price book is seeded with, and imports of public price lists.
//!
//! [`seed`] fills an empty price table on the first start. [`import`] reads one of two public formats, decides for each
//! price what becomes of it (see `merge`), and reports what it could not map and why.

mod genai;
mod json;
mod litellm;
mod merge;
mod report;
mod seed;
#[cfg(test)]
mod tests;

pub use report::{Format, ImportError, ImportReport, InvalidFormat, Note};
pub use seed::{SeedError, entries as seed_entries};

use crate::Control;
use contracts::Timestamp;
use report::Parsed;

/// The largest file that is read.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why the price table could not be seeded.
#[derive(Debug, thiserror::Error)]
pub enum SeedingError {
    /// The seed itself is broken.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The control database failed.
    #[error(transparent)]
    Control(#[from] crate::ControlError),
}

/// Fills the price table when it is empty; how many prices were written.
pub async fn seed(control: &Control) -> Result<usize, SeedingError> {
    let prices = control.prices();
    if !prices.list().await?.is_empty() {
        return Ok(0);
    }
    Ok(prices.put(seed_entries()?).await?.added)
}

/// Reads a public price list into the book. Without `format` it is told by the file's first character. With `dry_run`
/// nothing is written and the report says what would be.
pub async fn import(
    control: &Control,
    format: Option<Format>,
    bytes: &[u8],
    dry_run: bool,
    now: Timestamp,
) -> Result<ImportReport, ImportError> {
    let (format, parsed) = parse(format, bytes)?;
    let book = control.prices().list().await?;
    let mapped = parsed.prices.len();
    let merged = merge::merge(&book, parsed.prices, now)?;
    if !dry_run && !merged.writes.is_empty() {
        control.prices().put(merged.writes).await?;
    }
    let mut partial = parsed.partial;
    partial.extend(merged.partial);
    Ok(ImportReport {
        format,
        dry_run,
        models: parsed.models,
        mapped,
        added: merged.added,
        changed: merged.changed,
        unchanged: merged.unchanged,
        dropped: parsed.dropped,
        partial,
    })
}

fn parse(format: Option<Format>, bytes: &[u8]) -> Result<(Format, Parsed), ImportError> {
    if bytes.len() > MAX_BYTES {
        return Err(ImportError::TooLarge(bytes.len()));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let format = match (format, first) {
        (Some(format), _) => format,
        (None, Some(b'[')) => Format::GenaiPrices,
        (None, Some(b'{')) => Format::Litellm,
        (None, _) => return Err(ImportError::UnknownFormat),
    };
    // Lossy: a name with broken UTF-8 must not cost the other models; numbers and keys are ASCII.
    let text = String::from_utf8_lossy(bytes);
    let parsed = match format {
        Format::GenaiPrices => genai::parse(&text)?,
        Format::Litellm => litellm::parse(&text)?,
    };
    Ok((format, parsed))
}
