//! Taking in a client's body: of the right type, within its limit, and in time.

use crate::app::App;
use crate::errors::Failure;
use crate::gather::Gathered;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use runtime::{InFlight, Room};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The body of a refused request is still taken for so long, and so many bytes of it: a client that is cut off while sending
/// may get a reset instead of the reason.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_BYTES: usize = 64 << 20;

/// A client's body, not read yet or in part.
#[derive(Debug)]
pub(crate) struct ClientBody {
    body: Source,
    /// The client waits for "100 Continue" before it sends anything, and reads a refusal at once.
    waits: bool,
}

/// Where it comes from.
#[derive(Debug)]
enum Source {
    Connection(Incoming),
    /// It is here already.
    Here(Full<Bytes>),
}

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Connection(body) => Pin::new(body).poll_frame(cx),
            Self::Here(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Connection(body) => body.is_end_stream(),
            Self::Here(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Connection(body) => body.size_hint(),
            Self::Here(body) => body.size_hint(),
        }
    }
}

impl ClientBody {
    /// The body of the request with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: Incoming) -> Self {
        Self { waits: headers.contains_key(header::EXPECT), body: Source::Connection(body) }
    }

    /// One that is here already.
    pub(crate) fn here(body: Bytes) -> Self {
        Self { waits: false, body: Source::Here(Full::new(body)) }
    }

    /// The next piece. It is what lets a waiting client send.
    async fn frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        self.waits = false;
        self.body.frame().await
    }

    /// The next piece, if it is here already. The server reads on only once it was asked for more, so it is asked twice; that is less
    /// work than a timer, which nearly no request needs.
    async fn frame_at_hand(&mut self) -> Option<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        let mut has_asked = false;
        poll_fn(|cx| match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending if has_asked => Poll::Ready(None),
            Poll::Pending => {
                has_asked = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await
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

/// Bodies up to this many bytes are not counted against the bound on all of them: connections bound these.
const SMALL: usize = 64 << 10;

/// Bounds of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake<'a> {
    /// Most bytes.
    pub(crate) limit: usize,
    /// Longest pause between two pieces.
    pub(crate) pause: Duration,
    /// Longest time for all of it.
    pub(crate) total: Duration,
    /// Bounds the bytes of all bodies in work.
    pub(crate) in_work: &'a InFlight,
}

impl<'a> Intake<'a> {
    /// As configured, for bodies of at most `limit` bytes.
    pub(crate) fn new(app: &'a App, limit: usize) -> Self {
        let timeouts = &app.timeouts;
        Self {
            limit,
            pause: timeouts.client_body(),
            total: timeouts.client_body_total(),
            in_work: &app.bodies,
        }
    }

    /// The next piece of a body whose first was awaited `since` then, as long as it may take.
    async fn wait(
        &self,
        body: &mut ClientBody,
        since: Instant,
    ) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, Failure> {
        let until = since + self.total;
        let by = (Instant::now() + self.pause).min(until);
        timeout_at(by, body.frame()).await.map_err(|_elapsed| {
            if by == until {
                Failure::LongBody { after: self.total }
            } else {
                Failure::SlowBody { after: self.pause }
            }
        })
    }

    /// Makes room for a body of `bytes`.
    async fn fit(&self, room: &mut Option<Room>, bytes: usize) -> Result<(), Failure> {
        let has_room = match room {
            Some(room) if room.bytes() >= bytes => true,
            Some(room) => room.resize(bytes).await,
            None => {
                *room = self.in_work.enter(bytes).await;
                room.is_some()
            }
        };
        if has_room { Ok(()) } else { Err(Failure::TooManyBodies) }
    }
}

/// Reads a JSON body; what is returned with a large one is its room, to be held as long as the body is.
pub(crate) async fn read_json_body(
    headers: &HeaderMap,
    body: &mut ClientBody,
    intake: Intake<'_>,
) -> Result<(Bytes, Option<Room>), Failure> {
    check_type(headers)?;
    let told = usize::try_from(body.body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > intake.limit {
        return Err(Failure::BodyTooLarge { limit: intake.limit });
    }
    let mut room = None;
    if told > SMALL {
        intake.fit(&mut room, told).await?;
    }
    let since = Instant::now();
    let mut gathered = Gathered::default();
    loop {
        let frame = match body.frame_at_hand().await {
            Some(frame) => frame,
            None => intake.wait(body, since).await?,
        };
        let frame = match frame {
            Some(Err(_broken)) => return Err(Failure::BrokenBody),
            Some(Ok(frame)) => frame,
            None => break,
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = gathered.len() + data.len();
        if length > intake.limit {
            return Err(Failure::BodyTooLarge { limit: intake.limit });
        }
        if length > SMALL && room.as_ref().is_none_or(|room: &Room| room.bytes() < length) {
            // Of a length that was not told: twice as much at a time, as the buffer grows.
            intake.fit(&mut room, (2 * length).min(intake.limit)).await?;
        }
        gathered.push(data);
        if body.body.is_end_stream() {
            break;
        }
    }
    Ok((gathered.finish(), room))
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
