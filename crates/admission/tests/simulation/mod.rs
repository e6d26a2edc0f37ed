//! A pool under load, as a simulation by events: tokio's clock is paused and jumps from one event to the next, so that hours take
//! seconds and every run with the same seed is the same.

mod scenarios;

pub use scenarios::{band_table, bands, noise, noise_table, share_table, shares};

use admission::queue::{Queue, Ticket};
use contracts::policy::queue::{Band, Queue as Policy};
use fastrand::Rng;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Time to read a token of input and to write one of output, as a GPU of today under load.
const PREFILL: Duration = Duration::from_micros(100);
const DECODE: Duration = Duration::from_millis(15);

/// Calls of one kind from one tenant.
#[derive(Debug, Clone)]
pub struct Source {
    pub tenant: String,
    pub weight: u32,
    pub band: Band,
    pub load: Load,
    pub input: Range<u64>,
    pub output: Range<u64>,
}

/// How calls come.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// So many a second, at random.
    Rate(f64),
    /// So many at any time: each is followed by another.
    Backlog(u32),
}

/// What became of a source's calls, those that came while the pool warmed up left out.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub to_first_token: Vec<Duration>,
    pub whole: Vec<Duration>,
    pub refused: u64,
    /// Those of output counted twice, as the queue counts them by default.
    pub weighted_tokens: u64,
    pub slot_time: Duration,
}

impl Source {
    /// The mean time that a call of it takes.
    pub fn service(&self) -> Duration {
        let mean = |range: &Range<u64>| u32::try_from(range.start.midpoint(range.end)).unwrap();
        PREFILL * mean(&self.input) + DECODE * mean(&self.output)
    }
}

impl Outcome {
    pub fn merge<'a>(outcomes: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for one in outcomes {
            all.to_first_token.extend(&one.to_first_token);
            all.whole.extend(&one.whole);
            all.refused += one.refused;
            all.weighted_tokens += one.weighted_tokens;
            all.slot_time += one.slot_time;
        }
        all
    }
}

/// The value that `percent` of `values` do not exceed.
pub fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// Runs `sources` against a queue for `length`, of which the first tenth does not count.
pub fn run(policy: &Policy, sources: &[Source], length: Duration, seed: u64) -> Vec<Outcome> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let queue = Queue::new(policy);
        let start = Instant::now();
        let time = Time { from: start + length / 10, until: start + length };
        let mut outcomes = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let outcome = Arc::new(Mutex::new(Outcome::default()));
            outcomes.push(outcome.clone());
            // Of its own for each source, so that another source does not change its calls.
            let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003) + number as u64);
            let caller = Caller { queue: queue.clone(), source: Arc::new(source.clone()), outcome, time };
            match source.load {
                Load::Rate(rate) => drop(tokio::spawn(arrivals(caller, rate, rng))),
                Load::Backlog(calls) => {
                    for _ in 0..calls {
                        tokio::spawn(again_and_again(caller.clone(), rng.fork()));
                    }
                }
            }
        }
        sleep_until(time.until).await;
        outcomes.iter().map(|outcome| outcome.lock().unwrap().clone()).collect()
    })
}

#[derive(Debug, Clone, Copy)]
struct Time {
    from: Instant,
    until: Instant,
}

#[derive(Debug, Clone)]
struct Caller {
    queue: Queue,
    source: Arc<Source>,
    outcome: Arc<Mutex<Outcome>>,
    time: Time,
}

async fn arrivals(caller: Caller, rate: f64, mut rng: Rng) {
    let mut next = Instant::now();
    loop {
        next += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / rate);
        sleep_until(next).await;
        let (input, output) = (rng.u64(caller.source.input.clone()), rng.u64(caller.source.output.clone()));
        let caller = caller.clone();
        tokio::spawn(async move { caller.call(input, output).await });
    }
}

async fn again_and_again(caller: Caller, mut rng: Rng) {
    loop {
        let (input, output) = (rng.u64(caller.source.input.clone()), rng.u64(caller.source.output.clone()));
        if !caller.call(input, output).await {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Caller {
    async fn call(&self, input: u64, output: u64) -> bool {
        let came = Instant::now();
        let counts = came >= self.time.from;
        let ticket = Ticket {
            tenant: self.source.tenant.parse().unwrap(),
            weight: NonZeroU32::new(self.source.weight).unwrap(),
            band: self.source.band,
            input_tokens: input,
            expected_output_tokens: None,
            deadline: None,
        };
        let Ok(mut slot) = self.queue.enter(ticket).await else {
            self.outcome.lock().unwrap().refused += u64::from(counts);
            return false;
        };
        let started = Instant::now();
        let times = |each: Duration, tokens: u64| each * u32::try_from(tokens).unwrap();
        sleep(times(PREFILL, input) + DECODE).await;
        let first = came.elapsed();
        sleep(times(DECODE, output - 1)).await;
        slot.charge(output);
        drop(slot);
        let mut outcome = self.outcome.lock().unwrap();
        if counts {
            outcome.to_first_token.push(first);
            outcome.whole.push(came.elapsed());
        }
        // By when it ends, so that with work without end just what was served in the time counts.
        if Instant::now() >= self.time.from {
            outcome.weighted_tokens += input + 2 * output;
            outcome.slot_time += started.elapsed();
        }
        true
    }
}
