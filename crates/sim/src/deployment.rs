//! Deployments: one process stands for several, each with faults, a capacity and counters of its own.
//!
//! Everything that is served at `/v1/…` is served at `/d/{name}/v1/…` too. A name that was not configured is a deployment
//! from its first request on. How it fares is its [`Conduct`], changed while it runs by `POST /sim/behaviour`.

use crate::behaviour::{Behaviour, Fault};
use crate::config::ConfigError;
use crate::engine::Engine;
use crate::hash::{self, Sequence};
use crate::log::{Outcome, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The deployment of requests outside of `/d/{name}`.
pub(crate) const DEFAULT: &str = "default";
/// Most slots of a deployment.
const MOST_SLOTS: u32 = 1_000_000;

/// Whether this can name a deployment.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// How a deployment treats its requests, whatever their model. Faults are drawn in the order of arrival from `seed`, so
/// that a run can be repeated; one of them at most meets a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conduct {
    /// What it pretends to be where it speaks OpenAI's chat protocol.
    pub engine: Engine,
    /// Where the draws of faults start.
    pub seed: u64,
    /// Share of requests that end in `fail_status`, 0 to 1.
    pub fail_rate: f64,
    /// Status of those. Default 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_status: Option<u16>,
    /// Seconds that an error tells to wait; without it, 1 with status 429 and none otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// Share of requests that are accepted and never answered.
    pub hang_rate: f64,
    /// Share of answers that stop half-way and keep the connection.
    pub stall_rate: f64,
    /// Share of answers that break off half-way.
    pub cut_rate: f64,
    /// Share of streams that end half-way with an error event.
    pub break_rate: f64,
    /// Share of answers that are not the protocol.
    pub garbage_rate: f64,
    /// Milliseconds before anything of an answer is sent, its status included.
    pub delay_ms: u64,
    /// Milliseconds to the first token, in place of the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Tokens a second of each answer, in place of the model's; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<u32>,
    /// How many requests are worked on at once; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// How many more may wait; the next is refused with 429. Without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u64>,
    /// Tokens that the KV cache holds. Default 100000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_tokens: Option<u64>,
}

impl Conduct {
    /// The faults by their rates.
    fn faults(&self) -> [(&'static str, f64, Fault); 6] {
        [
            ("fail_rate", self.fail_rate, Fault::Error(self.fail_status.unwrap_or(500))),
            ("hang_rate", self.hang_rate, Fault::Hang),
            ("stall_rate", self.stall_rate, Fault::Stall),
            ("cut_rate", self.cut_rate, Fault::Cut),
            ("break_rate", self.break_rate, Fault::Break),
            ("garbage_rate", self.garbage_rate, Fault::Garbage),
        ]
    }

    /// Checks what types cannot.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let wrong =
            |key: &str, value: String, expected| Err(ConfigError { key: key.to_owned(), value, expected });
        for (key, rate, _) in self.faults() {
            if !(0.0..=1.0).contains(&rate) {
                return wrong(key, rate.to_string(), "a share from 0 to 1");
            }
        }
        let all: f64 = self.faults().iter().map(|(_, rate, _)| rate).sum();
        if all > 1.0 {
            return wrong("fail_rate", all.to_string(), "rates of all faults that sum to at most 1");
        }
        if let Some(status) = self.fail_status.filter(|status| !(400..=599).contains(status)) {
            return wrong("fail_status", status.to_string(), "a status from 400 to 599");
        }
        if let Some(slots) = self.slots.filter(|slots| !(1..=MOST_SLOTS).contains(slots)) {
            return wrong("slots", slots.to_string(), "1 to 1000000");
        }
        if self.kv_tokens == Some(0) {
            return wrong("kv_tokens", "0".to_owned(), "at least 1");
        }
        Ok(())
    }
}

/// What a deployment served so far, and what it does now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that reached it.
    pub requests: u64,
    /// Being worked on.
    pub running: u64,
    /// Waiting for a slot.
    pub waiting: u64,
    /// Most that were worked on at once.
    pub most_running: u64,
    /// Most that waited at once.
    pub most_waiting: u64,
    /// Calls by how they ended, as in the log.
    pub outcomes: BTreeMap<String, u64>,
    /// Calls by status; those that were never answered count as 200.
    pub statuses: BTreeMap<u16, u64>,
    /// Tokens of the prompts of calls that were not refused.
    pub prompt_tokens: u64,
    /// Tokens of answers handed over.
    pub completion_tokens: u64,
}

