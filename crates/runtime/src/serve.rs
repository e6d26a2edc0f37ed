//! The HTTP server under every role: HTTP/1.1 and HTTP/2 (with prior knowledge) on one port, one task a connection.
//!
//! What it defends against: clients that are slow to send a head, heads that are too big or have too many fields, and the
//! 40 ms of Nagle's algorithm. On shutdown it stops accepting, lets requests in flight finish, and at the deadline drops
//! what is left, which cancels it. [`serve_tls`] does the same behind TLS, where ALPN says which HTTP it is.

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Shutdown;
pub use tls::serve_tls;

mod tls;

/// What a client that speaks HTTP/2 with prior knowledge sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limits of a server.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// How long a client may take to send a request's head, from the connection's start or the end of the request before:
    /// also how long an idle connection is kept.
    pub header_read_timeout: Duration,
    /// How long requests in flight may go on after shutdown began.
    pub drain_deadline: Duration,
    /// Most bytes of a request's head; more is answered with 431.
    pub max_header_bytes: usize,
    /// Most fields in a request's head; more is answered with 431.
    pub max_headers: usize,
    /// Most concurrent HTTP/2 streams a connection.
    pub max_http2_streams: u32,
    /// How long a peer may leave what was sent to it unacknowledged or keep its window shut; after that its connection is
    /// given up. `None` leaves it to the system, which waits about a quarter of an hour for an acknowledgement and for a
    /// window as long as the peer lives.
    pub write_stall_timeout: Option<Duration>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            header_read_timeout: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(30),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_http2_streams: 1024,
            write_stall_timeout: None,
        }
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "connections that were cut are worth a log line or a metric"]
pub struct Drained {
    /// Connections that were still busy at the deadline and were dropped.
    pub cut: usize,
}

/// Serves a tower service, such as an axum `Router`, until `shutdown`; returns once all connections are done or cut.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    shutdown: Shutdown,
    options: ServeOptions,
) -> Drained
where
    S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>> + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let service = TowerToHyperService::new(service);
    serve_hyper(listener, |_peer| service.clone(), shutdown, options).await
}

/// As [`serve()`], for a service written straight for hyper: nothing stands between it and the connection, of which it may know whose
/// it is.
pub async fn serve_hyper<S, B>(
    listener: TcpListener,
    service: impl Fn(SocketAddr) -> S,
    shutdown: Shutdown,
    options: ServeOptions,
) -> Drained
where
    S: hyper::service::Service<http::Request<Incoming>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let server = Server::new(&options);
    let connection = |stream, peer, end| server.clone().connection(stream, service(peer), end);
    accept(listener, shutdown, options.drain_deadline, connection).await
}

/// Gives each connection a task until `shutdown`, then waits for them until the deadline and cuts the rest.
async fn accept<F>(
    listener: TcpListener,
    shutdown: Shutdown,
    drain_deadline: Duration,
    connection: impl Fn(TcpStream, SocketAddr, End) -> F,
) -> Drained
where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = TaskTracker::new();
    let stop = shutdown.token();
    // Cancelled at the deadline: whatever still runs is dropped.
    let cut = CancellationToken::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    accept_failed(&error).await;
                    continue;
                }
            },
        };
        let end = End { stop: stop.child_token(), cut: cut.clone() };
        connections.spawn(connection(stream, peer, end));
    }
    drop(listener);
    connections.close();
    let in_time = tokio::time::timeout(drain_deadline, connections.wait()).await.is_ok();
    let left = if in_time { 0 } else { connections.len() };
    cut.cancel();
    connections.wait().await;
    if left > 0 {
        tracing::warn!(connections = left, "requests still ran at the drain deadline and were cut");
    }
    Drained { cut: left }
}

/// A failed accept is either a connection that died in the queue, or we are out of descriptors or memory: then a pause
/// lets others finish.
async fn accept_failed(error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        tracing::error!(%error, "connections cannot be accepted; trying again in 100 ms");
        sleep(Duration::from_millis(100)).await;
    }
}

