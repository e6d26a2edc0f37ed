//! What was decided about a batch, on disk before the batch is sent.

use crate::row::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Which rows of which batch are sent, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The spool's identity: positions mean nothing in another.
    pub spool: u64,
    /// Extent of the batch.
    pub from: u64,
    /// Extent of the batch.
    pub to: u64,
    /// Rows of the batch, by which a batch that is not the same is told apart.
    pub rows: usize,
    /// Indexes of rows that were sent before, ascending.
    pub dropped: Vec<usize>,
    /// How the others, in order, are cut into inserts. Indexes count the rows that are not dropped.
    pub parts: Vec<Range<usize>>,
    /// Of these, rows that ClickHouse refuses: no part sends them.
    pub refused: Vec<usize>,
}

impl Plan {
    /// One part of all spans that are not `dropped`, and one of all events, which begin at index `spans`: they go into two tables.
    pub fn new(spool: u64, extent: Range<u64>, rows: usize, spans: usize, mut dropped: Vec<usize>) -> Self {
        dropped.sort_unstable();
        dropped.dedup();
        let kept = rows.saturating_sub(dropped.len());
        let kept_spans = spans.saturating_sub(dropped.partition_point(|index| *index < spans));
        let parts = [0..kept_spans, kept_spans..kept].into_iter().filter(|part| !part.is_empty()).collect();
        Self { spool, from: extent.start, to: extent.end, rows, dropped, parts, refused: Vec::new() }
    }

    /// What tells it apart from a plan of this batch; nothing when it is one.
    pub fn differs_from(&self, spool: u64, extent: Range<u64>, rows: usize) -> Vec<String> {
        let rows = (rows as u64, self.rows as u64);
        let pairs = [
            ("spool", (spool, self.spool)),
            ("from", (extent.start, self.from)),
            ("to", (extent.end, self.to)),
            ("rows", rows),
        ];
        let different = pairs.into_iter().filter(|(_, (batch, plan))| batch != plan);
        different.map(|(what, (batch, plan))| format!("{what} {batch}, in the plan {plan}")).collect()
    }

    /// The rows that are not dropped, in order.
    pub fn kept(&self, rows: Vec<Row>) -> Vec<Row> {
        let mut dropped = self.dropped.iter().peekable();
        let keep = |(index, row): (usize, Row)| {
            if dropped.next_if(|next| **next == index).is_some() { None } else { Some(row) }
        };
        rows.into_iter().enumerate().filter_map(keep).collect()
    }

    /// Whether every index in it can be used on a batch of `rows` rows.
    fn is_sound(&self) -> bool {
        let kept = self.rows.checked_sub(self.dropped.len());
        let fits = |kept: usize| {
            self.parts.iter().all(|part| part.start < part.end && part.end <= kept)
                && self.refused.iter().all(|index| *index < kept)
        };
        kept.is_some_and(fits) && self.dropped.iter().all(|index| *index < self.rows)
    }

    /// Replaces a part by its halves; false when it is a single row.
    pub fn halve(&mut self, index: usize) -> bool {
        let Some(part) = self.parts.get(index).cloned() else { return false };
        if part.len() < 2 {
            return false;
        }
        let middle = part.start + part.len() / 2;
        self.parts.splice(index..=index, [part.start..middle, middle..part.end]);
        true
    }

    /// Takes a part of one row out and notes the row as refused.
    pub fn refuse(&mut self, index: usize) {
        if index < self.parts.len() {
            self.refused.extend(self.parts.remove(index));
        }
    }
}

/// The name by which ClickHouse knows an insert: a digest of the ids in it, in order. Other spans can never have it, whatever
/// happens to files, and the same spans always do.
pub fn token(rows: &[Row]) -> String {
    let mut digest = Sha256::new();
    for row in rows {
        for text in row.identity() {
            digest.update(text.len().to_le_bytes());
            digest.update(text);
        }
    }
    hex::encode(digest.finalize())
}

/// The file that holds the plan of the batch in work.
#[derive(Debug)]
pub struct PlanFile {
    dir: PathBuf,
}

