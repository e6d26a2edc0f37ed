//! The simulator's own record of what it served, one JSON object a line.
//!
//! A line is written before the last byte of its answer is handed to the connection, so whoever has read an answer finds
//! its line, give or take the writer's queue. Nothing here knows prices: cost is recomputed by others.

use crate::deployment::{Deployment, Seat};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// All tokens of the prompt.
    pub prompt: u64,
    /// Of the prompt: read from the cache.
    pub cached: u64,
    /// Of the prompt: written to the cache, at a price of its own; not among `cached`.
    #[serde(default)]
    pub cache_write: u64,
    /// Of those written: kept for an hour instead of five minutes.
    #[serde(default)]
    pub cache_write_hour: u64,
    /// All tokens of the answer, reasoning included.
    pub completion: u64,
    /// Of the answer: reasoning.
    pub reasoning: u64,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Answered in full.
    Completed,
    /// The client left before the end.
    Disconnected,
    /// Answered with an error status.
    Refused,
    /// Broken off half-way, as asked.
    Cut,
    /// Ended half-way with an error event, as asked.
    Broken,
    /// Answered with something that is not the protocol, as asked.
    Garbage,
}

impl Outcome {
    /// As in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Disconnected => "disconnected",
            Self::Refused => "refused",
            Self::Cut => "cut",
            Self::Broken => "broken",
            Self::Garbage => "garbage",
        }
    }
}

/// One served call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Id of the answer, such as `chatcmpl-…`; also in its body.
    pub id: String,
    /// When the request arrived, milliseconds since the epoch.
    pub time_ms: i64,
    /// Path, such as `/v1/chat/completions`.
    pub endpoint: String,
    /// Deployment that served it; `default` outside of `/d/{name}`.
    #[serde(default)]
    pub deployment: String,
    /// Model asked for.
    pub model: String,
    /// `default`, `flex` or `priority`.
    pub service_tier: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// HTTP status.
    pub status: u16,
    /// Tokens of the whole answer, also when it was not sent to the end.
    pub usage: Usage,
    /// Whether the answer carried its usage.
    pub usage_reported: bool,
    /// Why generation ended; empty for errors.
    pub finish: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens of the answer handed to the connection, reasoning included.
    pub tokens_sent: u64,
}

/// The place where records go. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Option<Sender<Message>>);

#[derive(Debug)]
enum Message {
    Line(Box<Record>),
    Close,
}

/// The thread that writes; [`Writer::close`] waits for it.
#[derive(Debug, Default)]
pub(crate) struct Writer(Option<(Sender<Message>, std::thread::JoinHandle<()>)>);

impl Log {
    /// Appends to the file at `path`; without one, records are dropped.
    pub(crate) fn open(path: Option<&Path>) -> std::io::Result<(Self, Writer)> {
        let Some(path) = path else { return Ok((Self::default(), Writer::default())) };
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("sim-log".to_owned())
            .spawn(move || write_all(&receiver, std::io::BufWriter::new(file)))?;
        Ok((Self(Some(sender.clone())), Writer(Some((sender, thread)))))
    }

    fn append(&self, record: Record) {
        if let Some(sender) = &self.0
            && sender.send(Message::Line(Box::new(record))).is_err()
        {
            tracing::error!("the log of served calls is closed, a record was dropped");
        }
    }
}

impl Writer {
    /// Writes what is queued, then ends.
    pub(crate) fn close(self) {
        if let Some((sender, thread)) = self.0
            && sender.send(Message::Close).is_ok()
            && thread.join().is_err()
        {
            tracing::error!("the log of served calls ended badly");
        }
    }
}

fn write_all(receiver: &Receiver<Message>, mut file: impl Write) {
    loop {
        // The file is flushed whenever the queue runs empty, so readers never wait for a full buffer.
        let message = match receiver.recv_timeout(Duration::ZERO) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = file.flush() {
                    tracing::error!(%error, "the log of served calls cannot be flushed");
                }
                let Ok(message) = receiver.recv() else { return };
                message
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Message::Line(record) = message else { break };
        let written = serde_json::to_writer(&mut file, &record)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            tracing::error!(%error, "a served call cannot be logged");
        }
    }
    if let Err(error) = file.flush() {
        tracing::error!(%error, "the log of served calls cannot be flushed");
    }
}

/// A call being served. Dropped before it was closed, it records that the client left.
#[derive(Debug)]
pub(crate) struct Entry {
    log: Log,
    deployment: Arc<Deployment>,
    record: Option<Record>,
    /// The call's place at work, given back at its end.
    seat: Option<Seat>,
}

impl Entry {
    /// Opens the record of a call.
    pub(crate) const fn new(log: Log, deployment: Arc<Deployment>, record: Record) -> Self {
        Self { log, deployment, record: Some(record), seat: None }
    }

    /// Changes the open record.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// The call is at work.
    pub(crate) fn seated(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// So many tokens of the answer are out.
    pub(crate) fn sent(&mut self, tokens: u64) {
        if let Some(record) = &mut self.record {
            record.tokens_sent = record.tokens_sent.max(tokens);
            if let Some(seat) = &mut self.seat {
                seat.holds(record.usage.prompt + record.tokens_sent);
            }
        }
    }

    /// Writes the record; only the first call does.
    pub(crate) fn close(&mut self, outcome: Outcome) {
        if let Some(mut record) = self.record.take() {
            record.outcome = outcome;
            self.seat = None;
            self.deployment.count(&record);
            self.log.append(record);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(Outcome::Disconnected);
    }
}
