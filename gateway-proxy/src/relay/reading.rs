//! How a stream's bytes are read and handed on: put into the client's protocol, metered in passing, and guarded.

use crate::app::App;
use crate::caching;
use crate::call::Facts;
use crate::endpoints::EventKind;
use crate::guarding::Guarded;
use crate::meter::Answer;
use crate::sse::{Event, Relay, Relayed, Verdict};
use crate::translation;
use crate::trying::Heard;
use bytes::{Bytes, BytesMut};
use protocols::StreamTranslator;
use tokio::time::Instant;

/// How a stream's bytes are read and handed on.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(super) relay: Relay,
    /// The client did not ask for the usage that we asked for.
    hide_usage: bool,
    /// Into the client's protocol, where the provider speaks another.
    pub(super) translator: Option<Box<StreamTranslator>>,
    /// Judges what comes of it, in the client's protocol.
    guarded: Option<Box<Guarded>>,
    /// Bytes that came.
    came: usize,
}

/// Of a stream that is written anew so many bytes may come for each that an answer's text may have: events are longer than what they say,
/// and some of each is known until its end.
const BYTES_EACH: usize = 8;
/// As if an answer's text might have at least so many.
const LEAST_TEXT: usize = 64 << 20;

/// What came of a piece of a stream.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    /// How the answer ended, if this piece ended it.
    pub(super) end: Option<EventKind>,
    pub(super) understood: usize,
    pub(super) malformed: usize,
    pub(super) too_large: bool,
    /// The answer's text as a whole is longer than an answer may be.
    pub(super) endless: bool,
    /// The answer may not go on: its end is here, whatever the upstream still has to say.
    pub(super) cut: bool,
}

impl Taken {
    /// This, and before its bytes those that came earlier.
    pub(super) fn after(self, earlier: Bytes) -> Self {
        let mut bytes = BytesMut::from(earlier);
        bytes.extend_from_slice(&self.bytes);
        Self { bytes: bytes.freeze(), ..self }
    }

    /// Whether `answer` has come to its end with this, which is the rest of its stream where that `is_closed`. Servers may close
    /// it without a last event: that is an end only if every choice had ended.
    pub(super) fn has_ended(&self, answer: &Answer, is_closed: bool) -> bool {
        match self.end {
            Some(end) => end == EventKind::End,
            None => is_closed && !self.cut && self.malformed == 0 && answer.has_finished(),
        }
    }
}

impl Reading {
    /// `hide_usage`: the client did not ask for the usage that we asked for. `translator`: where the provider's protocol is another.
    /// `guarded`: where guardrails judge it.
    pub(crate) fn new(
        hide_usage: bool,
        translator: Option<StreamTranslator>,
        guarded: Option<Box<Guarded>>,
    ) -> Self {
        Self { relay: Relay::default(), hide_usage, translator: translator.map(Box::new), guarded, came: 0 }
    }

    /// Whether what comes is not what the upstream sends, so that none of that may pass unread.
    pub(super) const fn rewrites(&self) -> bool {
        self.translator.is_some() || self.guarded.is_some()
    }

    /// Whether text may be held back.
    pub(super) const fn is_guarded(&self) -> bool {
        self.guarded.is_some()
    }

    /// What guardrails decided against the answer so far, if anything.
    pub(super) fn decision(&self) -> Option<guard::Decision> {
        self.guarded.as_ref().and_then(|guarded| guarded.decision())
    }

    /// Tells the call what its client gets, and whether some of the answer was withheld.
    pub(super) fn tell(&self, facts: &mut Facts) {
        if let Some(guarded) = &self.guarded {
            guarded.tell_call(facts);
        }
    }

    /// Reads a piece in passing.
    pub(super) fn take(&mut self, app: &App, facts: &mut Facts, data: Bytes) -> Taken {
        let taken = self.read(app, &mut facts.heard(), data);
        self.tell(facts);
        taken
    }

    /// Reads what is left of a stream that was closed.
    pub(super) fn take_rest(&mut self, app: &App, facts: &mut Facts) -> Taken {
        let taken = self.read_rest(app, &mut facts.heard());
        self.tell(facts);
        taken
    }

    pub(super) fn read(&mut self, app: &App, heard: &mut Heard<'_>, mut data: Bytes) -> Taken {
        self.came = self.came.saturating_add(data.len());
        if let Some(translator) = &mut self.translator {
            data = translator.push(&data);
        }
        let mut taken = Taken::default();
        let hide_usage = self.hide_usage;
        let mut told = Vec::new();
        let guarded = &mut self.guarded;
        let relayed = self.relay.push(data, |event| match guarded {
            None => pass(app, heard, &mut taken, hide_usage, event),
            Some(guarded) => guard(app, heard, &mut taken, hide_usage, event, (guarded, &mut told)),
        });
        match relayed {
            Relayed::Bytes(bytes) => taken.bytes = bytes,
            Relayed::TooLarge => taken.too_large = true,
        }
        if self.guarded.is_some() {
            taken.bytes = told.into();
        }
        let most = app.limits.answer_bytes;
        taken.endless = heard.answer.kept.came() > most
            || self.rewrites() && self.came > most.max(LEAST_TEXT).saturating_mul(BYTES_EACH);
        self.learn(heard);
        taken
    }

