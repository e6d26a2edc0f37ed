//! The task that moves batches.

use super::dead_letter::{DeadLetters, Letters};
use super::dedup::{Memory, Trust};
use super::plan::{Plan, PlanFile, token};
use super::store::Store;
use crate::metrics::Metrics;
use crate::record::{self, Sender};
use crate::row::{Key, Row};
use contracts::Timestamp;
use runtime::Clock;
use spool::{Batch, Position, Reader};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use warehouse::{Failure, InsertError, WarehouseError};

/// How batches are cut and what is remembered.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most rows.
    pub rows: usize,
    /// Most bytes.
    pub bytes: usize,
    /// How long a batch that is not full waits.
    pub linger: Duration,
    /// Directory of the plan and of `rejected/`.
    pub dir: PathBuf,
    /// Ids to remember.
    pub dedup_ids: usize,
    /// What is taken for certain about spans that are not remembered.
    pub trust: Trust,
    /// The first pause after a failure; it doubles up to [`Options::longest_pause`].
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long an insert that was not answered may still be at work in ClickHouse.
    pub in_doubt: Duration,
    /// How often a batch that is in the table, but that ClickHouse refuses to put into a view, is sent again before it is
    /// set aside.
    pub rounds: u32,
}

/// Moves batches from the spool to a store.
#[derive(Debug)]
pub struct Writer<S> {
    store: S,
    reader: Reader,
    options: Options,
    memory: Memory,
    plan_file: PlanFile,
    dead_letters: DeadLetters,
    metrics: Metrics,
    clock: Clock,
}

/// What an insert came to.
enum Sent {
    Done,
    /// Nothing of it is there.
    Refused(String),
    /// These are in the table, but ClickHouse does not complete the insert.
    HalfIn(String, HashSet<Key>),
}

/// Lookups are split where start times are further apart, so that one old span does not make ClickHouse read years.
const LOOKUP_GAP_NS: i64 = 3_600_000_000_000;
/// A day.
const DAY_NS: i64 = 86_400_000_000_000;
/// Most lookups a batch.
const MOST_LOOKUPS: usize = 16;
/// After so many failures for want of memory a part is halved.
const PATIENCE_WITH_MEMORY: u32 = 3;
/// A want of memory may pass: a batch that is half in gets so many times the rounds of one that is refused.
const MORE_ROUNDS_FOR_MEMORY: u32 = 12;

impl<S: Store> Writer<S> {
    /// Ready to run; creates the directories.
    pub fn new(
        store: S,
        reader: Reader,
        options: Options,
        metrics: Metrics,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let dead_letters = DeadLetters::open(&options.dir.join("rejected"))?;
        let memory = Memory::new(options.dedup_ids, options.trust, clock.now());
        let plan_file = PlanFile::new(&options.dir);
        Ok(Self { store, reader, options, memory, plan_file, dead_letters, metrics, clock })
    }