/// One deployment.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) name: String,
    /// The path before the protocol's own, such as `/d/a`; empty at the root.
    pub(crate) base: String,
    now: RwLock<Arc<Now>>,
    requests: AtomicU64,
    running: AtomicU64,
    waiting: AtomicU64,
    most_running: AtomicU64,
    most_waiting: AtomicU64,
    /// Tokens held in the KV cache.
    held: AtomicU64,
    ended: Mutex<Counts>,
}

/// The conduct of the moment, and what belongs to it.
#[derive(Debug)]
struct Now {
    conduct: Conduct,
    slots: Option<Arc<Semaphore>>,
    /// Requests since it holds.
    drawn: AtomicU64,
}

/// What the deployment does to one request.
#[derive(Debug)]
pub(crate) struct Treatment {
    now: Arc<Now>,
    fault: Option<Fault>,
}

impl Deployment {
    pub(crate) fn new(name: &str, base: String, conduct: Conduct) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            name: name.to_owned(),
            base,
            now: RwLock::new(Arc::new(Now::new(conduct))),
            requests: zero(),
            running: zero(),
            waiting: zero(),
            most_running: zero(),
            most_waiting: zero(),
            held: zero(),
            ended: Mutex::default(),
        }
    }

    fn now(&self) -> Arc<Now> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it behaves.
    pub(crate) fn conduct(&self) -> Conduct {
        self.now().conduct.clone()
    }

    /// What it pretends to be.
    pub(crate) fn engine(&self) -> Engine {
        self.now().conduct.engine
    }

    /// Behaves like this from now on. Requests that wait or are worked on end as they began: they hold no slot of the
    /// new conduct.
    pub(crate) fn set(&self, conduct: Conduct) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Now::new(conduct));
    }

    /// Meets a request.
    pub(crate) fn treat(&self) -> Treatment {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        let number = now.drawn.fetch_add(1, Ordering::Relaxed);
        let mut dice = Sequence::new(hash::mix(now.conduct.seed ^ hash::of(&self.name) ^ hash::mix(number)));
        let mut rest = dice.share();
        let drawn = now.conduct.faults().into_iter().find(|(_, rate, _)| {
            rest -= rate;
            rest < 0.0
        });
        Treatment { fault: drawn.map(|(_, _, fault)| fault), now }
    }

    /// Waits for a slot. `None` when too many wait already.
    pub(crate) async fn seat(self: &Arc<Self>, treatment: &Treatment, tokens: u64) -> Option<Seat> {
        let mut permit = None;
        if let Some(slots) = &treatment.now.slots {
            permit = slots.clone().try_acquire_owned().ok();
            if permit.is_none() {
                let waiting = Rise::of(self, Gauge::Waiting);
                if treatment.now.conduct.queue.is_some_and(|most| waiting.reached > most) {
                    return None;
                }
                waiting.note();
                permit = slots.clone().acquire_owned().await.ok();
            }
        }
        let running = Rise::of(self, Gauge::Running);
        running.note();
        let mut seat = Seat { running, held: 0, _permit: permit };
        seat.holds(tokens);
        Some(seat)
    }

    /// Counts a call that ended.
    pub(crate) fn count(&self, record: &Record) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = record.outcome.as_str();
        if let Some(count) = ended.outcomes.get_mut(outcome) {
            *count += 1;
        } else {
            ended.outcomes.insert(outcome.to_owned(), 1);
        }
        *ended.statuses.entry(record.status).or_default() += 1;
        if record.outcome != Outcome::Refused {
            ended.prompt_tokens += record.usage.prompt;
            ended.completion_tokens += record.tokens_sent;
        }
    }

    /// What it served and does.
    pub(crate) fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counts {
            requests: read(&self.requests),
            running: read(&self.running),
            waiting: read(&self.waiting),
            most_running: read(&self.most_running),
            most_waiting: read(&self.most_waiting),
            ..self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    /// How full the KV cache is, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
    pub(crate) fn kv_usage(&self) -> f64 {
        let most = self.now().conduct.kv_tokens.unwrap_or(100_000);
        (self.held.load(Ordering::Relaxed) as f64 / most as f64).min(1.0)
    }
}

impl Now {
    fn new(conduct: Conduct) -> Self {
        let slots = conduct.slots.map(|slots| Arc::new(Semaphore::new(usize::try_from(slots).unwrap_or(1))));
        Self { conduct, slots, drawn: AtomicU64::new(0) }
    }
}

impl Treatment {
    /// What the deployment makes of a model's behaviour.
    pub(crate) fn apply(&self, behaviour: &mut Behaviour) {
        let conduct = &self.now.conduct;
        if let Some(ms) = conduct.first_token_ms {
            behaviour.first_token = Duration::from_millis(ms);
        }
        behaviour.tokens_per_second = conduct.tokens_per_second.unwrap_or(behaviour.tokens_per_second);
        behaviour.fault = self.fault.or(behaviour.fault);
    }

