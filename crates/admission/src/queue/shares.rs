//! The tenants of a band: what each was served, who waits, and whose turn it is.
//!
//! Taking a turn, joining and leaving cost a logarithm of the tenants that wait, never of the calls.

use super::Slot;
use contracts::TenantId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Tokens served, weighted and divided by the tenant's weight, in 2⁻³² tokens.
type VirtualTime = u128;

/// How many calls' worth of its share a tenant may leave unused and still have. The counters of the paper allow none, so that of
/// a few calls that come together all but the first stand behind those of a tenant that always waits. With a few, what a tenant
/// below its share sends goes through at once, and nobody is ahead of another by more than this.
const CREDIT_CALLS: u64 = 8;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) to: oneshot::Sender<Slot>,
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) since: Instant,
}

/// One tenant.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) tenant: TenantId,
    pub(super) weight: u32,
    pub(super) running: u32,
    /// By order of arrival.
    pub(super) waiting: BTreeMap<u64, Waiter>,
    /// What its calls came to lately, in tokens of output.
    pub(super) usual_output: Option<u64>,
    /// Tokens it was served, weighted.
    pub(super) served: u64,
    virtual_time: VirtualTime,
    last_turn: u64,
}

/// Of those with the same virtual time, the one whose turn is longer ago goes first.
type Turn = (VirtualTime, u64, usize);

/// All tenants of a band.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_tenant: HashMap<TenantId, usize>,
    all: Vec<Option<Share>>,
    free: Vec<usize>,
    /// Those who have calls waiting.
    turns: BTreeSet<Turn>,
    /// The weights of those who have calls waiting.
    weight_waiting: u64,
    waiting: u32,
    /// How far the band is: where the last turn began, or ended if nobody waited then.
    virtual_time: VirtualTime,
    turn: u64,
    /// What a call costs: a moving average of what calls came to, of what is expected until the first has.
    usual_cost: u64,
    is_cost_known: bool,
    /// What calls of all tenants came to lately, in tokens of output.
    usual_output: Option<u64>,
    arrivals: u64,
    forget_at: usize,
}

impl Shares {
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Share> {
        self.all.iter().flatten()
    }

    pub(super) fn get(&self, share: usize) -> Option<&Share> {
        self.all.get(share)?.as_ref()
    }

    /// The tenant's place in the band; a new one where it has none.
    pub(super) fn of(&mut self, tenant: &TenantId, weight: u32) -> usize {
        if let Some(&known) = self.by_tenant.get(tenant) {
            self.set_weight(known, weight);
            return known;
        }
        if self.by_tenant.len() >= self.forget_at.max(64) {
            self.forget_the_idle();
        }
        let share = Share {
            tenant: tenant.clone(),
            weight,
            running: 0,
            waiting: BTreeMap::new(),
            usual_output: None,
            served: 0,
            virtual_time: 0,
            last_turn: 0,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        self.all[place] = Some(share);
        self.by_tenant.insert(tenant.clone(), place);
        place
    }

    /// Calls that start before one of `share` that comes now, itself included, if all who wait go on waiting.
    pub(super) fn turns_until(&self, share: usize) -> u64 {
        let Some(share) = self.get(share) else { return 1 };
        let own = share.waiting.len() as u64 + 1;
        let mut weights = self.weight_waiting;
        if share.waiting.is_empty() {
            weights += u64::from(share.weight);
        }
        // Others get `weights / weight` turns for each of its own, but never more than there are calls.
        (own.saturating_mul(weights) / u64::from(share.weight)).min(u64::from(self.waiting) + 1)
    }

    /// As [`Self::turns_until`], until one of `share` that waits already starts.
    pub(super) fn turns_of_one(&self, share: usize) -> u64 {
        self.get(share).map_or(1, |share| (self.weight_waiting / u64::from(share.weight)).max(1))
    }

    /// A call starts to wait.
    pub(super) fn push(&mut self, place: usize, waiter: Waiter) -> u64 {
        let credit = self.usual_cost.saturating_mul(CREDIT_CALLS);
        self.lift(place, credit);
        self.arrivals += 1;
        let arrival = self.arrivals;
        if let Some(share) = self.all[place].as_mut() {
            if share.waiting.is_empty() {
                self.turns.insert((share.virtual_time, share.last_turn, place));
                self.weight_waiting += u64::from(share.weight);
            }
            share.waiting.insert(arrival, waiter);
            self.waiting += 1;
        }
        arrival
    }

    /// A call stops waiting; false when it does not wait any more.
    pub(super) fn remove(&mut self, place: usize, arrival: u64) -> bool {
        let Some(share) = self.all.get_mut(place).and_then(Option::as_mut) else { return false };
        if share.waiting.remove(&arrival).is_none() {
            return false;
        }
        self.waiting -= 1;
        if share.waiting.is_empty() {
            self.turns.remove(&(share.virtual_time, share.last_turn, place));
            self.weight_waiting -= u64::from(share.weight);
        }
        true
    }

    /// The tokens of the call whose turn it is: input and expected output.
    pub(super) fn peek(&self) -> Option<(u64, u64)> {
        let &(_, _, place) = self.turns.first()?;
        let (_, waiter) = self.get(place)?.waiting.first_key_value()?;
        Some((waiter.input, waiter.output))
    }

    /// The call whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(usize, Waiter)> {
        let (time, turn, place) = self.turns.pop_first()?;
        let share = self.all[place].as_mut()?;
        let (_, waiter) = share.waiting.pop_first()?;
        self.waiting -= 1;
        if share.waiting.is_empty() {
            self.weight_waiting -= u64::from(share.weight);
        } else {
            self.turns.insert((time, turn, place));
        }
        Some((place, waiter))
    }

