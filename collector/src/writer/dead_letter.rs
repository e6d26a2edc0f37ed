//! Where rows go that cannot go into ClickHouse: one file a batch under `rejected/`, a JSON object a line, so that nothing is
//! lost and a person can look and send it again. Named by the batch's extent, so a batch that is worked twice writes the
//! same file twice.

use super::plan::write_durably;
use crate::row::Row;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use warehouse::SpanRow;

/// The directory.
#[derive(Debug)]
pub struct DeadLetters {
    dir: PathBuf,
}

/// What could not be inserted of one batch.
#[derive(Debug, Default)]
pub struct Letters {
    lines: Vec<String>,
}

impl Letters {
    /// A row that ClickHouse refuses.
    pub fn refused(&mut self, row: &Row, reason: &str) {
        let row = match row {
            Row::Span(row) => row,
            Row::Event(row) => {
                self.lines.push(json!({"reason": reason, "event": row}).to_string());
                return;
            }
        };
        // Money is a number beyond what JSON readers agree on.
        let costs =
            [row.cost_input, row.cost_output, row.cost_cache, row.cost_total].map(|cost| cost.to_string());
        let plain =
            SpanRow { cost_input: 0, cost_output: 0, cost_cache: 0, cost_total: 0, ..(**row).clone() };
        self.lines.push(json!({"reason": reason, "row": plain, "costs_picodollars": costs}).to_string());
    }

    /// A record that is no row.
    pub fn undecodable(&mut self, record: &[u8], reason: &str) {
        self.lines.push(json!({"reason": reason, "record_base64": STANDARD.encode(record)}).to_string());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }
}

impl DeadLetters {
    /// In `dir`, which is created; nobody else may read it, for rows hold what people wrote.
    pub fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // One that an earlier version left open to others.
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Puts the letters of the batch `from..to` on disk.
    pub fn write(&self, from: u64, to: u64, letters: &Letters) -> io::Result<()> {
        let mut content = letters.lines.join("\n");
        content.push('\n');
        write_durably(&self.dir, &format!("{from}-{to}.jsonl"), content.as_bytes())
    }
}
