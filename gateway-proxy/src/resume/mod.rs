//! Streams that survive their connection. A client that opts in may come back: its events are kept, numbered, for a while, and go
//! on coming meanwhile unless it asked otherwise.
//!
//! - Responses: `"background": true`. The answer is the response as it stands, which is queued: see [`background`].
//!   `GET /v1/responses/{id}` tells how it stands now, `?stream=true&starting_after=N` streams its events from there,
//!   `POST /v1/responses/{id}/cancel` ends it.
//! - Any stream: the header `x-control-tower-resume: on` gives each event an id. `GET /v1/streams/{request id}` with
//!   `Last-Event-ID` goes on after it.
//! - `GET /v1/stream` is the same over a WebSocket: see [`socket`].
//!
//! With `x-control-tower-on-disconnect: stop` the upstream is left when the last reader has gone; otherwise it goes on. A tenant
//! sees its own streams only. They are kept in this process's memory, within bounds: a restart forgets them.

mod background;
mod events;
mod kept;
mod requests;
mod shelf;
pub(crate) mod socket;

pub(crate) use background::begin;
pub(crate) use kept::{Follower, Gone, Kept};
use requests::streamed;
pub(crate) use requests::{Asked, answer};
pub(crate) use shelf::Place;

use crate::call::Facts;
use crate::config::ResumeConfig;
use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::relay::Stream;
use crate::respond::{self, Body};
use bytes::{Bytes, BytesMut};
use contracts::TenantId;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use prometheus_client::metrics::counter::Counter;
use shelf::Shelf;
use socket::Sockets;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What becomes of a stream that nobody reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OnDisconnect {
    /// It goes on, and waits to be read.
    #[default]
    Continue,
    /// It ends, and its upstream is left.
    Stop,
}

impl OnDisconnect {
    /// As the request says.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let (name, expected) = ("x-control-tower-on-disconnect", "continue or stop");
        let said = one_of(headers, name, expected, &[("continue", Self::Continue), ("stop", Self::Stop)])?;
        Ok(said.unwrap_or_default())
    }
}

/// Whether a request opts in by its header.
pub(crate) fn opts_in(headers: &HeaderMap) -> Result<bool, Failure> {
    let said = one_of(headers, "x-control-tower-resume", "on or off", &[("on", true), ("off", false)])?;
    Ok(said.unwrap_or_default())
}

/// What a header says, if it is there.
fn one_of<T: Copy>(
    headers: &HeaderMap,
    name: &'static str,
    expected: &'static str,
    values: &[(&str, T)],
) -> Result<Option<T>, Failure> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let known = values.iter().find(|(value, _)| value.eq_ignore_ascii_case(text));
    let bad = || Failure::BadHeader { name, value: text.chars().take(80).collect(), expected };
    known.map(|(_, meaning)| Some(*meaning)).ok_or_else(bad)
}

/// What a stream is known by, to whom.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    tenant: TenantId,
    endpoint: &'static Endpoint,
    request_id: String,
    /// The id of the response, when it is one.
    response_id: Option<String>,
}

impl Name {
    /// Of the stream that answers a call.
    pub(crate) fn of(facts: &Facts) -> Self {
        Self {
            tenant: facts.key.tenant.id.clone(),
            endpoint: facts.endpoint,
            request_id: facts.identity.request_id.clone(),
            response_id: facts.own_id().map(str::to_owned).filter(|_| facts.endpoint.has_background),
        }
    }

    /// All ids by which it is found.
    fn ids(&self) -> impl Iterator<Item = &String> {
        self.response_id.iter().chain([&self.request_id])
    }
}

/// All streams that are kept.
#[derive(Debug)]
pub(crate) struct Streams {
    stream_bytes: usize,
    slow_readers: Counter,
    shelf: Arc<Shelf>,
    /// Sockets that are open.
    sockets: Sockets,
    /// A socket of which nothing comes for so long is left.
    socket_idle: Duration,
    /// The tasks that read them from their upstreams.
    tasks: TaskTracker,
    /// Nothing new begins.
    closing: CancellationToken,
    /// Ends them all.
    stop: CancellationToken,
}

