//! A world in which time is a number: clients that call, deployments that answer, fail or hang, and between them a gateway that
//! does what the pool says.

use contracts::policy::pool::{Deployment, Pool as Policy};
use pool::{Ask, Fault, Kind, Lease, Outcome, Pool, Retry, Tried};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a deployment does to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Well,
    /// Fails this share of calls with 500, fast.
    Failing(f64),
    /// Takes calls and never says anything.
    Hanging,
    /// Finds every request bad.
    Refusing,
    /// Has too many calls, and says for how many seconds.
    Limiting(u64),
}

#[derive(Debug, Clone)]
pub struct Scenario {
    pub policy: Policy,
    /// Calls a second.
    pub load: f64,
    /// For so many seconds.
    pub seconds: f64,
    pub seed: u64,
    /// Share of calls whose answer comes whole.
    pub whole: f64,
    /// Who is how from when on: seconds, deployment, mood.
    pub moods: Vec<(f64, usize, Mood)>,
}

pub fn policy(count: usize) -> Policy {
    let deployment = |number: usize| Deployment {
        id: format!("d{number}").parse().unwrap(),
        provider: "p".parse().unwrap(),
        upstream_model: "m".to_owned(),
        price_as: None,
        weight: 1,
        slots: None,
        load: None,
        gpu: None,
    };
    Policy { deployments: (0..count).map(deployment).collect(), ..Policy::default() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Mood(usize),
    FirstByte(usize),
    End(usize),
    Fail(usize),
    Timeout(usize),
    Retry(usize),
    Hedge(usize),
}

struct Call {
    arrived: f64,
    kind: Kind,
    tried: Tried,
    open: Vec<usize>,
    first_byte: Option<f64>,
    over: Option<(f64, bool)>,
}

struct Attempt {
    call: usize,
    server: usize,
    lease: Option<Lease>,
    running: bool,
    outcome: Outcome,
}

struct Server {
    mood: Mood,
    running: usize,
    queue: VecDeque<usize>,
}

/// What came of it.
#[derive(Debug, Default, Clone)]
pub struct Report {
    pub calls: usize,
    pub succeeded: usize,
    pub upstream: usize,
    /// Seconds from arrival to first byte and to the end, of those that succeeded, sorted.
    pub first_bytes: Vec<f64>,
    pub ends: Vec<f64>,
    /// When calls were sent, by deployment.
    pub sent: Vec<Vec<f64>>,
    /// When calls were given up, what they had tried, and why.
    pub lost: Vec<(f64, u32, Retry)>,
    pub view: Option<pool::PoolView>,
}

impl Report {
    pub fn success(&self) -> f64 {
        self.succeeded as f64 / self.calls as f64
    }

    pub fn amplification(&self) -> f64 {
        self.upstream as f64 / self.calls as f64
    }

    /// Calls sent to a deployment between two seconds.
    pub fn sent_between(&self, server: usize, from: f64, to: f64) -> usize {
        self.sent[server].iter().filter(|at| (from..to).contains(*at)).count()
    }

    pub fn ejections(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.deployments.iter().map(|d| d.ejections).sum())
    }
}

pub fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((last as f64) * quantile).round() as usize).copied().unwrap_or(f64::NAN)
}

struct World {
    scenario: Scenario,
    start: Instant,
    now: f64,
    pool: Arc<Pool>,
    rng: fastrand::Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    calls: Vec<Call>,
    attempts: Vec<Attempt>,
    servers: Vec<Server>,
    /// Calls that one deployment runs at once.
    slots: usize,
    report: Report,
}

/// So many that one deployment could carry all calls: a half more than run on average, and room for chance where that is few.
fn slots(load: f64) -> usize {
    let running = load * 2.8;
    (running * 1.5).max(running + 5.0 * running.sqrt()) as usize
}

