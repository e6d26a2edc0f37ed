//! One socket: what its client says, whether it is still there, and what it is told.

use super::gathering::{Gathering, Refused};
use super::said::{Data, Said, Told};
use crate::errors::Failure;
use crate::respond::Body;
use crate::resume::Gone;
use crate::stack::heavy;
use bytes::Bytes;
use contracts::{ApiError, KeyId};
use futures_util::{SinkExt, StreamExt};
use http::Response;
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// So many times is a client asked whether it is there before it counts as gone.
const PINGS: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    socket: WebSocketStream<Gathering<TokioIo<Upgraded>>>,
    /// A client of which nothing came for so long has gone.
    idle: Duration,
    /// When something came last.
    heard: Instant,
    /// When it was last asked whether it is there.
    pinged: Instant,
    /// A call or a stream is on its way, for which the client only waits.
    is_busy: bool,
}

/// A message, or why it is none.
pub(super) type Heard = Result<Utf8Bytes, String>;

/// Whether a client that waits wants no more of it. What it says meanwhile is short.
pub(super) fn is_cancel(heard: &Heard) -> bool {
    heard.as_ref().is_ok_and(|text| matches!(Said::read(text), Ok(Said::Cancel)))
}

/// The client has gone.
#[derive(Debug)]
pub(super) struct Left;

/// What became of something that a client waits for.
#[derive(Debug)]
pub(super) enum Waited<T> {
    /// It is done.
    Done(T),
    /// The client does not want it any more.
    CalledOff,
}

impl Line {
    pub(super) fn new(socket: WebSocketStream<Gathering<TokioIo<Upgraded>>>, idle: Duration) -> Self {
        let now = Instant::now();
        Self { socket, idle, heard: now, pinged: now, is_busy: false }
    }

    /// The client waits for something from now on, or does not any more.
    pub(super) fn set_busy(&mut self, is_busy: bool) {
        (self.is_busy, self.heard) = (is_busy, Instant::now());
        self.socket.get_mut().set_busy(is_busy);
    }

    /// What was heard last was read.
    pub(super) fn let_go(&mut self) {
        self.socket.get_mut().let_go();
    }

