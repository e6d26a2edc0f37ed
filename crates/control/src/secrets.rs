//! Secrets: how keys are made and recognised, and where a provider's credential comes from.
//!
//! A key's secret is 256 random bits, so a plain SHA-256 of it is enough to recognise it and cannot be turned back; no
//! slow hash is needed, which keeps the check on the gateway's hot path below a microsecond. Passwords, which people
//! choose, are another matter: see `passwords`.

use crate::ControlError;
use contracts::policy::{KeyHash, Secret};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How much of a secret may be shown to tell keys apart: the mark and 8 of its 64 hex digits.
const SHOWN_DIGITS: usize = 8;

/// Secrets longer than this are not ours and not a provider's: reading stops here (64 KiB).
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// A fresh key: the only moment at which its secret exists here.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// `ct-` and 64 hex digits: 256 bits.
    pub secret: String,
    /// SHA-256 of `secret`; all that is stored of it.
    pub hash: KeyHash,
    /// `ct-` and the first 8 digits, to recognise the key in lists.
    pub prefix: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A fresh API key (`ct-…`).
pub fn generate_key() -> Result<NewKey, ControlError> {
    generate("ct-")
}

/// A fresh admin key (`ct-admin-…`).
pub fn generate_admin_key() -> Result<NewKey, ControlError> {
    generate("ct-admin-")
}

/// A fresh secret with a mark in front that tells what it is for, such as `ct-service-`.
pub fn generate(mark: &str) -> Result<NewKey, ControlError> {
    let secret = format!("{mark}{}", random_hex::<32>()?);
    Ok(NewKey { hash: hash(&secret), prefix: prefix(&secret, mark.len()), secret })
}

/// SHA-256 of a secret: what is stored and looked up.
pub fn hash(secret: &str) -> KeyHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// `N` random bytes as `2 N` hex digits.
pub fn random_hex<const N: usize>() -> Result<String, ControlError> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|error| ControlError::Random(error.to_string()))?;
    Ok(hex::encode(bytes))
}

/// The part of a secret that may be shown.
fn prefix(secret: &str, mark: usize) -> String {
    secret.chars().take(mark + SHOWN_DIGITS).collect()
}

/// Where a provider's credential comes from: `env:NAME`, `file:/path` or `literal:…`. Shown and serialised with the
/// literal hidden.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SecretRef {
    /// The value of an environment variable of the process that needs it.
    Env(String),
    /// The content of a file, surrounding white space removed.
    File(PathBuf),
    /// The secret itself, kept in the control database.
    Literal(Secret),
}

/// Why a secret reference yields no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnresolvedSecret {
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    EnvMissing(String),
    /// The variable holds nothing that an HTTP header could carry.
    #[error("environment variable {0} is empty or holds blanks or characters outside ASCII")]
    EnvUnusable(String),
    /// The file cannot be read.
    #[error("file {path} cannot be read: {reason}")]
    FileUnreadable {
        /// Which file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The file holds nothing that an HTTP header could carry.
    #[error("file {0} is empty, larger than 64 KiB, or holds blanks or characters outside ASCII")]
    FileUnusable(String),
}

impl SecretRef {
    /// The reference as it is stored, literal included.
    pub(crate) fn stored(&self) -> String {
        match self {
            Self::Env(name) => format!("env:{name}"),
            Self::File(path) => format!("file:{}", path.display()),
            Self::Literal(secret) => format!("literal:{}", secret.expose()),
        }
    }

    /// The secret it refers to, read now.
    pub fn resolve(&self) -> Result<Secret, UnresolvedSecret> {
        match self {
            Self::Env(name) => from_environment(name),
            Self::File(path) => from_file(path),
            Self::Literal(secret) => Ok(secret.clone()),
        }
    }
}

/// The one read of the environment outside configuration: the name comes from the control database, at run time.
fn from_environment(name: &str) -> Result<Secret, UnresolvedSecret> {
    let value = std::env::var_os(name).ok_or_else(|| UnresolvedSecret::EnvMissing(name.to_owned()))?;
    let usable = value.to_str().map(str::trim).filter(|text| is_usable(text));
    usable.map(Secret::new).ok_or_else(|| UnresolvedSecret::EnvUnusable(name.to_owned()))
}

/// Whether a text can be a credential: it goes into an HTTP header.
fn is_usable(secret: &str) -> bool {
    !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic())
}

