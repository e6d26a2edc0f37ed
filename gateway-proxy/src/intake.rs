//! Taking in a client's body: of the right type, within its limit, and in time.

use crate::errors::Failure;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// A body over its limit is still read to its end for so long: a client that is cut off while sending may never read why.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bounds of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake {
    /// Most bytes.
    pub(crate) limit: usize,
    /// Longest pause between two pieces.
    pub(crate) pause: Duration,
}

/// Reads a JSON body.
pub(crate) async fn read_json_body(
    headers: &HeaderMap,
    mut body: Incoming,
    intake: Intake,
) -> Result<Bytes, Failure> {
    check_type(headers)?;
    if body.size_hint().lower() > intake.limit as u64 {
        // A client that waits for "100 Continue" has sent nothing yet and reads the refusal at once.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(Failure::BodyTooLarge { limit: intake.limit });
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = match timeout(intake.pause, body.frame()).await {
            Err(_elapsed) => return Err(Failure::SlowBody { after: intake.pause }),
            Ok(Some(Err(_broken))) => return Err(Failure::BrokenBody),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > intake.limit {
            discard(body).await;
            return Err(Failure::BodyTooLarge { limit: intake.limit });
        }
        // A body in one piece, the usual case, is not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn check_type(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if let Some(value) = headers.get(header::CONTENT_TYPE)
        && value.as_bytes().eq_ignore_ascii_case(b"application/json")
    {
        // The usual case, without a copy.
    } else {
        let got = text(header::CONTENT_TYPE).unwrap_or_default();
        let kind = essence(&got);
        if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
            return Err(Failure::ContentType { got: got.chars().take(100).collect() });
        }
    }
    match text(header::CONTENT_ENCODING) {
        Some(got) if essence(&got) != "identity" => {
            Err(Failure::ContentEncoding { got: got.chars().take(100).collect() })
        }
        _ => Ok(()),
    }
}

async fn discard(mut body: Incoming) {
    let until = Instant::now() + FAREWELL;
    while let Ok(Some(Ok(_))) = timeout_at(until, body.frame()).await {}
}
