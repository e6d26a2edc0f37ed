//! A store that does to inserts what ClickHouse, or the way to it, may do.

use super::super::Store;
use crate::row::{Key, Row};
use std::collections::{HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use warehouse::{Failure, InsertError, SpanRow, WarehouseError};

/// What happens to an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does not get there.
    Unreachable,
    /// It gets there, the answer does not.
    Unanswered,
    /// It gets into the table but not into the view, and there is no answer, nor will there be.
    LostHalfWay,
    /// It gets there, and there is no answer, nor will there be.
    Silent,
    /// Too little memory.
    Memory,
    /// It gets into the table; then a view fails, and a definite error says so.
    ViewFailed,
    /// As [`Fate::ViewFailed`], for want of memory.
    ViewShortOfMemory,
}

#[derive(Debug, Default)]
struct State {
    fates: VecDeque<Fate>,
    table: Vec<SpanRow>,
    view: Vec<SpanRow>,
    table_tokens: HashSet<String>,
    view_tokens: HashSet<String>,
    poison: HashSet<u64>,
    inserts: usize,
}

/// Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    silent: Arc<Notify>,
}

impl Fake {
    pub(super) fn with(fates: impl IntoIterator<Item = Fate>) -> Self {
        let fake = Self::default();
        fake.state.lock().unwrap().fates.extend(fates);
        fake
    }

    /// Rows with so many input tokens are refused.
    pub(super) fn poison(self, tokens: impl IntoIterator<Item = u64>) -> Self {
        self.state.lock().unwrap().poison.extend(tokens);
        self
    }

    pub(super) fn will(&self, fate: Fate) {
        self.state.lock().unwrap().fates.push_back(fate);
    }

    /// Nothing bad happens any more.
    pub(super) fn heal(&self) {
        self.state.lock().unwrap().fates.clear();
    }

    /// The fault that rows were refused for is mended.
    pub(super) fn mend(&self) {
        self.state.lock().unwrap().poison.clear();
    }

    /// Returns when an insert waits for an answer that never comes.
    pub(super) async fn is_silent(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.silent.notified()).await.expect("an insert hangs");
    }

    /// Input tokens of the rows in table and view, sorted.
    pub(super) fn stored(&self) -> (Vec<u64>, Vec<u64>) {
        let state = self.state.lock().unwrap();
        let sorted = |rows: &[SpanRow]| {
            let mut tokens: Vec<u64> = rows.iter().map(|row| row.input_tokens).collect();
            tokens.sort_unstable();
            tokens
        };
        (sorted(&state.table), sorted(&state.view))
    }

    pub(super) fn inserts(&self) -> usize {
        self.state.lock().unwrap().inserts
    }

    fn land(state: &mut State, rows: &[SpanRow], token: &str, view_too: bool) {
        if state.table_tokens.insert(token.to_owned()) {
            state.table.extend_from_slice(rows);
        }
        if view_too && state.view_tokens.insert(token.to_owned()) {
            state.view.extend_from_slice(rows);
        }
    }

    fn decide(&self, rows: &[SpanRow], token: &str) -> Result<(), Option<InsertError>> {
        let mut state = self.state.lock().unwrap();
        state.inserts += 1;
        let retry = |reason| Some(InsertError::Retryable { reason, after: Duration::from_millis(1) });
        if rows.iter().any(|row| state.poison.contains(&row.input_tokens)) {
            let reason = Failure::Other("Code: 321. bad value".into());
            return Err(Some(InsertError::Refused { reason }));
        }
        match state.fates.pop_front() {
            None => Self::land(&mut state, rows, token, true),
            Some(Fate::Unreachable) => return Err(retry(Failure::Unreachable("no route".into()))),
            Some(Fate::Memory) => return Err(retry(Failure::MemoryLimit("too little".into()))),
            Some(Fate::Unanswered) => {
                Self::land(&mut state, rows, token, true);
                return Err(retry(Failure::TimedOut("no answer".into())));
            }
            Some(fate @ (Fate::ViewFailed | Fate::ViewShortOfMemory)) => {
                Self::land(&mut state, rows, token, false);
                if fate == Fate::ViewShortOfMemory {
                    return Err(retry(Failure::MemoryLimit("too little for a view".into())));
                }
                let reason = Failure::Other("Code: 6. while pushing to view".into());
                return Err(Some(InsertError::Refused { reason }));
            }
            Some(Fate::LostHalfWay) => {
                Self::land(&mut state, rows, token, false);
                return Err(None);
            }
            Some(Fate::Silent) => {
                Self::land(&mut state, rows, token, true);
                return Err(None);
            }
        }
        Ok(())
    }
}

impl Store for Fake {
    async fn prepare(&self) -> Result<(), WarehouseError> {
        Ok(())
    }

    async fn insert(&self, rows: &[Row], token: &str) -> Result<(), InsertError> {
        let rows: Vec<SpanRow> = rows.iter().filter_map(Row::span).cloned().collect();
        match self.decide(&rows, token) {
            Ok(()) => Ok(()),
            Err(Some(error)) => Err(error),
            Err(None) => {
                self.silent.notify_one();
                std::future::pending().await
            }
        }
    }

    async fn existing(&self, keys: &[Key]) -> Result<HashSet<Key>, WarehouseError> {
        // Few at a time, as for want of memory.
        if keys.len() > 3 {
            let failure = Failure::MemoryLimit("too many keys".into());
            return Err(WarehouseError::Failed { action: "look up".into(), failure });
        }
        let key = |row: &SpanRow| Row::from(row.clone()).key();
        let table: HashSet<Key> = self.state.lock().unwrap().table.iter().map(key).collect();
        Ok(keys.iter().filter(|key| table.contains(*key)).cloned().collect())
    }

    async fn existing_within(
        &self,
        keys: &[Key],
        times: RangeInclusive<i64>,
    ) -> Result<HashSet<Key>, WarehouseError> {
        let found: Vec<SpanRow> = self.state.lock().unwrap().table.clone();
        let is_there = |key: &&Key| match key {
            Key::Span(key) => found.iter().any(|row| {
                times.contains(&row.start_time)
                    && (&row.tenant_id, &row.trace_id, &row.span_id)
                        == (&key.tenant_id, &key.trace_id, &key.span_id)
            }),
            Key::Event(_) => false,
        };
        Ok(keys.iter().filter(is_there).cloned().collect())
    }
}
