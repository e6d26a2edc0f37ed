//! Connections to upstreams, kept between calls.
//!
//! A pool of our own, and a thin one: what it must decide (which failures may be retried, when a connection is reused, what
//! cancels it) is exactly what this gateway promises. A call is retried only while not a byte of it was sent: when no
//! connection could be made, or when a kept one turned out to be closed.
//!
//! HTTP/1.1 and nothing else, one call a connection: over HTTP/2 all calls would share one, with its limit of streams, its
//! window that a stalled reader fills for everybody, and its silent death (docs/decisions, 7).

use super::connection::{Connection, Lease};
use super::headers::number;
use super::target::{BadProvider, Origin, Target, authorization, split};
use crate::config::{Timeouts, UpstreamConfig};
use bytes::Bytes;
use contracts::ProviderId;
use contracts::policy::Provider;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;
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
pub(crate) struct Outgoing {
    /// Path below the provider's base URL.
    pub(crate) path: &'static str,
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
    pub(crate) fn new(config: &UpstreamConfig, timeouts: &Timeouts) -> Result<Self, rustls::Error> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_keepalive(Some(Duration::from_mins(1)));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            targets: RwLock::default(),
            pools: Mutex::default(),
            connector,
            config: config.clone(),
            connect_timeout: timeouts.connect(),
        })
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
            base_path,
            host,
            authorization: authorization(provider)?,
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

    /// Sends a request and returns the answer's head; `tell` hears how it goes.
    pub(crate) async fn send(
        &self,
        target: &Target,
        outgoing: &Outgoing,
        mut tell: impl FnMut(Progress<'_>),
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let pool = &target.pool;
        while let Some(connection) = pool.take() {
            match self.send_on(connection, target, outgoing, &mut tell).await {
                Ok(answer) => return Ok(answer),
                // A kept connection was closed before anything was sent on it: try another.
                Err((_, true)) => {}
                Err((error, false)) => return Err(SendError::Broken(error)),
            }
        }
        let mut tries_left = self.config.connect_retries;
        loop {
            let error = match self.connect(pool).await {
                Ok(connection) => match self.send_on(connection, target, outgoing, &mut tell).await {
                    Ok(answer) => return Ok(answer),
                    Err((error, true)) => SendError::Connect(error.into()),
                    Err((error, false)) => return Err(SendError::Broken(error)),
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

    /// The error says whether nothing was sent.
    async fn send_on(
        &self,
        mut connection: Connection,
        target: &Target,
        outgoing: &Outgoing,
        tell: &mut impl FnMut(Progress<'_>),
    ) -> Result<(Response<Incoming>, Lease), (hyper::Error, bool)> {
        connection.ready().await.map_err(|error| (error, true))?;
        tell(Progress::HandedOver);
        match connection.try_send_request(request(target, outgoing)).await {
            Ok(response) => Ok((response, Lease { connection, pool: target.pool.clone() })),
            Err(mut failed) => {
                let nothing_sent = failed.take_message().is_some();
                if nothing_sent {
                    tell(Progress::HandedBack);
                }
                Err((failed.into_error(), nothing_sent))
            }
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
            let (sender, connection) =
                http1::handshake(stream).await.map_err(|error| SendError::Connect(error.into()))?;
            tokio::spawn(connection);
            Ok(sender)
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
        let now = Instant::now();
        for pool in pools {
            let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|one| !one.connection.is_closed() && now.duration_since(one.since) < pool.keep_for);
        }
    }
}

impl Pool {
    /// A kept connection, the most recently used first.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(one) = idle.pop() {
            if !one.connection.is_closed() && one.since.elapsed() < self.keep_for {
                return Some(one.connection);
            }
        }
        None
    }

    /// Keeps a connection for another call.
    pub(super) fn keep(&self, connection: Connection, since: Instant) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most_idle {
            idle.push(Idle { connection, since });
        }
    }
}

/// The request as a connection wants it.
fn request(target: &Target, outgoing: &Outgoing) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(outgoing.body.clone()));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = outgoing.headers.clone();
    let path = format!("{}{}", target.base_path, outgoing.path);
    let path = PathAndQuery::try_from(path).unwrap_or_else(|_| PathAndQuery::from_static("/"));
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_LENGTH, number(outgoing.body.len()));
    if let Some(authorization) = &target.authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path);
    headers.insert(header::HOST, target.host.clone());
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request
}
