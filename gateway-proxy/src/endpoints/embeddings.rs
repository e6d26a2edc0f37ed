//! `POST /v1/embeddings`. The vectors themselves are never read: only the model and the usage around them.

use super::{Endpoint, EventKind, done_style_error, openai_error, whole};
use crate::meter::{Answer, Text, usage};
use crate::request::{Field, Kind};
use crate::sse::Event;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub(crate) static EMBEDDINGS: Endpoint = Endpoint {
    path: "/v1/embeddings",
    upstream_path: "/embeddings",
    operation: "embeddings",
    span_name: "POST /v1/embeddings",
    prompt: "input",
    instructions: None,
    format: None,
    fields: FIELDS,
    dialect: None,
    max_output: &[],
    has_background: false,
    usage_on_request: false,
    read_answer,
    read_event,
    error_body: openai_error,
    error_event: done_style_error,
};

const FIELDS: &[Field] = &[
    Field::required("model", &[Kind::String]),
    Field::required("input", &[Kind::String, Kind::Array]),
    Field::optional("encoding_format", &[Kind::String]),
    Field::optional("dimensions", &[Kind::Integer]),
    Field::optional("user", &[Kind::String]),
];

#[derive(Deserialize)]
struct Embeddings<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[expect(dead_code, reason = "its presence tells an answer from something else")]
    data: IgnoredAny,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

fn read_answer(body: &Bytes) -> Option<Answer> {
    let embeddings: Embeddings<'_> = whole(body)?;
    let mut answer = Answer::named(None, embeddings.model, None);
    answer.usage = embeddings.usage.and_then(usage);
    Some(answer)
}

/// Embeddings are not streamed; should an upstream do so, its events pass unread.
fn read_event(_answer: &mut Answer, event: &Event<'_>) -> EventKind {
    if event.data() == b"[DONE]" { EventKind::End } else { EventKind::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_and_usage_are_read() {
        let body = Bytes::from_static(
            br#"{"object":"list","data":[{"embedding":[0.1,-2]}],"model":"e-1","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        );
        let answer = read_answer(&body).unwrap();
        assert_eq!((answer.model.as_deref(), answer.usage.unwrap().input), (Some("e-1"), 8));
    }
}