    /// What the client says next. A client that waits for something is asked now and then whether it is there; of any other something
    /// must come by itself. What was heard is not lost when this is dropped.
    pub(super) async fn hear(&mut self) -> Result<Heard, Left> {
        loop {
            let gone = self.heard + self.idle;
            let ping = self.heard.max(self.pinged) + self.idle / PINGS;
            let due = if self.is_busy { gone.min(ping) } else { gone };
            let Ok(message) = timeout_at(due, self.socket.next()).await else {
                if Instant::now() >= gone {
                    return Err(Left);
                }
                self.pinged = Instant::now();
                self.socket.send(Message::Ping(Bytes::new())).await.map_err(|_| Left)?;
                continue;
            };
            let gathering = self.socket.get_mut();
            match &message {
                Some(Ok(Message::Text(_) | Message::Binary(_))) => gathering.begin(),
                Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                    gathering.pass_over(payload.len());
                }
                _ => {}
            }
            // A message must come to its end, however often its client says that it is there.
            if !gathering.is_within() {
                self.heard = Instant::now();
            }
            if let Some(refused) = self.socket.get_ref().refused() {
                // What follows is the rest of the message, which nobody reads.
                self.tell_refused(refused).await?;
                return Err(Left);
            }
            match message {
                Some(Ok(Message::Text(said))) => return Ok(Ok(said)),
                Some(Ok(Message::Binary(_))) => {
                    return Ok(Err("message: binary is not valid here: expected JSON as text".into()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_) | Message::Frame(_)) | Err(_)) | None => return Err(Left),
            }
        }
    }

    /// Does `work` for as long as the client is there and wants it; it is dropped otherwise.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<Waited<T>, Left> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(Waited::Done(done)),
                heard = self.hear() => {
                    if is_cancel(&heard?) {
                        return Ok(Waited::CalledOff);
                    }
                    self.tell_busy().await?;
                }
            }
        }
    }

    /// An answer that is not streamed.
    pub(super) async fn tell_whole(&mut self, id: &str, response: Response<Body>) -> Result<(), Left> {
        let status = response.status().as_u16();
        match self.wait(response.into_body().collect()).await? {
            Waited::CalledOff => self.tell_called_off().await,
            Waited::Done(Err(_broken)) => Err(Left),
            Waited::Done(Ok(body)) => {
                let (body, id) = (body.to_bytes(), id.to_owned());
                let bytes = body.len();
                let told = move || {
                    let text = String::from_utf8_lossy(&body);
                    json(&Told::Answer { status, stream: &id, body: Data::of(&text) })
                };
                let json = heavy(bytes, told).await.map_err(|_| Left)??;
                self.send(json).await
            }
        }
    }

    /// A stream does not go on from where its reader stands.
    pub(super) async fn tell_gone(&mut self, id: &str, gone: Gone) -> Result<(), Left> {
        self.tell_api_error(id, &Failure::EventsGone { first: gone.first }.to_api()).await
    }

    pub(super) async fn tell_busy(&mut self) -> Result<(), Left> {
        let message = "message: something is on its way already: expected cancel, or to wait";
        self.tell_error(409, message).await
    }

    async fn tell_refused(&mut self, refused: Refused) -> Result<(), Left> {
        match refused {
            Refused::Busy => self.tell_busy().await,
            Refused::Full => self.tell_api_error("", &Failure::TooManyBodies.to_api()).await,
        }
    }

    pub(super) async fn tell_called_off(&mut self) -> Result<(), Left> {
        self.tell_error(499, "cancel: the call was ended before its answer").await
    }

    pub(super) async fn tell_error(&mut self, status: u16, message: &str) -> Result<(), Left> {
        let error = ApiError::client(status, "invalid_request_error", None, message);
        self.tell_api_error("", &error).await
    }

    async fn tell_api_error(&mut self, id: &str, error: &ApiError) -> Result<(), Left> {
        let body = error.to_json("");
        self.tell(&Told::Answer { status: error.status, stream: id, body: Data::of(&body) }).await
    }

    pub(super) async fn tell(&mut self, told: &Told<'_>) -> Result<(), Left> {
        self.send(json(told)?).await
    }

    async fn send(&mut self, json: String) -> Result<(), Left> {
        self.socket.send(Message::text(json)).await.map_err(|_| Left)
    }

    /// Says farewell. The client may be gone already.
    pub(super) async fn close(&mut self) {
        let _ = self.socket.close(None).await;
    }
}

fn json(told: &Told<'_>) -> Result<String, Left> {
    serde_json::to_string(told).map_err(|_| Left)
}

/// How many sockets each key has open.
#[derive(Debug)]
pub(crate) struct Sockets {
    per_key: u32,
    open: Arc<Mutex<HashMap<KeyId, u32>>>,
}

/// An open socket, until it is dropped.
#[derive(Debug)]
pub(super) struct Open {
    key: KeyId,
    open: Arc<Mutex<HashMap<KeyId, u32>>>,
}

impl Sockets {
    pub(crate) fn new(per_key: u32) -> Self {
        Self { per_key, open: Arc::default() }
    }

    /// Counts another one of `key`, if it may have it.
    pub(super) fn open(&self, key: &KeyId) -> Result<Open, Failure> {
        let mut open = lock(&self.open);
        let many = open.entry(key.clone()).or_default();
        if *many >= self.per_key {
            return Err(Failure::TooManySockets { most: self.per_key });
        }
        *many += 1;
        Ok(Open { key: key.clone(), open: self.open.clone() })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Entry::Occupied(mut many) = lock(&self.open).entry(self.key.clone()) {
            *many.get_mut() -= 1;
            if *many.get() == 0 {
                many.remove();
            }
        }
    }
}

fn lock(open: &Mutex<HashMap<KeyId, u32>>) -> MutexGuard<'_, HashMap<KeyId, u32>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