    /// Seconds that an error tells to wait.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        self.now.conduct.retry_after
    }

    /// How long nothing at all is sent.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.now.conduct.delay_ms)
    }
}

/// A call at work. Dropped, it makes room for the next.
#[derive(Debug)]
pub(crate) struct Seat {
    running: Rise,
    held: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Seat {
    /// The call holds so many tokens in the KV cache, never fewer than before.
    pub(crate) fn holds(&mut self, tokens: u64) {
        if tokens > self.held {
            self.running.deployment.held.fetch_add(tokens - self.held, Ordering::Relaxed);
            self.held = tokens;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.running.deployment.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy)]
enum Gauge {
    Running,
    Waiting,
}

/// One more of something, until dropped.
#[derive(Debug)]
struct Rise {
    deployment: Arc<Deployment>,
    gauge: Gauge,
    /// How many there are, this one included.
    reached: u64,
}

impl Rise {
    fn of(deployment: &Arc<Deployment>, gauge: Gauge) -> Self {
        let reached = gauge.of(deployment).0.fetch_add(1, Ordering::Relaxed) + 1;
        Self { deployment: deployment.clone(), gauge, reached }
    }

    /// Lets it count for the most that there were.
    fn note(&self) {
        self.gauge.of(&self.deployment).1.fetch_max(self.reached, Ordering::Relaxed);
    }
}

impl Drop for Rise {
    fn drop(&mut self) {
        self.gauge.of(&self.deployment).0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gauge {
    const fn of(self, deployment: &Deployment) -> (&AtomicU64, &AtomicU64) {
        match self {
            Self::Running => (&deployment.running, &deployment.most_running),
            Self::Waiting => (&deployment.waiting, &deployment.most_waiting),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(conduct: Conduct) -> Arc<Deployment> {
        Arc::new(Deployment::new("a", String::new(), conduct))
    }

    fn drawn(deployment: &Deployment) -> Vec<Option<Fault>> {
        (0..2000).map(|_| deployment.treat().fault).collect()
    }

    #[test]
    fn faults_are_met_at_their_rates_and_repeat_with_the_seed() {
        let conduct =
            Conduct { fail_rate: 0.5, fail_status: Some(503), hang_rate: 0.1, seed: 3, ..Conduct::default() };
        let first = deployment(conduct.clone());
        let faults = drawn(&first);
        let count = |fault| faults.iter().filter(|f| **f == fault).count();
        assert!((900..1100).contains(&count(Some(Fault::Error(503)))));
        assert!((160..240).contains(&count(Some(Fault::Hang))));
        assert_eq!(drawn(&deployment(conduct.clone())), faults);
        first.set(Conduct { seed: 4, ..conduct.clone() });
        assert_ne!(drawn(&first), faults);
        first.set(conduct);
        assert_eq!(drawn(&first), faults);
    }

    #[tokio::test]
    async fn slots_are_given_in_order_and_the_queue_is_bounded() {
        let at = deployment(Conduct { slots: Some(1), queue: Some(1), ..Conduct::default() });
        let treatment = at.treat();
        let first = at.seat(&treatment, 40).await.unwrap();
        let mut second = Box::pin(at.seat(&treatment, 60));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(at.seat(&treatment, 1).await.is_none());
        let counts = at.counts();
        assert_eq!((counts.running, counts.waiting, counts.most_waiting), (1, 1, 1));
        assert!((at.kv_usage() - 0.0004).abs() < 1e-9);
        drop(first);
        let second = second.await.unwrap();
        assert_eq!((at.counts().running, at.counts().waiting), (1, 0));
        assert!((at.kv_usage() - 0.0006).abs() < 1e-9);
        drop(second);
        assert_eq!((at.counts().running, at.kv_usage() > 0.0), (0, false));
        // One that leaves while it waits is not counted any more.
        let held = at.seat(&treatment, 1).await.unwrap();
        let mut leaving = Box::pin(at.seat(&treatment, 1));
        assert!(futures_util::poll!(&mut leaving).is_pending());
        drop(leaving);
        assert_eq!(at.counts().waiting, 0);
        drop(held);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (conduct, key) in [
            (Conduct { cut_rate: 1.5, ..Conduct::default() }, "cut_rate"),
            (Conduct { fail_status: Some(200), ..Conduct::default() }, "fail_status"),
            (Conduct { cut_rate: 0.5, hang_rate: 0.6, ..Conduct::default() }, "fail_rate"),
            (Conduct { slots: Some(0), ..Conduct::default() }, "slots"),
        ] {
            assert_eq!(conduct.validate().unwrap_err().key, key);
        }
    }
}
