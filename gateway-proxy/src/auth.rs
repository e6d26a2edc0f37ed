//! From the key in a header to the key's policy, by memory alone.

use crate::errors::Failure;
use contracts::Timestamp;
use contracts::policy::{KeyPolicy, Snapshot};
use http::{HeaderMap, header};
use std::sync::Arc;

/// The policy of the key that `headers` carry, if it works at `now`. The secret is hashed whatever it is, and only its hash
/// is looked up: how long this takes says nothing about other secrets.
pub(crate) fn authenticate(
    snapshot: &Snapshot,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Arc<KeyPolicy>, Failure> {
    let secret = secret(headers)?;
    let hash = control::secrets::hash(secret);
    let key = snapshot.keys.get(&hash).ok_or_else(|| Failure::WrongKey { shown: shown(secret) })?;
    if key.revoked_at.is_some_and(|at| at <= now) {
        return Err(Failure::RevokedKey { id: key.id.to_string() });
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(Failure::ExpiredKey { id: key.id.to_string() });
    }
    Ok(key.clone())
}

/// Whether `headers` carry an admin key. One of a tenant's that works does not do.
pub(crate) fn administers(snapshot: &Snapshot, headers: &HeaderMap, now: Timestamp) -> Result<(), Failure> {
    if snapshot.admin_keys.contains(&control::secrets::hash(secret(headers)?)) {
        return Ok(());
    }
    let key = authenticate(snapshot, headers, now)?;
    Err(Failure::NotAdmin { key: key.id.to_string() })
}

/// The secret in `Authorization: Bearer …`, or in the header of its own that Anthropic's SDKs send.
fn secret(headers: &HeaderMap) -> Result<&str, Failure> {
    let secret = match (headers.get(header::AUTHORIZATION), headers.get("x-api-key")) {
        (Some(value), _) => {
            let text = value.to_str().map_err(|_| Failure::MalformedKey)?;
            let (scheme, secret) = text.split_once(' ').ok_or(Failure::MalformedKey)?;
            if scheme.eq_ignore_ascii_case("bearer") { secret.trim() } else { "" }
        }
        (None, Some(value)) => value.to_str().map_err(|_| Failure::MalformedKey)?.trim(),
        (None, None) => return Err(Failure::NoKey),
    };
    if secret.is_empty() { Err(Failure::MalformedKey) } else { Ok(secret) }
}

/// Enough of a secret to recognise it by, and no more: its ends, when it is long enough to have some.
fn shown(secret: &str) -> String {
    let chars: Vec<char> = secret.chars().take(256).collect();
    if chars.len() < 16 {
        return "***".into();
    }
    let (start, end) = (&chars[..4], &chars[chars.len() - 4..]);
    format!("{}***{}", start.iter().collect::<String>(), end.iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_its_ends_only() {
        assert_eq!(shown("short"), "***");
        assert_eq!(shown("ct-0123456789abcdef"), "ct-0***cdef");
    }
}
