//! The shared vocabulary of Control Tower: what crosses a crate, a process or the wire has its name and type here.
//!
//! No I/O and nothing of ours below it; it builds for wasm, so the console speaks of money, tokens and calls in the
//! same types as the gateway that produced them.

pub mod api_error;
pub mod attributes;
pub mod ids;
pub mod live;
pub mod money;
pub mod outcomes;
pub mod policy;
pub mod price;
pub mod reads;
pub mod time;
pub mod usage;
pub mod verdict;

pub use api_error::{ApiError, Fault};
pub use ids::{KeyId, ModelName, OrganisationId, PolicyName, ProviderId, RequestId, TenantId};
pub use money::{Decimal, Usd};
pub use time::Timestamp;
pub use usage::{TokenUsage, UsageSource};
pub use verdict::{SubjectRef, Verdict};
