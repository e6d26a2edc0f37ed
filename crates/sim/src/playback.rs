//! Sending an answer at the model's pace, or failing on the way as asked.
//!
//! The record of the call is closed just before the last byte is handed over. A client that leaves earlier drops the body,
//! and with it the open record, which then says how many tokens had been handed over.

use crate::behaviour::{Behaviour, Fault};
use crate::log::{Entry, Outcome};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use std::io;
use std::time::Duration;
use std::vec::IntoIter;
use tokio::time::Instant;

/// How long a connection is kept after the last byte before it is cut.
const CUT_DELAY: Duration = Duration::from_millis(20);

/// A piece of a stream, sent as one.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// Tokens that are out once it is sent, reasoning included.
    pub(crate) tokens: u64,
}

/// An answer, rendered.
#[derive(Debug)]
pub(crate) enum Rendered {
    /// One JSON document.
    Whole(Bytes),
    /// Events, in the protocol's framing.
    Stream(Events),
}

/// A stream, rendered.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) frames: Vec<Frame>,
    pub(crate) content_type: &'static str,
    /// How the protocol says that generation broke off.
    pub(crate) broken: Bytes,
}

impl Events {
    /// Server-sent events; `broken` is one that says that generation broke off.
    pub(crate) fn sse(frames: Vec<Frame>, broken: Bytes) -> Self {
        Self { frames, content_type: "text/event-stream; charset=utf-8", broken }
    }
}

/// Sends `rendered`, `total` tokens of it, from the request's arrival at `start`.
pub(crate) async fn play(
    rendered: Rendered,
    total: u64,
    behaviour: &Behaviour,
    start: Instant,
    entry: Entry,
) -> Response {
    match (rendered, behaviour.fault) {
        (_, Some(Fault::Hang)) => {
            let _open = entry;
            std::future::pending().await
        }
        (Rendered::Whole(bytes), fault) => {
            tokio::time::sleep_until(start + behaviour.due(total)).await;
            whole(bytes, total, fault, entry)
        }
        (Rendered::Stream(events), fault) => {
            let content_type = events.content_type;
            stream(with_fault(events, fault), content_type, behaviour.clone(), start, entry)
        }
    }
}

fn whole(bytes: Bytes, total: u64, fault: Option<Fault>, mut entry: Entry) -> Response {
    let half = bytes.len() / 2;
    let length = bytes.len();
    match fault {
        Some(Fault::Garbage) => {
            entry.close(Outcome::Garbage);
            let mut response = Response::new(Body::from("<html><body>502 Bad Gateway</body></html>"));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response
        }
        Some(Fault::Cut | Fault::Stall) => {
            let stall = fault == Some(Fault::Stall);
            let parts = vec![Step::Send(bytes.slice(..half), 0), if stall { Step::Stall } else { Step::Cut }];
            let body = Body::from_stream(steps(parts, Pace::default(), entry));
            let mut response = Response::new(body);
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            json(response)
        }
        _ => {
            entry.sent(total);
            entry.close(Outcome::Completed);
            json(Response::new(Body::from(bytes)))
        }
    }
}

fn json(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn stream(
    parts: Vec<Step>,
    content_type: &'static str,
    behaviour: Behaviour,
    start: Instant,
    entry: Entry,
) -> Response {
    let body = Body::from_stream(steps(parts, Pace(Some((behaviour, start))), entry));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// What happens next on the connection.
#[derive(Debug)]
enum Step {
    /// Bytes go out, then so many tokens are out.
    Send(Bytes, u64),
    /// The last bytes go out, and the call ended like this.
    Last(Bytes, u64, Outcome),
    /// The connection breaks.
    Cut,
    /// Nothing more, ever.
    Stall,
}

fn with_fault(events: Events, fault: Option<Fault>) -> Vec<Step> {
    let Events { frames, broken, .. } = events;
    let half = frames.len() / 2;
    let keep = if fault.is_some() { half } else { frames.len() };
    let last = frames.len().saturating_sub(1);
    let mut parts: Vec<Step> = frames
        .into_iter()
        .enumerate()
        .take(keep)
        .map(|(index, frame)| {
            if index == last {
                Step::Last(frame.bytes, frame.tokens, Outcome::Completed)
            } else {
                Step::Send(frame.bytes, frame.tokens)
            }
        })
        .collect();
    match fault {
        Some(Fault::Cut) => parts.push(Step::Cut),
        Some(Fault::Stall) => parts.push(Step::Stall),
        Some(Fault::Break) => parts.push(Step::Last(broken, 0, Outcome::Broken)),
        Some(Fault::Garbage) => {
            // An event that ends inside its JSON, then bytes that are neither UTF-8 nor an event.
            let bytes = Bytes::from_static(b"data: {\"id\": \"chatcmpl-\n\n\xff\xfe garbage \x80\n\n");
            parts.push(Step::Last(bytes, 0, Outcome::Garbage));
        }
        _ => {}
    }
    parts
}

/// When tokens are due; without a behaviour, at once.
#[derive(Debug, Default)]
struct Pace(Option<(Behaviour, Instant)>);

impl Pace {
    async fn wait(&self, tokens: u64) {
        if let Some((behaviour, start)) = &self.0 {
            let due = *start + behaviour.due(tokens);
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
        }
    }
}

struct Playing {
    parts: IntoIter<Step>,
    pace: Pace,
    entry: Entry,
}

fn steps(parts: Vec<Step>, pace: Pace, entry: Entry) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    let playing = Playing { parts: parts.into_iter(), pace, entry };
    futures_util::stream::unfold(playing, |mut playing| async move {
        let item = match playing.parts.next()? {
            Step::Send(bytes, tokens) => {
                playing.pace.wait(tokens).await;
                playing.entry.sent(tokens);
                Ok(bytes)
            }
            Step::Last(bytes, tokens, outcome) => {
                playing.pace.wait(tokens).await;
                playing.entry.sent(tokens);
                playing.entry.close(outcome);
                Ok(bytes)
            }
            Step::Cut => {
                // What was handed over must leave first: an error drops what still waits to be written.
                tokio::time::sleep(CUT_DELAY).await;
                playing.entry.close(Outcome::Cut);
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut, as asked"))
            }
            Step::Stall => std::future::pending().await,
        };
        Some((item, playing))
    })
}
