//! Looks for calls without a verdict and writes down which of them are judged together.
//!
//! A stream is a range of time: the live one goes on for ever, a back-fill ends. A back-fill takes calls by their start, as people name a
//! range; the live stream by their end, since a call is written when it has ended, however long it took. Planning moves along a stream;
//! calls that arrive late, behind what was planned, are found because the live one goes back by `lookback` every so often. All
//! evaluators plan; a lease lets one do so at a time.

use super::Shared;
use anyhow::Context;
use contracts::reads::TenantScope;
use contracts::{TenantId, Timestamp};
use control::records::{ChunkCall, JudgingStream, Lease, NewChunk, OpenChunk, StreamProgress};
use runtime::Shutdown;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use warehouse::{CallTime, UnjudgedCall, UnjudgedQuery};

/// What the ids of streams begin with that go on for ever.
const LIVE: &str = "live-";
/// The lease's name.
const LEASE: &str = "planner";
/// A round that takes longer has lost its lease.
const ROUND: Duration = Duration::from_mins(1);
/// Chunks of sets of judges that no evaluator has any more are forgotten after so many leases without anybody who held one.
const ABANDONED: u32 = 10;
/// How long the calls of a finished chunk are left alone: another replica of ClickHouse may not show their verdicts yet.
const SHOWN: Duration = Duration::from_mins(1);

/// Plans until it is told to stop.
#[derive(Debug)]
pub struct Planner {
    shared: Shared,
    /// When the live stream next goes back.
    look_back_at: Timestamp,
}

/// A call, by what makes it one.
type Key = (String, String, String);

/// Why a call is not planned.
#[derive(Debug, Clone)]
enum Taken {
    /// It is in a chunk of this stream.
    By(String),
    /// These judges have judged it a moment ago, whether or not ClickHouse shows it.
    Judged(Arc<[String]>),
}

impl Planner {
    /// A planner.
    pub fn new(shared: Shared) -> Self {
        Self { look_back_at: shared.clock.now(), shared }
    }

