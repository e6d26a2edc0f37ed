//! Identifiers: short texts with a type each, so that a key can never be passed where a tenant is meant.
//!
//! An id is 1 to 128 characters of `A–Z a–z 0–9 . _ : / -`: it is safe in a URL path segment once percent-encoded, in a
//! header, in a label and in SQL parameters. Cloning is a reference count.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: expected 1 to 128 characters of A-Z a-z 0-9 . _ : / -")]
pub struct InvalidId {
    kind: &'static str,
    value: String,
}

fn parse(kind: &'static str, text: &str) -> Result<Arc<str>, InvalidId> {
    let valid = (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'/' | b'-'));
    if valid { Ok(text.into()) } else { Err(InvalidId { kind, value: text.chars().take(160).collect() }) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse($kind, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

id!(
    /// A tenant: the unit of isolation, of budgets and of billing.
    TenantId,
    "tenant id"
);
id!(
    /// An API key's public id; never its secret.
    KeyId,
    "key id"
);
id!(
    /// A provider of models, such as `openai`, `anthropic` or `vllm-eu-1`.
    ProviderId,
    "provider id"
);
id!(
    /// A model as clients name it, such as `gpt-4o-mini` or `acme/support-bot`.
    ModelName,
    "model name"
);
id!(
    /// An organisation: tenants that share budgets.
    OrganisationId,
    "organisation id"
);
id!(
    /// A policy document or a prompt, such as `gold` or `support/greeting`.
    PolicyName,
    "policy name"
);
id!(
    /// One client request, as returned in `x-request-id`.
    RequestId,
    "request id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_round_trips_through_json() {
        let id: TenantId = "acme-eu".parse().unwrap();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"acme-eu\"");
        assert_eq!(serde_json::from_str::<TenantId>(&json).unwrap(), id);
    }

    #[test]
    fn a_bad_id_names_the_kind_the_value_and_what_is_expected() {
        let error = "acme corp".parse::<TenantId>().unwrap_err().to_string();
        assert!(
            error.contains("tenant id") && error.contains("acme corp") && error.contains("1 to 128"),
            "{error}"
        );
        assert!("".parse::<KeyId>().is_err());
        assert!("x".repeat(129).parse::<KeyId>().is_err());
    }
}