#[derive(Clone)]
struct Server {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_read_timeout: Duration,
    write_stall_timeout: Option<Duration>,
}

/// The two times at which a connection may have to end.
struct End {
    /// Take no further requests. A token of its own, for every wake-up of a connection looks at it.
    stop: CancellationToken,
    /// Stop at once. Looked at only after `stop`.
    cut: CancellationToken,
}

enum Protocol {
    Http1,
    Http2,
}

impl Server {
    fn new(options: &ServeOptions) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_read_timeout)
            .max_headers(options.max_headers)
            .max_header_size(options.max_header_bytes);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(options.max_http2_streams)
            .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            // An idle or vanished peer is noticed by a ping, as HTTP/1 notices it by the head's timeout.
            .keep_alive_interval(options.header_read_timeout)
            .keep_alive_timeout(options.header_read_timeout);
        Self {
            http1,
            http2,
            header_read_timeout: options.header_read_timeout,
            write_stall_timeout: options.write_stall_timeout,
        }
    }

    /// Sets a new connection up.
    fn prepare(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        if let Some(limit) = self.write_stall_timeout {
            // The kernel's own clock: it also sees what lies in its buffers, which no timer of ours does. Zero would be its
            // default.
            let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1);
            rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?;
        }
        Ok(())
    }

    async fn connection<S, B>(self, stream: TcpStream, service: S, end: End)
    where
        S: hyper::service::Service<http::Request<Incoming>, Response = http::Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        if let Err(error) = self.prepare(&stream) {
            tracing::debug!(%error, "a connection was gone before it was served");
            return;
        }
        let protocol = tokio::select! {
            biased;
            protocol = detect(&stream, Instant::now() + self.header_read_timeout) => protocol,
            () = end.stop.cancelled() => None,
        };
        if let Some(protocol) = protocol {
            self.speak(protocol, stream, service, end).await;
        }
    }

    /// Answers requests on `stream`, which may be a TCP connection or what TLS makes of one.
    async fn speak<I, S, B>(self, protocol: Protocol, stream: I, service: S, end: End)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: hyper::service::Service<http::Request<Incoming>, Response = http::Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let served = match protocol {
            Protocol::Http1 => {
                let connection = self.http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
                drive(connection, http1::UpgradeableConnection::graceful_shutdown, end).await
            }
            Protocol::Http2 => {
                let connection = self.http2.serve_connection(TokioIo::new(stream), service);
                drive(connection, http2::Connection::graceful_shutdown, end).await
            }
        };
        if let Err(error) = served {
            // The peer's doing in nearly all cases: it left, or sent what is not HTTP.
            tracing::debug!(error = &error as &dyn StdError, "a connection ended early");
        }
    }
}

/// Runs a connection to its end; once told to stop it finishes the request in flight, as far as it is let.
async fn drive<C>(connection: C, graceful_shutdown: fn(Pin<&mut C>), end: End) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        done = connection.as_mut() => return done,
        () = end.stop.cancelled() => {}
    }
    graceful_shutdown(connection.as_mut());
    tokio::select! {
        biased;
        done = connection => done,
        () = end.cut.cancelled() => Ok(()),
    }
}

/// Looks at the first bytes without taking them: HTTP/2 begins with a preface that no HTTP/1 request begins with. `None` when
/// the peer left or did not say enough in time.
async fn detect(stream: &TcpStream, deadline: Instant) -> Option<Protocol> {
    let mut head = [0_u8; PREFACE.len()];
    loop {
        let seen = timeout_at(deadline, stream.peek(&mut head)).await.ok()?.ok()?;
        match &head[..seen] {
            b"" => return None,
            all if all == PREFACE => return Some(Protocol::Http2),
            some if !PREFACE.starts_with(some) => return Some(Protocol::Http1),
            // Undecided. A peek would return the same bytes at once, so give the rest time to come.
            _ if Instant::now() < deadline => sleep(Duration::from_millis(1)).await,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