impl Streams {
    /// Nothing is kept yet; readers that lose their place are counted by `slow_readers`.
    pub(crate) fn new(config: &ResumeConfig, slow_readers: Counter) -> Self {
        Self {
            stream_bytes: config.stream_bytes,
            slow_readers,
            shelf: Arc::new(Shelf::new(config)),
            sockets: Sockets::new(config.sockets_per_key),
            socket_idle: Duration::from_millis(config.socket_idle_ms),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Takes room for a stream of `tenant`'s, if there is any.
    pub(crate) fn enter(&self, tenant: &TenantId) -> Option<Place> {
        self.shelf.enter(tenant)
    }

    /// Keeps `stream` and reads it from its beginning.
    pub(crate) fn keep(
        &self,
        name: Name,
        place: Place,
        on_disconnect: OnDisconnect,
        stream: Stream,
    ) -> Follower {
        let kept = self.take_on(name, place, on_disconnect, self.stream_bytes);
        let follower = kept.reader(0);
        self.tasks.spawn(read(stream, kept, self.shelf.clone(), self.stop.clone()));
        follower
    }

    /// Keeps a stream of which all `events` are here, such as an answer that is given again. They were held in memory before: it may
    /// be longer than others, as long as there is room. Returns all of them as they are told, whatever there was room for.
    fn keep_whole(&self, name: Name, place: Place, events: Bytes) -> Bytes {
        let kept = self.take_on(name, place, OnDisconnect::Continue, usize::MAX);
        let mut told = BytesMut::with_capacity(events.len());
        for event in events::split(events) {
            told.extend_from_slice(&push(&kept, &self.shelf, &event));
        }
        kept.end();
        told.freeze()
    }

    /// Answers a call with a stream of which all `events` are here; that is kept where the client may come back to it.
    pub(crate) fn answer(&self, facts: &mut Facts, events: Bytes) -> Response<Body> {
        let events = match facts.place.take() {
            Some(place) => self.keep_whole(Name::of(facts), place, events),
            None => events,
        };
        let mut response = respond::json(StatusCode::OK, events, &facts.identity);
        let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// Lets a stream be found by its name.
    fn take_on(&self, name: Name, place: Place, on_disconnect: OnDisconnect, most_bytes: usize) -> Arc<Kept> {
        let kept = Kept::new(name, place, on_disconnect, most_bytes, self.slow_readers.clone());
        let kept = Arc::new(kept);
        self.shelf.put(&kept);
        kept
    }

    /// The stream that `tenant` knows by `id`.
    pub(crate) fn find(&self, tenant: &TenantId, id: &str) -> Option<Arc<Kept>> {
        self.shelf.find(tenant, id)
    }

    /// Forgets what has been over for long, and what is over and whose readers have stalled for longer than `stall`. Call it now and then.
    pub(crate) fn sweep(&self, stall: Duration) {
        self.shelf.sweep(stall);
    }

    /// Streams kept, those of them that go on, and the bytes of all.
    pub(crate) fn count(&self) -> (usize, usize, usize) {
        self.shelf.count()
    }

    /// Most bytes that are kept.
    pub(crate) fn max_bytes(&self) -> usize {
        self.shelf.max_bytes()
    }

    /// Lets what is on its way end by itself for as long as `patience`, and then ends it.
    pub(crate) async fn end(&self, patience: Duration) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            self.stop.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Streams {
    /// Ends what has begun since, too: whoever was let in late.
    pub(crate) async fn end_all(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// Adds an event, for which what is over makes room where it must. Returns it as it is told.
fn push(kept: &Kept, shelf: &Shelf, event: &[u8]) -> Bytes {
    if kept.needs_room() {
        shelf.make_room(&kept.name().tenant);
    }
    kept.push(event)
}

/// Reads a stream to its end, or until it is stopped: dropped then, its call is recorded as one whose client left.
async fn read(stream: Stream, kept: Arc<Kept>, shelf: Arc<Shelf>, stop: CancellationToken) {
    // Whatever becomes of the task: nobody waits for a stream that nobody reads.
    let ended = Ended(kept.clone());
    let mut stream = stream;
    let reading = async {
        while let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await {
            let Ok(data) = frame.into_data() else { continue };
            for event in events::split(data) {
                push(&kept, &shelf, &event);
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = kept.stop.cancelled() => {}
        () = stop.cancelled() => {}
    }
    drop(stream);
    drop(ended);
}

/// Ends a kept stream when it is dropped.
struct Ended(Arc<Kept>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Follower {
    /// As the body of a response. A reader that loses its place gets an error event as its last.
    pub(crate) fn into_body(self) -> axum::body::Body {
        let pieces = futures_util::stream::unfold(self, |mut follower| async move {
            let piece = follower.next().await?.unwrap_or_else(|gone| follower.lost(gone));
            Some((Ok::<Bytes, std::convert::Infallible>(piece), follower))
        });
        axum::body::Body::from_stream(pieces)
    }
}
