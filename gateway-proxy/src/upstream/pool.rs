//! Connections to upstreams, kept between calls.
//!
//! A pool of our own, and a thin one: what it must decide (which failures may be retried, when a connection is reused, what
//! cancels it) is exactly what this gateway promises. A call is retried only while not a byte of it was sent: when no
//! connection could be made, or when a kept one turned out to be closed.
//!
//! HTTP/1.1 and nothing else, one call a connection: over HTTP/2 all calls would share one, with its limit of streams, its
//! window that a stalled reader fills for everybody, and its silent death (docs/decisions, 7).

use super::connection::{AnswerBody, Connection, Unanswered};
use super::headers::number;
use super::speech::{Addressed, Speech};
use super::target::{BadProvider, Origin, Target, split};
use crate::config::{Timeouts, UpstreamConfig};
use bytes::Bytes;
use contracts::ProviderId;
use contracts::policy::Provider;
use http::uri::Uri;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tower::Service;

/// All upstreams.
#[derive(Debug)]
pub(crate) struct Upstreams {
    targets: RwLock<HashMap<ProviderId, Arc<Target>>>,
    pools: Mutex<HashMap<Origin, Arc<Pool>>>,
    connector: HttpsConnector<HttpConnector>,
    config: UpstreamConfig,
    connect_timeout: Duration,
}

