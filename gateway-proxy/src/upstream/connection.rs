//! A connection to an upstream, and the right to use it.

use super::pool::Pool;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use std::sync::Arc;
use tokio::time::Instant;

/// The sending end of a connection, for one call at a time; a task of its own drives the other.
pub(super) type Connection = http1::SendRequest<Full<Bytes>>;

/// A connection in use. Dropped, it ends with the call: that is how a call is cancelled. Given back, it serves the next.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
}

impl Lease {
    /// The answer was read to its end: the connection may serve another call.
    pub(crate) fn give_back(self) {
        if !self.connection.is_closed() {
            self.pool.keep(self.connection, Instant::now());
        }
    }
}
