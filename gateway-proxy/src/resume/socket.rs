//! `GET /v1/stream`: calls and streams over one WebSocket, so that a client with a poor line needs no new request to come back.
//!
//! The client sends one JSON message at a time:
//!
//! - `{"type": "create", "path": "/v1/chat/completions", "body": {…}, "on_disconnect": "continue" | "stop"}` makes a call;
//! - `{"type": "resume", "stream": "req_…", "after": 17}` goes on after that event, or from the beginning without `after`;
//! - `{"type": "cancel"}`, while a stream comes, ends it at its source.
//!
//! What comes back: `{"type": "event", "stream", "number", "event", "data"}` for each event, where `data` is the event's own JSON, or
//! a text where it is none; `{"type": "end", "stream"}` after the last; `{"type": "answer", "status", "stream", "body"}` for what is not
//! streamed, errors included: one with status 410 where a stream does not go on, because its reader was slower than what is kept of it. A key that works is asked for before the socket opens, and is that of every call on it.

use super::events::{of_response, split};
use super::{Follower, Gone, Kept};
use crate::app::App;
use crate::errors::Failure;
use crate::intake::ClientBody;
use crate::respond::{Body, REQUEST_ID};
use crate::stack::{identified, lets_in};
use bytes::Bytes;
use contracts::TenantId;
use futures_util::{SinkExt, StreamExt};
use http::request::Parts as Head;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Where sockets are opened.
pub(crate) const PATH: &str = "/v1/stream";

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Who is at the other end.
#[derive(Debug)]
struct Client {
    peer: IpAddr,
    tenant: TenantId,
}

/// What a client says.
#[derive(Debug)]
enum Said {
    Create { path: String, body: Box<RawValue>, on_disconnect: Option<String> },
    Resume { stream: String, after: Option<u64> },
    Cancel,
}

/// The same as it comes. Not an enum with a tag: what such an enum reads first keeps no JSON as it was written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(rename = "type")]
    kind: Kind,
    path: Option<String>,
    body: Option<Box<RawValue>>,
    on_disconnect: Option<String>,
    stream: Option<String>,
    after: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Create,
    Resume,
    Cancel,
}

impl Said {
    fn read(text: &str) -> Result<Self, String> {
        let fields: Fields = serde_json::from_str(text).map_err(|error| format!("message: {error}"))?;
        let missing = |name: &str| format!("{name}: required but missing");
        Ok(match fields.kind {
            Kind::Create => Self::Create {
                path: fields.path.ok_or_else(|| missing("path"))?,
                body: fields.body.ok_or_else(|| missing("body"))?,
                on_disconnect: fields.on_disconnect,
            },
            Kind::Resume => {
                Self::Resume { stream: fields.stream.ok_or_else(|| missing("stream"))?, after: fields.after }
            }
            Kind::Cancel => Self::Cancel,
        })
    }
}

/// What a client is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Told<'a> {
    Event { stream: &'a str, number: Option<u64>, event: Option<&'a str>, data: Data<'a> },
    End { stream: &'a str },
    Answer { status: u16, stream: &'a str, body: Data<'a> },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Data<'a> {
    fn of(text: &'a str) -> Self {
        serde_json::from_str(text).map_or(Self::Text(text), Self::Json)
    }
}

/// Opens a socket, if the request asks for one and its key works.
pub(crate) fn open(app: &Arc<App>, peer: IpAddr, mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let key = match lets_in(app, peer, &head) {
        Ok(key) => key,
        Err(refusal) => return *refusal,
    };
    let Some(accept) = accepts(&head) else {
        return text(
            StatusCode::UPGRADE_REQUIRED,
            "expected a WebSocket: GET with upgrade: websocket, version 13",
        );
    };
    let client = Client { peer, tenant: key.tenant.id.clone() };
    let streams = &app.streams;
    let (closing, stop) = (streams.closing.clone(), streams.stop.clone());
    let serving = serve(app.clone(), head, client, upgrade, closing);
    streams.tasks.spawn(stop.run_until_cancelled_owned(serving));
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The value that tells a client that it was understood (RFC 6455, section 4.2.2).
fn accepts(head: &Head) -> Option<HeaderValue> {
    let says = |name, expected: &str| {
        let value =
            head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(expected))
    };
    let asks = head.method == Method::GET
        && says(header::CONNECTION, "upgrade")
        && says(header::UPGRADE, "websocket")
        && says(header::SEC_WEBSOCKET_VERSION, "13");
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()
}

fn text(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(Bytes::from_static(message.as_bytes()))));
    *response.status_mut() = status;
    response
}

async fn serve(
    app: Arc<App>,
    head: Head,
    client: Client,
    upgrade: OnUpgrade,
    closing: tokio_util::sync::CancellationToken,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let most = app.limits.body_bytes + (64 << 10);
    let config = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    loop {
        let message = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            message = socket.next() => message,
        };
        let served = match message {
            Some(Ok(Message::Text(said))) => {
                answer(&app, &head, &client, &mut socket, Said::read(said.as_str())).await
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Some(()),
            Some(Ok(Message::Binary(_))) => {
                tell_error(&mut socket, 400, "message: binary is not valid here: expected JSON as text").await
            }
            Some(Ok(Message::Close(_) | Message::Frame(_)) | Err(_)) | None => None,
        };
        if served.is_none() {
            break;
        }
    }
    // The client may be gone already.
    let _ = socket.close(None).await;
}