    /// Plans until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut failures = 0_u32;
        loop {
            let pause = match self.round().await {
                Ok(planned) => {
                    failures = 0;
                    if planned > 0 { self.shared.config.poll / 4 } else { self.shared.config.poll }
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "calls could not be planned; trying again"
                        );
                    }
                    failures = failures.saturating_add(1);
                    self.shared.metrics.failed("plan");
                    (self.shared.config.poll * failures.min(10)).min(Duration::from_secs(30))
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.triggered() => return,
            }
        }
    }

    /// One round over all streams; how many calls it planned.
    pub async fn round(&mut self) -> anyhow::Result<usize> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let judging = &shared.judging;
        let lease = judging.acquire(LEASE, &shared.process, ROUND, now).await?;
        let Some(lease) = lease else { return Ok(0) };
        let planned = self.plan(&lease, now).await;
        // Who crashes here leaves a lease that runs out.
        self.shared.judging.release(&lease).await?;
        planned
    }

    async fn plan(&mut self, lease: &Lease, now: Timestamp) -> anyhow::Result<usize> {
        let shared = self.shared.clone();
        let (judging, generation) = (&shared.judging, shared.generation.as_str());
        judging.forget_finished(earlier(now, SHOWN)).await?;
        judging.forget_generations(generation, earlier(now, shared.config.lease * ABANDONED)).await?;
        judging.adopt_backfills(generation, &shared.registry.versions()).await?;
        // Before ClickHouse is asked: the verdicts of a chunk that was forgotten are to be seen there.
        let open = judging.open_chunks().await?;
        self.ensure_live(&open, now).await?;
        // What others plan is theirs to work, so that it takes none of our room.
        let own = open.iter().filter(|chunk| !chunk.finished && chunk.generation == generation).count();
        shared.metrics.open_chunks.set(i64::try_from(own).unwrap_or(i64::MAX));
        let mut room = shared.config.open_chunks.saturating_sub(own);
        let mut taken = taken(open);
        let paused = judging.paused_judges(now).await?;
        let mut chunks = Vec::new();
        let mut progress = Vec::new();
        let streams = judging.streams(generation).await?;
        for stream in streams.into_iter().filter(|stream| stream.finished_at.is_none()) {
            if room == 0 {
                break;
            }
            let Some(stream) = unpaused(stream, &paused) else { continue };
            let (mut new, step) = self.plan_stream(&stream, room, &taken, now).await?;
            room -= new.len().min(room);
            for chunk in &new {
                let keys = chunk
                    .calls
                    .iter()
                    .map(|(tenant, _, trace, span)| (tenant.clone(), trace.clone(), span.clone()));
                taken.extend(keys.map(|key| (key, Taken::By(stream.id.clone()))));
            }
            chunks.append(&mut new);
            progress.push(step);
        }
        let planned: usize = chunks.iter().map(|chunk| chunk.calls.len()).sum();
        let written = shared.judging.commit_plan(lease, &chunks, &progress, now).await?;
        if !written {
            tracing::warn!("a round of planning took longer than its lease; another evaluator goes on");
            return Ok(0);
        }
        shared.metrics.planned.inc_by(planned as u64);
        Ok(planned)
    }

    /// The live stream of this set of judges. It begins a `lookback` before the first start, or where the stream of the judges before left off:
    /// what came while there was no evaluator is nobody else's.
    async fn ensure_live(&self, open: &[OpenChunk], now: Timestamp) -> anyhow::Result<()> {
        let shared = &self.shared;
        let lookback = earlier(now, shared.config.lookback).unix_nanos();
        let reached = shared.judging.furthest_live(&shared.generation).await?;
        let planned = open
            .iter()
            .filter(|chunk| !chunk.finished && chunk.stream_id.starts_with(LIVE))
            .flat_map(|chunk| chunk.calls.iter().map(|call| call.1));
        let stream = JudgingStream {
            id: format!("{LIVE}{}", shared.generation),
            generation: shared.generation.clone(),
            judges: shared.registry.versions(),
            tenant: None,
            next_ns: planned.chain(reached).chain([lookback]).min().unwrap_or(lookback),
            until_ns: None,
            planned: 0,
            created_at: now,
            finished_at: None,
        };
        shared.judging.ensure_stream(&stream).await.context("add the live stream")
    }

    /// At most `room` chunks of one stream, and where it goes on.
    async fn plan_stream(
        &mut self,
        stream: &JudgingStream,
        room: usize,
        taken: &HashMap<Key, Taken>,
        now: Timestamp,
    ) -> anyhow::Result<(Vec<NewChunk>, StreamProgress)> {
        let shared = self.shared.clone();
        let settled = earlier(now, shared.config.settle).unix_nanos();
        let until_ns = stream.until_ns.map_or(settled, |until| until.min(settled));
        let mut from_ns = stream.next_ns;
        if stream.until_ns.is_none() {
            if now >= self.look_back_at {
                from_ns = from_ns.min(earlier(now, shared.config.lookback).unix_nanos());
                self.look_back_at = later(now, shared.config.lookback / 20);
            }
            let behind = now.unix_nanos().saturating_sub(stream.next_ns) / 1_000_000_000;
            shared.metrics.lag_seconds.set(behind);
        }
        let mut step = StreamProgress {
            id: stream.id.clone(),
            from_ns: stream.next_ns,
            next_ns: stream.next_ns,
            planned: 0,
            finished: false,
        };
        let Some(scope) = self.scope(stream) else { return Ok((Vec::new(), step)) };
        if from_ns >= until_ns {
            step.finished = stream.until_ns.is_some_and(|until| from_ns >= until);
            return Ok((Vec::new(), step));
        }
        let wanted = room.saturating_mul(shared.config.chunk_calls);
        // The calls that are taken are among the answer too.
        let rows = u32::try_from(wanted.saturating_add(taken.len())).unwrap_or(u32::MAX);
        let query = UnjudgedQuery {
            scope,
            by: if stream.until_ns.is_none() { CallTime::End } else { CallTime::Start },
            from_ns,
            until_ns,
            judges: stream.judges.clone(),
            sampled: self.sampled(),
            // Who asks for a range again asks for what failed, too.
            errors_since_ns: stream.until_ns.map_or(0, |_| stream.created_at.unix_nanos()),
            skipped_keys: shared.judge_keys().await.context("ask for judges' keys")?,
            rows,
        };
        let found = shared.warehouse.unjudged_calls(&query).await?;
        let is_all = found.len() < rows as usize;
        let (chunks, left) = self.cut(stream, &found, taken, wanted)?;
        step.planned = chunks.iter().map(|chunk| i64::try_from(chunk.calls.len()).unwrap_or(i64::MAX)).sum();
        // What was left out, because there was no room or because another stream has it, is looked for again.
        let reached = match left {
            Some(start) => start,
            None if is_all => until_ns,
            None => found.last().map_or(until_ns, |call| call.at_ns),
        };
        step.next_ns = reached;
        step.finished = stream.until_ns.is_some_and(|until| step.next_ns >= until);
        Ok((chunks, step))
    }

    /// Chunks of the calls that nobody has, and the time of the first call that was left out though this stream wants it.
    fn cut(
        &self,
        stream: &JudgingStream,
        found: &[UnjudgedCall],
        taken: &HashMap<Key, Taken>,
        wanted: usize,
    ) -> anyhow::Result<(Vec<NewChunk>, Option<i64>)> {
        let mut left = None;
        // By the judges that a call still wants; mostly all of them.
        let mut by_judges: BTreeMap<Vec<String>, Vec<ChunkCall>> = BTreeMap::new();
        let mut count = 0;
        for call in found {
            let key = (call.tenant_id.clone(), call.trace_id.clone(), call.span_id.clone());
            let done: BTreeSet<&String> = call.done.iter().collect();
            let judges: Vec<String> =
                stream.judges.iter().filter(|judge| !done.contains(judge)).cloned().collect();
            let is_others = match taken.get(&key) {
                Some(Taken::By(owner)) if *owner == stream.id => continue,
                Some(Taken::By(_)) => true,
                Some(Taken::Judged(lately)) => judges.iter().any(|judge| lately.contains(judge)),
                None => false,
            };
            if is_others {
                left.get_or_insert(call.at_ns);
                continue;
            }
            if count >= wanted {
                left.get_or_insert(call.at_ns);
                break;
            }
            by_judges.entry(judges).or_default().push((key.0, call.start_ns, key.1, key.2));
            count += 1;
        }
        let mut chunks = Vec::new();
        for (judges, calls) in by_judges {
            for calls in calls.chunks(self.shared.config.chunk_calls) {
                chunks.push(NewChunk {
                    id: control::secrets::random_hex::<16>()?,
                    stream_id: stream.id.clone(),
                    generation: stream.generation.clone(),
                    judges: judges.clone(),
                    calls: calls.to_vec(),
                });
            }
        }
        Ok((chunks, left))
    }

    /// The tenants whose calls are judged: all that have a key, or the stream's one.
    fn scope(&self, stream: &JudgingStream) -> Option<TenantScope> {
        if let Some(tenant) = &stream.tenant {
            return Some(TenantScope::one(tenant.clone()));
        }
        let snapshot = self.shared.snapshots.load();
        let tenants: BTreeSet<TenantId> = snapshot.keys.values().map(|key| key.tenant.id.clone()).collect();
        TenantScope::many(tenants.into_iter().collect())
    }

    /// The rules of sampling, the one that fits all at the end.
    fn sampled(&self) -> Vec<(String, String, u32)> {
        let config = &self.shared.config;
        let rules = config.sampling.iter().map(|rule| {
            let tenant = rule.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()).unwrap_or_default();
            (tenant, rule.route.clone().unwrap_or_default(), millionths(rule.share))
        });
        rules.chain([(String::new(), String::new(), millionths(config.sample))]).collect()
    }
}

