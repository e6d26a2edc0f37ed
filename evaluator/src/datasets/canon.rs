//! The canonical form of a version, and its hash.
//!
//! One JSON object a line, keys in order of their bytes at every depth, no blanks, rows in the order given, each line ended by a
//! line feed. The version is the SHA-256 of these bytes, in hex.

use super::{DatasetError, Row};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Rows with the hash of their canonical form.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    hash: String,
    rows: Vec<Row>,
}

impl Version {
    /// Of these rows. At least one, ids unique.
    pub fn new(rows: Vec<Row>) -> Result<Self, DatasetError> {
        if rows.is_empty() {
            return Err(DatasetError::invalid("dataset", "rows", "0", "at least one row"));
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            if let Some(first) = seen.insert(&row.id, index) {
                let place = format!("row {}", index + 1);
                let expected = format!("an id of its own; row {} has it already", first + 1);
                return Err(DatasetError::invalid(&place, "id", &row.id, &expected));
            }
        }
        let hash = hex(&Sha256::digest(export(&rows)));
        Ok(Self { hash, rows })
    }

    /// The SHA-256 of the canonical form, 64 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The rows, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// The canonical form of rows.
pub fn export(rows: &[Row]) -> String {
    rows.iter().map(|row| line(row) + "\n").collect()
}

/// The canonical line of one row.
pub(super) fn line(row: &Row) -> String {
    // A row is texts, maps with text keys and values that were JSON: it can always be written.
    let mut value = serde_json::to_value(row).unwrap_or_default();
    sort(&mut value);
    value.to_string()
}

/// Puts keys in order whatever map type the build of `serde_json` has.
fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> = std::mem::take(map).into_iter().collect();
            map.extend(sorted);
            map.values_mut().for_each(sort);
        }
        _ => {}
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| DIGITS[usize::from(nibble)]).collect()
}
