//! Grounded or not, useful or not, at what price.
//!
//! Production calls: `online` claims calls that nobody has judged from ClickHouse, in chunks under a lease, and lets every
//! configured judge of [`judges`] look at them; verdicts go back as events, from which ClickHouse makes the table
//! `evaluations`. `api` serves the same judges synchronously, and the annotation queue by which people check the judges; `drift`
//! tells when the two part.
//!
//! Releases: [`datasets`] are truth sets, [`runs`] puts them through the gateway and judges what comes back,
//! [`experiments`] compares arms in production, `measuring` tells gateways how the arms of adaptive experiments do, and [`stats`] is the arithmetic under both. [`outcomes`] ties verdicts and
//! costs to what calls were good for.
//!
//! [`hub`] fetches the embedder's weights where the configuration names a model of a hub.
//!
//! It meets the other roles in databases and on the wire only.

mod api;
mod config;
pub mod datasets;
mod drift;
pub mod experiments;
mod https;
pub mod hub;
pub mod judges;
mod measuring;
mod online;
pub mod outcomes;
mod run;
pub mod runs;
pub mod stats;

pub use config::Config;
pub use run::run;
