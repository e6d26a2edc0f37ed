//! The control database: who may ask for which model, where it is served and what it costs.
//!
//! [`Control`] opens SQLite or PostgreSQL by URL and hands out repositories, one per kind of thing. Every change that the
//! serving roles must learn of bumps a version in the same transaction; [`Snapshots`] polls that version and holds the
//! newest [`contracts::policy::Snapshot`] in memory, so that the gateway never asks the database while it serves and
//! outlives it for hours.
//!
//! Time is handed in (`now`), so that tests own it.

mod actor;
mod compilers;
mod database;
mod error;
mod migrations;
mod passwords;
mod policies;
pub mod prices;
pub mod records;
pub mod repositories;
pub mod secrets;
mod snapshot;
mod validate;
mod watcher;

pub use actor::Actor;
pub use compilers::Compilers;
pub use database::Control;
pub use error::ControlError;
pub use repositories::{Annotations, Judging, Measurements};
pub use snapshot::{Effect, Loaded, Problem};
pub use watcher::{SnapshotHandle, SnapshotStatus, Snapshots};
