//! Addresses that keep failing to authenticate are made to wait.
//!
//! Only failures count, so that whoever has a valid key is never slowed down by it. An address is an IPv4 address or the /64 of an
//! IPv6 one, which is what one subscriber has.
//!
//! Memory is bounded and taken at once: 65,536 addresses in sets of eight. An address that comes new to a full set takes the
//! place of the one there that is soonest free to fail again. So an attacker with very many addresses can have some forgotten,
//! but the worst of them last, and whose set it is that an address falls into depends on a secret of the process. What it cannot
//! do is to use memory, or to have an address refused that did not fail.

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The failures of all addresses.
#[derive(Debug)]
pub struct Flood {
    limiter: RateLimiter<Look, Table, TokioClock, NoOpMiddleware<Moment>>,
    table: Table,
    /// What the limiter counts its nanoseconds from, if not a little later.
    began: Instant,
}

/// How full the table is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FloodView {
    /// Addresses that failed and have something to answer for.
    pub addresses: usize,
    /// Those of them that have to wait.
    pub held_up: usize,
    /// Most addresses that are remembered.
    pub capacity: usize,
}

const SETS: usize = 8_192;
const WAYS: usize = 8;

/// Sets are locked apart from each other.
#[derive(Debug, Clone)]
struct Table {
    sets: Arc<[Mutex<[Entry; WAYS]>]>,
    hasher: RandomState,
}

/// An address and when it will have nothing to answer for, in nanoseconds of the limiter; 0 is free.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    prefix: u128,
    until: u64,
}

/// What is asked of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Look {
    prefix: u128,
    /// Whether this is a failure, rather than the question whether there may be one.
    counts: bool,
}

impl Flood {
    /// Each address may fail `per_minute` times at once, and gets them back evenly in a minute.
    pub fn new(per_minute: NonZeroU32) -> Self {
        let table = Table {
            sets: (0..SETS).map(|_| Mutex::new([Entry::default(); WAYS])).collect(),
            hasher: RandomState::new(),
        };
        let began = Instant::now();
        let limiter = RateLimiter::new(Quota::per_minute(per_minute), table.clone(), TokioClock);
        Self { limiter, table, began }
    }

    /// How full it is. Looks at everything: for people who ask now and then.
    pub fn view(&self) -> FloodView {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut known: Vec<u128> = Vec::new();
        for set in self.table.sets.iter() {
            let set = set.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(set.iter().filter(|entry| entry.until > now).map(|entry| entry.prefix));
        }
        let held_up =
            known.iter().filter(|prefix| self.look(Look { prefix: **prefix, counts: false }).is_err());
        FloodView { addresses: known.len(), held_up: held_up.count(), capacity: SETS * WAYS }
    }

    /// Whether a call from `address` may try to authenticate; if not, after how long it may. To be asked before a key is looked up.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        self.look(Look { prefix: prefix(address), counts: false })
    }

    /// A call from `address` failed to authenticate.
    pub fn failed(&self, address: IpAddr) {
        // What is beyond the limit does not count: many failures must not keep a neighbour behind the same address out for longer.
        let _beyond = self.look(Look { prefix: prefix(address), counts: true });
    }

    fn look(&self, look: Look) -> Result<(), Duration> {
        let now = TokioClock.now();
        self.limiter.check_key(&look).map_err(|until| until.wait_time_from(now))
    }
}

impl Default for Flood {
    /// Sixty failures a minute: far more than somebody who mistyped a key, far fewer than somebody who guesses.
    fn default() -> Self {
        Self::new(NonZeroU32::MIN.saturating_add(59))
    }
}

impl StateStore for Table {
    type Key = Look;

    fn measure_and_replace<T, F, E>(&self, look: &Look, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let set = usize::try_from(self.hasher.hash_one(look.prefix) % SETS as u64).unwrap_or_default();
        let mut set = self.sets[set].lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().position(|entry| entry.until > 0 && entry.prefix == look.prefix);
        let before = known.map(|way| Nanos::from(set[way].until));
        let (answer, until) = decide(before)?;
        if look.counts {
            let soonest = (0..WAYS).min_by_key(|way| set[*way].until).unwrap_or_default();
            set[known.unwrap_or(soonest)] = Entry { prefix: look.prefix, until: until.as_u64() };
        }
        Ok(answer)
    }
}

/// What counts as one address.
fn prefix(address: IpAddr) -> u128 {
    match address.to_canonical() {
        // As IPv6 writes it, so that it is no /64 of anybody.
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

/// Tokio's clock, which tests can stop.
#[derive(Debug, Clone, Copy)]
struct TokioClock;

/// A time on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl Clock for TokioClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

impl std::ops::Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0 + Duration::from(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn v4(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    fn flood(per_minute: u32) -> Flood {
        Flood::new(NonZeroU32::new(per_minute).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_count() {
        let flood = flood(3);
        for _ in 0..1_000 {
            assert_eq!(flood.check(v4(1)), Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(flood.check(v4(1)), Ok(()));
            flood.failed(v4(1));
        }
        assert_eq!(flood.check(v4(2)), Ok(()));
        flood.failed(v4(2));
        assert_eq!(flood.view(), FloodView { addresses: 2, held_up: 1, capacity: 65_536 });
        let wait = flood.check(v4(1)).unwrap_err();
        assert_eq!(wait, Duration::from_secs(20));
        // What is refused anyhow does not make it longer.
        flood.failed(v4(1));
        assert_eq!(flood.check(v4(1)), Err(wait));
        advance(wait).await;
        assert_eq!(flood.check(v4(1)), Ok(()));
        flood.failed(v4(1));
        assert!(flood.check(v4(1)).is_err());
        advance(Duration::from_mins(1)).await;
        assert_eq!(flood.view(), FloodView { addresses: 0, held_up: 0, capacity: 65_536 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_is_one_address() {
        let flood = flood(1);
        flood.failed("2001:db8:1:2::1".parse().unwrap());
        assert!(flood.check("2001:db8:1:2:ffff::9".parse().unwrap()).is_err());
        assert!(flood.check("2001:db8:1:3::1".parse().unwrap()).is_ok());
        flood.failed("10.0.0.1".parse().unwrap());
        assert!(flood.check("::ffff:10.0.0.1".parse().unwrap()).is_err());
        assert!(flood.check("10.0.0.2".parse().unwrap()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_use_no_more_memory_and_the_worst_is_remembered() {
        let flood = flood(10);
        for _ in 0..10 {
            flood.failed(v4(0));
        }
        for address in 1..300_000 {
            flood.failed(v4(address));
        }
        assert!(flood.check(v4(0)).is_err());
        assert!((1..300_000).all(|address| flood.check(v4(address)).is_ok()));
    }
}
