//! Who runs, who waits, and who is next: the queue under its lock.
//!
//! What must hold whenever the lock is released: nobody waits who may start. So a call that comes may start at once when its band
//! has nobody waiting and a slot is free for it.

use super::pace::{Average, Pace};
use super::shares::{Shares, Waiter, waited};
use super::view::count;
use super::{Reason, Refusals, Refused, Slot, Ticket};
use contracts::policy::queue::{Band, Queue as Policy};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long after its last call slots are left free for a band.
const RESERVED_FOR: Duration = Duration::from_mins(1);

/// What an answer is taken to be long when nothing is known of the tenant's, in tokens.
const UNKNOWN_OUTPUT: u64 = 256;

/// How many tenant's places one place left allows.
const PLACES_PER_PLACE_LEFT: u32 = 8;

/// How many calls a band may be owed at most.
const MOST_OWED_CALLS: u128 = 4;

/// Retrying sooner than this only costs.
const LEAST_RETRY: Duration = Duration::from_millis(100);

/// All of a queue but the calls that came while it had no limit.
#[derive(Debug)]
pub(super) struct State {
    pub(super) policy: Policy,
    pub(super) lines: [Line; 3],
    /// How long calls take, of all bands.
    pub(super) typical_call: Average,
}

/// One band.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) shares: Shares,
    pub(super) running: u32,
    pub(super) pace: Pace,
    /// When a call came last.
    last_arrival: Option<Instant>,
    /// Hundredths of weighted tokens that it is owed while it waits behind more urgent bands.
    owed: u128,
    pub(super) started: u64,
    pub(super) started_after_wait: u64,
    pub(super) cancelled: u64,
    pub(super) refusals: Refusals,
}

/// A call that starts: what its end will need.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) band: Band,
    share: usize,
    weight: u32,
    input: u64,
    /// Tokens of output charged so far.
    pub(super) charged_output: u64,
    started: Instant,
    pub(super) waited: Duration,
}

/// Where a call waits.
#[derive(Debug)]
pub(super) struct Seat {
    band: Band,
    share: usize,
    arrival: u64,
}

/// What becomes of a call that comes.
pub(super) enum Arrival {
    /// It starts.
    Starts(Grant),
    /// It waits for a slot, at most until then.
    Waits { seat: Seat, slot: oneshot::Receiver<Slot>, until: Instant },
}

impl State {
    pub(super) fn new(policy: &Policy) -> Self {
        let now = Instant::now();
        let line = || Line {
            shares: Shares::default(),
            running: 0,
            pace: Pace::new(now),
            last_arrival: None,
            owed: 0,
            started: 0,
            started_after_wait: 0,
            cancelled: 0,
            refusals: Refusals::default(),
        };
        Self { policy: policy.clone(), lines: [line(), line(), line()], typical_call: Average::default() }
    }

    pub(super) fn set_policy(&mut self, policy: &Policy) {
        self.policy = policy.clone();
    }

    /// A call comes.
    pub(super) fn arrive(&mut self, ticket: &Ticket, open: u64, now: Instant) -> Result<Arrival, Refused> {
        let band = ticket.band;
        let line = &mut self.lines[band as usize];
        line.last_arrival = Some(now);
        let share = line.shares.of(&ticket.tenant, ticket.weight.get());
        let usual = line.shares.usual_output(share);
        let output = ticket.expected_output_tokens.or(usual).unwrap_or(UNKNOWN_OUTPUT);
        let input = ticket.input_tokens;
        if line.shares.waiting() == 0 && self.may_start(band, open, now) {
            self.lines[band as usize].shares.join(share);
            return Ok(Arrival::Starts(self.start(band, share, input, output, Duration::ZERO, now)));
        }
        let line = &mut self.lines[band as usize];
        if line.shares.waiting() == 0 {
            line.pace.begin(now);
            line.owed = 0;
        }
        let patience = ticket.deadline.map_or(Duration::MAX, |by| by.saturating_duration_since(now));
        let patience = patience.min(self.policy.max_wait(band));
        if let Err(refused) = self.may_wait(band, share, patience, now) {
            count(&mut self.lines[band as usize].refusals, refused.reason);
            return Err(refused);
        }
        let (to, slot) = oneshot::channel();
        let line = &mut self.lines[band as usize];
        let arrival = line.shares.push(share, Waiter { to, input, output, since: now });
        Ok(Arrival::Waits { seat: Seat { band, share, arrival }, slot, until: now + patience })
    }