/// Does what one message asks for; `None` when the client has gone.
async fn answer(
    app: &Arc<App>,
    head: &Head,
    client: &Client,
    socket: &mut Socket,
    said: Result<Said, String>,
) -> Option<()> {
    match said {
        Err(error) => tell_error(socket, 400, &error).await,
        Ok(Said::Cancel) => tell_error(socket, 409, "cancel: there is no stream to end").await,
        Ok(Said::Resume { stream, after }) => {
            let Some(kept) = app.streams.find(&client.tenant, &stream) else {
                return tell_error(socket, 404, "stream: it is not known here").await;
            };
            match kept.follow(after.map_or(0, |after| after.saturating_add(1))) {
                Ok(follower) => follow(socket, &stream, &kept, follower).await,
                Err(gone) => tell_gone(socket, &stream, gone).await,
            }
        }
        Ok(Said::Create { path, body, on_disconnect }) => {
            let Some(head) = call_head(head, &path, on_disconnect.as_deref()) else {
                let message = format!("path: {path:?} is not valid: expected such as /v1/chat/completions");
                return tell_error(socket, 400, &message).await;
            };
            let body = Bytes::from(Box::<str>::from(body).into_string());
            let response = identified(app, client.peer, head, ClientBody::here(body)).await;
            let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
            let id = id.to_owned();
            match app.streams.find(&client.tenant, &id).filter(|_| response.status().is_success()) {
                Some(kept) => {
                    // Before the body goes: a stream may end with its last reader.
                    let follower = kept.reader(0);
                    drop(response);
                    follow(socket, &id, &kept, follower).await
                }
                None => whole(socket, &id, response).await,
            }
        }
    }
}

/// The head of a call: that of the socket, with the call's own path and what it says of its end.
fn call_head(socket: &Head, path: &str, on_disconnect: Option<&str>) -> Option<Head> {
    let mut request = Request::new(Full::<Bytes>::default());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().ok().filter(|_| path.starts_with("/v1/") && path != PATH)?;
    let headers = request.headers_mut();
    let own = [
        header::CONNECTION,
        header::UPGRADE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::EXPECT,
    ];
    for (name, value) in &socket.headers {
        if !own.contains(name) && !name.as_str().starts_with("sec-websocket-") {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-control-tower-resume", HeaderValue::from_static("on"));
    if let Some(what) = on_disconnect {
        headers.insert("x-control-tower-on-disconnect", HeaderValue::try_from(what).ok()?);
    }
    Some(request.into_parts().0)
}

/// Hands a stream's events on as they come, and hears whether the client wants no more of it.
async fn follow(socket: &mut Socket, id: &str, kept: &Kept, mut follower: Follower) -> Option<()> {
    loop {
        tokio::select! {
            piece = follower.next() => {
                let piece = match piece {
                    None => return tell(socket, &Told::End { stream: id }).await,
                    Some(Err(gone)) => return tell_gone(socket, id, gone).await,
                    Some(Ok(piece)) => piece,
                };
                for event in split(piece) {
                    tell_event(socket, id, &event).await?;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(said))) => match Said::read(said.as_str()) {
                    Ok(Said::Cancel) => kept.cancel(),
                    _ => tell_error(socket, 409, "message: a stream is on its way: expected cancel, or to wait").await?,
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_))) => {}
                Some(Ok(Message::Close(_) | Message::Frame(_)) | Err(_)) | None => return None,
            },
        }
    }
}

async fn tell_event(socket: &mut Socket, id: &str, event: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(event).unwrap_or_default();
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let Some(data) = field("data") else { return Some(()) };
    let own = field("id").and_then(|id| id.rsplit_once(':')?.1.parse().ok());
    let number = own.or_else(|| of_response(event).sequence_number);
    tell(socket, &Told::Event { stream: id, number, event: field("event"), data: Data::of(data) }).await
}

/// An answer that is not streamed.
async fn whole(socket: &mut Socket, id: &str, response: Response<Body>) -> Option<()> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    tell(socket, &Told::Answer { status, stream: id, body: Data::of(&text) }).await
}

async fn tell_error(socket: &mut Socket, status: u16, message: &str) -> Option<()> {
    let error = contracts::ApiError::client(status, "invalid_request_error", None, message);
    let body = error.to_json("");
    tell(socket, &Told::Answer { status, stream: "", body: Data::of(&body) }).await
}

/// A stream does not go on from where its reader stands.
async fn tell_gone(socket: &mut Socket, id: &str, gone: Gone) -> Option<()> {
    let error = Failure::EventsGone { first: gone.first }.to_api();
    let body = error.to_json("");
    tell(socket, &Told::Answer { status: error.status, stream: id, body: Data::of(&body) }).await
}

async fn tell(socket: &mut Socket, told: &Told<'_>) -> Option<()> {
    let json = serde_json::to_string(told).ok()?;
    socket.send(Message::text(json)).await.ok()
}