    /// Half an event is not passed on: it could only confuse.
    pub(super) fn read_rest(&mut self, app: &App, heard: &mut Heard<'_>) -> Taken {
        let mut told = Vec::new();
        let mut taken = self.rest(app, heard, &mut told);
        self.learn(heard);
        if let Some(guarded) = &mut self.guarded {
            guarded.close(app, heard.answer, &mut told);
            taken.cut |= guarded.is_cut();
            taken.bytes = told.into();
        }
        taken
    }

    fn rest(&mut self, app: &App, heard: &mut Heard<'_>, told: &mut Vec<u8>) -> Taken {
        let guarded = &mut self.guarded;
        let mut taken = Taken::default();
        let hide_usage = self.hide_usage;
        let mut on_event = |taken: &mut Taken, hide_usage: bool, event: &Event<'_>| match guarded {
            None => pass(app, heard, taken, hide_usage, event),
            Some(guarded) => guard(app, heard, taken, hide_usage, event, (guarded, told)),
        };
        if let Some(translator) = &mut self.translator {
            let last = translator.finish();
            if !last.is_empty() {
                let relayed = self.relay.push(last, |event| on_event(&mut taken, false, event));
                if let Relayed::Bytes(bytes) = relayed {
                    taken.bytes = bytes;
                }
                return taken;
            }
        }
        let bytes = self.relay.finish(|event| {
            let before = taken.malformed;
            let verdict = on_event(&mut taken, hide_usage, event);
            if taken.malformed > before { Verdict::Hide } else { verdict }
        });
        taken.bytes = if bytes.is_empty() { bytes } else { [&bytes[..], b"\n\n"].concat().into() };
        taken
    }

    /// The translator's own count of tokens: the client may get none.
    fn learn(&self, heard: &mut Heard<'_>) {
        if let Some(translator) = &self.translator {
            translation::learn(heard.answer, translator);
        }
    }
}

fn judge(
    app: &App,
    heard: &mut Heard<'_>,
    taken: &mut Taken,
    hide_usage: bool,
    event: &Event<'_>,
) -> Verdict {
    let kind = if event.is_malformed() {
        EventKind::Malformed
    } else {
        (heard.endpoint.read_event)(heard.answer, event)
    };
    taken.understood += usize::from(kind != EventKind::Malformed);
    match kind {
        EventKind::Content => {
            if heard.first_content.is_none() {
                *heard.first_content = Some(Instant::now());
            }
        }
        EventKind::UsageOnly if hide_usage => return Verdict::Hide,
        EventKind::End | EventKind::Error => taken.end = Some(kind),
        EventKind::Malformed => {
            taken.malformed += 1;
            app.metrics.malformed_events.inc();
        }
        EventKind::UsageOnly | EventKind::Other => {}
    }
    Verdict::Keep
}

/// As [`judge`], where the client gets what comes.
fn pass(app: &App, heard: &mut Heard<'_>, taken: &mut Taken, hide_usage: bool, event: &Event<'_>) -> Verdict {
    let verdict = judge(app, heard, taken, hide_usage, event);
    if taken.end == Some(EventKind::End) {
        caching::note_end(heard, event.data());
    }
    verdict
}

/// As [`judge`], and adds to `told` what the client gets.
fn guard(
    app: &App,
    heard: &mut Heard<'_>,
    taken: &mut Taken,
    hide_usage: bool,
    event: &Event<'_>,
    (guarded, told): (&mut Guarded, &mut Vec<u8>),
) -> Verdict {
    // What follows the end in the same piece is nothing to anybody.
    if taken.end.is_some() || taken.cut {
        return Verdict::Hide;
    }
    let before = taken.malformed;
    if judge(app, heard, taken, hide_usage, event) == Verdict::Keep && taken.malformed == before {
        let begun = told.len();
        guarded.event(app, heard.answer, event.data(), taken.end, told);
        taken.cut = guarded.is_cut();
        // What the provider said the client may not have got: only what was told may be kept.
        if taken.end == Some(EventKind::End) && guarded.decision().is_none() {
            caching::note_end(heard, Event::last_of(&told[begun..]).data());
        }
    }
    Verdict::Hide
}
