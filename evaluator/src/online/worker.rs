//! Takes a chunk, judges its calls, writes all verdicts as one batch, and strikes the chunk off.
//!
//! While it works, it holds its chunk by a heartbeat; whoever falls silent for longer than the lease loses the chunk, and sees so before
//! it writes. A chunk that was taken before may have been written already, by a worker that died between writing and striking off:
//! calls that have their verdicts are not judged again. The time of a verdict is that of its chunk's plan, so that whoever judges a
//! chunk again writes the same events.

use super::asking::{self, Away, Said};
use super::events::{cost_alone, event};
use super::{SENDS, Shared, planner};
use crate::judges::recorded;
use crate::judges::{ERROR, Judge, versioned};
use anyhow::Context;
use contracts::{Timestamp, Verdict};
use control::ControlError;
use control::records::{Chunk, ChunkCall};
use runtime::Shutdown;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use warehouse::{EventRow, Failure, InsertError, JudgeCall, Retrieval, UnjudgedCall, WarehouseError};

/// Calls whose texts are held at a time.
const AT_A_TIME: usize = 32;
/// After so many failures a chunk is judged call by call, so that one that cannot be read is known.
const CAREFUL: i64 = 3;
/// After so many nothing is read any more: its calls cannot be judged.
const HOPELESS: i64 = 6;
/// How long a chunk that failed is left alone, times the number of failures.
const AFTER_FAILURE: Duration = Duration::from_secs(20);
/// How long a judge is left alone when whom it asks is away.
const AWAY: Duration = Duration::from_secs(30);

/// One worker.
#[derive(Debug)]
pub struct Worker {
    pub(super) shared: Shared,
    pub(super) name: String,
}

impl Worker {
    /// Worker `number` of this process.
    pub fn new(shared: Shared, number: usize) -> Self {
        Self { name: format!("{}-{number}", shared.process), shared }
    }