    /// Moves batches until `stop`, then what is left in the spool, without lingering. May be dropped at any time: what was not
    /// committed is worked again at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        self.prepare().await;
        while let Some(batch) = self.next(&stop).await {
            self.work(batch).await;
        }
    }

    async fn next(&mut self, stop: &CancellationToken) -> Option<Batch> {
        let Options { rows, bytes, linger, .. } = self.options;
        if !stop.is_cancelled() {
            tokio::select! {
                biased;
                batch = self.reader.next_batch(rows, bytes, linger) => return Some(batch),
                () = stop.cancelled() => {}
            }
        }
        if self.reader.has_data() {
            Some(self.reader.next_batch(rows, bytes, Duration::ZERO).await)
        } else {
            None
        }
    }

    /// The schema, as soon as ClickHouse is there.
    async fn prepare(&self) {
        let mut pause = self.options.pause;
        while let Err(error) = self.store.prepare().await {
            self.metrics.clickhouse_up.set(0);
            tracing::warn!(error = &error as &dyn std::error::Error, "ClickHouse is not ready; trying again");
            self.back_off(&mut pause, Duration::ZERO).await;
        }
        self.metrics.clickhouse_up.set(1);
    }

    async fn work(&mut self, batch: Batch) {
        let mut letters = Letters::default();
        let mut decoded: Vec<(Row, Sender)> = Vec::with_capacity(batch.records.len());
        for bytes in &batch.records {
            match record::decode(bytes) {
                Ok(row) => decoded.push(row),
                Err(error) => {
                    self.metrics.undecodable.inc();
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a record of the spool is no row"
                    );
                    letters.undecodable(bytes, &error.to_string());
                }
            }
        }
        // Spans first, then events, each in their order: the same each time the batch is worked.
        decoded.sort_by_key(|(row, _)| row.event().is_some());
        let (rows, senders): (Vec<Row>, Vec<Sender>) = decoded.into_iter().unzip();
        let (mut plan, resumed) = self.plan(&batch, &rows, &senders).await;
        let kept = plan.kept(rows);
        for index in &plan.refused {
            letters.refused(&kept[*index], "refused before a restart");
        }
        let mut set_aside = self.send(&mut plan, &kept, &mut letters, resumed).await;
        set_aside.extend(&plan.refused);
        if letters.len() > 0 {
            self.until_done("write rejected rows", || self.dead_letters.write(plan.from, plan.to, &letters))
                .await;
        }
        let to = batch.to;
        let mut pause = self.options.pause;
        while let Err(error) = self.reader.commit(to) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the spool's cursor could not be moved; trying again"
            );
            self.back_off(&mut pause, Duration::ZERO).await;
        }
        // What is not in ClickHouse is not known: once its fault is mended, it may be sent again.
        let inserted = kept.iter().enumerate().filter(|(index, _)| !set_aside.contains(index));
        self.memory.remember(inserted.map(|(_, row)| row), self.clock.now());
    }

    /// The plan that was made for this batch before a crash, or a new one, on disk; and whether it is the old one.
    async fn plan(&mut self, batch: &Batch, rows: &[Row], senders: &[Sender]) -> (Plan, bool) {
        let (from, to) = (batch.from.as_u64(), batch.to.as_u64());
        let identity = self.reader.identity();
        if self.reader.pending_intent() == Some((batch.from, batch.to)) {
            let loaded = self.until_done("read the plan of a batch", || self.plan_file.load()).await;
            let differs = match &loaded {
                None => vec!["there is none".to_owned()],
                Some(plan) => plan.differs_from(identity, from..to, rows.len()),
            };
            if let Some(plan) = loaded.filter(|_| differs.is_empty()) {
                tracing::info!(
                    spool.from = from,
                    spool.to = to,
                    rows = rows.len(),
                    "sending a batch again that was in work at the end"
                );
                return (plan, true);
            }
            tracing::warn!(
                spool.from = from,
                spool.to = to,
                plan.differs = differs.join(", "),
                "a batch was in work at the end, and its plan is not the one on disk: it is planned anew"
            );
        }
        let dropped = self.sent_before(rows, senders).await;
        let spans = rows.partition_point(|row| row.span().is_some());
        let plan = Plan::new(identity, from..to, rows.len(), spans, dropped);
        self.until_done("write the plan of a batch", || self.plan_file.save(&plan)).await;
        self.set_intent(batch.from, batch.to).await;
        (plan, false)
    }

    async fn set_intent(&mut self, from: Position, to: Position) {
        let mut pause = self.options.pause;
        while let Err(error) = self.reader.set_intent(from, to).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the spool's intent could not be written; trying again"
            );
            self.back_off(&mut pause, Duration::ZERO).await;
        }
    }

    /// Indexes of rows that are in ClickHouse or earlier in the batch.
    async fn sent_before(&self, rows: &[Row], senders: &[Sender]) -> Vec<usize> {
        let sorted = self.memory.sort(rows, senders, self.clock.now());
        let count = |how: &'static str, indexes: &[usize]| {
            for index in indexes {
                self.metrics.deduplicated(how, rows[*index].signal()).inc();
            }
        };
        count("batch", &sorted.repeated);
        count("memory", &sorted.remembered);
        let mut dropped = [sorted.repeated, sorted.remembered].concat();
        let before = dropped.len();
        let now = self.clock.now();
        let (moved, placed): (Vec<usize>, Vec<usize>) =
            sorted.uncertain.into_iter().partition(|index| rows[*index].is_moved(now));
        let mut questions: Vec<(Vec<usize>, Option<RangeInclusive<i64>>)> =
            groups(rows, placed).into_iter().map(|group| (group, None)).collect();
        if let Some(days) = moved.iter().map(|index| rows[*index].retention_days()).max() {
            questions.push((moved, Some(kept_times(now, days))));
        }
        for (group, times) in questions {
            let keys: Vec<Key> = group.iter().map(|index| rows[*index].key()).collect();
            let existing = self.existing(&keys, times).await;
            dropped.extend(
                group
                    .into_iter()
                    .zip(&keys)
                    .filter(|(_, key)| existing.contains(key))
                    .map(|(index, _)| index),
            );
        }
        count("clickhouse", &dropped[before..]);
        dropped
    }

    /// Asks until there is an answer: inserting without one could double what is there. A question that is too large is asked
    /// in halves. Without `times`, under the time of each key.
    async fn existing(&self, keys: &[Key], times: Option<RangeInclusive<i64>>) -> HashSet<Key> {
        let mut found = HashSet::new();
        let mut questions = vec![keys];
        let mut pause = self.options.pause;
        while let Some(question) = questions.pop() {
            let answer = match &times {
                None => self.store.existing(question).await,
                Some(times) => self.store.existing_within(question, times.clone()).await,
            };
            let error = match answer {
                Ok(existing) => {
                    found.extend(existing);
                    continue;
                }
                Err(error) => error,
            };
            if is_too_large(&error) && question.len() > 1 {
                questions.extend(<[_; 2]>::from(question.split_at(question.len() / 2)));
                continue;
            }
            self.failed("lookup");
            tracing::warn!(%error, "spans sent before cannot be looked up; trying again");
            questions.push(question);
            self.back_off(&mut pause, Duration::ZERO).await;
        }
        found
    }

    /// Sends every part of the plan, halving what is refused. Returns the indexes of rows that are not in the table, beside the
    /// plan's refused.
    async fn send(
        &mut self,
        plan: &mut Plan,
        rows: &[Row],
        letters: &mut Letters,
        resumed: bool,
    ) -> HashSet<usize> {
        let mut next = 0;
        let mut missing = HashSet::new();
        while let Some(part) = plan.parts.get(next).cloned() {
            match self.insert(&rows[part.clone()], resumed).await {
                Sent::Done => {
                    let events = rows[part.clone()].iter().filter(|row| row.event().is_some()).count();
                    self.metrics.inserted.inc_by((part.len() - events) as u64);
                    self.metrics.events_inserted.inc_by(events as u64);
                    next += 1;
                }
                Sent::Refused(_) if plan.halve(next) => {
                    self.until_done("write the plan of a batch", || self.plan_file.save(plan)).await;
                }
                Sent::HalfIn(reason, landed) => {
                    missing.extend(part.clone().filter(|index| !landed.contains(&rows[*index].key())));
                    self.set_aside(&rows[part], &reason, &landed, letters);
                    next += 1;
                }
                Sent::Refused(reason) => {
                    tracing::error!(reason, "ClickHouse refuses a span; it is set aside under rejected/");
                    self.metrics.refused(rows[part.start].signal()).inc();
                    letters.refused(&rows[part.start], &reason);
                    plan.refuse(next);
                    self.until_done("write the plan of a batch", || self.plan_file.save(plan)).await;
                }
            }
        }
        missing
    }

    /// Keeps a part that ClickHouse took into the table but not into every view. Its spans are there to be seen, yet sums may
    /// miss them, so all of its rows go into the file, for a person to mend.
    fn set_aside(&self, rows: &[Row], reason: &str, landed: &HashSet<Key>, letters: &mut Letters) {
        tracing::error!(
            reason,
            rows = rows.len(),
            "ClickHouse does not complete an insert; it is set aside under rejected/"
        );
        for row in rows {
            if landed.contains(&row.key()) {
                let inserted = if row.event().is_some() {
                    &self.metrics.events_inserted
                } else {
                    &self.metrics.inserted
                };
                inserted.inc();
                self.metrics.half_inserted.inc();
                letters.refused(row, &format!("in the table, but perhaps not in its views: {reason}"));
            } else {
                self.metrics.refused(row.signal()).inc();
                letters.refused(row, reason);
            }
        }
    }

    /// Sends one part until it is in or refused. `resumed` says that it may have been sent before a crash.
    ///
    /// An error does not say that nothing got in: the table may have taken the rows before a view refused them, and an insert
    /// that was not answered may still be at work. Smaller parts have other tokens, and so would be counted twice; hence a part
    /// is given up only when no insert of it can be at work any more and none of its rows is there.
    async fn insert(&self, rows: &[Row], resumed: bool) -> Sent {
        let token = token(rows);
        let mut pause = self.options.pause;
        let (mut short_of_memory, mut rounds) = (0, 0);
        let mut in_doubt_since = resumed.then(Instant::now);
        loop {
            let started = Instant::now();
            let error = match self.store.insert(rows, &token).await {
                Ok(()) => {
                    self.metrics.insert_seconds.observe(started.elapsed().as_secs_f64());
                    #[expect(clippy::cast_precision_loss, reason = "a histogram of row counts")]
                    self.metrics.batch_rows.observe(rows.len() as f64);
                    self.metrics.clickhouse_up.set(1);
                    return Sent::Done;
                }
                Err(error) => error,
            };
            let (reason, mut wait, refused) = match error {
                InsertError::Refused { reason } if concerns_everyone(&reason) => {
                    (reason, self.options.longest_pause, false)
                }
                InsertError::Refused { reason } => (reason, self.options.longest_pause, true),
                InsertError::Retryable { reason, after } => (reason, after, false),
            };
            short_of_memory += u32::from(matches!(reason, Failure::MemoryLimit(_)));
            if matches!(reason, Failure::Unreachable(_) | Failure::TimedOut(_)) {
                in_doubt_since = Some(Instant::now());
            }
            self.failed(if refused { "refused" } else { kind(&reason) });
            let give_up = refused || (short_of_memory >= PATIENCE_WITH_MEMORY && rows.len() > 1);
            if give_up {
                let doubt = in_doubt_since
                    .map_or(Duration::ZERO, |since| self.options.in_doubt.saturating_sub(since.elapsed()));
                wait = wait.max(doubt.min(self.options.longest_pause));
                if doubt.is_zero() {
                    let landed = self.landed(rows).await;
                    if landed.is_empty() {
                        return Sent::Refused(reason.to_string());
                    }
                    rounds += 1;
                    let most = self.options.rounds * if refused { 1 } else { MORE_ROUNDS_FOR_MEMORY };
                    if rounds >= most {
                        return Sent::HalfIn(reason.to_string(), landed);
                    }
                }
            }
            tracing::warn!(reason = %reason, rows = rows.len(), "spans could not be inserted; trying again");
            self.back_off(&mut pause, wait.min(self.options.longest_pause)).await;
        }
    }

    async fn landed(&self, rows: &[Row]) -> HashSet<Key> {
        let keys: Vec<Key> = rows.iter().map(Row::key).collect();
        self.existing(&keys, None).await
    }

    fn failed(&self, kind: &'static str) {
        self.metrics.insert_errors.get_or_create(&[("kind", kind)]).inc();
        self.metrics.clickhouse_up.set(0);
    }

    /// Tries a thing of our own disk until it works: without it, nothing after it is safe.
    async fn until_done<T>(&self, action: &str, attempt: impl Fn() -> std::io::Result<T>) -> T {
        let mut pause = self.options.pause;
        loop {
            match attempt() {
                Ok(value) => return value,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot {action}; trying again"
                    );
                    self.back_off(&mut pause, Duration::ZERO).await;
                }
            }
        }
    }

    async fn back_off(&self, pause: &mut Duration, at_least: Duration) {
        sleep((*pause).max(at_least)).await;
        *pause = (*pause * 2).min(self.options.longest_pause);
    }
}

