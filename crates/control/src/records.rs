//! The things the control database holds, as repositories return them and as the admin API and the command line show
//! them in JSON. Times are RFC 3339 texts in JSON.

mod access;
mod pool;
mod time_text;

pub use access::{
    AdminKey, ApiKey, ApiKeyChange, CreatedAdminKey, CreatedKey, CreatedSession, NewApiKey, NewUser, Role,
    Session, User, UserChange,
};
pub use pool::{
    Model, ModelChange, NewModel, NewProvider, NewRoute, NewTenant, Provider, ProviderChange, Route,
    SecretState, Tenant, TenantChange,
};
use serde::{Deserialize, Deserializer};
pub use time_text::{parse as parse_time, render as render_time};

/// Tells "leave it" (field absent) from "clear it" (`null`) from "set it" in a change.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
