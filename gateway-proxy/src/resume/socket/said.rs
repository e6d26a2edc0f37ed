//! What goes over a socket, in both directions.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a client says.
#[derive(Debug)]
pub(super) enum Said {
    Create { path: String, body: Box<RawValue>, on_disconnect: Option<String> },
    Resume { stream: String, after: Option<u64> },
    Cancel,
}

/// The same as it comes. Not an enum with a tag: what such an enum reads first keeps no JSON as it was written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(rename = "type")]
    kind: Kind,
    path: Option<String>,
    body: Option<Box<RawValue>>,
    on_disconnect: Option<String>,
    stream: Option<String>,
    after: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Create,
    Resume,
    Cancel,
}

impl Said {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let fields: Fields = serde_json::from_str(text).map_err(|error| format!("message: {error}"))?;
        let missing = |name: &str| format!("{name}: required but missing");
        Ok(match fields.kind {
            Kind::Create => Self::Create {
                path: fields.path.ok_or_else(|| missing("path"))?,
                body: fields.body.ok_or_else(|| missing("body"))?,
                on_disconnect: fields.on_disconnect,
            },
            Kind::Resume => {
                Self::Resume { stream: fields.stream.ok_or_else(|| missing("stream"))?, after: fields.after }
            }
            Kind::Cancel => Self::Cancel,
        })
    }
}

/// What a client is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Told<'a> {
    Event { stream: &'a str, number: Option<u64>, event: Option<&'a str>, data: Data<'a> },
    End { stream: &'a str },
    Answer { status: u16, stream: &'a str, body: Data<'a> },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Data<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        serde_json::from_str(text).map_or(Self::Text(text), Self::Json)
    }
}
