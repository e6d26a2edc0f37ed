//! Budgets: an amount is reserved before a call and settled after it, so that concurrent calls never overshoot a limit.
//!
//! A call is charged to several [`Accounts`] at once: those of its organisation, tenant, key, route and tags. [`Ledger::reserve`]
//! takes the most that the call can cost of each of them, or of none; the [`Hold`] then goes through `dispatch` (the prompt is
//! about to be sent) to `settle` or `release`. At every moment, for each account and window:
//!
//! > settled + held ≤ limit
//!
//! and what is held was never less than what the call costs, if the caller's estimate is an upper bound.
//!
//! Each gateway keeps books of its own (`books`), with a journal on disk (`journal`), which a `kill -9` does not harm: after it, what
//! was only reserved is released, and what was sent but not settled is charged in full, for the provider may have billed it.
//! On one machine the books are the ledger (`local`). Where several gateways share budgets, Redis adds the books up and
//! admits (`shared`).

mod account;
mod books;
mod hold;
mod journal;
mod ledger;
mod local;
mod metrics;
mod refused;
mod shared;

pub use account::{Account, Accounts, Origin, SoftPassed, Standing};
pub use books::Unaccounted;
pub use hold::{Hold, Settled};
pub use journal::{JournalOptions, OpenError, WhenGatewayDies};
pub use ledger::Ledger;
pub use metrics::{Count, Metrics};
pub use refused::{Exhausted, Refused, Unavailable};
pub use shared::{OpenSharedError, RedisOptions, WhenRedisIsAway, redis_client};

#[cfg(test)]
mod tests;
