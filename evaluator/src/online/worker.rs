//! Takes a chunk, judges its calls, writes all verdicts as one batch, and strikes the chunk off.
//!
//! While it works, it holds its chunk by a heartbeat; whoever falls silent for longer than the lease loses the chunk, and sees so before
//! it writes. A chunk that was taken before may have been written already, by a worker that died between writing and striking off:
//! calls that have all their verdicts are not judged again. The time of a verdict is that of its chunk's plan, so that whoever judges a
//! chunk again writes the same events.

use super::events::event;
use super::{Shared, planner};
use crate::judges::recorded;
use crate::judges::{Judge, Subject, patience, versioned};
use anyhow::Context;
use contracts::Verdict;
use control::records::{Chunk, ChunkCall};
use runtime::Shutdown;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use warehouse::{EventRow, JudgeCall, Retrieval, UnjudgedCall};

/// Verdicts of remote judges that a worker waits for at a time.
const REMOTE_AT_A_TIME: usize = 8;
/// How often a batch is sent before the chunk is left to the next who takes it.
const SENDS: u32 = 5;

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
        tokio::select! {
            done = self.work(&chunk) => done?,
            lost = self.hold(&chunk) => return Err(lost),
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

    async fn work(&self, chunk: &Chunk) -> anyhow::Result<()> {
        let shared = &self.shared;
        let calls: Vec<UnjudgedCall> = chunk.plan.calls.iter().map(unjudged).collect();
        let found = shared.warehouse.judge_calls(&calls, &chunk.plan.judges).await?;
        shared.metrics.gone.inc_by(calls.len().saturating_sub(found.len()) as u64);
        // All verdicts of a chunk are one batch: if any is there, all are.
        let is_written =
            !found.is_empty() && found.iter().all(|call| call.done.len() >= chunk.plan.judges.len());
        if !is_written && !found.is_empty() {
            let rows = self.judge(chunk, &calls, &found).await?;
            self.write(chunk, &rows).await?;
            shared.metrics.judged.inc_by(found.len() as u64);
        }
        if !shared.judging.finish_chunk(&chunk.plan.id, &self.name, chunk.fence).await? {
            tracing::warn!(
                chunk = chunk.plan.id,
                "a chunk was taken over while it was written; it counts once all the same"
            );
        }
        Ok(())
    }

    /// The verdicts of all judges of the chunk on all its calls, in an order that is always the same.
    pub(super) async fn judge(
        &self,
        chunk: &Chunk,
        calls: &[UnjudgedCall],
        found: &[JudgeCall],
    ) -> anyhow::Result<Vec<EventRow>> {
        let shared = &self.shared;
        let retrievals = shared.warehouse.judge_retrievals(calls).await?;
        let mut by_trace: HashMap<(&str, &str), Vec<&Retrieval>> = HashMap::new();
        for retrieval in &retrievals {
            by_trace.entry((&retrieval.tenant_id, &retrieval.trace_id)).or_default().push(retrieval);
        }
        let wanted: BTreeSet<&String> = chunk.plan.judges.iter().collect();
        let judges: Vec<Arc<dyn Judge>> = shared
            .registry
            .all()
            .iter()
            .filter(|judge| wanted.contains(&versioned(judge.as_ref())))
            .cloned()
            .collect();
        let mut subjects = Vec::with_capacity(found.len());
        for call in found {
            let tenant = call.tenant_id.parse().context("a call of a tenant with an impossible id")?;
            let retrieved = by_trace.get(&(call.tenant_id.as_str(), call.trace_id.as_str()));
            let retrieved = retrieved.map(Vec::as_slice).unwrap_or_default();
            subjects.push(Arc::new(recorded::subject(tenant, call, retrieved, chunk.planned_at)));
        }
        let (remote, local): (Vec<_>, Vec<_>) = judges.into_iter().partition(|judge| judge.is_remote());
        let mut verdicts = on_this_machine(local, subjects.clone()).await?;
        verdicts.extend(from_elsewhere(&remote, &subjects).await?);
        let rows = verdicts.iter().filter_map(|(index, verdict)| {
            let labels = [("judge", verdict.judge.clone()), ("label", verdict.label.clone())];
            shared.metrics.verdicts.get_or_create(&labels).inc();
            Some(event(verdict, found.get(*index)?, chunk.planned_at))
        });
        Ok(rows.collect())
    }

    /// Writes the batch under the chunk's name, after making sure that the chunk is still ours.
    pub(super) async fn write(&self, chunk: &Chunk, rows: &[EventRow]) -> anyhow::Result<()> {
        let token = format!("judging-{}", chunk.plan.id);
        let mut sends = 0;
        loop {
            anyhow::ensure!(
                self.renew(chunk).await?,
                "chunk {} was taken over before it was written",
                chunk.plan.id
            );
            match self.shared.warehouse.insert_events(rows, &token).await {
                Ok(()) => return Ok(()),
                Err(warehouse::InsertError::Retryable { after, .. }) if sends < SENDS => {
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

/// What judges that only compute say, off the threads that wait; each verdict with the index of its subject.
async fn on_this_machine(
    judges: Vec<Arc<dyn Judge>>,
    subjects: Vec<Arc<Subject>>,
) -> anyhow::Result<Vec<(usize, Verdict)>> {
    let handle = tokio::runtime::Handle::current();
    let computed = tokio::task::spawn_blocking(move || {
        let mut verdicts = Vec::with_capacity(judges.len() * subjects.len());
        for (index, subject) in subjects.iter().enumerate() {
            for judge in &judges {
                verdicts.push((index, patience::compute(&handle, judge.as_ref(), subject)));
            }
        }
        verdicts
    });
    computed.await.context("a judge did not come to an end")
}

/// What judges that ask somebody else say, several at a time.
async fn from_elsewhere(
    judges: &[Arc<dyn Judge>],
    subjects: &[Arc<Subject>],
) -> anyhow::Result<Vec<(usize, Verdict)>> {
    let mut verdicts = Vec::with_capacity(judges.len() * subjects.len());
    let mut running = tokio::task::JoinSet::new();
    for (index, subject) in subjects.iter().enumerate() {
        for judge in judges {
            if running.len() >= REMOTE_AT_A_TIME
                && let Some(done) = running.join_next().await
            {
                verdicts.push(done.context("a judge did not come to an end")?);
            }
            let (judge, subject) = (judge.clone(), subject.clone());
            running.spawn(async move { (index, patience::apart(judge, subject).await) });
        }
    }
    while let Some(done) = running.join_next().await {
        verdicts.push(done.context("a judge did not come to an end")?);
    }
    verdicts.sort_by(|(one, a), (other, b)| one.cmp(other).then_with(|| a.judge.cmp(&b.judge)));
    Ok(verdicts)
}
