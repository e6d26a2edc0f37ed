//! `GET /v1/models` and `GET /v1/models/{id}`: the names that a key may ask for.

use crate::errors::Failure;
use contracts::ModelName;
use contracts::policy::{KeyPolicy, Snapshot};
use serde::Serialize;
use std::borrow::Cow;

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All names.
    All,
    /// This one; it may hold slashes, percent-encoded or not.
    One(String),
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: Cow<'a, str>,
    object: &'static str,
    /// Unix seconds.
    created: i64,
    owned_by: String,
}

impl Asked {
    /// The route, for metrics.
    pub(crate) const fn route(&self) -> &'static str {
        match self {
            Self::All => "/v1/models",
            Self::One(_) => "/v1/models/{id}",
        }
    }
}

/// Whether `path` is one of these endpoints.
pub(crate) fn asked(path: &str) -> Option<Asked> {
    match path.strip_prefix("/v1/models")? {
        "" | "/" => Some(Asked::All),
        rest => Some(Asked::One(decoded(rest.strip_prefix('/')?))),
    }
}

/// The JSON answer.
pub(crate) fn answer(snapshot: &Snapshot, key: &KeyPolicy, asked: &Asked) -> Result<String, Failure> {
    let json = match asked {
        Asked::All => {
            let names = snapshot.visible_names(key);
            let data = names.iter().filter_map(|name| model(snapshot, key, name.as_str())).collect();
            serde_json::to_string(&List { object: "list", data })
        }
        Asked::One(name) => {
            let unknown = || Failure::UnknownModel { model: name.chars().take(200).collect() };
            let parsed: ModelName = name.parse().map_err(|_| unknown())?;
            // A name that the key may not use does not exist for it.
            let found = model(snapshot, key, name).filter(|_| key.allows(&parsed)).ok_or_else(unknown)?;
            serde_json::to_string(&found)
        }
    };
    // Plain strings and numbers always serialise.
    json.map_err(|error| Failure::BadProvider(error.to_string()))
}

fn model<'a>(snapshot: &Snapshot, key: &KeyPolicy, name: &'a str) -> Option<Model<'a>> {
    let resolved = snapshot.resolve(&key.tenant.id, name)?;
    Some(Model {
        id: Cow::Borrowed(name),
        object: "model",
        created: resolved.model.created_at.unix_seconds(),
        owned_by: resolved.model.provider.id.to_string(),
    })
}

/// Percent-decoding; what is not valid stays as it is, and then names no model.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slashes_are_understood_both_ways() {
        assert_eq!(asked("/v1/models"), Some(Asked::All));
        assert_eq!(asked("/v1/models/acme/bot"), Some(Asked::One("acme/bot".into())));
        assert_eq!(asked("/v1/models/acme%2Fbot"), Some(Asked::One("acme/bot".into())));
        assert_eq!(asked("/v1/models/50%"), Some(Asked::One("50%".into())));
        assert_eq!(asked("/v1/modelsx"), None);
    }
}
