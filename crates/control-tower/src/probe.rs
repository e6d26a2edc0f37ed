//! Small HTTP requests to our own roles: are they there, are they ready?

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::Silence;
use std::fmt;
use std::time::Duration;

/// The largest answer that is read.
const MOST_BYTES: usize = 1024 * 1024;

/// Asks roles how they are.
#[derive(Debug, Clone)]
pub(crate) struct Probe(Client<HttpConnector, Empty<Bytes>>);

impl Probe {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Status and body of `GET url`; an error says why there is none.
    pub(crate) async fn get(&self, url: &str, patience: Duration) -> Result<(StatusCode, Bytes), Silence> {
        let broken = |error: &dyn fmt::Display| Silence::Broken(error.to_string());
        let uri = url.parse().map_err(|error| Silence::Broken(format!("{url} is not a URL: {error}")))?;
        let exchange = async {
            let response = self
                .0
                .get(uri)
                .await
                .map_err(|error| if error.is_connect() { Silence::Nobody } else { broken(&error) })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            Ok((status, body.map_err(|error| broken(&error))?.to_bytes()))
        };
        match tokio::time::timeout(patience, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Silence::Mute(patience)),
        }
    }

    /// Whether `GET url` answers 200.
    pub(crate) async fn is_ok(&self, url: &str) -> bool {
        matches!(self.get(url, Duration::from_secs(2)).await, Ok((StatusCode::OK, _)))
    }
}
