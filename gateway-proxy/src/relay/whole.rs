//! Answers that are not streamed: read to their end, understood, passed on as they are.

use crate::config::Timeouts;
use crate::errors::{Failure, class_of_status};
use crate::gather::Gathered;
use crate::upstream::{AnswerBody, Late};
use bytes::Bytes;
use contracts::{ApiError, Fault};
use http_body::Body as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

/// Text of a foreign error that is passed on within ours, characters.
const EXCERPT: usize = 300;

/// Reads an answer to its end. `until` ends the wait for all of it, which is `total` after the call's start; `idle` the wait for each
/// piece.
pub(crate) async fn collect(
    body: &mut AnswerBody,
    limit: usize,
    timeouts: &Timeouts,
    until: Instant,
) -> Result<Bytes, Failure> {
    let (idle, total) = (timeouts.idle(), timeouts.total());
    let too_large = || Failure::AnswerTooLarge { limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut gathered = Gathered::default();
    loop {
        let wait = (Instant::now() + idle).min(until);
        let frame = match body.frame_by(wait).await {
            Err(Late) if wait == until => {
                return Err(Failure::Timeout { what: "end of its answer", after: total });
            }
            Err(Late) => {
                return Err(Failure::Timeout { what: "further piece of its answer", after: idle });
            }
            Ok(Some(Err(_broken))) => return Err(Failure::Cut),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
        };
        let Ok(data) = frame.into_data() else { continue };
        if gathered.len() + data.len() > limit {
            return Err(too_large());
        }
        gathered.push(data);
        if body.is_end_stream() {
            break;
        }
    }
    Ok(gathered.finish())
}

/// What an upstream's error answer becomes.
#[derive(Debug)]
pub(crate) enum Whole {
    /// It has OpenAI's shape: it goes on as it is.
    AsIs,
    /// It has not: the client gets our words for it.
    Wrapped(ApiError),
}

impl Whole {
    /// Judges an error answer (status 400 and up).
    pub(crate) fn of_error(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<&RawValue>(body).ok() {
            Some(_) if has_error(body) => Self::AsIs,
            Some(_) => Self::Wrapped(wrapped(status, status, body)),
            None if status < 500 => Self::Wrapped(wrapped(status, status, body)),
            None => Self::Wrapped(wrapped(502, status, body)),
        }
    }
}

/// Whether JSON is an object with an `error`.
fn has_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        error: Option<&'a RawValue>,
    }
    let is_object = body.trim_ascii_start().starts_with(b"{");
    is_object && serde_json::from_slice::<Fields<'_>>(body).is_ok_and(|fields| fields.error.is_some())
}

fn wrapped(status: u16, theirs: u16, body: &[u8]) -> ApiError {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)]);
    let excerpt: String = text.trim().chars().take(EXCERPT).collect();
    let said = if excerpt.is_empty() { "an empty body".into() } else { format!("{excerpt:?}") };
    ApiError {
        status,
        kind: "upstream_error",
        code: Some(if status == 502 { "upstream_invalid_response" } else { class_of_status(status) }),
        param: None,
        message: format!("the model's server answered {theirs} with {said}"),
        fault: Fault::Upstream,
        retryable: status == 429 || status >= 500,
        retry_after_seconds: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openais_shape_passes_and_anything_else_is_wrapped() {
        assert!(matches!(Whole::of_error(429, br#"{"error":{"message":"slow down"}}"#), Whole::AsIs));
        for (status, body, expected) in [
            (503, "<html>down</html>".as_bytes(), 502),
            (500, b"", 502),
            (500, b"\xff\xfe", 502),
            (404, b"not here", 404),
            (422, br#"{"detail":"bad"}"#, 422),
            (500, br#"{"detail":"bad"}"#, 500),
        ] {
            let Whole::Wrapped(error) = Whole::of_error(status, body) else { panic!("{status} passed") };
            assert_eq!((error.status, error.fault), (expected, Fault::Upstream));
            assert!(error.message.contains(&status.to_string()), "{}", error.message);
        }
    }
}
