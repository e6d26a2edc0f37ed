//! Taking in a client's body: of the right type, within its limit, and in time.

use crate::errors::Failure;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The body of a refused request is still taken for so long, and so many bytes of it: a client that is cut off while sending
/// may get a reset instead of the reason.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_BYTES: usize = 64 << 20;

/// A client's body, not read yet or in part.
#[derive(Debug)]
pub(crate) struct ClientBody {
    body: Incoming,
    /// The client waits for "100 Continue" before it sends anything, and reads a refusal at once.
    waits: bool,
}

impl ClientBody {
    /// The body of the request with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: Incoming) -> Self {
        Self { waits: headers.contains_key(header::EXPECT), body }
    }

    /// The next piece. It is what lets a waiting client send.
    async fn frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        self.waits = false;
        self.body.frame().await
    }

    /// Takes what is still on its way, within bounds and beside the answer, which goes out meanwhile.
    pub(crate) fn see_off(mut self) {
        if self.waits || self.body.is_end_stream() {
            return;
        }
        tokio::spawn(async move {
            let until = Instant::now() + FAREWELL;
            let mut left = FAREWELL_BYTES;
            while let Ok(Some(Ok(frame))) = timeout_at(until, self.body.frame()).await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    return;
                }
            }
        });
    }
}

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
    body: &mut ClientBody,
    intake: Intake,
) -> Result<Bytes, Failure> {
    check_type(headers)?;
    if body.body.size_hint().lower() > intake.limit as u64 {
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
            return Err(Failure::BodyTooLarge { limit: intake.limit });
        }
        // A body in one piece, the usual case, is not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
        if body.body.is_end_stream() {
            break;
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
