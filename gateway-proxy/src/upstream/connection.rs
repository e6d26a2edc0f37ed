//! One connection to an upstream, HTTP/1.1 or HTTP/2, and the right to use it.

use super::pool::Pool;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use std::sync::Arc;
use tokio::time::Instant;

/// The sending end of a connection; a task of its own drives the other.
#[derive(Debug)]
pub(super) enum Connection {
    /// One call at a time.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// Many calls at a time; this is one share of it.
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Waits until the connection can take a request; an error means that it is gone.
    pub(super) async fn ready(&mut self) -> Result<(), hyper::Error> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request. When not a byte of it was sent, the error hands it back.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}

/// A connection in use. Dropped, it ends with the call: that is how a call is cancelled. Given back, it serves the next.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
}

impl Lease {
    /// The answer was read to its end: the connection may serve another call.
    pub(crate) fn give_back(self) {
        if let Connection::Http1(sender) = self.connection
            && !sender.is_closed()
        {
            self.pool.keep(sender, Instant::now());
        }
    }
}
