//! A connection to an upstream, driven by the call that uses it.
//!
//! hyper makes two ends of a connection: one takes requests, and the other must be polled for anything to happen. Given a task of
//! its own, as usual, the latter and the call wake each other four times before an answer is through. Here the call polls
//! both; a connection that no call uses is left alone, and looked at before it is used again.

use super::alarm::Alarm;
use super::pool::Pool;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use tokio::net::TcpStream;
use tokio::task::coop;
use tokio::time::Instant;

/// What connections are made of.
pub(super) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

type Whole = Full<Bytes>;

/// A connection, for one call at a time. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Whole>,
    /// `None` once it has ended.
    driver: Option<Pin<Box<http1::Connection<Io, Whole>>>>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    alarm: Alarm,
}

/// What was waited for has not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Late;

/// A request that found no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    Late,
    /// It was on its way.
    Broken(hyper::Error),
    /// Nothing of it was sent.
    Unsent(Box<Request<Whole>>, hyper::Error),
}

impl From<TrySendError<Request<Whole>>> for Unanswered {
    fn from(mut error: TrySendError<Request<Whole>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request), error.into_error()),
            None => Self::Broken(error.into_error()),
        }
    }
}

/// A piece of an answer; `None` after the last.
type Piece = Option<Result<Frame<Bytes>, hyper::Error>>;

/// The body of an answer, with the connection that it comes by. Dropped before its end it closes the connection: that is how a
/// call is cancelled.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    body: Incoming,
    connection: Connection,
    pool: Arc<Pool>,
}

impl Connection {
    /// Speaks HTTP/1.1 over `io`.
    pub(super) async fn new(io: Io) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(io).await?;
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        Ok(Self { sender, driver: Some(Box::pin(driver)), bell, waker, alarm: Alarm::new() })
    }

    /// Sends a request and waits for the answer's head.
    pub(super) async fn send(
        &mut self,
        request: Request<Whole>,
        by: Instant,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = poll_fn(|cx| {
            if let Poll::Ready(answered) = self.poll(cx, |cx| answer.as_mut().poll(cx)) {
                return Poll::Ready(Some(answered));
            }
            self.alarm.poll(cx, by).map(|()| None)
        });
        Ok(answered.await.ok_or(Unanswered::Late)??)
    }

    /// Whether it can take a request, as far as is known here.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive();
        self.sender.is_ready()
    }

    /// Polls `part`, which nothing but this connection brings forward, and the connection for as long as that may help.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut part: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        /// More means that something else is amiss, such as a task that has used up its turn.
        const ROUNDS: usize = 4;
        self.bell.attend(cx);
        let part = &mut || part(&mut Context::from_waker(Waker::noop()));
        let mut polled = part();
        for _ in 0..ROUNDS {
            if polled.is_ready() {
                return polled;
            }
            self.drive();
            polled = part();
            if polled.is_pending() && self.bell.leave() {
                if !coop::has_budget_remaining() {
                    // What `part` waits for may be here already: a task that has used up its turn finds nothing ready.
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
        if polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    fn drive(&mut self) {
        let Some(driver) = &mut self.driver else { return };
        // How it ended is for the request in flight to learn, which does.
        if driver.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.driver = None;
        }
    }
}

impl AnswerBody {
    pub(super) fn new(body: Incoming, connection: Connection, pool: Arc<Pool>) -> Self {
        Self { body, connection, pool }
    }

    /// The next piece, if it comes in time.
    pub(crate) async fn frame_by(&mut self, by: Instant) -> Result<Piece, Late> {
        poll_fn(|cx| self.poll_frame_by(cx, by)).await
    }

    /// As [`AnswerBody::frame_by`], where there is no waiting.
    pub(crate) fn poll_frame_by(&mut self, cx: &mut Context<'_>, by: Instant) -> Poll<Result<Piece, Late>> {
        if let Poll::Ready(frame) = Pin::new(&mut *self).poll_frame(cx) {
            return Poll::Ready(Ok(frame));
        }
        ready!(self.connection.alarm.poll(cx, by));
        Poll::Ready(Err(Late))
    }

    /// The answer was read to its end: the connection may serve another call.
    pub(crate) fn give_back(mut self) {
        if self.connection.is_ready() {
            // The call's task is not to be kept with it.
            drop(self.connection.bell.call.take());
            self.connection.alarm.forget();
            self.pool.keep(self.connection, Instant::now());
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { body, connection, .. } = self.get_mut();
        // Pieces that lie ready cost nothing of a task's turn by themselves, and there may be tens of thousands of them.
        let turn = ready!(coop::poll_proceed(cx));
        let frame = ready!(connection.poll(cx, |cx| Pin::new(&mut *body).poll_frame(cx)));
        turn.made_progress();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Wakes the call that has the connection, whichever that is, unless it looks anyway.
#[derive(Debug, Default)]
struct Bell {
    state: AtomicU8,
    call: AtomicWaker,
}

/// Nobody looks: a ring wakes the call.
const UNATTENDED: u8 = 0;
/// The call looks, or will before it waits.
const ATTENDED: u8 = 1;
/// It rang meanwhile: the call looks again before it waits.
const RUNG: u8 = 2;

impl Bell {
    /// From now on a ring wakes nobody.
    fn attend(&self, cx: &Context<'_>) {
        self.state.swap(ATTENDED, Ordering::AcqRel);
        self.call.register(cx.waker());
    }

    /// From now on a ring wakes the call that attended last; unless it rang meanwhile: then the call must look again.
    fn leave(&self) -> bool {
        let left =
            self.state.compare_exchange(ATTENDED, UNATTENDED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !left {
            self.state.store(ATTENDED, Ordering::Release);
        }
        left
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = self.state.fetch_max(RUNG, Ordering::AcqRel);
        if before == UNATTENDED {
            self.call.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_ring_wakes_who_waits_and_holds_up_who_looks() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        let bell = Arc::new(Bell::default());
        let ring = || Waker::from(bell.clone()).wake();
        bell.attend(&cx);
        ring();
        assert!(!bell.leave(), "it rang while the call looked: it must look again");
        ring();
        assert!(!bell.leave(), "and again");
        assert!(bell.leave());
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        ring();
        ring();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "one ring wakes the call that waits");
        bell.attend(&cx);
        assert!(bell.leave());
        ring();
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    }
}
