//! What must hold of the control database, whatever it stands on.

pub mod annotations;
pub mod audit;
pub mod documents;
pub mod experiments;
pub mod judging;
pub mod keys;
pub mod measurements;
pub mod opening;
pub mod pool;
pub mod prices;
pub mod prompts;
pub mod settings;
pub mod snapshots;
pub mod tenants;
pub mod users;
pub mod versions;
pub mod watching;