    /// Whether a call may wait, in the order in which a caller can do something about it.
    fn may_wait(&self, band: Band, share: usize, patience: Duration, now: Instant) -> Result<(), Refused> {
        let shares = &self.lines[band as usize].shares;
        let own = shares.get(share).map_or(0, |share| u32::try_from(share.waiting.len()).unwrap_or(u32::MAX));
        let left = self.policy.max_waiting.saturating_sub(self.waiting());
        let interval = self.interval(band, now).unwrap_or(Duration::ZERO);
        let refuse = |reason, wait: Duration| Err(Refused { reason, retry_after: wait.max(LEAST_RETRY) });
        if left == 0 {
            let next = Band::ALL.into_iter().filter(|band| self.lines[*band as usize].shares.waiting() > 0);
            let place = next.filter_map(|band| self.interval(band, now)).min().unwrap_or(interval);
            return refuse(Reason::Full, place);
        }
        if own >= self.policy.max_waiting_per_tenant.min(left.saturating_mul(PLACES_PER_PLACE_LEFT)) {
            return refuse(Reason::TenantFull, times(interval, shares.turns_of_one(share)));
        }
        let expected = times(interval, shares.turns_until(share));
        if expected > patience {
            return refuse(Reason::TooLate { expected }, expected.saturating_sub(patience));
        }
        Ok(())
    }

    /// The next call that may start, taken from the queue.
    pub(super) fn next(&mut self, open: u64, now: Instant) -> Option<(oneshot::Sender<Slot>, Grant)> {
        let band = self.next_band(open, now)?;
        let (share, waiter) = self.lines[band as usize].shares.pop()?;
        let wait = waited(&waiter, now);
        let grant = self.start(band, share, waiter.input, waiter.output, wait, now);
        let line = &mut self.lines[band as usize];
        line.pace.step(now);
        line.started_after_wait += 1;
        Some((waiter.to, grant))
    }

    fn next_band(&self, open: u64, now: Instant) -> Option<Band> {
        let waits = |band: &Band| self.lines[*band as usize].shares.waiting() > 0;
        let is_owed = |band: &Band| {
            let line = &self.lines[*band as usize];
            let next = line.shares.peek().map(|(input, output)| self.cost(input, output));
            next.is_some_and(|cost| line.owed >= u128::from(cost) * 100 && line.owed > 0)
        };
        let owed = Band::ALL.into_iter().filter(is_owed).find(|band| self.may_start(*band, open, now));
        // When a band may not start, no more patient one may.
        owed.or_else(|| Band::ALL.into_iter().find(waits).filter(|band| self.may_start(*band, open, now)))
    }

    /// Whether a slot is free for `band`: each band and the more patient ones together leave free what the more urgent are
    /// sure of.
    fn may_start(&self, band: Band, open: u64, now: Instant) -> bool {
        let Some(concurrency) = self.policy.concurrency else { return true };
        let all = u64::from(concurrency.get());
        let mut running = open + self.lines.iter().map(|line| u64::from(line.running)).sum::<u64>();
        let mut reserved_percent = 0;
        for other in Band::ALL {
            let reserved = (all * reserved_percent).div_ceil(100);
            if running >= all.saturating_sub(reserved).max(1) {
                return false;
            }
            if other == band {
                return true;
            }
            let line = &self.lines[other as usize];
            // Calls without a band are the business of the first bound only.
            running -= u64::from(line.running) + if other == Band::Interactive { open } else { 0 };
            if line.last_arrival.is_some_and(|last| now.saturating_duration_since(last) < RESERVED_FOR) {
                reserved_percent += u64::from(self.policy.bands.lane(other).reserved_percent);
            }
        }
        true
    }

