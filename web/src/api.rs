//! How pages get their data: the same functions on both sides. On the server they read directly, with the viewer of the
//! request; in the browser they ask `/api/v1/`, which ends in the very same reads.

#[cfg(not(feature = "ssr"))]
mod browser;
mod call;
mod calls;
mod create_key;
mod facets;
mod keys;
mod me;
mod models;
mod overview;
pub mod problem;
mod revoke_key;
mod signals;
pub mod types;

pub use call::call;
pub use calls::calls;
pub use create_key::create_key;
pub use facets::facets;
pub use keys::keys;
pub use me::me;
pub use models::models;
pub use overview::overview;
pub use problem::Problem;
pub use revoke_key::revoke_key;
pub use signals::signals;
