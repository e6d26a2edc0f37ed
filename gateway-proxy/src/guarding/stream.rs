//! Answers that are judged while they stream.
//!
//! Every event of the client's own protocol is taken apart (`chat`, `messages`, `responses`): texts go through the guards of their
//! choice and come out as soon as they can no longer become part of a match, rewritten where they differ; a tool call is held until
//! it is whole. An event that holds nothing back and changes nothing goes on byte for byte. What is not understood is judged text by
//! text, and what comes of it in pieces is left out.
//!
//! Rules that need all of an answer hold all of its events, and release them, masked, at its end.
//!
//! An answer that may not go on ends with a refusal in the form of its protocol. If nothing but what it used is still to come, that is
//! waited for; else the upstream is cancelled.

mod chat;
mod messages;
mod responses;

use super::chain::{Chain, Found, Stop};
use super::places::is_structural;
use super::whole::Judge;
use super::{Compiled, Told};
use crate::app::App;
use crate::call::Facts;
use crate::endpoints::{Endpoint, EventKind};
use crate::meter::Answer;
use crate::sse::Event;
use crate::trying::Asking;
use chat::Chat;
use contracts::TokenUsage;
use guard::Decision;
use messages::Messages;
use protocols::Dialect;
use responses::Responses;
use serde_json::Value;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

/// Guards one streamed answer.
#[derive(Debug)]
pub(crate) struct Guarded {
    judge: Judge,
    endpoint: &'static Endpoint,
    rewriter: Box<dyn Rewrite>,
    /// Events that wait for the end, where a rule needs all of the answer.
    held: Option<Vec<Box<[u8]>>>,
    state: State,
    stop: Option<Decision>,
    /// What the client has got, where that is written down.
    told: Option<Arc<Mutex<Answer>>>,
    request_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Going,
    /// It was withheld: what it used is still to come.
    Draining,
    /// It was withheld, and nobody waits for the rest.
    Cut,
}

/// Takes the events of one protocol apart.
trait Rewrite: Debug + Send + Sync {
    /// Adds to `out` what may be seen of an event and those before it. `raw` is the event's own text.
    fn event(&mut self, event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop>;

    /// Ends the answer with a refusal.
    fn refuse(&mut self, text: &str, ending: &Ending<'_>, out: &mut Out<'_>);

    /// Nothing of what was written reached anybody.
    fn begin_again(&mut self);

    /// Whether the model has come to its end, so that nothing follows but what it used.
    fn has_finished(&self) -> bool;

    /// Whether an event says only what was used.
    fn is_usage(&self, event: &Value) -> bool;

    /// Adds what was found since it was asked last.
    fn tell(&mut self, found: &mut Vec<Found>);
}

/// What is known of an answer that is withheld.
struct Ending<'a> {
    id: &'a str,
    usage: Option<TokenUsage>,
}

/// Events for the client.
struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    endpoint: &'static Endpoint,
    /// What the client has got.
    told: Option<&'a Mutex<Answer>>,
}

impl Out<'_> {
    /// An event as it came.
    fn pass(&mut self, kind: Option<&str>, data: &[u8]) {
        if let Some(kind) = kind {
            self.bytes.extend_from_slice(b"event: ");
            self.bytes.extend_from_slice(kind.as_bytes());
            self.bytes.push(b'\n');
        }
        for line in data.split(|byte| *byte == b'\n') {
            self.bytes.extend_from_slice(b"data: ");
            self.bytes.extend_from_slice(line);
            self.bytes.push(b'\n');
        }
        self.bytes.push(b'\n');
        if let Some(told) = self.told {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            (self.endpoint.read_event)(&mut told, &Event::of(data));
        }
    }

    /// An event of our own making.
    fn send(&mut self, kind: Option<&str>, event: &Value) {
        self.pass(kind, event.to_string().as_bytes());
    }
}

impl Asking<'_> {
    /// What guards the answer as it streams; `None` where nothing does.
    pub(crate) fn guard_stream(&self) -> Option<Box<Guarded>> {
        let guarding = self.guarding.filter(|guarding| guarding.judges_output(self.endpoint))?;
        let judge = guarding.judge.clone();
        let rewriter = rewriter(self.endpoint, &judge.compiled, true);
        let holds_all = Chain::new(&judge.compiled, true).holds_all();
        let keeps = guarding.keeps_content || self.keeps_whole;
        Some(Box::new(Guarded {
            judge,
            endpoint: self.endpoint,
            rewriter,
            held: holds_all.then(Vec::new),
            state: State::Going,
            stop: None,
            told: keeps.then(Arc::default),
            request_id: self.identity.request_id.clone(),
        }))
    }
}

fn rewriter(endpoint: &Endpoint, compiled: &[Arc<Compiled>], whole: bool) -> Box<dyn Rewrite> {
    match endpoint.dialect {
        Some(Dialect::OpenAiResponses) => Box::new(Responses::new(compiled, whole)),
        Some(Dialect::Anthropic) => Box::new(Messages::new(compiled, whole)),
        dialect => Box::new(Chat::new(compiled, whole, dialect.is_none())),
    }
}

