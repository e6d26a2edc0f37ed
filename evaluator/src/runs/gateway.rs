//! One call through the gateway, with its cost as the gateway tells it.

use super::{CallCost, RunError};
use crate::https::{self, HttpsClient, chain};
use bytes::Bytes;
use contracts::Usd;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;
use std::time::Duration;

/// The largest answer that is read.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// The longest that we wait because a gateway asks us to.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Where the gateway is and who asks.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Base URL, without `/v1`.
    pub url: String,
    /// API key of the tenant.
    pub key: String,
    /// Per call.
    pub timeout: Duration,
    /// Further tries after one that a later one may mend.
    pub retries: u32,
}

/// A client of the gateway; cloning is cheap.
#[derive(Clone)]
pub struct Gateway {
    client: HttpsClient,
    uri: http::Uri,
    key: HeaderValue,
    timeout: Duration,
    retries: u32,
}

/// What became of a row's calls.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) calls: Vec<CallCost>,
    pub(super) answer: Option<Value>,
    pub(super) error: String,
    pub(super) latency_ms: u64,
}

/// One try: what came of it, and whether another may do better.
enum Tried {
    Answered(Value),
    Failed { why: String, again: Option<Duration> },
}

impl Gateway {
    /// A client; nothing is sent yet.
    pub fn new(config: &GatewayConfig) -> Result<Self, RunError> {
        let invalid = |field, value: &str, expected: &str| RunError::Invalid {
            field,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let uri = format!("{}/v1/chat/completions", config.url.trim_end_matches('/'));
        let uri = uri
            .parse()
            .map_err(|_| invalid("--gateway-url", &config.url, "a URL such as http://127.0.0.1:8080"))?;
        let mut key = HeaderValue::try_from(format!("Bearer {}", config.key))
            .map_err(|_| invalid("--key", "…", "an API key without control characters"))?;
        key.set_sensitive(true);
        let client = https::client().map_err(|error| RunError::Broken(error.to_string()))?;
        Ok(Self { client, uri, key, timeout: config.timeout, retries: config.retries })
    }

    /// Asks, again where that may help. Every call that the gateway answered is in the exchange with its cost.
    pub(super) async fn ask(&self, body: &Value, trace_id: &str) -> Exchange {
        let body = Bytes::from(body.to_string());
        let mut exchange = Exchange::default();
        for attempt in 0..=self.retries {
            let started = tokio::time::Instant::now();
            let traceparent = format!("00-{trace_id}-{:016x}-01", u64::from(attempt) + 1);
            let tried =
                tokio::time::timeout(self.timeout, self.send(&body, &traceparent, &mut exchange.calls)).await;
            exchange.latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            match tried {
                Ok(Tried::Answered(answer)) => {
                    exchange.answer = Some(answer);
                    exchange.error.clear();
                    return exchange;
                }
                Ok(Tried::Failed { why, again }) => {
                    exchange.error = why;
                    let Some(wait) = again.filter(|_| attempt < self.retries) else { return exchange };
                    let backoff = Duration::from_millis(250 << attempt.min(6));
                    tokio::time::sleep(wait.max(backoff).min(LONGEST_WAIT)).await;
                }
                Err(_elapsed) => {
                    exchange.error = format!("no answer within {} s", self.timeout.as_secs());
                    return exchange;
                }
            }
        }
        exchange
    }

    async fn send(&self, body: &Bytes, traceparent: &str, calls: &mut Vec<CallCost>) -> Tried {
        let failed = |why: String, again| Tried::Failed { why, again };
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(header::AUTHORIZATION, self.key.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("traceparent", traceparent)
            .body(Full::new(body.clone()));
        let request = match request {
            Ok(request) => request,
            Err(error) => return failed(format!("the request cannot be made: {error}"), None),
        };
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                return failed(
                    format!("the gateway cannot be reached: {}", chain(&error)),
                    Some(Duration::ZERO),
                );
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        calls.extend(call_cost(status, &headers));
        let bytes = match Limited::new(response.into_body(), MOST_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return failed(format!("the answer broke off: {error}"), Some(Duration::ZERO)),
        };
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() && answer.is_object() {
            return Tried::Answered(answer);
        }
        let message = answer["error"]["message"].as_str().unwrap_or("an answer that is not JSON");
        let why = format!("{}: {message}", status.as_u16());
        let passing = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        failed(why, passing.then(|| retry_after(&headers)))
    }
}

fn call_cost(status: StatusCode, headers: &HeaderMap) -> Option<CallCost> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let request_id = text("x-request-id")?.to_owned();
    // A refused request costs nothing and says no cost.
    let cost = text("x-control-tower-cost-usd").and_then(|cost| cost.parse().ok()).unwrap_or(Usd::ZERO);
    Some(CallCost { request_id, cost, status: status.as_u16() })
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}