fn taken(mut open: Vec<OpenChunk>) -> HashMap<Key, Taken> {
    // A call that is in several counts as what the last one says.
    open.sort_by_key(|chunk| !chunk.finished);
    let calls = open.into_iter().flat_map(|chunk| {
        let taken =
            if chunk.finished { Taken::Judged(chunk.judges.into()) } else { Taken::By(chunk.stream_id) };
        chunk.calls.into_iter().map(move |(tenant, _, trace, span)| ((tenant, trace, span), taken.clone()))
    });
    calls.collect()
}

/// The stream without the judges that are not asked now. A back-fill waits for all of its judges; the live stream goes on with the others
/// and finds by looking back what they missed.
fn unpaused(mut stream: JudgingStream, paused: &BTreeSet<String>) -> Option<JudgingStream> {
    let all = stream.judges.len();
    stream.judges.retain(|judge| !paused.contains(judge));
    let is_ready = stream.judges.len() == all || stream.until_ns.is_none() && !stream.judges.is_empty();
    is_ready.then_some(stream)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a million")]
fn millionths(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 1e6).round() as u32
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_unix_nanos(now.unix_nanos().saturating_sub(nanos))
}

pub(super) fn later(now: Timestamp, by: Duration) -> Timestamp {
    let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_unix_nanos(now.unix_nanos().saturating_add(nanos))
}
