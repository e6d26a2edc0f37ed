//! Streams that survive their connection. A client that opts in may come back: its events are kept, numbered, for a while, and go
//! on coming meanwhile unless it asked otherwise.
//!
//! - Responses: `"background": true`. The answer is the response as it stands; `GET /v1/responses/{id}` tells how it stands now,
//!   `?stream=true&starting_after=N` streams its events from there, `POST /v1/responses/{id}/cancel` ends it.
//! - Any stream: the header `x-control-tower-resume: on` gives each event an id. `GET /v1/streams/{request id}` with
//!   `Last-Event-ID` goes on after it.
//! - `GET /v1/stream` is the same over a WebSocket: see [`socket`].
//!
//! With `x-control-tower-on-disconnect: stop` the upstream is left when the last reader has gone; otherwise it goes on. A tenant
//! sees its own streams only. They are kept in this process's memory, within bounds: a restart forgets them.

mod events;
mod kept;
mod requests;
pub(crate) mod socket;

pub(crate) use kept::{Follower, Gone, Kept};
pub(crate) use requests::{Asked, answer};

use crate::config::ResumeConfig;
use crate::relay::Stream;
use bytes::Bytes;
use contracts::TenantId;
use http::HeaderMap;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What becomes of a stream that nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDisconnect {
    /// It goes on, and waits to be read.
    Continue,
    /// It ends, and its upstream is left.
    Stop,
}

impl OnDisconnect {
    /// As the request says.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let says = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"stop");
        let stop = headers.get("x-control-tower-on-disconnect").is_some_and(says);
        if stop { Self::Stop } else { Self::Continue }
    }
}

/// Whether a request opts in by its header.
pub(crate) fn opts_in(headers: &HeaderMap) -> bool {
    let says = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"on");
    headers.get("x-control-tower-resume").is_some_and(says)
}

/// What a stream is known by, to whom.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) tenant: TenantId,
    pub(crate) request_id: String,
    /// The id of the response, when it is one.
    pub(crate) response_id: Option<String>,
}

/// All streams that are kept.
#[derive(Debug)]
pub(crate) struct Streams {
    config: ResumeConfig,
    kept: Mutex<HashMap<(TenantId, String), Arc<Kept>>>,
    /// The tasks that read them from their upstreams.
    tasks: TaskTracker,
    /// Nothing new begins.
    closing: CancellationToken,
    /// Ends them all.
    stop: CancellationToken,
}

impl Streams {
    pub(crate) fn new(config: ResumeConfig) -> Self {
        Self {
            config,
            kept: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Keeps `stream` and reads it from its beginning.
    pub(crate) fn keep(
        &self,
        name: Name,
        on_disconnect: OnDisconnect,
        stream: Stream,
    ) -> (Arc<Kept>, Follower) {
        let Name { tenant, request_id, response_id } = name;
        let is_response = response_id.is_some();
        let kept = Kept::new(request_id.clone(), is_response, on_disconnect, self.config.stream_bytes);
        let kept = Arc::new(kept);
        self.make_room();
        let mut all = self.lock();
        for id in response_id.into_iter().chain([request_id]) {
            all.insert((tenant.clone(), id), kept.clone());
        }
        drop(all);
        let follower = kept.reader(0);
        self.tasks.spawn(read(stream, kept.clone(), self.stop.clone()));
        (kept, follower)
    }

    /// The stream that `tenant` knows by `id`.
    pub(crate) fn find(&self, tenant: &TenantId, id: &str) -> Option<Arc<Kept>> {
        self.lock().get(&(tenant.clone(), id.to_owned())).cloned()
    }

    /// Forgets what has been over for long, and what was over first when there is too much.
    fn make_room(&self) {
        let mut all = self.lock();
        let keep_for = Duration::from_millis(self.config.keep_ms);
        all.retain(|_, kept| kept.ended().is_none_or(|ended| ended.elapsed() < keep_for));
        let mut bytes: usize = all.values().map(|kept| kept.bytes()).sum();
        while bytes > self.config.total_bytes || all.len() >= self.config.most_streams {
            let over = all.iter().filter_map(|(id, kept)| Some((kept.ended()?, id.clone())));
            let Some((_, id)) = over.min_by_key(|(ended, _)| *ended) else { break };
            bytes -= all.remove(&id).map_or(0, |kept| kept.bytes()).min(bytes);
        }
    }

    /// Forgets what has been over for long. Call it now and then.
    pub(crate) fn sweep(&self) {
        self.make_room();
    }

    /// Whether another stream may be kept: those that go on are not let go of.
    pub(crate) fn has_room(&self) -> bool {
        self.make_room();
        self.lock().len() < self.config.most_streams
    }

    /// Streams kept, those of them that go on, and the bytes of all.
    pub(crate) fn count(&self) -> (usize, usize, usize) {
        let all = self.lock();
        // Each stands under its request's id, a response under its own, too.
        let streams = all.iter().filter(|((_, id), kept)| kept.is_known_by(id)).map(|(_, kept)| kept);
        streams.fold((0, 0, 0), |(kept, running, bytes), stream| {
            (kept + 1, running + usize::from(stream.ended().is_none()), bytes + stream.bytes())
        })
    }

    /// Most bytes that are kept.
    pub(crate) const fn max_bytes(&self) -> usize {
        self.config.total_bytes
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

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, String), Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a stream to its end, or until it is stopped: dropped then, its call is recorded as one whose client left.
async fn read(mut stream: Stream, kept: Arc<Kept>, stop: CancellationToken) {
    let reading = async {
        while let Some(frame) = poll_fn(|cx| stream.poll_frame(cx)).await {
            let Ok(data) = frame.into_data() else { continue };
            for event in events::split(data) {
                kept.push(event);
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = kept.stop.cancelled() => {}
        () = stop.cancelled() => {}
    }
    drop(stream);
    kept.end();
}

impl Follower {
    /// As the body of a response.
    pub(crate) fn into_body(self) -> axum::body::Body {
        let pieces = futures_util::stream::unfold(self, |mut follower| async move {
            let piece = follower.next().await?;
            Some((Ok::<Bytes, std::convert::Infallible>(piece), follower))
        });
        axum::body::Body::from_stream(pieces)
    }
}
