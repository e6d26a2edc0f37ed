//! What can go wrong with the control database, sorted by what a caller can do about it.

use std::fmt::Display;

/// An error of the control database.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The URL of the database is not one we can open.
    #[error("control database URL: {0}")]
    Url(String),
    /// The database could not be opened or migrated.
    #[error("the control database could not be opened: {action}")]
    Open {
        /// What was being done.
        action: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The input is wrong; names the field, the value and what is expected.
    #[error("{field}: {value:?} is not valid, expected {expected}")]
    Invalid {
        /// The field at fault, such as `base_url`.
        field: &'static str,
        /// The value given, shortened; never a secret.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// A policy is wrong; names it, the field, the value and what is expected.
    #[error("{kind} {id:?}: {invalid}")]
    Policy {
        /// What it is, such as `plan`.
        kind: &'static str,
        /// Its name.
        id: String,
        /// The field and what is wrong with it.
        invalid: contracts::policy::InvalidPolicy,
    },
    /// It refers to something that does not exist.
    #[error("{kind} {id:?} refers to {to_kind} {to_id:?}, which does not exist")]
    Dangling {
        /// What was to be written.
        kind: &'static str,
        /// Its name.
        id: String,
        /// What it refers to, such as `model`.
        to_kind: &'static str,
        /// Its name.
        to_id: String,
    },
    /// It was changed since the caller looked.
    #[error("{kind} {id:?} is at revision {found}, not {expected} (0: it does not exist): read it again")]
    Stale {
        /// What was to be changed.
        kind: &'static str,
        /// Its name.
        id: String,
        /// The revision that the caller has seen; 0 for none.
        expected: u64,
        /// The revision that is there; 0 for none.
        found: u64,
    },
    /// A price is wrong; names the entry, the field and what is expected.
    #[error(transparent)]
    Price(#[from] contracts::price::InvalidPrice),
    /// There is no such thing.
    #[error("{kind} {id:?} does not exist")]
    NotFound {
        /// What was looked for, such as `tenant`.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// There is already one of that id.
    #[error("{kind} {id:?} already exists")]
    Exists {
        /// What was to be created.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// It cannot be removed while something else refers to it.
    #[error("{kind} {id:?} is in use by {users}: remove these first")]
    InUse {
        /// What was to be removed.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What refers to it, such as `3 keys, 1 route`.
        users: String,
    },
    /// The system gave no randomness.
    #[error("the system's random number generator failed: {0}")]
    Random(String),
    /// A password could not be hashed or checked.
    #[error("password hashing failed: {0}")]
    Password(String),
    /// A stored row does not parse: written by a newer version, or damaged.
    #[error("the control database holds a {kind} {id:?} that cannot be read: {reason}")]
    Corrupt {
        /// What kind of row.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed: it is down, locked for too long, or out of space.
    #[error("the control database failed: {action}")]
    Database {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: sqlx::Error,
    },
}

impl ControlError {
    /// Shortens what a caller sent, so that an error never repeats a megabyte of it.
    pub(crate) fn invalid(field: &'static str, value: &str, expected: impl Into<String>) -> Self {
        Self::Invalid { field, value: value.chars().take(160).collect(), expected: expected.into() }
    }

    pub(crate) fn policy(
        kind: &'static str,
        id: impl Display,
        invalid: contracts::policy::InvalidPolicy,
    ) -> Self {
        Self::Policy { kind, id: id.to_string(), invalid }
    }

    pub(crate) fn not_found(kind: &'static str, id: impl Display) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    pub(crate) fn exists(kind: &'static str, id: impl Display) -> Self {
        Self::Exists { kind, id: id.to_string() }
    }

    pub(crate) fn corrupt(kind: &'static str, id: impl Display, reason: impl Display) -> Self {
        Self::Corrupt { kind, id: id.to_string(), reason: reason.to_string() }
    }
}
