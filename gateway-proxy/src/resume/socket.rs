//! `GET /v1/stream`: calls and streams over one WebSocket, so that a client with a poor line needs no new request to come back.
//!
//! The client sends one JSON message at a time:
//!
//! - `{"type": "create", "path": "/v1/chat/completions", "body": {…}, "on_disconnect": "continue" | "stop"}` makes a call;
//! - `{"type": "resume", "stream": "req_…", "after": 17}` goes on after that event, or from the beginning without `after`;
//! - `{"type": "cancel"}`, while a call or a stream is on its way, ends it at its source.
//!
//! What comes back: `{"type": "event", "stream", "number", "event", "data"}` for each event, where `data` is the event's own JSON, or
//! a text where it is none; `{"type": "end", "stream"}` after the last; `{"type": "answer", "status", "stream", "body"}` for what is not
//! streamed, errors included: one with status 410 where a stream does not go on, because its reader was slower than what is kept of it.
//!
//! A key that works is asked for before the socket opens, and with each message again: once it does not work any more, the socket
//! closes. A call ends with its socket; a stream goes on, or not, as `on_disconnect` says. A client that waits for something is asked
//! now and then whether it is there, and one of which nothing comes for long is left. So is one that says more than there is room for,
//! which it is told, with status 503, or 409 while it should wait.

mod gathering;
mod line;
mod said;

pub(crate) use line::Sockets;

use super::events::{of_response, split};
use super::{Follower, Kept};
use crate::app::App;
use crate::intake::ClientBody;
use crate::respond::{Body, REQUEST_ID};
use crate::stack::{heavy, identified, lets_in, socket_refused};
use bytes::Bytes;
use gathering::Gathering;
use http::request::Parts as Head;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use line::{Heard, Left, Line, Open, Waited, is_cancel};
use said::{Data, Said, Told};
use std::net::IpAddr;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Where sockets are opened.
pub(crate) const PATH: &str = "/v1/stream";

/// Who is at the other end.
#[derive(Debug)]
struct Client {
    peer: IpAddr,
    /// Of the request that opened the socket: its key is that of every call.
    head: Head,
    _open: Open,
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
    let streams = &app.streams;
    let open = match streams.sockets.open(&key.id) {
        Ok(open) => open,
        Err(failure) => {
            let identity = app.ids.identify(&head.headers, peer, app.clock.now());
            return socket_refused(app, &failure, &identity);
        }
    };
    let stop = streams.stop.clone();
    let serving = serve(app.clone(), Client { peer, head, _open: open }, upgrade);
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

async fn serve(app: Arc<App>, client: Client, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let most = app.limits.body_bytes + (64 << 10);
    let config = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
    let gathering = Gathering::new(TokioIo::new(upgraded), app.bodies.clone());
    let socket = WebSocketStream::from_raw_socket(gathering, Role::Server, Some(config)).await;
    let mut line = Line::new(socket, app.streams.socket_idle);
    loop {
        let heard = tokio::select! {
            biased;
            () = app.streams.closing.cancelled() => break,
            heard = line.hear() => heard,
        };
        let Ok(heard) = heard else { break };
        line.set_busy(true);
        if answer(&app, &client, &mut line, heard).await.is_err() {
            break;
        }
        line.set_busy(false);
    }
    line.close().await;
}

/// Does what one message asks for.
async fn answer(app: &Arc<App>, client: &Client, line: &mut Line, heard: Heard) -> Result<(), Left> {
    // The key may have been revoked since the socket opened, or been given to another tenant.
    let tenant = match lets_in(app, client.peer, &client.head) {
        Ok(key) => key.tenant.id.clone(),
        Err(refusal) => {
            line.tell_whole("", *refusal).await?;
            return Err(Left);
        }
    };
    let said = match heard {
        Ok(text) => heavy(text.len(), move || Said::read(&text)).await.map_err(|_| Left)?,
        Err(error) => Err(error),
    };
    line.let_go();
    match said {
        Err(error) => line.tell_error(400, &error).await,
        Ok(Said::Cancel) => line.tell_error(409, "cancel: there is no stream to end").await,
        Ok(Said::Resume { stream, after }) => {
            let Some(kept) = app.streams.find(&tenant, &stream) else {
                return line.tell_error(404, "stream: it is not known here").await;
            };
            match kept.follow(after.map_or(0, |after| after.saturating_add(1))) {
                Ok(follower) => follow(line, &stream, &kept, follower).await,
                Err(gone) => line.tell_gone(&stream, gone).await,
            }
        }
        Ok(Said::Create { path, body, on_disconnect }) => {
            let Some(head) = call_head(&client.head, &path, on_disconnect.as_deref()) else {
                let message = format!("path: {path:?} is not valid: expected such as /v1/chat/completions");
                return line.tell_error(400, &message).await;
            };
            let body = Bytes::from(Box::<str>::from(body).into_string());
            // Dropped when the client leaves, as a call is whose connection closes.
            let call = Box::pin(identified(app, client.peer, head, ClientBody::here(body)));
            let Waited::Done(response) = line.wait(call).await? else {
                return line.tell_called_off().await;
            };
            let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
            let id = id.to_owned();
            match app.streams.find(&tenant, &id).filter(|_| response.status().is_success()) {
                Some(kept) => {
                    // Before the body goes: a stream may end with its last reader.
                    let follower = kept.reader(0);
                    match whole(response) {
                        Some(events) => {
                            drop(follower);
                            tell_events(line, &id, events).await
                        }
                        None => follow(line, &id, &kept, follower).await,
                    }
                }
                None => line.tell_whole(&id, response).await,
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
async fn follow(line: &mut Line, id: &str, kept: &Kept, mut follower: Follower) -> Result<(), Left> {
    loop {
        tokio::select! {
            piece = follower.next() => match piece {
                None => return line.tell(&Told::End { stream: id }).await,
                Some(Err(gone)) => return line.tell_gone(id, gone).await,
                Some(Ok(piece)) => {
                    for event in split(piece) {
                        tell_event(line, id, &event).await?;
                    }
                }
            },
            heard = line.hear() => {
                if is_cancel(&heard?) {
                    kept.cancel();
                } else {
                    line.tell_busy().await?;
                }
            }
        }
    }
}

/// The events of a stream that is all here, of which not all need be kept.
fn whole(response: Response<Body>) -> Option<Bytes> {
    let kind = response.headers().get(header::CONTENT_TYPE)?;
    if !kind.as_bytes().starts_with(b"text/event-stream") {
        return None;
    }
    match response.into_body() {
        Body::Whole(events) => events,
        _ => None,
    }
}

async fn tell_events(line: &mut Line, id: &str, events: Bytes) -> Result<(), Left> {
    for event in split(events) {
        tell_event(line, id, &event).await?;
    }
    line.tell(&Told::End { stream: id }).await
}

async fn tell_event(line: &mut Line, id: &str, event: &[u8]) -> Result<(), Left> {
    let text = std::str::from_utf8(event).unwrap_or_default();
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let Some(data) = field("data") else { return Ok(()) };
    let own = field("id").and_then(|id| id.rsplit_once(':')?.1.parse().ok());
    let number = own.or_else(|| of_response(event).sequence_number);
    line.tell(&Told::Event { stream: id, number, event: field("event"), data: Data::of(data) }).await
}
