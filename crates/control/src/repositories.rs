//! One repository per kind of thing. All share one way of working: a change validates its input, takes the write lock
//! (see `Db::write`), checks what must hold, writes, and commits with what the audit log is to say (see `Db::commit`); so a refusal leaves
//! neither a row nor a new version.

mod admin_keys;
mod annotations;
mod audit;
mod caches;
mod documents;
mod experiments;
mod judging;
mod keys;
mod measurements;
mod models;
mod prices;
mod prompts;
mod providers;
mod references;
mod routes;
mod row;
mod sessions;
mod settings;
mod tenants;
mod users;

pub use admin_keys::AdminKeys;
pub use annotations::Annotations;
pub use audit::Audit;
pub use caches::Caches;
pub use documents::Documents;
pub use experiments::Experiments;
pub use judging::Judging;
pub use keys::ApiKeys;
pub use measurements::Measurements;
pub use models::Models;
pub use prices::{PriceChanges, Prices};
pub use prompts::Prompts;
pub use providers::Providers;
pub use routes::Routes;
pub use sessions::Sessions;
pub use settings::Settings;
pub use tenants::Tenants;
pub use users::Users;

pub(crate) use admin_keys::all as all_admin_keys;
pub(crate) use audit::Change;
pub(crate) use documents::{DocumentRow, all as all_documents};
pub(crate) use keys::all as all_keys;
pub(crate) use measurements::{MeasuredRow, all as all_measured, mark as measured_mark};
pub(crate) use models::all as all_models;
pub(crate) use prices::{all as all_prices, book as price_book};
pub(crate) use prompts::{PromptRow, all as all_prompts, given as all_given};
pub(crate) use providers::all as all_providers;
pub(crate) use references::{Noted, all as all_references};
pub(crate) use routes::all as all_routes;
pub(crate) use tenants::all as all_tenants;

/// Declares a repository: a handle on the database.
macro_rules! repository {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            db: crate::database::Db,
        }

        impl $name {
            pub(crate) fn new(db: crate::database::Db) -> Self {
                Self { db }
            }
        }
    };
}
pub(crate) use repository;