pub fn play(scenario: &Scenario) -> Report {
    let start = Instant::now();
    let count = scenario.policy.deployments.len();
    let server = || Server { mood: Mood::Well, running: 0, queue: VecDeque::new() };
    let mut world = World {
        start,
        now: 0.0,
        pool: Pool::new(Arc::new(scenario.policy.clone()), scenario.seed, start).unwrap(),
        rng: fastrand::Rng::with_seed(scenario.seed ^ 0x5eed),
        events: BinaryHeap::new(),
        sequence: 0,
        calls: Vec::new(),
        attempts: Vec::new(),
        servers: (0..count).map(|_| server()).collect(),
        slots: slots(scenario.load),
        report: Report { sent: vec![Vec::new(); count], ..Report::default() },
        scenario: scenario.clone(),
    };
    for number in 0..scenario.moods.len() {
        world.schedule(scenario.moods[number].0, Event::Mood(number));
    }
    world.schedule(0.0, Event::Arrive);
    world.run();
    world.finish()
}

impl World {
    fn at(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    fn schedule(&mut self, at: f64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse(((at.max(0.0) * 1e9) as u64, self.sequence, event)));
    }

    fn later(&mut self, seconds: f64, event: Event) {
        self.schedule(self.now + seconds, event);
    }

    fn run(&mut self) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = self.now.max(at as f64 / 1e9);
            match event {
                Event::Arrive => self.arrive(),
                Event::Mood(number) => {
                    let (_, server, mood) = self.scenario.moods[number];
                    self.servers[server].mood = mood;
                }
                Event::FirstByte(attempt) => self.first_byte(attempt),
                Event::End(attempt) => self.end(attempt, Outcome::Success),
                Event::Fail(attempt) => self.end(attempt, self.attempts[attempt].outcome),
                Event::Timeout(attempt) => {
                    let waits = self.calls[self.attempts[attempt].call].first_byte.is_none();
                    if waits {
                        self.end(attempt, Outcome::Fault(Fault::Timeout));
                    }
                }
                Event::Retry(call) => self.send(call),
                Event::Hedge(call) => self.hedge(call),
            }
        }
    }

    fn arrive(&mut self) {
        let kind = if self.rng.f64() < self.scenario.whole { Kind::Whole } else { Kind::Streamed };
        let call = self.calls.len();
        let arrived = self.now;
        self.calls.push(Call {
            arrived,
            kind,
            tried: Tried::default(),
            open: Vec::new(),
            first_byte: None,
            over: None,
        });
        self.send(call);
        if let Some(after) = self.pool.hedge_after(kind) {
            self.later(after.as_secs_f64(), Event::Hedge(call));
        }
        let wait = -(1.0 - self.rng.f64()).ln() / self.scenario.load;
        if self.now + wait < self.scenario.seconds {
            self.later(wait, Event::Arrive);
        }
    }

    fn send(&mut self, call: usize) {
        let at = self.at();
        let ask = Ask::new(self.calls[call].kind);
        match self.pool.pick(&ask, &mut self.calls[call].tried, at) {
            Ok(lease) => self.sent(call, lease),
            Err(_) => self.calls[call].over = Some((self.now, false)),
        }
    }

    fn hedge(&mut self, call: usize) {
        let at = self.at();
        let waits = self.calls[call].first_byte.is_none() && !self.calls[call].open.is_empty();
        let ask = Ask::new(self.calls[call].kind);
        if waits && let Some(lease) = self.pool.hedge(&ask, &mut self.calls[call].tried, at) {
            self.sent(call, lease);
        }
    }

    fn sent(&mut self, call: usize, lease: Lease) {
        let server: usize = lease.deployment().id.as_str()[1..].parse().unwrap();
        self.report.upstream += 1;
        self.report.sent[server].push(self.now);
        let attempt = self.attempts.len();
        let timeout = self.pool.per_try_timeout(self.calls[call].kind);
        self.attempts.push(Attempt {
            call,
            server,
            lease: Some(lease),
            running: false,
            outcome: Outcome::Success,
        });
        self.calls[call].open.push(attempt);
        self.later(timeout.as_secs_f64(), Event::Timeout(attempt));
        let quick = 0.02 + 0.03 * self.rng.f64();
        let outcome = match self.servers[server].mood {
            Mood::Failing(share) if self.rng.f64() < share => Some(Outcome::of_status(500, None)),
            Mood::Well | Mood::Failing(_) => None,
            Mood::Hanging => return,
            Mood::Refusing => Some(Outcome::of_status(400, None)),
            Mood::Limiting(seconds) => Some(Outcome::of_status(429, Some(Duration::from_secs(seconds)))),
        };
        if let Some(outcome) = outcome {
            self.attempts[attempt].outcome = outcome;
            self.later(quick, Event::Fail(attempt));
        } else {
            self.servers[server].queue.push_back(attempt);
            self.start_next(server);
        }
    }

    fn start_next(&mut self, server: usize) {
        while self.servers[server].running < self.slots {
            let Some(attempt) = self.servers[server].queue.pop_front() else { return };
            if self.attempts[attempt].lease.is_none() {
                continue;
            }
            self.servers[server].running += 1;
            self.attempts[attempt].running = true;
            let busy = self.servers[server].running as f64 / self.slots as f64;
            let slower = 1.0 + 0.3 * busy;
            let first_byte = 0.3 * self.lognormal(0.4) * slower;
            let end = first_byte + 2.0 * self.lognormal(0.4) * slower;
            if self.calls[self.attempts[attempt].call].kind == Kind::Streamed {
                self.later(first_byte, Event::FirstByte(attempt));
            }
            self.later(end, Event::End(attempt));
        }
    }

    fn lognormal(&mut self, sigma: f64) -> f64 {
        let (a, b) = (1.0 - self.rng.f64(), self.rng.f64());
        (sigma * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()).exp()
    }

    fn first_byte(&mut self, attempt: usize) {
        let at = self.at();
        let Some(lease) = &mut self.attempts[attempt].lease else { return };
        lease.first_byte(at);
        self.wins(attempt);
    }

    /// The first answer wins; other tries are cancelled.
    fn wins(&mut self, attempt: usize) {
        let call = self.attempts[attempt].call;
        self.calls[call].first_byte.get_or_insert(self.now);
        let others = std::mem::replace(&mut self.calls[call].open, vec![attempt]);
        for other in others.into_iter().filter(|other| *other != attempt) {
            self.close(other, Outcome::Cancelled);
        }
    }

    fn close(&mut self, attempt: usize, outcome: Outcome) {
        let at = self.at();
        let Some(lease) = self.attempts[attempt].lease.take() else { return };
        lease.finish(outcome, at);
        let server = self.attempts[attempt].server;
        if self.attempts[attempt].running {
            self.servers[server].running -= 1;
            self.start_next(server);
        }
    }

    fn end(&mut self, attempt: usize, outcome: Outcome) {
        if self.attempts[attempt].lease.is_none() {
            return;
        }
        let call = self.attempts[attempt].call;
        self.close(attempt, outcome);
        if outcome == Outcome::Success {
            self.wins(attempt);
            self.calls[call].over = Some((self.now, true));
            return;
        }
        self.calls[call].open.retain(|open| *open != attempt);
        if !self.calls[call].open.is_empty() {
            return;
        }
        let released = self.calls[call].first_byte.is_some();
        let at = self.at();
        match self.pool.after(outcome, &self.calls[call].tried, released, None, at) {
            Retry::After(delay) => self.later(delay.as_secs_f64(), Event::Retry(call)),
            lost @ Retry::GiveUp(_) => {
                self.report.lost.push((self.now, self.calls[call].tried.attempts(), lost));
                self.calls[call].over = Some((self.now, false));
            }
        }
    }

    fn finish(mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.calls = self.calls.len();
        for call in &self.calls {
            let (end, well) = call.over.expect("every call ends");
            if well {
                report.succeeded += 1;
                report.ends.push(end - call.arrived);
                report.first_bytes.push(call.first_byte.unwrap_or(end) - call.arrived);
            }
        }
        report.ends.sort_by(f64::total_cmp);
        report.first_bytes.sort_by(f64::total_cmp);
        let view = self.pool.view(self.at());
        assert!(
            view.deployments.iter().all(|d| d.outstanding == 0 && d.waiting == 0),
            "nothing leaks: {view:?}"
        );
        report.view = Some(view);
        report
    }
}
