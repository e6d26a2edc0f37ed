//! Who may call, how often and in what order: rate plans, and a fair queue before each pool of models.
//!
//! - [`rates`] holds every tenant and key to its plan;
//! - [`queue`] shares a pool's slots between bands and tenants;
//! - [`flood`] slows down addresses that keep failing to authenticate.

pub mod flood;
pub mod queue;
pub mod rates;