impl PlanFile {
    /// In this directory.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Puts the plan on disk; durable when this returns.
    pub fn save(&self, plan: &Plan) -> io::Result<()> {
        let body = serde_json::to_vec(plan)?;
        write_durably(&self.dir, "plan.json", &[checksum(&body).as_bytes(), b"\n", &body].concat())
    }

    /// The plan on disk. A file that is missing or damaged is no plan: damage is logged.
    pub fn load(&self) -> io::Result<Option<Plan>> {
        let content = match fs::read(self.dir.join("plan.json")) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let plan = parse(&content);
        if plan.is_none() {
            tracing::error!(dir = %self.dir.display(), "plan.json is damaged: the batch it was for is planned anew");
        }
        Ok(plan)
    }
}

fn parse(content: &[u8]) -> Option<Plan> {
    let newline = content.iter().position(|byte| *byte == b'\n')?;
    let (sum, body) = (&content[..newline], &content[newline + 1..]);
    let plan: Plan =
        (checksum(body).as_bytes() == sum).then(|| serde_json::from_slice(body).ok()).flatten()?;
    plan.is_sound().then_some(plan)
}

fn checksum(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// Replaces a file as a whole: after a crash there is the old content or the new. Nobody else may read it.
pub(super) fn write_durably(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use warehouse::SpanRow;

    fn rows(count: usize) -> Vec<Row> {
        let row = |n| SpanRow { span_id: format!("{n:016x}"), ..SpanRow::default() };
        (0..count).map(|n| Row::from(row(n))).collect()
    }

    #[test]
    fn a_plan_survives_on_disk_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = PlanFile::new(dir.path());
        assert_eq!(file.load().unwrap(), None);
        let plan = Plan::new(7, 10..20, 4, 4, vec![3, 1, 1]);
        file.save(&plan).unwrap();
        assert_eq!(file.load().unwrap(), Some(plan));
        let path = dir.path().join("plan.json");
        let mut content = fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&path, content).unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn halving_isolates_one_row() {
        let mut plan = Plan::new(7, 0..9, 5, 5, vec![0]);
        assert_eq!(plan.kept(rows(5)), rows(5)[1..]);
        assert!(plan.halve(0) && plan.halve(0));
        assert_eq!(plan.parts, [0..1, 1..2, 2..4]);
        assert!(!plan.halve(0));
        plan.refuse(0);
        assert_eq!((plan.parts, plan.refused), (vec![1..2, 2..4], vec![0]));
    }

    #[test]
    fn spans_and_events_are_never_in_one_part() {
        assert_eq!(Plan::new(7, 0..9, 6, 4, vec![1, 5]).parts, [0..3, 3..4]);
        let one = |spans| Plan::new(7, 0..9, 2, spans, vec![]).parts;
        assert!([0, 2].into_iter().all(|spans| one(spans) == vec![0..2; 1]));
    }

    #[test]
    fn a_token_is_of_the_ids_and_their_order() {
        let all = rows(3);
        assert_eq!(token(&all), token(&rows(3)));
        assert_ne!(token(&all), token(&all[..2]));
        let reversed: Vec<Row> = all.iter().rev().cloned().collect();
        assert_ne!(token(&all), token(&reversed));
    }

    proptest! {
        #[test]
        fn any_file_is_a_plan_or_not(content in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert_eq!(parse(&content), None);
        }

        #[test]
        fn parts_always_cover_what_is_kept_once(
            count in 1_usize..60, spans in 0_usize..60, dropped in prop::collection::vec(0_usize..60, 0..10), cuts in prop::collection::vec(0_usize..8, 0..20),
        ) {
            let dropped: Vec<usize> = dropped.into_iter().filter(|index| *index < count).collect();
            let mut plan = Plan::new(1, 0..1, count, spans.min(count), dropped);
            for cut in cuts {
                plan.halve(cut);
            }
            prop_assert!(plan.is_sound());
            let covered: Vec<usize> = plan.parts.iter().cloned().flatten().collect();
            prop_assert_eq!(covered, (0..count - plan.dropped.len()).collect::<Vec<_>>());
        }
    }
}