    /// Works until `shutdown`; a chunk in work is finished first.
    pub async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            let pause = match self.round().await {
                Ok(true) => continue,
                Ok(false) => self.shared.config.poll,
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        worker = self.name,
                        "a chunk was not judged; it will be again"
                    );
                    self.shared.metrics.failed("judge");
                    self.shared.config.poll.max(Duration::from_secs(1))
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.triggered() => return,
            }
        }
    }

    /// Works one chunk; whether there was one.
    pub async fn round(&self) -> anyhow::Result<bool> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let taken =
            shared.judging.take_chunk(&shared.generation, &self.name, shared.config.lease, now).await?;
        let Some(chunk) = taken else { return Ok(false) };
        let mut batch = Batch::new(&chunk);
        let (done, is_lost) = tokio::select! {
            done = self.work(&chunk, &mut batch) => (done, false),
            lost = self.hold(&chunk) => (Err(lost), true),
        };
        // Each time that a chunk is worked is paid for by itself.
        let token = format!("judging-costs-{}-{}", chunk.plan.id, chunk.fence);
        shared.spend(batch.paid_for_nothing(shared.clock.now()), token);
        if let Err(error) = done {
            if !is_lost && blame(&error) != Blame::Elsewhere {
                let until = planner::later(shared.clock.now(), AFTER_FAILURE * times(chunk.failures + 1));
                shared.judging.fail_chunk(&chunk.plan.id, &self.name, chunk.fence, until).await?;
            }
            return Err(error);
        }
        Ok(true)
    }

    /// Keeps the chunk; ends only when it is lost.
    async fn hold(&self, chunk: &Chunk) -> anyhow::Error {
        let lease = self.shared.config.lease;
        let mut good_until = tokio::time::Instant::now() + lease;
        loop {
            tokio::time::sleep(lease / 4).await;
            match self.renew(chunk).await {
                Ok(true) => good_until = tokio::time::Instant::now() + lease,
                Ok(false) => return anyhow::anyhow!("chunk {} was taken over", chunk.plan.id),
                Err(error) if tokio::time::Instant::now() + lease / 4 > good_until => {
                    return error.context(format!("chunk {} can no longer be held", chunk.plan.id));
                }
                Err(_) => {}
            }
        }
    }

    async fn renew(&self, chunk: &Chunk) -> anyhow::Result<bool> {
        let until = planner::later(self.shared.clock.now(), self.shared.config.lease);
        Ok(self.shared.judging.renew_chunk(&chunk.plan.id, &self.name, chunk.fence, until).await?)
    }

    async fn work(&self, chunk: &Chunk, batch: &mut Batch) -> anyhow::Result<()> {
        let shared = &self.shared;
        let calls: Vec<UnjudgedCall> = chunk.plan.calls.iter().map(unjudged).collect();
        batch.leave_out(shared.judging.paused_judges(shared.clock.now()).await?);
        let at_a_time = if chunk.failures >= CAREFUL { 1 } else { AT_A_TIME };
        for part in calls.chunks(at_a_time) {
            let judged = if chunk.failures >= HOPELESS {
                Err(anyhow::anyhow!("it could not be judged {} times", chunk.failures))
            } else {
                self.judge_part(chunk, part, batch).await
            };
            match judged {
                Ok(()) => {}
                Err(error) if at_a_time == 1 && blame(&error) == Blame::Chunk => {
                    tracing::warn!(error = format!("{error:#}"), "a call cannot be judged");
                    batch.give_up(part, &self.bare(part), &self.judges(chunk), &error);
                }
                Err(error) => return Err(error),
            }
        }
        if !batch.rows.is_empty() {
            self.write(chunk, batch).await?;
        }
        shared.metrics.judged.inc_by(batch.judged);
        self.put_off(chunk, batch).await?;
        let now = shared.clock.now();
        if !shared.judging.finish_chunk(&chunk.plan.id, &self.name, chunk.fence, now).await? {
            tracing::warn!(
                chunk = chunk.plan.id,
                "a chunk was taken over while it was written; it counts once all the same"
            );
        }
        Ok(())
    }

    /// Reads some calls of the chunk and adds the verdicts on them, unless those are written.
    async fn judge_part(
        &self,
        chunk: &Chunk,
        calls: &[UnjudgedCall],
        batch: &mut Batch,
    ) -> anyhow::Result<()> {
        let shared = &self.shared;
        let planned_ns = chunk.planned_at.unix_nanos();
        let found = shared.warehouse.judge_calls(calls, &chunk.plan.judges, planned_ns).await?;
        shared.metrics.gone.inc_by(calls.len().saturating_sub(found.len()) as u64);
        // All verdicts of a chunk are one batch.
        if found.iter().all(|call| !call.done.is_empty()) {
            return Ok(());
        }
        self.judge(chunk, calls, &found, batch).await
    }

    /// Adds the verdicts of all judges of the chunk on these of its calls, in an order that is always the same.
    pub(super) async fn judge(
        &self,
        chunk: &Chunk,
        calls: &[UnjudgedCall],
        found: &[JudgeCall],
        batch: &mut Batch,
    ) -> anyhow::Result<()> {
        let retrievals = self.shared.warehouse.judge_retrievals(calls).await?;
        let mut by_trace: HashMap<(&str, &str), Vec<&Retrieval>> = HashMap::new();
        for retrieval in &retrievals {
            by_trace.entry((&retrieval.tenant_id, &retrieval.trace_id)).or_default().push(retrieval);
        }
        let mut subjects = Vec::with_capacity(found.len());
        for call in found {
            let tenant = call.tenant_id.parse().context("a call of a tenant with an impossible id")?;
            let retrieved = by_trace.get(&(call.tenant_id.as_str(), call.trace_id.as_str()));
            let retrieved = retrieved.map(Vec::as_slice).unwrap_or_default();
            subjects.push(Arc::new(recorded::subject(tenant, call, retrieved, chunk.planned_at)));
        }
        let (remote, local): (Vec<_>, Vec<_>) =
            self.judges(chunk).into_iter().partition(|judge| judge.is_remote());
        let mut verdicts = asking::on_this_machine(local, subjects.clone()).await?;
        verdicts.extend(asking::from_elsewhere(&remote, &subjects, &mut batch.away).await?);
        let mut judged = BTreeSet::new();
        for (index, said) in verdicts {
            let Some(call) = found.get(index) else { continue };
            match said {
                Said::Verdict(verdict) => {
                    judged.insert(index);
                    batch.rows.push(event(&verdict, call, chunk.planned_at));
                    let labels = [("judge", verdict.judge), ("label", verdict.label)];
                    self.shared.metrics.verdicts.get_or_create(&labels).inc();
                }
                Said::Nothing(paid) => {
                    batch.missing(call.start_ns);
                    batch.unkept.extend(paid.map(|verdict| event(&verdict, call, chunk.planned_at)));
                }
            }
        }
        batch.judged += judged.len() as u64;
        Ok(())
    }

    /// The judges of the chunk, in the order of the configuration.
    fn judges(&self, chunk: &Chunk) -> Vec<Arc<dyn Judge>> {
        let wanted: BTreeSet<&String> = chunk.plan.judges.iter().collect();
        let judges = self.shared.registry.all().iter();
        judges.filter(|judge| wanted.contains(&versioned(judge.as_ref()))).cloned().collect()
    }

    /// Lets everybody leave the judges alone that gave no verdict, and a back-fill come back to their calls. Before the chunk is struck off: who
    /// crashes in between does both again.
    async fn put_off(&self, chunk: &Chunk, batch: &Batch) -> anyhow::Result<()> {
        let shared = &self.shared;
        let now = shared.clock.now();
        for (judge, away) in &batch.away {
            let labels = [("judge", judge.clone())];
            shared.metrics.left_out.get_or_create(&labels).inc_by(away.verdicts);
            let Some(error) = &away.error else { continue };
            let until = if error.is_budget() { tomorrow(now) } else { planner::later(now, AWAY) };
            let reason = error.to_string();
            tracing::warn!(judge, reason, "a judge is left alone for a while; its calls are judged later");
            shared.judging.pause_judge(judge, until, &reason).await?;
        }
        if let Some(first_ns) = batch.missing_ns {
            shared.judging.rewind(&chunk.plan.stream_id, first_ns).await?;
        }
        Ok(())
    }

    /// Calls as far as their verdicts of `error` need them, without reading them.
    fn bare(&self, calls: &[UnjudgedCall]) -> Vec<JudgeCall> {
        let bare = |call: &UnjudgedCall| JudgeCall {
            tenant_id: call.tenant_id.clone(),
            start_ns: call.start_ns,
            trace_id: call.trace_id.clone(),
            span_id: call.span_id.clone(),
            retention_days: self.shared.retention_days(&call.tenant_id),
            ..JudgeCall::default()
        };
        calls.iter().map(bare).collect()
    }

    /// Writes the batch under the chunk's name, after making sure that the chunk is still ours.
    pub(super) async fn write(&self, chunk: &Chunk, batch: &mut Batch) -> anyhow::Result<()> {
        let token = format!("judging-{}", chunk.plan.id);
        let mut sends = 0;
        loop {
            anyhow::ensure!(
                self.renew(chunk).await?,
                "chunk {} was taken over before it was written",
                chunk.plan.id
            );
            batch.is_sent = true;
            match self.shared.warehouse.insert_events(&batch.rows, &token).await {
                Ok(()) => return Ok(()),
                Err(InsertError::Retryable { after, .. }) if sends < SENDS => {
                    sends += 1;
                    tokio::time::sleep(after).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A call of a chunk, as it was found.
pub(super) fn unjudged((tenant_id, start_ns, trace_id, span_id): &ChunkCall) -> UnjudgedCall {
    UnjudgedCall {
        tenant_id: tenant_id.clone(),
        start_ns: *start_ns,
        at_ns: *start_ns,
        trace_id: trace_id.clone(),
        span_id: span_id.clone(),
        done: Vec::new(),
    }
}

/// What becomes of a chunk: the verdicts that are written, and those that are put off.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Vec<EventRow>,
    /// Whether somebody was asked to write the rows; whether they are written is not known before the answer.
    is_sent: bool,
    /// Verdicts that are no verdicts, but were paid for.
    unkept: Vec<EventRow>,
    /// Judges that gave no verdict, each `name@version`.
    away: BTreeMap<String, Away>,
    /// Start of the first call without all its verdicts.
    missing_ns: Option<i64>,
    judged: u64,
    judges: Vec<String>,
    planned_at: Timestamp,
}

impl Batch {
    pub(super) fn new(chunk: &Chunk) -> Self {
        Self {
            rows: Vec::new(),
            is_sent: false,
            unkept: Vec::new(),
            away: BTreeMap::new(),
            missing_ns: None,
            judged: 0,
            judges: chunk.plan.judges.clone(),
            planned_at: chunk.planned_at,
        }
    }

    /// These judges are not asked.
    fn leave_out(&mut self, paused: BTreeSet<String>) {
        let paused = paused.into_iter().filter(|judge| self.judges.contains(judge));
        self.away.extend(paused.map(|judge| (judge, Away::default())));
    }

    /// What was paid for verdicts that are not kept: there is none, or the chunk was lost before they were written.
    fn paid_for_nothing(self, at: Timestamp) -> Vec<EventRow> {
        let unwritten = if self.is_sent { Vec::new() } else { self.rows };
        self.unkept.into_iter().chain(unwritten).filter_map(|row| cost_alone(row, at)).collect()
    }

    fn missing(&mut self, start_ns: i64) {
        self.missing_ns = Some(self.missing_ns.map_or(start_ns, |first| first.min(start_ns)));
    }

    /// Verdicts of `error` on calls that cannot be judged, so that they are not tried for ever.
    fn give_up(
        &mut self,
        calls: &[UnjudgedCall],
        bare: &[JudgeCall],
        judges: &[Arc<dyn Judge>],
        why: &anyhow::Error,
    ) {
        for (call, bare) in calls.iter().zip(bare) {
            // An id that is none cannot be asked about either.
            let Ok(tenant) = call.tenant_id.parse() else { continue };
            let subject = recorded::subject(tenant, bare, &[], self.planned_at);
            for judge in judges {
                let verdict = subject.verdict(judge.as_ref(), None, ERROR);
                let verdict = Verdict { explanation: format!("the call cannot be read: {why:#}"), ..verdict };
                self.rows.push(event(&verdict, bare, self.planned_at));
            }
        }
        self.judged += calls.len() as u64;
    }
}

/// Where the reason lies why a chunk was not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// In its calls: it would fail again.
    Chunk,
    /// In its calls, or in what else ClickHouse has in memory.
    Either,
    /// Not in its calls.
    Elsewhere,
}

fn blame(error: &anyhow::Error) -> Blame {
    if let Some(WarehouseError::Failed { failure: Failure::MemoryLimit(_), .. }) = error.downcast_ref() {
        return Blame::Either;
    }
    let read = error.downcast_ref::<WarehouseError>().map(WarehouseError::is_retryable);
    let write = error.downcast_ref::<InsertError>().map(InsertError::is_retryable);
    let kept = error.downcast_ref::<ControlError>().map(|_| true);
    if read.or(write).or(kept).unwrap_or(false) { Blame::Elsewhere } else { Blame::Chunk }
}

/// The beginning of the next day, when budgets are whole again.
fn tomorrow(now: Timestamp) -> Timestamp {
    Timestamp::from_unix_seconds((now.unix_seconds().div_euclid(86_400) + 1) * 86_400)
}

fn times(failures: i64) -> u32 {
    u32::try_from(failures).unwrap_or(u32::MAX).clamp(1, 60)
}
