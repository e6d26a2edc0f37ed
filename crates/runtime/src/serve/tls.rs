//! The server behind TLS: each connection gets a service of its own, made with the certificate that its client proved to
//! hold.

use super::{Drained, End, PREFACE, Protocol, ServeOptions, Server, accept};
use crate::Shutdown;
use crate::tls::{CertificateDer, Tls};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use std::error::Error as StdError;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// As [`serve()`](super::serve()), behind TLS. `service_of` makes the service of one connection; it gets the client's own
/// certificate, verified, or none where none was asked for or an optional one was not sent.
pub async fn serve_tls<M, S, B>(
    listener: TcpListener,
    tls: Tls,
    service_of: M,
    shutdown: Shutdown,
    options: ServeOptions,
) -> Drained
where
    M: Fn(Option<&CertificateDer<'static>>) -> S + Clone + Send + 'static,
    S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>> + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let server = Server::new(&options);
    let connection =
        |stream, peer, end| server.clone().secured(stream, peer, tls.clone(), service_of.clone(), end);
    accept(listener, shutdown, options.drain_deadline, connection).await
}

impl Server {
    async fn secured<M, S, B>(self, stream: TcpStream, peer: SocketAddr, tls: Tls, service_of: M, end: End)
    where
        M: Fn(Option<&CertificateDer<'static>>) -> S + Send,
        S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>> + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        if let Err(error) = self.prepare(&stream) {
            tracing::debug!(%error, "a connection was gone before it was served");
            return;
        }
        let opened = tokio::select! {
            biased;
            opened = open(&tls, stream, peer, self.header_read_timeout) => opened,
            () = end.stop.cancelled() => None,
        };
        let Some((protocol, stream)) = opened else { return };
        let (_, session) = stream.stream.get_ref();
        let service = service_of(session.peer_certificates().and_then(<[_]>::first));
        self.speak(protocol, stream, TowerToHyperService::new(service), end).await;
    }
}

/// Shakes hands and settles which HTTP is spoken. `None` when the peer failed, left, or took too long.
async fn open(
    tls: &Tls,
    stream: TcpStream,
    peer: SocketAddr,
    head_timeout: Duration,
) -> Option<(Protocol, Rewound<TlsStream<TcpStream>>)> {
    let mut stream = tls.handshake(stream, peer).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        // hyper times the head of an HTTP/1 request.
        return Some((Protocol::Http1, Rewound { first: &[], stream }));
    }
    // It does not time the preface of HTTP/2, so that is done here.
    let mut preface = [0_u8; PREFACE.len()];
    timeout(head_timeout, stream.read_exact(&mut preface)).await.ok()?.ok()?;
    (preface == *PREFACE).then_some((Protocol::Http2, Rewound { first: PREFACE, stream }))
}

/// A stream of which `first` was read already and is read again.
struct Rewound<S> {
    first: &'static [u8],
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let (now, later) = self.first.split_at(self.first.len().min(buf.remaining()));
        buf.put_slice(now);
        self.first = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
