//! Deployments of a model: their health, their load, and which of them answers next.
//!
//! A [`Pool`] makes no calls. It is told what happened ([`Lease`], [`Pool::probed`], [`Pool::told`]) and decides: which deployment
//! a call goes to ([`Pool::pick`]), whether a failed one is tried again ([`Pool::after`]), and when one that takes long is sent a
//! second time ([`Pool::hedge_after`], [`Pool::hedge`]). Time is an argument and randomness comes from a seed, so that whole
//! outages can be played through in a test.
//!
//! What it knows of a deployment, and what each is good for:
//!
//! - the [breaker](Turn) puts out who fails, and tries again after a time that doubles;
//! - silence tells of who hangs: calls wait there and nobody is answered. It shows within a few usual times to first byte, long
//!   before a timeout, and such a deployment gets calls only when there is no other;
//! - latency, outstanding calls and what the server itself tells of its queue say who answers soonest;
//! - the prompt's beginning says who has it in its KV cache.
//!
//! One short mutex a pool. A choice looks at every deployment: with its reports it takes well below a microsecond where there are a
//! few, and some microseconds where there are dozens (`benches/pick.rs`). Nothing is allocated on the way of a call once the pool has seen
//! its usual number of calls at a time.

mod affinity;
mod breaker;
mod choose;
mod latency;
mod lease;
pub mod load;
mod outcome;
mod pool;
mod retry;
mod slot;
mod view;
mod waiting;
mod window;

pub use affinity::Affinity;
pub use breaker::{Turn, Why};
pub use choose::{Ask, Kind, Unavailable};
pub use lease::Lease;
pub use outcome::{Fault, Outcome};
pub use pool::{Change, Pool, Source};
pub use retry::{GiveUp, Retry, Tried};
pub use view::{DeploymentView, PoolView, State};
