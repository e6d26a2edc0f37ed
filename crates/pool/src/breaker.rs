//! Whether a deployment is in: a passive circuit breaker.
//!
//! It opens on faults in a row, on a share of faults within a window, on half of the latest calls, when a call waited its whole
//! time and neither it nor any later one was answered, or when probes fail. It stays open for a time that doubles with each opening, give or take a tenth
//! so that gateways do not come back together. Then calls try it, one at first and one more for each that is answered; when
//! enough were, it is in again and its share grows from a tenth to the whole over the slow start.
//!
//! What a call learnt counts only while the state lasts that it was started in: calls that were sent before an ejection and time
//! out a minute later say nothing of the deployment that came back meanwhile.

use crate::outcome::{Fault, Outcome};
use crate::window::Window;
use contracts::policy::pool::Breaker as Policy;
use std::time::{Duration, Instant};

/// The state of one deployment.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Counts changes of the state.
    generation: u32,
    window: Window,
    in_a_row: u32,
    /// The latest calls, the last in the lowest bit, faults as ones; and how many they are.
    latest: (u64, u32),
    /// Openings since it was last well for long.
    streak: u32,
    backing_off: Option<Instant>,
    limited_in_a_row: u32,
    probe_failures: u32,
    /// Whether a probe must be answered before calls may try.
    awaits_probe: bool,
    /// Times that it was put out.
    pub(crate) ejections: u64,
    pub(crate) why: Option<Why>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Since when it ramps up, if it came back or is new.
    In {
        since: Option<Instant>,
    },
    Out {
        until: Instant,
        trials: u32,
        passed: u32,
    },
}

/// Why a deployment was put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Faults one after the other; the last of them.
    InARow(Fault),
    /// Too great a share of faults; the last of them.
    Share(Fault),
    /// A call waited its whole time, and none that was sent later was answered.
    Silent,
    /// A trial failed.
    Trial(Fault),
    /// Probes failed.
    Probe,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InARow(fault) => write!(f, "faults one after the other, the last: {fault}"),
            Self::Share(fault) => write!(f, "too great a share of faults, the last: {fault}"),
            Self::Silent => f.write_str("silent while calls waited"),
            Self::Trial(fault) => write!(f, "a trial failed: {fault}"),
            Self::Probe => f.write_str("probes failed"),
        }
    }
}

/// What the breaker says of a call that would be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    In,
    /// Out, but its time is over and a call may try it.
    Trial,
    Out,
    /// In, but it asked to be left alone.
    BackingOff,
}

/// What a call remembers of the state that it was started in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    generation: u32,
    pub(crate) trial: bool,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It was put out for so long.
    Ejected {
        /// How long.
        out_for: Duration,
        /// Why.
        why: Why,
    },
    /// It is in again and ramps up.
    Back,
    /// It asked to be left alone.
    BackedOff {
        /// How long.
        for_: Duration,
    },
}

impl Breaker {
    /// In; from nothing up to its full share if it is `new` among others.
    pub(crate) fn new(policy: &Policy, new: bool, now: Instant) -> Self {
        Self {
            state: State::In { since: new.then_some(now) },
            generation: 0,
            window: Window::new(Duration::from_millis(policy.window_ms), now),
            in_a_row: 0,
            latest: (0, 0),
            streak: 0,
            backing_off: None,
            limited_in_a_row: 0,
            probe_failures: 0,
            awaits_probe: false,
            ejections: 0,
            why: None,
        }
    }

    pub(crate) fn standing(&self, now: Instant) -> Standing {
        if self.backing_off.is_some_and(|until| now < until) {
            return Standing::BackingOff;
        }
        match self.state {
            State::In { .. } => Standing::In,
            State::Out { until, trials, passed } => {
                let free = now >= until && !self.awaits_probe && trials <= passed;
                if free { Standing::Trial } else { Standing::Out }
            }
        }
    }

