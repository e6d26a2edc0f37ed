//! A stream that outlives its connection: its events, numbered, as many of them as fit.

use super::OnDisconnect;
use super::events::of_response;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Debug)]
pub(crate) struct Kept {
    request_id: String,
    /// Whether it is a stream of a response, whose events carry their numbers and the response.
    is_response: bool,
    on_disconnect: OnDisconnect,
    most_bytes: usize,
    state: Mutex<State>,
    /// Changes whenever there is something new.
    news: watch::Sender<()>,
    /// Ends it at its source.
    pub(super) stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// The number of the next event, where events carry none.
    next: u64,
    /// Events before this one were let go of.
    from: u64,
    /// The response as it was said last, JSON.
    response: Option<Bytes>,
    /// Since when it is over.
    ended: Option<Instant>,
    was_cancelled: bool,
    followers: usize,
}

/// The event that is asked for was let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone {
    /// The first that is still here.
    pub(crate) first: u64,
}

/// Reads a stream from one of its events on.
#[derive(Debug)]
pub(crate) struct Follower {
    kept: Arc<Kept>,
    next: u64,
    news: watch::Receiver<()>,
}

impl Kept {
    pub(super) fn new(
        request_id: String,
        is_response: bool,
        on_disconnect: OnDisconnect,
        most_bytes: usize,
    ) -> Self {
        Self {
            request_id,
            is_response,
            on_disconnect,
            most_bytes,
            state: Mutex::default(),
            news: watch::Sender::new(()),
            stop: CancellationToken::new(),
        }
    }

    /// Whether this is the id of its request.
    pub(super) fn is_known_by(&self, id: &str) -> bool {
        self.request_id == id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event.
    pub(super) fn push(&self, event: Bytes) {
        let mut state = self.state();
        let (number, event) = if self.is_response {
            let of = of_response(&event);
            if let Some(response) = of.response {
                state.response = Some(Bytes::copy_from_slice(response.get().as_bytes()));
            }
            (of.sequence_number.unwrap_or(state.next), event)
        } else {
            (state.next, with_id(&self.request_id, state.next, &event))
        };
        state.next = number + 1;
        state.bytes += event.len();
        state.events.push_back((number, event));
        while state.bytes > self.most_bytes && state.events.len() > 1 {
            if let Some((number, gone)) = state.events.pop_front() {
                state.bytes -= gone.len();
                state.from = number + 1;
            }
        }
        drop(state);
        self.news.send_replace(());
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.state().ended = Some(Instant::now());
        self.news.send_replace(());
    }

    /// Ends it at its source, because its owner says so.
    pub(super) fn cancel(&self) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.was_cancelled = true;
        }
        drop(state);
        self.stop.cancel();
    }

    /// Since when it is over, if it is.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.state().ended
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        let state = self.state();
        state.bytes + state.response.as_ref().map_or(0, Bytes::len)
    }

    /// The response as it stands.
    pub(crate) fn response(&self) -> Option<Bytes> {
        let state = self.state();
        let response = state.response.clone()?;
        if !state.was_cancelled {
            return Some(response);
        }
        let mut json: serde_json::Value = serde_json::from_slice(&response).ok()?;
        json["status"] = "cancelled".into();
        serde_json::to_vec(&json).ok().map(Bytes::from)
    }

    /// Reads it from the event numbered `next` on.
    pub(super) fn follow(self: &Arc<Self>, next: u64) -> Result<Follower, Gone> {
        let first = self.state().from;
        if next < first { Err(Gone { first }) } else { Ok(self.reader(next)) }
    }

    /// Reads it from the event numbered `next` on, whether that is still here or not.
    pub(super) fn reader(self: &Arc<Self>, next: u64) -> Follower {
        self.state().followers += 1;
        Follower { news: self.news.subscribe(), kept: self.clone(), next }
    }
}

/// The event with an `id` that a client can come back with.
fn with_id(request_id: &str, number: u64, event: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(event.len() + request_id.len() + 28);
    out.extend_from_slice(format!("id: {request_id}:{number}\n").as_bytes());
    out.extend_from_slice(event);
    out.freeze()
}

impl Follower {
    /// What has come since, once something has; `None` at the end. A follower that is slower than the stream by more than is kept
    /// of it has lost its place: that is an end too.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.news.mark_unchanged();
            {
                let state = self.kept.state();
                if self.next < state.from {
                    return None;
                }
                let mut out = BytesMut::new();
                let new = state.events.partition_point(|(number, _)| *number < self.next);
                for (number, event) in state.events.range(new..) {
                    out.extend_from_slice(event);
                    self.next = number + 1;
                }
                if !out.is_empty() {
                    return Some(out.freeze());
                }
                if state.ended.is_some() {
                    return None;
                }
            }
            // The sender lives as long as what is followed.
            self.news.changed().await.ok()?;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.kept.state();
        state.followers -= 1;
        let is_left = state.followers == 0 && state.ended.is_none();
        drop(state);
        if is_left && self.kept.on_disconnect == OnDisconnect::Stop {
            self.kept.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(most_bytes: usize, is_response: bool, on_disconnect: OnDisconnect) -> Arc<Kept> {
        Arc::new(Kept::new("req_1".into(), is_response, on_disconnect, most_bytes))
    }

    #[tokio::test]
    async fn events_are_numbered_and_read_from_any_of_them() {
        let kept = kept(1 << 10, false, OnDisconnect::Continue);
        for text in ["data: a\n\n", "data: b\n\n", "data: c\n\n"] {
            kept.push(Bytes::from_static(text.as_bytes()));
        }
        let mut all = kept.follow(0).unwrap();
        let first = all.next().await.unwrap();
        assert!(first.starts_with(b"id: req_1:0\ndata: a\n\nid: req_1:1\n"), "{first:?}");
        let mut rest = kept.follow(2).unwrap();
        assert_eq!(rest.next().await.unwrap(), "id: req_1:2\ndata: c\n\n");
        kept.end();
        assert_eq!((all.next().await, rest.next().await), (None, None));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_let_go_of_and_says_so() {
        let kept = kept(60, false, OnDisconnect::Continue);
        for _ in 0..5 {
            kept.push(Bytes::from_static(b"data: 0123456789\n\n"));
        }
        assert_eq!(kept.follow(0).unwrap_err(), Gone { first: 3 });
        assert!(kept.follow(4).unwrap().next().await.is_some());
    }

    #[tokio::test]
    async fn a_response_carries_its_own_numbers() {
        let kept = kept(1 << 10, true, OnDisconnect::Continue);
        kept.push(Bytes::from_static(
            b"data: {\"sequence_number\":0,\"response\":{\"status\":\"in_progress\"}}\n\n",
        ));
        kept.push(Bytes::from_static(b"data: {\"sequence_number\":1}\n\n"));
        assert_eq!(kept.response().unwrap(), "{\"status\":\"in_progress\"}");
        assert_eq!(kept.follow(1).unwrap().next().await.unwrap(), "data: {\"sequence_number\":1}\n\n");
        kept.cancel();
        assert_eq!(kept.response().unwrap(), "{\"status\":\"cancelled\"}");
    }

    #[tokio::test]
    async fn the_last_who_leaves_stops_it_if_that_was_asked_for() {
        for (on_disconnect, stops) in [(OnDisconnect::Stop, true), (OnDisconnect::Continue, false)] {
            let kept = kept(100, false, on_disconnect);
            let (one, two) = (kept.follow(0).unwrap(), kept.follow(0).unwrap());
            drop(one);
            assert!(!kept.stop.is_cancelled());
            drop(two);
            assert_eq!(kept.stop.is_cancelled(), stops);
        }
    }
}