/// Where rows that are kept so many days can lie.
fn kept_times(now: Timestamp, days: u16) -> RangeInclusive<i64> {
    let back = i64::from(days).saturating_mul(DAY_NS);
    now.unix_nanos().saturating_sub(back)..=now.unix_nanos().saturating_add(2 * DAY_NS)
}

/// Groups of indexes whose start times lie close together.
fn groups(rows: &[Row], mut indexes: Vec<usize>) -> Vec<Vec<usize>> {
    indexes.sort_unstable_by_key(|index| rows[*index].start_ns());
    let is_close =
        |a: &usize, b: &usize| rows[*b].start_ns().saturating_sub(rows[*a].start_ns()) < LOOKUP_GAP_NS;
    let groups: Vec<Vec<usize>> = indexes.chunk_by(is_close).map(<[usize]>::to_vec).collect();
    if groups.len() <= MOST_LOOKUPS || indexes.is_empty() { groups } else { vec![indexes] }
}

/// Refusals that say nothing about the rows: a table, column or database is missing, or the schemas differ. Setting rows aside
/// for these would set all of them aside.
fn concerns_everyone(reason: &Failure) -> bool {
    // UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER, NOT_FOUND_COLUMN_IN_BLOCK,
    // THERE_IS_NO_COLUMN, UNKNOWN_SETTING, NOT_IMPLEMENTED, SYNTAX_ERROR.
    const CODES: [u32; 9] = [60, 81, 16, 47, 10, 8, 115, 48, 62];
    let text = reason.to_string();
    let code = text.split_once("Code: ").and_then(|(_, rest)| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().ok()
    });
    code.is_some_and(|code| CODES.contains(&code)) || text.contains("schema mismatch")
}

const fn is_too_large(error: &WarehouseError) -> bool {
    matches!(
        error,
        WarehouseError::Failed {
            failure: Failure::TooLarge(_) | Failure::MemoryLimit(_) | Failure::Other(_),
            ..
        }
    )
}

const fn kind(reason: &Failure) -> &'static str {
    match reason {
        Failure::Unreachable(_) => "unreachable",
        Failure::TimedOut(_) => "timed_out",
        Failure::DiskFull(_) => "disk_full",
        Failure::MemoryLimit(_) => "memory",
        Failure::TooLarge(_) => "too_large",
        Failure::Overloaded(_) => "overloaded",
        Failure::Denied(_) => "denied",
        Failure::NotMigrated(_) => "not_migrated",
        Failure::Other(_) => "other",
    }
}