/// Connections to one origin that wait for a call.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) origin: Origin,
    idle: Mutex<Vec<Idle>>,
    most_idle: usize,
    keep_for: Duration,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A request to an upstream, before it has a connection.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) to: Addressed<'a>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// No answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// Nothing was sent.
    #[error("could not connect")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing was sent.
    #[error("no connection within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// The request was on its way.
    #[error("the connection broke before an answer came")]
    Broken(#[source] hyper::Error),
    /// The request may have been on its way.
    #[error("no answer in time")]
    Late,
    /// Nothing was sent.
    #[error("the provider cannot be called as it is set up")]
    Misconfigured(#[source] BadProvider),
}

/// What becomes of a request on its way, told as it happens: the caller may stop waiting at any moment.
#[derive(Debug)]
pub(crate) enum Progress<'a> {
    /// No connection could be made; another try follows.
    NotConnected(&'a SendError),
    /// A connection has it.
    HandedOver,
    /// That connection had been closed: it was not sent after all.
    HandedBack,
}

impl Upstreams {
    /// `tls` says whom to trust.
    pub(crate) fn new(config: &UpstreamConfig, timeouts: &Timeouts, tls: rustls::ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_keepalive(Some(Duration::from_mins(1)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Self {
            targets: RwLock::default(),
            pools: Mutex::default(),
            connector,
            config: config.clone(),
            connect_timeout: timeouts.connect(),
        }
    }

    /// Where `provider` is; read from its settings when it is new or has changed.
    pub(crate) fn target(&self, provider: &Arc<Provider>) -> Result<Arc<Target>, BadProvider> {
        let known = self.targets.read().unwrap_or_else(PoisonError::into_inner).get(&provider.id).cloned();
        if let Some(target) = known
            && (Arc::ptr_eq(&target.provider, provider) || target.provider == *provider)
        {
            return Ok(target);
        }
        let (origin, base_path) = split(provider)?;
        let host = http::HeaderValue::from_str(origin.authority.as_str())
            .map_err(|_| BadProvider::BaseUrl(provider.id.to_string()))?;
        let target = Arc::new(Target {
            provider: provider.clone(),
            pool: self.pool(&origin),
            speech: Speech::new(provider, base_path)?,
            host,
        });
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        targets.insert(provider.id.clone(), target.clone());
        Ok(target)
    }

    fn pool(&self, origin: &Origin) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            Arc::new(Pool {
                origin: origin.clone(),
                idle: Mutex::default(),
                most_idle: self.config.idle_connections,
                keep_for: Duration::from_millis(self.config.idle_connection_ms),
            })
        };
        pools.entry(origin.clone()).or_insert_with(make).clone()
    }

    /// Sends a request and returns the answer's head, if it comes in time; `tell` hears how it goes.
    pub(crate) async fn send(
        &self,
        target: &Target,
        outgoing: Outgoing<'_>,
        by: Instant,
        mut tell: impl FnMut(Progress<'_>),
    ) -> Result<Response<AnswerBody>, SendError> {
        let pool = &target.pool;
        let mut request = request(target, outgoing).map_err(SendError::Misconfigured)?;
        while let Some(connection) = pool.take() {
            match send_on(connection, pool, request, by, &mut tell).await? {
                Sent::Answered(answer) => return Ok(answer),
                // A kept connection was closed before anything was sent on it: try another.
                Sent::Not(unsent, _) => request = unsent,
            }
        }
        let mut tries_left = self.config.connect_retries;
        loop {
            let connected = timeout_at(by, self.connect(pool)).await.map_err(|_elapsed| SendError::Late)?;
            let error = match connected {
                Ok(connection) => match send_on(connection, pool, request, by, &mut tell).await? {
                    Sent::Answered(answer) => return Ok(answer),
                    Sent::Not(unsent, error) => {
                        request = unsent;
                        SendError::Connect(error.into())
                    }
                },
                Err(error) => error,
            };
            if tries_left == 0 {
                return Err(error);
            }
            tell(Progress::NotConnected(&error));
            tries_left -= 1;
        }
    }

    async fn connect(&self, pool: &Arc<Pool>) -> Result<Connection, SendError> {
        let connect = async {
            let uri = Uri::builder()
                .scheme(pool.origin.scheme.clone())
                .authority(pool.origin.authority.clone())
                .path_and_query("/")
                .build()
                .map_err(|error| SendError::Connect(error.into()))?;
            let stream = self.connector.clone().call(uri).await.map_err(SendError::Connect)?;
            Connection::new(stream).await.map_err(|error| SendError::Connect(error.into()))
        };
        match tokio::time::timeout(self.connect_timeout, connect).await {
            Ok(result) => result,
            Err(_elapsed) => Err(SendError::ConnectTimeout(self.connect_timeout)),
        }
    }

    /// Lets go of connections that were idle too long. Call it now and then.
    pub(crate) fn sweep(&self) {
        let pools: Vec<_> =
            self.pools.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for pool in pools {
            // To close a connection takes a while: not under the lock.
            let idle = std::mem::take(&mut *pool.idle());
            let now = Instant::now();
            let alive =
                |one: &mut Idle| now.duration_since(one.since) < pool.keep_for && one.connection.is_ready();
            let (kept, gone): (Vec<_>, Vec<_>) =
                idle.into_iter().map(|mut one| (alive(&mut one), one)).partition(|(is_alive, _)| *is_alive);
            // What came back meanwhile was used last.
            pool.idle().splice(0..0, kept.into_iter().map(|(_, one)| one));
            drop(gone);
        }
    }
}

impl Pool {
    /// A kept connection, the most recently used first. Whether it has been closed meanwhile shows when it is used.
    fn take(&self) -> Option<Connection> {
        loop {
            // One at a time, so that none is closed under the lock.
            let one = self.idle().pop()?;
            if one.since.elapsed() < self.keep_for {
                return Some(one.connection);
            }
        }
    }

    /// Keeps a connection for another call.
    pub(super) fn keep(&self, connection: Connection, since: Instant) {
        let mut idle = self.idle();
        if idle.len() < self.most_idle {
            idle.push(Idle { connection, since });
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a request on a connection.
enum Sent {
    Answered(Response<AnswerBody>),
    /// Nothing of it was sent.
    Not(Request<Full<Bytes>>, hyper::Error),
}

async fn send_on(
    mut connection: Connection,
    pool: &Arc<Pool>,
    request: Request<Full<Bytes>>,
    by: Instant,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<Sent, SendError> {
    tell(Progress::HandedOver);
    match connection.send(request, by).await {
        Ok(answer) => Ok(Sent::Answered(answer.map(|body| AnswerBody::new(body, connection, pool.clone())))),
        Err(Unanswered::Late) => Err(SendError::Late),
        Err(Unanswered::Broken(error)) => Err(SendError::Broken(error)),
        Err(Unanswered::Unsent(request, error)) => {
            tell(Progress::HandedBack);
            Ok(Sent::Not(*request, error))
        }
    }
}

/// The request as a connection wants it.
fn request(target: &Target, outgoing: Outgoing<'_>) -> Result<Request<Full<Bytes>>, BadProvider> {
    let Outgoing { to, mut headers, body } = outgoing;
    let uri = target.speech.uri(to);
    headers.insert(header::CONTENT_LENGTH, number(body.len()));
    headers.insert(header::HOST, target.host.clone());
    let origin = (&target.pool.origin.scheme, &target.pool.origin.authority);
    target.speech.sign(&Method::POST, &mut headers, origin, &uri, &body, to.now)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    *request.uri_mut() = uri;
    Ok(request)
}
