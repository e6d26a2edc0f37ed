//! Who makes a change, as the audit log names it.

use crate::records::{AdminKey, User};
use std::fmt;
use std::sync::Arc;

/// Who makes a change: the id of an admin key or of a user, or a part of the tower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(Arc<str>);

impl Actor {
    /// Somebody at the command line, who can open the database.
    pub fn cli() -> Self {
        Self("cli".into())
    }

    /// The supervisor, when it makes what a tower needs.
    pub fn up() -> Self {
        Self("up".into())
    }

    /// A role that acts for nobody.
    pub fn system() -> Self {
        Self("system".into())
    }

    /// Whoever holds an admin key.
    pub fn admin_key(key: &AdminKey) -> Self {
        Self(key.id.as_str().into())
    }

    /// A user of the console.
    pub fn user(user: &User) -> Self {
        Self(user.id.as_str().into())
    }

    /// As it is noted: `cli`, `up`, `system`, `adm_…` or `usr_…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
