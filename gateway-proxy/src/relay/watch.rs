//! Clients that ask for a stream and then do not read it.
//!
//! While a client does not take what was handed out for it, nobody polls its stream, so the stream's own timers stand still
//! and its upstream would be held for ever. A watchman looks over all streams now and then, and ends those whose client has
//! stalled for too long: the upstream is cancelled and the call recorded as one whose client left.

use super::Stream;
use bytes::Bytes;
use http_body::Frame;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// All streams that clients have.
#[derive(Debug, Default)]
pub(crate) struct Watchman(Mutex<Vec<Weak<Slot>>>);

/// A stream under watch.
#[derive(Debug)]
pub(crate) struct Watched(Arc<Slot>);

#[derive(Debug)]
struct Slot(Mutex<State>);

#[derive(Debug)]
struct State {
    /// `None` once the watchman has ended it.
    stream: Option<Box<Stream>>,
    /// When a piece was handed out, until the client's connection comes for the next.
    handed_out: Option<Instant>,
}

/// The client did not read its stream.
#[derive(Debug, thiserror::Error)]
#[error("the client stalled: its stream was ended")]
pub(crate) struct Stalled;

impl Watchman {
    /// Takes a stream under watch.
    pub(crate) fn watch(&self, stream: Stream) -> Watched {
        let state = State { stream: Some(Box::new(stream)), handed_out: None };
        let slot = Arc::new(Slot(Mutex::new(state)));
        self.streams().push(Arc::downgrade(&slot));
        Watched(slot)
    }

    /// Ends the streams whose clients have stalled for longer than `limit`.
    pub(crate) fn look(&self, limit: Duration) {
        let mut live = Vec::new();
        self.streams().retain(|slot| {
            let slot = slot.upgrade();
            let is_live = slot.is_some();
            live.extend(slot);
            is_live
        });
        let now = Instant::now();
        for slot in live {
            let mut state = slot.state();
            if state.handed_out.is_some_and(|at| now.duration_since(at) > limit) {
                let stalled = state.stream.take();
                // Recording the call does not need the lock.
                drop(state);
                drop(stalled);
            }
        }
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Weak<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// The next frame for the client.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Stalled>>> {
        let mut state = self.0.state();
        state.handed_out = None;
        let Some(stream) = &mut state.stream else { return Poll::Ready(Some(Err(Stalled))) };
        let frame = ready!(stream.poll_frame(cx));
        state.handed_out = frame.is_some().then(Instant::now);
        Poll::Ready(frame.map(Ok))
    }
}
