//! Answers that are streamed: events pass as they come, and are read in passing.
//!
//! The record of the call is in the spool before the client gets the last event of the answer. A stream that breaks off
//! ends with an error event in the endpoint's own form; nothing is ever retried once the client has a first byte.

use super::reading::{Reading, Taken};
use crate::app::App;
use crate::call::{Call, Count, Ending, TIMED_OUT, Used};
use crate::emit::{Settled, Unrecorded};
use crate::endpoints::EventKind;
use crate::errors::Failure;
use crate::meter::Answer;
use crate::respond::COST;
use crate::sse::Verdict;
use crate::upstream::{AnswerBody, Late};
use bytes::{Bytes, BytesMut};
use contracts::TokenUsage;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long an upstream may keep the line after its last event.
const LINGER: Duration = Duration::from_secs(5);

/// A stream that has begun: whence it comes, unless that was closed, how it is read, and what came first.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) upstream: Option<AnswerBody>,
    pub(super) reading: Reading,
    pub(super) first: Taken,
}

/// A stream on its way to the client.
#[derive(Debug)]
pub(crate) struct Stream {
    call: Call,
    upstream: Option<AnswerBody>,
    reading: Reading,
    phase: Phase,
    /// When the last piece came.
    last_piece: Instant,
    deadline: Instant,
    /// Whether the client takes trailers.
    trailers: bool,
    settled: Settled,
    _active: Active,
}

#[derive(Debug)]
enum Phase {
    /// The first bytes are at hand.
    First(Taken),
    /// Pieces come and go.
    Relaying,
    /// The answer is over and its tokens are being counted; `last` goes out after that.
    Counting {
        count: JoinHandle<TokenUsage>,
        ending: Ending,
        last: Bytes,
        more: bool,
    },
    /// The call is recorded; what the upstream still sends passes.
    Lingering,
    /// Nothing more but trailers.
    Trailers,
    Done,
}

impl Stream {
    /// Goes on with the client connected.
    pub(super) fn new(begun: Begun, mut call: Call, trailers: bool, deadline: Instant) -> Self {
        let Begun { upstream, reading, first } = begun;
        if let Some(facts) = call.facts() {
            reading.tell(facts);
        }
        let active = Active::new(call.app());
        Self {
            upstream,
            reading,
            phase: Phase::First(first),
            last_piece: Instant::now(),
            deadline,
            trailers,
            settled: Settled::default(),
            _active: active,
            call,
        }
    }