    /// Whether it is out, with trials or without.
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.state, State::Out { .. })
    }

    /// When it can be asked again, if not now.
    pub(crate) fn ready_at(&self) -> Option<Instant> {
        let out_until = match self.state {
            State::Out { until, .. } => Some(until),
            State::In { .. } => None,
        };
        out_until.max(self.backing_off)
    }

    /// The share of its weight that counts: from a tenth to the whole over `slow_start`.
    pub(crate) fn ramp(&self, slow_start: Duration, now: Instant) -> f64 {
        let State::In { since: Some(since) } = self.state else { return 1.0 };
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= slow_start {
            return 1.0;
        }
        (elapsed.as_secs_f64() / slow_start.as_secs_f64()).max(0.1)
    }

    /// A call is sent.
    pub(crate) fn begin(&mut self, now: Instant) -> Ticket {
        let trial = self.standing(now) == Standing::Trial;
        if let State::Out { trials, .. } = &mut self.state
            && trial
        {
            *trials += 1;
        }
        Ticket { generation: self.generation, trial }
    }

    /// The first byte of an answer came: a trial passes by that.
    pub(crate) fn answered(&mut self, ticket: Ticket, policy: &Policy, now: Instant) -> Option<Turn> {
        if ticket.generation != self.generation {
            return None;
        }
        let State::Out { passed, .. } = &mut self.state else { return None };
        *passed += 1;
        if *passed < policy.trial_successes {
            return None;
        }
        self.turn(State::In { since: Some(now) });
        Some(Turn::Back)
    }

    /// The call is over. `silent` says that neither it nor any call sent later was answered.
    pub(crate) fn finish(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        silent: bool,
        policy: &Policy,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Turn> {
        if let Outcome::RateLimited { retry_after } = outcome {
            self.end_trial(ticket);
            return self.back_off(retry_after, policy, now);
        }
        if ticket.generation != self.generation {
            return None;
        }
        self.end_trial(ticket);
        match outcome {
            Outcome::Success => {
                self.in_a_row = 0;
                self.limited_in_a_row = 0;
                self.count(false, now);
                None
            }
            Outcome::Fault(fault) => self.fault(ticket, fault, silent, policy, now, rng),
            Outcome::ClientFault | Outcome::Cancelled | Outcome::Unfit | Outcome::RateLimited { .. } => None,
        }
    }

    /// The call is over and nothing is known of it.
    pub(crate) fn end_trial(&mut self, ticket: Ticket) {
        if let State::Out { trials, .. } = &mut self.state
            && ticket.trial
            && ticket.generation == self.generation
        {
            *trials = trials.saturating_sub(1);
        }
    }

    fn fault(
        &mut self,
        ticket: Ticket,
        fault: Fault,
        silent: bool,
        policy: &Policy,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Turn> {
        if let State::Out { passed, .. } = &mut self.state {
            *passed = 0;
            return ticket.trial.then(|| self.open(Why::Trial(fault), policy, now, rng));
        }
        self.in_a_row += 1;
        self.count(true, now);
        let sum = self.window.sum(now);
        let share = sum.all >= policy.min_calls
            && u64::from(sum.some) * 100 >= u64::from(sum.all) * u64::from(policy.fault_percent);
        let share = share || self.half_of_latest_failed(policy);
        let why = if fault == Fault::Timeout && silent {
            Why::Silent
        } else if self.in_a_row >= policy.consecutive_faults {
            Why::InARow(fault)
        } else if share {
            Why::Share(fault)
        } else {
            return None;
        };
        Some(self.open(why, policy, now, rng))
    }

    fn count(&mut self, fault: bool, now: Instant) {
        self.window.add(1, u32::from(fault), now);
        let (latest, count) = self.latest;
        self.latest = (latest << 1 | u64::from(fault), (count + 1).min(u64::BITS));
    }

    /// Of the least volume that says anything, half. Where calls are few, those that went well before would hide for the whole
    /// window that none does any more.
    fn half_of_latest_failed(&self, policy: &Policy) -> bool {
        let (latest, count) = self.latest;
        let volume = policy.min_calls.min(u64::BITS);
        let faults = (latest << (u64::BITS - volume)).count_ones();
        count >= volume && faults * 2 >= volume && volume > 1
    }

    /// A probe was answered, or not.
    pub(crate) fn probed(
        &mut self,
        well: bool,
        failures: u32,
        policy: &Policy,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Turn> {
        if well {
            self.probe_failures = 0;
            self.awaits_probe = false;
            return None;
        }
        self.probe_failures = self.probe_failures.saturating_add(1);
        if self.probe_failures < failures {
            return None;
        }
        if self.is_out() {
            // It is out already; calls need not find out what a probe knows.
            self.awaits_probe = true;
            return None;
        }
        let turn = self.open(Why::Probe, policy, now, rng);
        self.awaits_probe = true;
        Some(turn)
    }

    /// Probes are no longer made.
    pub(crate) fn forget_probes(&mut self) {
        self.awaits_probe = false;
        self.probe_failures = 0;
    }

    fn back_off(&mut self, retry_after: Option<Duration>, policy: &Policy, now: Instant) -> Option<Turn> {
        if retry_after.is_none() && self.limited_in_a_row == 0 {
            // A provider also says so to one request that is larger than the account's limit: nobody else need stay away.
            self.limited_in_a_row = 1;
            return None;
        }
        let doubled = policy.rate_limited_ms.saturating_mul(1 << (self.limited_in_a_row.max(1) - 1).min(16));
        let most = Duration::from_millis(policy.max_rate_limited_ms);
        let for_ = retry_after.unwrap_or(Duration::from_millis(doubled)).min(most);
        let until = now + for_;
        if self.backing_off.is_some_and(|already| already > now) {
            // Calls that were under way tell the same once more.
            self.backing_off = self.backing_off.max(Some(until));
            return None;
        }
        self.limited_in_a_row = self.limited_in_a_row.saturating_add(1);
        self.backing_off = Some(until);
        Some(Turn::BackedOff { for_ })
    }

    fn open(&mut self, why: Why, policy: &Policy, now: Instant, rng: &mut fastrand::Rng) -> Turn {
        let longest = Duration::from_millis(policy.max_ejection_ms);
        if let State::In { since } = self.state
            && since.is_none_or(|since| now.saturating_duration_since(since) > longest)
        {
            self.streak = 0;
        }
        let doubled = policy.ejection_ms.saturating_mul(1 << self.streak.min(20));
        let jitter = 0.9 + 0.2 * rng.f64();
        let out_for = Duration::from_millis(doubled).min(longest).mul_f64(jitter);
        self.streak = self.streak.saturating_add(1);
        self.ejections += 1;
        self.why = Some(why);
        self.turn(State::Out { until: now + out_for, trials: 0, passed: 0 });
        Turn::Ejected { out_for, why }
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
        self.in_a_row = 0;
        self.latest = (0, 0);
        self.window.clear();
    }

    /// Calls and faults in the window.
    pub(crate) fn counts(&mut self, now: Instant) -> (u32, u32) {
        let sum = self.window.sum(now);
        (sum.all, sum.some)
    }

    /// Faults one after the other, up to now.
    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests;
