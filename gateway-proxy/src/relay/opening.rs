//! The beginning of a stream, before any of it goes to a client: until here a failure has a status of its own, and another try may
//! follow.

use super::reading::{Reading, Taken};
use super::stream::{Begun, Stream};
use crate::app::App;
use crate::call::Call;
use crate::endpoints::{Endpoint, EventKind};
use crate::errors::Failure;
use crate::meter::Answer;
use crate::sse::{Relay, Relayed, Verdict};
use crate::trying::Heard;
use crate::upstream::{AnswerBody, Late};
use tokio::time::Instant;

/// A stream up to its first bytes: until here a failure still has a status of its own.
#[derive(Debug)]
pub(crate) struct Opening {
    upstream: AnswerBody,
    reading: Reading,
    first: Taken,
    /// The upstream has closed it.
    is_closed: bool,
}

impl Opening {
    /// Waits for the first whole event, until `until`.
    pub(crate) async fn wait(
        app: &App,
        mut heard: Heard<'_>,
        mut body: AnswerBody,
        mut reading: Reading,
        until: Instant,
    ) -> Result<Self, Failure> {
        let (mut understood, mut malformed) = (0, 0);
        let mut is_closed = false;
        loop {
            // Half an event after events that say nothing to the client.
            if is_closed {
                return Err(Failure::Closed);
            }
            let after = app.timeouts.first_byte().min(app.timeouts.total());
            let frame =
                body.frame_by(until).await.map_err(|Late| Failure::Timeout { what: "first event", after })?;
            let mut taken = match frame {
                Some(Err(_broken)) => return Err(Failure::Closed),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => reading.read(app, &mut heard, data),
                    Err(_trailers) => continue,
                },
                None => {
                    is_closed = true;
                    let taken = reading.read_rest(app, &mut heard);
                    if taken.bytes.is_empty() && taken.malformed + malformed == 0 {
                        return Err(Failure::Closed);
                    }
                    taken
                }
            };
            understood += taken.understood;
            malformed += taken.malformed;
            if taken.too_large || (malformed > 0 && understood == 0) {
                return Err(Failure::Garbage { status: 200, detail: "what is not an event stream" });
            }
            // What is held back shows that there is an answer.
            let is_held = reading.is_guarded() && understood > 0;
            if !taken.bytes.is_empty() || taken.end.is_some() || taken.cut || is_held {
                taken.understood = understood;
                return Ok(Self { upstream: body, reading, first: taken, is_closed });
            }
        }
    }

    /// Bytes that are held back.
    pub(crate) fn held(&self) -> usize {
        self.first.bytes.len()
    }

    /// Whether it says nothing but that the upstream failed.
    pub(crate) fn is_error(&self) -> bool {
        self.first.end == Some(EventKind::Error)
    }

    /// Whether all of it is here; `answer` is what was heard of it.
    pub(crate) fn has_ended(&self, answer: &Answer) -> bool {
        self.first.has_ended(answer, self.is_closed)
    }

    /// Whether nothing more of it will come.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_closed || self.first.end.is_some() || self.first.cut
    }

    /// Whether guardrails ended it.
    pub(crate) const fn is_cut(&self) -> bool {
        self.first.cut
    }

    /// What guardrails decided against the answer so far, if anything.
    pub(crate) fn decision(&self) -> Option<guard::Decision> {
        self.reading.decision()
    }

    /// Whether guardrails judge it.
    pub(crate) const fn is_guarded(&self) -> bool {
        self.reading.is_guarded()
    }

    /// The answer as its client would get it, where `heard` is what came of it; `None` before its end is here, or where it cannot be read.
    pub(crate) fn told(&self, endpoint: &Endpoint, heard: &Answer) -> Option<Answer> {
        if !self.has_ended(heard) {
            return None;
        }
        let mut told = Answer::default();
        let relayed = Relay::default().push(self.first.bytes.clone(), |event| {
            (endpoint.read_event)(&mut told, event);
            Verdict::Keep
        });
        matches!(relayed, Relayed::Bytes(_)).then_some(told)
    }

    /// Holds back the next piece as well, if it comes before it has been held for long enough. One that does not come until `deadline`,
    /// or for longer than an upstream may say nothing, is a failure.
    pub(crate) async fn more(
        &mut self,
        call: &mut Call,
        held_until: Instant,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let app = call.app().clone();
        let Some(facts) = call.facts() else { return Err(Failure::Closed) };
        self.more_of(&app, facts.heard(), held_until, deadline).await
    }

    /// As [`Opening::more`], for what is written down there.
    pub(crate) async fn more_of(
        &mut self,
        app: &App,
        mut heard: Heard<'_>,
        held_until: Instant,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let idle = Instant::now() + app.timeouts.idle();
        let frame = match self.upstream.frame_by(held_until.min(deadline).min(idle)).await {
            Ok(frame) => frame,
            Err(Late) if held_until <= deadline.min(idle) => return Ok(()),
            Err(Late) => {
                let after = app.timeouts.idle();
                return Err(Failure::Timeout { what: "further piece of its answer", after });
            }
        };
        let taken = match frame {
            None => {
                self.is_closed = true;
                self.reading.read_rest(app, &mut heard)
            }
            Some(Err(_broken)) => return Err(Failure::Cut),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { return Ok(()) };
                self.reading.read(app, &mut heard, data)
            }
        };
        if taken.too_large || taken.endless {
            return Err(Failure::AnswerTooLarge { limit: app.limits.answer_bytes });
        }
        self.first = taken.after(std::mem::take(&mut self.first.bytes));
        Ok(())
    }

    /// Goes on with the client connected.
    pub(crate) fn into_stream(self, call: Call, trailers: bool, deadline: Instant) -> Stream {
        let upstream = Some(self.upstream).filter(|_| !self.is_closed);
        Stream::new(Begun { upstream, reading: self.reading, first: self.first }, call, trailers, deadline)
    }
}
