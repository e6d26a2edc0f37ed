//! The name of a model on the Hub: `owner/name`, or `owner/name@revision`.

use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// A model on the Hub, at a revision: a branch, a tag or a commit; `main` unless another is named.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HubId {
    owner: String,
    name: String,
    revision: String,
}

/// A text that names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no model of the Hub: expected owner/name or owner/name@revision, each of A-Z a-z 0-9 . _ -, such as \
     sentence-transformers/all-MiniLM-L6-v2 (a directory belongs into model_dir)"
)]
pub struct InvalidHubId(String);

impl HubId {
    /// Without the revision, as it stands in URLs.
    pub(super) fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    pub(super) fn revision(&self) -> &str {
        &self.revision
    }

    /// The directory that it is kept in.
    pub(super) fn directory(&self) -> String {
        format!("{}--{}@{}", self.owner, self.name, self.revision)
    }
}

impl FromStr for HubId {
    type Err = InvalidHubId;

    fn from_str(text: &str) -> Result<Self, InvalidHubId> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = repository.split_once('/').unwrap_or(("", repository));
        // They become parts of paths: none may lead out of its directory.
        let is_part = |part: &str| {
            (1..=96).contains(&part.len())
                && !part.starts_with(['.', '-'])
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if ![owner, name, revision].into_iter().all(is_part) {
            return Err(InvalidHubId(text.chars().take(200).collect()));
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned(), revision: revision.to_owned() })
    }
}

impl TryFrom<String> for HubId {
    type Error = InvalidHubId;

    fn try_from(text: String) -> Result<Self, InvalidHubId> {
        text.parse()
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.owner, self.name, self.revision)
    }
}