impl Guarded {
    /// Takes an event that was understood, `ended` when it is the last; adds to `bytes` what the client gets.
    pub(crate) fn event(
        &mut self,
        app: &App,
        answer: &mut Answer,
        data: &[u8],
        ended: Option<EventKind>,
        bytes: &mut Vec<u8>,
    ) {
        if data.is_empty() {
            bytes.extend_from_slice(b":\n\n");
            return;
        }
        if self.state == State::Cut {
            return;
        }
        let event = match data {
            b"[DONE]" => None,
            data => match serde_json::from_slice::<Value>(data) {
                Ok(event) if event.is_object() => Some(event),
                // What nobody can read nobody can judge.
                Ok(_) | Err(_) => return,
            },
        };
        let is_draining = self.state == State::Draining;
        let Some(event) = event else {
            self.release(app, answer, bytes);
            if self.state != State::Cut {
                self.out(bytes).pass(None, data);
            }
            return;
        };
        if is_draining {
            if ended.is_some() || self.rewriter.is_usage(&event) {
                let kind = event["type"].as_str();
                self.out(bytes).pass(kind, data);
            }
            return;
        }
        let mut unseen = Vec::new();
        let (into, told) = match &mut self.held {
            Some(held) => {
                held.push(data.into());
                (&mut unseen, None)
            }
            None => (&mut *bytes, self.told.as_deref()),
        };
        let mut out = Out { bytes: into, endpoint: self.endpoint, told };
        let result = self.rewriter.event(event, data, &mut out);
        self.note(app);
        match result {
            Err(stop) => self.withhold(answer, &stop, bytes),
            Ok(()) if ended.is_some() => self.release(app, answer, bytes),
            Ok(()) => {}
        }
    }

    /// Tells the call what its client gets, and whether some of the answer was withheld.
    pub(crate) fn tell_call(&self, facts: &mut Facts) {
        let Some(guarding) = &mut facts.guarding else { return };
        guarding.is_withheld = self.stop.is_some();
        if let Some(told) = &self.told
            && !matches!(&guarding.told, Told::Other(known) if Arc::ptr_eq(known, told))
        {
            guarding.told = Told::Other(told.clone());
        }
    }

    /// The upstream has closed the stream: what waited for its end goes on, if the answer had come to one.
    pub(crate) fn close(&mut self, app: &App, answer: &mut Answer, bytes: &mut Vec<u8>) {
        if self.rewriter.has_finished() {
            self.release(app, answer, bytes);
        }
    }

    /// What was decided against the answer, if anything was.
    pub(crate) const fn decision(&self) -> Option<Decision> {
        self.stop
    }

    /// Whether the answer was withheld and nobody waits for the rest.
    pub(crate) fn is_cut(&self) -> bool {
        self.state == State::Cut
    }

    fn out<'a>(&'a self, bytes: &'a mut Vec<u8>) -> Out<'a> {
        Out { bytes, endpoint: self.endpoint, told: self.told.as_deref() }
    }

    /// Releases the events that waited for the end. They were judged: what is left is to mask.
    fn release(&mut self, app: &App, answer: &mut Answer, bytes: &mut Vec<u8>) {
        let Some(held) = self.held.take() else { return };
        self.rewriter = rewriter(self.endpoint, &self.judge.compiled, false);
        for data in held {
            let Ok(event) = serde_json::from_slice::<Value>(&data) else { continue };
            let mut out = Out { bytes, endpoint: self.endpoint, told: self.told.as_deref() };
            if let Err(stop) = self.rewriter.event(event, &data, &mut out) {
                self.note(app);
                return self.withhold(answer, &stop, bytes);
            }
        }
    }

    fn withhold(&mut self, answer: &mut Answer, stop: &Stop, bytes: &mut Vec<u8>) {
        self.stop = Some(stop.decision);
        let has_finished = self.rewriter.has_finished();
        if self.held.take().is_some() {
            self.rewriter.begin_again();
        }
        let text = self.judge.refusal(stop);
        let mut out = Out { bytes, endpoint: self.endpoint, told: self.told.as_deref() };
        self.rewriter.refuse(&text, &Ending { id: &self.request_id, usage: answer.usage }, &mut out);
        self.state = if has_finished { State::Draining } else { State::Cut };
        let is_anthropic = self.endpoint.dialect == Some(Dialect::Anthropic);
        answer.finish_all(if is_anthropic { "refusal" } else { "content_filter" });
    }

    fn note(&mut self, app: &App) {
        let mut found = Vec::new();
        self.rewriter.tell(&mut found);
        self.judge.note(app, found);
    }
}

/// Judges texts that nothing is known of, each by itself.
#[derive(Debug)]
struct Aside {
    compiled: Vec<Arc<Compiled>>,
    found: Vec<Found>,
}

impl Aside {
    fn new(compiled: &[Arc<Compiled>]) -> Self {
        Self { compiled: compiled.to_vec(), found: Vec::new() }
    }

    /// A chain for a text beside the answer.
    fn chain(&self) -> Chain {
        Chain::new(&self.compiled, false)
    }

    /// Masks in every text of `value`; whether any changed.
    fn sweep(&mut self, value: &mut Value) -> Result<bool, Stop> {
        match value {
            Value::String(text) => {
                let (mut chain, mut released) = (self.chain(), String::with_capacity(text.len()));
                let result = chain.push(text, &mut released).and_then(|()| chain.flush(&mut released));
                chain.tell(&mut self.found);
                result?;
                let has_changed = released != *text;
                *text = released;
                Ok(has_changed)
            }
            Value::Array(items) => {
                let mut has_changed = false;
                for item in items {
                    has_changed |= self.sweep(item)?;
                }
                Ok(has_changed)
            }
            Value::Object(map) => {
                let mut has_changed = false;
                for (_, item) in map.iter_mut().filter(|(name, _)| !is_structural(name)) {
                    has_changed |= self.sweep(item)?;
                }
                Ok(has_changed)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests;
