//! The journal of a run: one JSON object a line, appended and synced before a result counts.
//!
//! The first line is the [`Header`]. A line that a crash cut off is cut away when the journal is opened again; its row is asked
//! again. Lines `{"seal": n}` say that results up to the n-th are handed to ClickHouse together, so that what is handed over
//! after a crash has the same bounds, and the same tokens, as before.

use super::{RunError, RunResult};
use contracts::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What a run is; must be the same when it is taken up again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Its id.
    pub run_id: String,
    /// Whose.
    pub tenant: String,
    /// Name of the dataset, or of the file.
    pub dataset: String,
    /// SHA-256 of the rows.
    pub version: String,
    /// What is tried.
    pub target: String,
    /// `name@version` of each judge.
    pub judges: Vec<String>,
    /// How often each row is asked.
    pub repeat: u32,
    /// Rows times repetitions.
    pub planned: u64,
    /// When it first started; not compared.
    pub started_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Run(Header),
    Result(Box<RunResult>),
    Seal(usize),
}

/// An open journal, held against other processes.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    header: Header,
    results: Vec<RunResult>,
    done: BTreeSet<(String, u32)>,
    seals: Vec<usize>,
}

impl Journal {
    /// Takes the run in `dir` up again, or starts it. An existing one must have been started with the same arguments.
    pub fn open(dir: &Path, header: &Header) -> Result<Self, RunError> {
        let path = dir.join("journal.jsonl");
        let failed = |source| RunError::File { path: path.display().to_string(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        let mut journal = Self::read(file, path, header)?;
        if journal.results.is_empty() && journal.file.metadata().is_ok_and(|m| m.len() == 0) {
            journal.write(&[Line::Run(header.clone())])?;
            // The name of the file must survive a crash of the machine, too.
            if let Ok(directory) = File::open(dir) {
                let _ = directory.sync_all();
            }
        }
        Ok(journal)
    }

    fn read(mut file: File, path: PathBuf, header: &Header) -> Result<Self, RunError> {
        let failed = |source| RunError::File { path: path.display().to_string(), source };
        let wrong = |reason: String| RunError::Journal { path: path.display().to_string(), reason };
        file.try_lock().map_err(|_| wrong("another process is at this run".to_owned()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(failed)?;
            file.seek(SeekFrom::End(0)).map_err(failed)?;
            bytes.truncate(whole);
        }
        let (mut found, mut results, mut seals) = (None, Vec::new(), Vec::new());
        for (index, line) in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let line: Line = serde_json::from_slice(line)
                .map_err(|error| wrong(format!("line {} is not one of a journal ({error})", index + 1)))?;
            match line {
                Line::Run(header) => found = Some(header),
                Line::Result(result) => results.push(*result),
                Line::Seal(through) => seals.push(through),
            }
        }
        if let Some(found) = &found
            && let Some((what, before, now)) = difference(found, header)
        {
            return Err(wrong(format!(
                "this run was started with {what} {before:?}, and is now asked to go on with {now:?}: give another --run"
            )));
        }
        let header = found.unwrap_or_else(|| header.clone());
        let done = results.iter().map(|r: &RunResult| (r.row_id.clone(), r.repeat)).collect();
        Ok(Self { file, path, header, results, done, seals })
    }

    /// Appends results; they are on disk when this returns. One that is there already is not taken again.
    pub fn append(&mut self, results: Vec<RunResult>) -> Result<(), RunError> {
        let new: Vec<RunResult> =
            results.into_iter().filter(|r| self.done.insert((r.row_id.clone(), r.repeat))).collect();
        let lines: Vec<Line> = new.iter().map(|result| Line::Result(Box::new(result.clone()))).collect();
        self.write(&lines)?;
        self.results.extend(new);
        Ok(())
    }

    /// The bounds of what is handed over together, at most `most` results each; fixed from now on for all that is there.
    pub fn seal(&mut self, most: usize) -> Result<Vec<std::ops::Range<usize>>, RunError> {
        let mut sealed = self.seals.last().copied().unwrap_or(0);
        let mut lines = Vec::new();
        while sealed < self.results.len() {
            sealed = self.results.len().min(sealed + most.max(1));
            self.seals.push(sealed);
            lines.push(Line::Seal(sealed));
        }
        self.write(&lines)?;
        let starts = std::iter::once(0).chain(self.seals.iter().copied());
        Ok(starts.zip(self.seals.iter().copied()).map(|(from, to)| from..to).collect())
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), RunError> {
        let failed = |source| RunError::File { path: self.path.display().to_string(), source };
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).map_err(|error| failed(error.into()))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).and_then(|()| self.file.sync_data()).map_err(failed)
    }

    /// What the run is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The results so far, in the order in which they came.
    pub fn results(&self) -> &[RunResult] {
        &self.results
    }

    /// Whether a row's repetition has its result.
    pub fn has(&self, row_id: &str, repeat: u32) -> bool {
        self.done.contains(&(row_id.to_owned(), repeat))
    }
}

/// The first thing in which two headers differ, and both values.
fn difference(before: &Header, now: &Header) -> Option<(&'static str, String, String)> {
    let pairs = [
        ("run", &before.run_id, &now.run_id),
        ("tenant", &before.tenant, &now.tenant),
        ("dataset", &before.version, &now.version),
        ("target", &before.target, &now.target),
        ("judges", &before.judges.join(","), &now.judges.join(",")),
        ("repeat", &before.repeat.to_string(), &now.repeat.to_string()),
    ];
    let found = pairs.into_iter().find(|(_, before, now)| before != now);
    found.map(|(what, before, now)| (what, before.clone(), now.clone()))
}