fn from_file(path: &Path) -> Result<Secret, UnresolvedSecret> {
    let shown = || path.display().to_string();
    let unreadable =
        |error: std::io::Error| UnresolvedSecret::FileUnreadable { path: shown(), reason: error.to_string() };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_SECRET_FILE {
        return Err(UnresolvedSecret::FileUnusable(shown()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    match text.trim() {
        secret if is_usable(secret) => Ok(Secret::new(secret)),
        _ => Err(UnresolvedSecret::FileUnusable(shown())),
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("literal:(hidden)"),
            other => f.write_str(&other.stored()),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretRef({self})")
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

/// What a secret reference must look like; never repeats the text, which may be a secret pasted into the wrong field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("secret reference is not valid: expected env:NAME, file:/absolute/path or literal:SECRET")]
pub struct InvalidSecretRef;

impl TryFrom<String> for SecretRef {
    type Error = InvalidSecretRef;
    fn try_from(text: String) -> Result<Self, InvalidSecretRef> {
        text.parse()
    }
}

impl FromStr for SecretRef {
    type Err = InvalidSecretRef;
    fn from_str(text: &str) -> Result<Self, InvalidSecretRef> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidSecretRef)?;
        let name_ok = |name: &str| {
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
        };
        match scheme {
            "env" if name_ok(rest) => Ok(Self::Env(rest.to_owned())),
            "file" if rest.starts_with('/') && !rest.contains('\0') => Ok(Self::File(rest.into())),
            // A header value carries it, so no control characters; the hidden form must not be stored by a read-modify-write.
            "literal"
                if !rest.is_empty() && rest != "(hidden)" && rest.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Self::Literal(Secret::new(rest)))
            }
            _ => Err(InvalidSecretRef),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_have_256_bits_and_are_recognised_by_their_hash() {
        let (one, two) = (generate_key().unwrap(), generate_key().unwrap());
        assert_ne!(one.secret, two.secret);
        assert_eq!(one.secret.len(), 3 + 64);
        assert_eq!(one.hash, hash(&one.secret));
        assert_eq!(one.prefix, one.secret[..11]);
        assert!(!format!("{one:?}").contains(&one.secret[11..]));
        let admin = generate_admin_key().unwrap();
        assert!(admin.secret.starts_with("ct-admin-") && admin.prefix.len() == 17);
    }

    #[test]
    fn references_are_told_from_secrets() {
        assert_eq!("env:OPENAI_API_KEY".parse(), Ok(SecretRef::Env("OPENAI_API_KEY".into())));
        assert_eq!("file:/run/secrets/a b".parse(), Ok(SecretRef::File("/run/secrets/a b".into())));
        assert_eq!("literal:sk:1".parse(), Ok(SecretRef::Literal(Secret::new("sk:1"))));
        for bad in [
            "",
            "sk-123",
            "env:",
            "env:1A",
            "env:A B",
            "file:relative",
            "file:",
            "literal:",
            "literal:a b",
            "literal:(hidden)",
            "literal:a\nb",
            "vault:x",
        ] {
            assert_eq!(bad.parse::<SecretRef>(), Err(InvalidSecretRef), "{bad:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_a_header_yields_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let reference: SecretRef = format!("file:{}", path.display()).parse().unwrap();
        assert!(matches!(reference.resolve(), Err(UnresolvedSecret::FileUnreadable { .. })));
        std::fs::write(&path, "sk-1\r\n").unwrap();
        assert_eq!(reference.resolve().unwrap().expose(), "sk-1");
        for bad in ["", " \n", "two\nlines", "sch\u{f6}n", &"x".repeat(70_000)] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(reference.resolve(), Err(UnresolvedSecret::FileUnusable(_))), "{bad:.20}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_a_literal_never_shows(text in ".*", literal in "[!-~]{4,40}") {
            if let Ok(reference) = text.parse::<SecretRef>() {
                prop_assert_eq!(reference.stored().parse::<SecretRef>(), Ok(reference));
            }
            prop_assume!(!"SecretRef(literal:(hidden))".contains(&literal));
            let reference: SecretRef = format!("literal:{literal}").parse().unwrap();
            let shown = format!("{reference} {reference:?}");
            prop_assert!(!shown.contains(&literal));
            prop_assert!(!serde_json::to_string(&reference).unwrap().contains(&literal));
            prop_assert_eq!(reference.resolve(), Ok(Secret::new(&literal)));
        }
    }
}