    /// A call of `place` starts, and `cost` weighted tokens are charged.
    pub(super) fn start(&mut self, place: usize, cost: u64) {
        self.turn += 1;
        let turn = self.turn;
        if !self.is_cost_known {
            self.cost_was(cost);
        }
        let Some(share) = self.all[place].as_mut() else { return };
        let before = (share.virtual_time, share.last_turn, place);
        share.running += 1;
        share.served = share.served.saturating_add(cost);
        share.virtual_time += scaled(cost, share.weight);
        share.last_turn = turn;
        // While nobody waits, whoever comes is where the last one is.
        let reached = if self.turns.is_empty() { share.virtual_time } else { before.0 };
        self.virtual_time = self.virtual_time.max(reached);
        self.moved(place, before);
    }

    /// The charge of a call, made under `weight`, becomes `now` instead of `before`. What is given back leads no further behind
    /// the others than leaving a share unused does: of calls that were taken to be far longer than they are, all that came
    /// meanwhile were put behind as many, and would wait until their tenant had used up what it got back.
    pub(super) fn correct(&mut self, place: usize, weight: u32, before: u64, now: u64) {
        let (reached, credit) = (self.virtual_time, self.usual_cost.saturating_mul(CREDIT_CALLS));
        let Some(share) = self.all[place].as_mut() else { return };
        let turn = (share.virtual_time, share.last_turn, place);
        share.served = share.served.saturating_sub(before).saturating_add(now);
        let least = reached.saturating_sub(scaled(credit, share.weight)).min(share.virtual_time);
        let corrected = (share.virtual_time + scaled(now, weight)).saturating_sub(scaled(before, weight));
        share.virtual_time = corrected.max(least);
        self.moved(place, turn);
    }

    /// A call ends, with so many tokens of output and at this cost, if they are known.
    pub(super) fn finish(&mut self, place: usize, came_to: Option<(u64, u64)>) {
        let Some(share) = self.all[place].as_mut() else { return };
        share.running -= 1;
        let Some((output, cost)) = came_to else { return };
        share.usual_output = Some(average(share.usual_output, output, 8));
        self.usual_output = Some(average(self.usual_output, output, 16));
        if !self.is_cost_known {
            (self.is_cost_known, self.usual_cost) = (true, cost);
        }
        self.cost_was(cost);
    }

    /// What an answer to the tenant is taken to be long: as its last ones, or as those to others.
    pub(super) fn usual_output(&self, place: usize) -> Option<u64> {
        self.get(place).and_then(|share| share.usual_output).or(self.usual_output)
    }

    fn cost_was(&mut self, cost: u64) {
        let known = Some(self.usual_cost).filter(|usual| *usual > 0);
        self.usual_cost = average(known, cost, 16);
    }

    /// A call starts that need not wait: its tenant is where the others are.
    pub(super) fn join(&mut self, place: usize) {
        self.lift(place, 0);
    }

    /// Who comes anew starts where those who wait are, or `credit` weighted tokens before if it used less than its share.
    fn lift(&mut self, place: usize, credit: u64) {
        let floor = self.floor();
        if let Some(share) = self.all[place].as_mut()
            && share.waiting.is_empty()
        {
            share.virtual_time = share.virtual_time.max(floor.saturating_sub(scaled(credit, share.weight)));
        }
    }

    fn floor(&self) -> VirtualTime {
        self.turns.first().map_or(self.virtual_time, |&(time, _, _)| time)
    }

    fn moved(&mut self, place: usize, before: Turn) {
        if self.turns.remove(&before)
            && let Some(share) = self.get(place)
        {
            self.turns.insert((share.virtual_time, share.last_turn, place));
        }
    }

    fn set_weight(&mut self, place: usize, weight: u32) {
        if let Some(share) = self.all[place].as_mut()
            && share.weight != weight
        {
            if !share.waiting.is_empty() {
                self.weight_waiting = self.weight_waiting + u64::from(weight) - u64::from(share.weight);
            }
            share.weight = weight;
        }
    }

    /// Drops the tenants that would be lifted if they came back: nothing is known of them that would matter.
    fn forget_the_idle(&mut self) {
        let (floor, credit) = (self.floor(), self.usual_cost.saturating_mul(CREDIT_CALLS));
        for (place, entry) in self.all.iter_mut().enumerate() {
            if let Some(share) = entry
                && share.running == 0
                && share.waiting.is_empty()
                && share.virtual_time <= floor.saturating_sub(scaled(credit, share.weight))
            {
                self.by_tenant.remove(&share.tenant);
                self.free.push(place);
                *entry = None;
            }
        }
        // So that this is paid by those who came since.
        self.forget_at = self.by_tenant.len() * 2;
    }
}

/// A moving average: the newest counts one part in `parts`.
fn average(usual: Option<u64>, newest: u64, parts: u64) -> u64 {
    usual.map_or(newest, |usual| usual.saturating_mul(parts - 1).saturating_add(newest) / parts)
}

fn scaled(cost: u64, weight: u32) -> VirtualTime {
    (VirtualTime::from(cost) << 32) / VirtualTime::from(weight.max(1))
}

/// How long `waiter` has waited.
pub(super) fn waited(waiter: &Waiter, now: Instant) -> Duration {
    now.saturating_duration_since(waiter.since)
}
