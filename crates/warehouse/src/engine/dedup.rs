//! What a kill can leave behind: a record of a part that is not there.
//!
//! On insert the engine first notes a new part in its table's log of deduplication, then gives the part its name. Killed between the
//! two, it would take the batch, sent again, for one that it has, and the rows would be lost for good. So before the engine
//! starts, every record whose part is neither there nor merged into another is taken back, by a record of removal such as the
//! engine itself writes: operation (1 added, 2 removed), part and block, separated by tabs, a line each.
//!
//! A kill can also cut a record short. The engine would write the next one behind it, in the same line, and at the start after
//! that read the log only as far as this line: of what follows it would know nothing, and take a batch that it has for a new one.
//! So lines that are no records are taken out.

use super::EngineError;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Takes back the records without a part in all tables of a data directory that no engine uses; returns how many they were.
pub(super) fn forget_missing_parts(data: &Path) -> Result<usize, EngineError> {
    let mut forgotten = 0;
    for shard in entries(&data.join("store"))? {
        for table in entries(&shard)? {
            forgotten +=
                mend(&table, &data.join("deduplication_log.tmp")).map_err(|e| io_error(&table, e))?;
        }
    }
    Ok(forgotten)
}

fn io_error(path: &Path, source: io::Error) -> EngineError {
    EngineError::Io { action: "mend the log of deduplication in", path: path.to_owned(), source }
}

/// What is in a directory; nothing when it is none.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, EngineError> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path()).map_err(|e| io_error(dir, e))).collect(),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(e) => Err(io_error(dir, e)),
    }
}

/// `new` is a name for a file on the same disk, apart from what the engine takes for logs.
fn mend(table: &Path, new: &Path) -> io::Result<usize> {
    let logs = logs(&table.join("deduplication_logs"))?;
    let Some((_, newest)) = logs.last_key_value() else { return Ok(0) };
    let mut known: HashMap<String, String> = HashMap::new();
    for log in logs.values() {
        for line in whole_records(log, new)?.lines() {
            match line.splitn(3, '\t').collect::<Vec<_>>()[..] {
                ["1", part, block] => drop(known.insert(block.to_owned(), part.to_owned())),
                ["2", _, block] => drop(known.remove(block)),
                _ => {}
            }
        }
    }
    let mut parts = Vec::new();
    for entry in fs::read_dir(table)? {
        parts.extend(entry?.file_name().to_str().and_then(Part::parse));
    }
    let lost = known.into_iter().filter(|(_, name)| {
        Part::parse(name).is_some_and(|part| !parts.iter().any(|stored| stored.covers(&part)))
    });
    let lost: Vec<(String, String)> = lost.collect();
    if !lost.is_empty() {
        let mut file = OpenOptions::new().append(true).open(newest)?;
        for (block, part) in &lost {
            writeln!(file, "2\t{part}\t{block}")?;
        }
        file.sync_all()?;
    }
    Ok(lost.len())
}

/// What a log says, once what is no record is taken out of it.
fn whole_records(log: &Path, new: &Path) -> io::Result<String> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let kept: String = text.split_inclusive('\n').filter(|line| is_record(line)).collect();
    if kept != text {
        // Put in place as a whole: a kill leaves the old log or the new one.
        let mut file = File::create(new)?;
        file.write_all(kept.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, log)?;
    }
    Ok(kept)
}

fn is_record(line: &str) -> bool {
    let Some(line) = line.strip_suffix('\n') else { return false };
    match line.split('\t').collect::<Vec<_>>()[..] {
        ["1" | "2", part, block] => Part::parse(part).is_some() && !block.is_empty(),
        _ => false,
    }
}

/// The logs of a table by number, oldest first.
fn logs(dir: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(BTreeMap::new());
        }
        entries => entries?,
    };
    let mut logs = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.rsplit_once('_')?.1.parse().ok());
        if let Some(number) = number {
            logs.insert(number, path);
        }
    }
    Ok(logs)
}

/// A part's name says which blocks of which partition it holds: `partition_first_last_level`, and a number more once rewritten.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    partition: String,
    first: u64,
    last: u64,
}

impl Part {
    fn parse(name: &str) -> Option<Self> {
        let mut fields = name.split('_');
        let partition = fields.next()?.to_owned();
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (first, last) = (number()?, number()?);
        number().map(|_level| Self { partition, first, last })
    }

    fn covers(&self, other: &Self) -> bool {
        self.partition == other.partition && self.first <= other.first && other.last <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_part_are_taken_back_and_no_others() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(forget_missing_parts(data.path()).unwrap(), 0);
        let table = data.path().join("store/8c6/8c61b60c");
        let logs = table.join("deduplication_logs");
        fs::create_dir_all(&logs).unwrap();
        for part in ["20261101_1_3_1", "20261101_5_5_0_9", "tmp_insert_20261101_6_6_0", "detached"] {
            fs::create_dir(table.join(part)).unwrap();
        }
        // Merged, lost, removed before, lost in a later log, there.
        let (old, new) = (logs.join("deduplication_log_9.txt"), logs.join("deduplication_log_10.txt"));
        fs::write(
            &old,
            "1\t20261101_2_2_0\ta\n1\t20261102_2_2_0\tb\n1\t20261101_4_4_0\tc\n2\t20261101_4_4_0\tc\n",
        )
        .unwrap();
        // Records that were cut short: one that the engine wrote on behind, and the last.
        fs::write(&new, "1\t202611\t20261101_6_6_0\tx\n1\t20261101_6_6_0\td\n1\t20261101_5_5_0\te\n1\t2026")
            .unwrap();
        assert_eq!(forget_missing_parts(data.path()).unwrap(), 2);
        let text = fs::read_to_string(&new).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines[2..].sort_unstable();
        let expected =
            ["1\t20261101_6_6_0\td", "1\t20261101_5_5_0\te", "2\t20261101_6_6_0\td", "2\t20261102_2_2_0\tb"];
        assert_eq!(lines, expected);
        assert_eq!(forget_missing_parts(data.path()).unwrap(), 0);
    }

    #[test]
    fn a_record_cut_short_is_taken_out_though_no_part_is_lost() {
        let data = tempfile::tempdir().unwrap();
        let table = data.path().join("store/8c6/8c61b60c");
        let log = table.join("deduplication_logs/deduplication_log_1.txt");
        for dir in ["deduplication_logs", "20261101_1_1_0"] {
            fs::create_dir_all(table.join(dir)).unwrap();
        }
        for cut in ["1", "1\t202", "1\t20261101_2_2_0\t", "1\t20261101_2_2_0\tb"] {
            fs::write(&log, format!("1\t20261101_1_1_0\ta\n{cut}")).unwrap();
            assert_eq!(forget_missing_parts(data.path()).unwrap(), 0);
            assert_eq!(fs::read_to_string(&log).unwrap(), "1\t20261101_1_1_0\ta\n", "{cut}");
            assert_eq!(fs::read_dir(table.join("deduplication_logs")).unwrap().count(), 1);
        }
    }
}
