//! The console's server: sessions, pages, the JSON read API and the admin API on one port.
//!
//! A request passes, outermost first: security headers, compression, then its route. Pages and `/api/v1/` want a session
//! or an admin key ([`identity`]); a change made with a cookie must also prove that it comes from our own pages
//! ([`origin`]). Whoever got in is a [`identity::Viewer`], and every read takes its scope from there: a tenant that a viewer may
//! not see does not exist for them.

mod api;
pub mod assets;
mod config;
mod errors;
mod headers;
mod identity;
mod openapi;
mod origin;
pub mod page;
pub mod reads;
mod run;
mod session;
mod sign_in;
mod state;
mod throttle;
mod warehouse_reads;

pub use config::Config;
pub use run::{router, run};
pub use state::{AppState, Parts};
