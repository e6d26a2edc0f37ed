//! What every role of Control Tower stands on: configuration, clock, own metrics and health, logs, listeners, the HTTP
//! server and an orderly end.
//!
//! A role's life: [`config::load`] reads its settings once, [`telemetry::init`] sets up its logs, [`listen`] opens its
//! ports, [`serve()`] answers on them until [`Shutdown`] says otherwise, and [`health::router`] tells others how it fares.
//! With a [`RoleClient`] one asks another.

mod clock;
pub mod config;
pub mod health;
mod in_flight;
mod listen;
mod metrics;
mod role_client;
pub mod serve;
mod shutdown;
pub mod telemetry;
pub mod tls;

pub use clock::Clock;
pub use health::{Health, HealthHandle};
pub use in_flight::{InFlight, Room};
pub use listen::{ListenError, listen};
pub use metrics::Metrics;
pub use role_client::{RoleClient, Silence};
pub use serve::{ServeOptions, serve, serve_tls};
pub use shutdown::Shutdown;
pub use telemetry::LogFormat;
pub use tls::Tls;
