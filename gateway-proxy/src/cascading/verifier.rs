//! Verifiers outside: `POST` of `{prompt, context, answer}`, answered by `{"score": 0..1}`.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// Most of an answer that is read.
const MOST_BYTES: usize = 64 << 10;

/// Connections to all of them.
#[derive(Debug)]
pub(super) struct Verifiers {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

#[derive(Deserialize)]
struct Verified {
    score: f64,
}

impl Verifiers {
    pub(super) fn new(tls: rustls::ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Self { client: Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector) }
    }

    /// What the verifier at `url` says; `None` when it says nothing of use in time.
    pub(super) async fn ask(&self, url: &str, about: &serde_json::Value, patience: Duration) -> Option<f64> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(about.to_string())))
            .ok()?;
        let answered = timeout(patience, async {
            let answer = self.client.request(request).await.ok()?;
            let is_good = answer.status().is_success();
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.ok()?.to_bytes();
            let verified: Verified = serde_json::from_slice(&body).ok().filter(|_| is_good)?;
            (0.0..=1.0).contains(&verified.score).then_some(verified.score)
        });
        let score = answered.await.ok().flatten();
        if score.is_none() {
            tracing::debug!(verifier.url = url, "a verifier gave no score");
        }
        score
    }
}