    fn start(
        &mut self,
        band: Band,
        share: usize,
        input: u64,
        output: u64,
        waited: Duration,
        now: Instant,
    ) -> Grant {
        let cost = self.cost(input, output);
        for other in Band::ALL {
            let least = self.policy.bands.lane(other).least_percent;
            let line = &mut self.lines[other as usize];
            if other == band {
                line.owed = line.owed.saturating_sub(u128::from(cost) * u128::from(100 - least.min(100)));
            } else if let Some((input, output)) = line.shares.peek() {
                // No more than a few calls' worth, so that a long wait does not end in a flood.
                let weight = u64::from(self.policy.output_token_weight.get());
                let next = input.saturating_add(output.saturating_mul(weight));
                let most = u128::from(next.max(cost)) * 100 * MOST_OWED_CALLS;
                line.owed = (line.owed + u128::from(cost) * u128::from(least)).min(most);
            } else {
                line.owed = 0;
            }
        }
        let line = &mut self.lines[band as usize];
        line.running += 1;
        line.started += 1;
        line.shares.start(share, cost);
        let weight = line.shares.get(share).map_or(1, |share| share.weight);
        Grant { band, share, weight, input, charged_output: output, started: now, waited }
    }

    /// `output` tokens of a call are known.
    pub(super) fn charge(&mut self, grant: &mut Grant, output: u64) {
        let (before, after) = (self.cost(grant.input, grant.charged_output), self.cost(grant.input, output));
        self.lines[grant.band as usize].shares.correct(grant.share, grant.weight, before, after);
        grant.charged_output = output;
    }

    /// A call ends, with `output` tokens if they are known; whether somebody waits.
    pub(super) fn finish(&mut self, mut grant: Grant, output: Option<u64>, now: Instant) -> bool {
        let came_to = output.map(|output| (output, self.cost(grant.input, output)));
        let line = &mut self.lines[grant.band as usize];
        line.running -= 1;
        line.shares.finish(grant.share, came_to);
        if let Some(output) = output {
            self.charge(&mut grant, output);
        }
        self.typical_call.add(now.saturating_duration_since(grant.started));
        self.waiting() > 0
    }

    /// A call was started whose caller is gone: as if it had not been.
    pub(super) fn take_back(&mut self, mut grant: Grant) {
        let nothing = self.cost(grant.input, grant.charged_output);
        let line = &mut self.lines[grant.band as usize];
        line.shares.correct(grant.share, grant.weight, nothing, 0);
        grant.charged_output = 0;
        line.shares.finish(grant.share, None);
        line.running -= 1;
        line.started -= 1;
        line.started_after_wait -= 1;
        line.cancelled += 1;
    }

    /// A caller stops waiting.
    pub(super) fn cancel(&mut self, seat: &Seat) {
        let line = &mut self.lines[seat.band as usize];
        line.cancelled += u64::from(line.shares.remove(seat.share, seat.arrival));
    }

    /// A caller has waited for as long as it may; None when its turn came just now.
    pub(super) fn time_out(&mut self, seat: &Seat, since: Instant, now: Instant) -> Option<Refused> {
        let &Seat { band, share, arrival } = seat;
        let line = &mut self.lines[band as usize];
        if !line.shares.remove(share, arrival) {
            return None;
        }
        let waited = now.saturating_duration_since(since);
        let reason = Reason::TimedOut { waited };
        count(&mut line.refusals, reason);
        let interval = self.interval(band, now).unwrap_or(waited);
        let expected = times(interval, self.lines[band as usize].shares.turns_until(share));
        Some(Refused { reason, retry_after: expected.saturating_sub(waited).max(interval).max(LEAST_RETRY) })
    }

    pub(super) fn waiting(&self) -> u32 {
        self.lines.iter().map(|line| line.shares.waiting()).sum()
    }

    /// The time from one start in `band` to the next; by how long calls take while none waits, for then the pace is of old.
    pub(super) fn interval(&self, band: Band, now: Instant) -> Option<Duration> {
        let concurrency = self.policy.concurrency?.get();
        let line = &self.lines[band as usize];
        let pace = if line.shares.waiting() > 0 { line.pace.between(now) } else { None };
        pace.or_else(|| self.typical_call.get().map(|call| call / concurrency))
    }

    fn cost(&self, input: u64, output: u64) -> u64 {
        input.saturating_add(output.saturating_mul(u64::from(self.policy.output_token_weight.get())))
    }
}

fn times(interval: Duration, count: u64) -> Duration {
    interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}