    /// The next frame for the client.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        loop {
            let out = match std::mem::replace(&mut self.phase, Phase::Done) {
                Phase::First(taken) => {
                    self.phase = Phase::Relaying;
                    if self.upstream.is_some() { self.taken(taken) } else { self.closed(taken) }
                }
                Phase::Relaying => {
                    self.phase = Phase::Relaying;
                    match ready!(self.poll_piece(cx)) {
                        Piece::Data(data) => {
                            self.last_piece = Instant::now();
                            let app = self.call.app().clone();
                            match self.call.facts() {
                                Some(facts) => {
                                    let taken = self.reading.take(&app, facts, data);
                                    self.taken(taken)
                                }
                                None => data,
                            }
                        }
                        Piece::End => self.upstream_ended(),
                        Piece::Failed(failure) => self.broke_off(&failure, Bytes::new()),
                    }
                }
                Phase::Counting { mut count, ending, last, more } => match Pin::new(&mut count).poll(cx) {
                    Poll::Pending => {
                        self.phase = Phase::Counting { count, ending, last, more };
                        return Poll::Pending;
                    }
                    Poll::Ready(usage) => self.record(ending, Used::of_count(usage, ending), last, more),
                },
                Phase::Lingering => {
                    self.phase = Phase::Lingering;
                    match ready!(self.poll_piece(cx)) {
                        // What follows the end in another protocol is nothing to the client.
                        Piece::Data(_) if self.reading.rewrites() => continue,
                        Piece::Data(data) => data,
                        Piece::End => {
                            self.give_back();
                            self.phase = Phase::Trailers;
                            continue;
                        }
                        Piece::Failed(_) => {
                            self.upstream = None;
                            self.phase = Phase::Trailers;
                            continue;
                        }
                    }
                }
                Phase::Trailers => {
                    // The phase is `Done` from here on.
                    match self.cost_trailer() {
                        Some(trailers) => return Poll::Ready(Some(Frame::trailers(trailers))),
                        None => return Poll::Ready(None),
                    }
                }
                Phase::Done => return Poll::Ready(None),
            };
            if !out.is_empty() {
                return Poll::Ready(Some(Frame::data(out)));
            }
        }
    }

    /// The next piece from the upstream, or that it takes too long.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let timeouts = &self.call.app().timeouts;
        let idle = if matches!(self.phase, Phase::Lingering) { LINGER } else { timeouts.idle() };
        let due = (self.last_piece + idle).min(self.deadline);
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(Piece::End) };
        loop {
            let piece = match ready!(upstream.poll_frame_by(cx, due)) {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    // An upstream whose pieces always lie ready is never waited for: its time ends all the same.
                    Ok(_late) if Instant::now() >= due => Piece::Failed(self.too_long(due)),
                    Ok(data) => Piece::Data(data),
                    Err(_trailers) => continue,
                },
                Ok(Some(Err(_broken))) => Piece::Failed(Failure::Cut),
                Ok(None) => Piece::End,
                Err(Late) => Piece::Failed(self.too_long(due)),
            };
            return Poll::Ready(piece);
        }
    }

    /// Nothing came until `due`, or too much.
    fn too_long(&self, due: Instant) -> Failure {
        let timeouts = &self.call.app().timeouts;
        if due == self.deadline {
            Failure::Timeout { what: "end of its answer", after: timeouts.total() }
        } else {
            Failure::Timeout { what: "further piece of its answer", after: timeouts.idle() }
        }
    }

    /// What goes to the client of a piece; ends the call when the answer has ended.
    fn taken(&mut self, taken: Taken) -> Bytes {
        if taken.too_large {
            return self
                .broke_off(&Failure::Garbage { status: 200, detail: "an endless event" }, Bytes::new());
        }
        if taken.endless {
            let limit = self.call.app().limits.answer_bytes;
            return self.broke_off(&Failure::AnswerTooLarge { limit }, Bytes::new());
        }
        if taken.cut {
            // A refusal has taken its place.
            self.upstream = None;
            return self.end(Ending { complete: false, ..Ending::ok(200) }, taken.bytes, false);
        }
        let error = match taken.end {
            None => return taken.bytes,
            Some(EventKind::Error) => Some("upstream_error"),
            Some(_) => None,
        };
        // Whatever follows the last event passes unread, the part of it that is already here first.
        let mut bytes = BytesMut::from(taken.bytes);
        let unread = if self.reading.is_guarded() { Verdict::Hide } else { Verdict::Keep };
        bytes.extend_from_slice(&self.reading.relay.finish(|_| unread));
        let ending = Ending { error, complete: error.is_none(), ..Ending::ok(200) };
        self.end(ending, bytes.freeze(), true)
    }

    /// The upstream closed the stream.
    fn upstream_ended(&mut self) -> Bytes {
        let app = self.call.app().clone();
        let Some(facts) = self.call.facts() else { return Bytes::new() };
        let taken = self.reading.take_rest(&app, facts);
        self.give_back();
        self.closed(taken)
    }

    /// What goes to the client of the rest of a stream that was closed.
    fn closed(&mut self, rest: Taken) -> Bytes {
        let has_ended = self.call.facts().is_some_and(|facts| rest.has_ended(&facts.answer, true));
        if rest.end.is_some() || rest.cut {
            self.taken(rest)
        } else if has_ended {
            self.end(Ending::ok(200), rest.bytes, true)
        } else {
            self.broke_off(&Failure::Cut, rest.bytes)
        }
    }

    /// Ends the stream with an error event, after `before`.
    fn broke_off(&mut self, failure: &Failure, before: Bytes) -> Bytes {
        self.upstream = None;
        let error = failure.to_api();
        let class = error.code.unwrap_or(error.kind);
        let class = if matches!(failure, Failure::Timeout { .. }) { TIMED_OUT } else { class };
        crate::metrics::GatewayMetrics::count(&self.call.app().metrics.upstream_errors, class);
        let Some(facts) = self.call.facts() else { return before };
        let event = (facts.endpoint.error_event)(&error, &facts.identity.request_id, &facts.answer);
        let mut last = BytesMut::from(before);
        last.extend_from_slice(event.as_bytes());
        let ending = Ending { error: Some(class), complete: false, ..Ending::ok(200) };
        self.end(ending, last.freeze(), false)
    }

    /// The answer is over: the call is recorded before `last` goes out, at once or after its tokens are counted.
    fn end(&mut self, ending: Ending, last: Bytes, more: bool) -> Bytes {
        let used = match self.call.usage(ending) {
            Some(used) => used,
            None => match self.call.count() {
                Count::Done(usage) => Used::counted(usage, ending),
                Count::Pending(count) => {
                    self.phase = Phase::Counting { count, ending, last, more };
                    return Bytes::new();
                }
            },
        };
        self.record(ending, used, last, more)
    }

    /// Records the call. Returns what the client gets as the last of its answer: `last`, or an error instead of it.
    fn record(&mut self, ending: Ending, used: Used, last: Bytes, more: bool) -> Bytes {
        let told =
            self.call.facts().map(|facts| (facts.endpoint, facts.identity.clone(), facts.answer.sequence));
        let (last, more) = match (self.call.record(ending, used), told) {
            (Ok(settled), _) => {
                self.settled = settled;
                (last, more)
            }
            (Err(Unrecorded), Some((endpoint, identity, sequence))) if ending.error.is_none() => {
                self.upstream = None;
                let answer = Answer { sequence, ..Answer::default() };
                let error = Failure::Unrecorded.to_api();
                (Bytes::from((endpoint.error_event)(&error, &identity.request_id, &answer)), false)
            }
            // It ends with an error already.
            (Err(Unrecorded), _) => (last, more),
        };
        self.phase = if more { Phase::Lingering } else { Phase::Trailers };
        self.last_piece = Instant::now();
        last
    }

    /// The upstream's connection may serve another call.
    fn give_back(&mut self) {
        if let Some(upstream) = self.upstream.take() {
            upstream.give_back();
        }
    }

    fn cost_trailer(&self) -> Option<HeaderMap> {
        let cost = self.settled.cost.filter(|_| self.trailers)?;
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(COST, HeaderValue::try_from(cost.total.to_string()).ok()?);
        Some(trailers)
    }
}

enum Piece {
    Data(Bytes),
    End,
    Failed(Failure),
}

/// Counts a stream while it lives.
#[derive(Debug)]
struct Active(prometheus_client::metrics::gauge::Gauge);

impl Active {
    fn new(app: &App) -> Self {
        app.metrics.active_streams.inc();
        Self(app.metrics.active_streams.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}
