//! From the spool to the collector: a batch at a time, again and again until it is accepted.
//!
//! Records are whole `ExportTraceServiceRequest`s. Protobuf merges repeated fields, so their bytes one after another are one
//! request too. A batch is forgotten only when the collector has said that it is durable there. One that the collector
//! refuses for good (400) is halved until the record at fault is found, which is dropped and counted: it must not block
//! the others for ever.
//!
//! A record that begins with [`EVENT`] is an `ExportLogsServiceRequest` instead, and goes to its own endpoint, apart from the others of its
//! batch.
//!
//! A batch that may be at the collector already, because an earlier try of it had an unknown end, says so in a header: only
//! then must the collector look for what it has. The first batch of a process is one, for the process before may have sent
//! it.

use crate::metrics::GatewayMetrics;
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use prost::Message;
use runtime::HealthHandle;
use spool::Reader;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Most records and bytes of one request. Larger ones are no cheaper, and cost memory and the processor's cache.
const MOST_RECORDS: usize = 2_000;
const MOST_BYTES: usize = 1 << 20;
/// How long to wait for more before a small batch goes out.
const LINGER: Duration = Duration::from_millis(100);
/// Longest wait for the collector's answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Most of the answer that is read, bytes, and of its text that is logged, characters.
const ANSWER_BYTES: usize = 64 << 10;
const WHY: usize = 500;
/// How often a failure that goes on is logged, and after how long `/readyz` tells of it.
const TELL_AGAIN: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_secs(30);
/// First and longest pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The first byte of a record that holds log records. No protobuf message begins with it, as no field has the number 0.
pub(super) const EVENT: u8 = 0;

/// On a batch of which the collector may have something already.
const RETRY: HeaderName = HeaderName::from_static("x-control-tower-retry");

/// Where to ship to.
#[derive(Debug, Clone)]
pub(crate) struct ShipperOptions {
    /// Base URL of the collector's OTLP/HTTP endpoint.
    pub(crate) collector_url: String,
    /// Service key; empty when the collector wants none.
    pub(crate) key: String,
}

/// Ships until it is told to stop.
pub(crate) struct Shipper {
    reader: Reader,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Where spans go.
    traces: http::Uri,
    /// Where log records go.
    logs: http::Uri,
    key: Option<HeaderValue>,
    metrics: GatewayMetrics,
    health: HealthHandle,
    random: RandomIdGenerator,
    /// The batch at hand may have been sent before.
    is_unsure: bool,
}

/// Why a batch was not accepted.
enum Refusal {
    /// It may be later; the collector may have said when.
    ForNow { class: &'static str, status: Option<StatusCode>, after: Option<Duration> },
    /// It never will be.
    ForGood(StatusCode),
}

/// Of a batch that was accepted, what was not.
#[derive(Debug, Default)]
struct Partly {
    rejected: u64,
    why: String,
}

impl Shipper {
    pub(crate) fn new(
        options: &ShipperOptions,
        tls: rustls::ClientConfig,
        reader: Reader,
        metrics: GatewayMetrics,
        health: HealthHandle,
    ) -> anyhow::Result<Self> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let uri = |path: &str| format!("{}{path}", options.collector_url.trim_end_matches('/')).parse();
        let (traces, logs) = (uri("/v1/traces")?, uri("/v1/logs")?);
        let key = match options.key.as_str() {
            "" => None,
            key => {
                let mut value = HeaderValue::try_from(key)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let random = RandomIdGenerator::default();
        Ok(Self { reader, client, traces, logs, key, metrics, health, random, is_unsure: true })
    }

    /// Ships until `stop`; then once more what is there, as far as the collector takes it within `grace`.
    pub(crate) async fn run(mut self, stop: CancellationToken, grace: Duration) {
        self.health.set_ready();
        stop.run_until_cancelled(self.ship_forever()).await;
        // A batch in flight was given up: it is read again from the last commit. The collector drops what it has already.
        self.reader.rewind();
        self.is_unsure = true;
        if timeout(grace, self.ship_rest()).await.is_err() {
            tracing::warn!(
                "the collector did not take all records in time: they wait in the spool for the next start"
            );
        }
    }

    async fn ship_forever(&mut self) {
        loop {
            self.ship_next(LINGER).await;
        }
    }

    async fn ship_rest(&mut self) {
        while self.reader.has_data() {
            self.ship_next(Duration::ZERO).await;
        }
    }

    async fn ship_next(&mut self, linger: Duration) {
        let batch = self.reader.next_batch(MOST_RECORDS, MOST_BYTES, linger).await;
        if batch.records.iter().any(is_event) {
            let (events, calls): (Vec<Bytes>, Vec<Bytes>) = batch.records.into_iter().partition(is_event);
            let events: Vec<Bytes> = events.iter().map(|record| record.slice(1..)).collect();
            self.ship(&calls, &self.traces.clone()).await;
            self.ship(&events, &self.logs.clone()).await;
        } else {
            self.ship(&batch.records, &self.traces.clone()).await;
        }
        self.is_unsure = false;
        if let Err(error) = self.reader.commit(batch.to) {
            // It will be shipped again after a restart, and recognised by the collector.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the spool's cursor could not be written"
            );
        }
    }

    /// Returns once every record was accepted, or dropped because it never will be.
    async fn ship(&mut self, records: &[Bytes], to: &http::Uri) {
        let mut todo = vec![records];
        while let Some(records) = todo.pop() {
            if records.is_empty() {
                continue;
            }
            let status = match self.insist(&concatenated(records), to).await {
                Ok(partly) => {
                    self.count_shipped(records.len() as u64, &partly);
                    continue;
                }
                Err(status) => status,
            };
            if records.len() == 1 {
                self.metrics.shipper_rejected.inc();
                tracing::error!(
                    http.status = status.as_u16(),
                    "the collector refuses a record for good: it is dropped"
                );
                continue;
            }
            let (first, second) = records.split_at(records.len() / 2);
            todo.push(second);
            todo.push(first);
        }
    }

    /// A record is a call or an outcome; what the collector rejects of a call are its spans.
    fn count_shipped(&self, records: u64, partly: &Partly) {
        self.metrics.shipped_records.inc_by(records.saturating_sub(partly.rejected));
        if partly.rejected > 0 {
            self.metrics.shipper_rejected.inc_by(partly.rejected);
            tracing::error!(
                rejected = partly.rejected,
                why = partly.why,
                "the collector refuses a part of a batch for good: it is dropped"
            );
        }
    }

    /// Sends until the collector accepts, or refuses for good.
    async fn insist(&mut self, body: &Bytes, to: &http::Uri) -> Result<Partly, StatusCode> {
        let mut pause = FIRST_PAUSE;
        let since = Instant::now();
        let mut told: Option<Instant> = None;
        loop {
            let (class, status, after) = match self.send(body, to).await {
                Ok(partly) => {
                    if told.is_some() {
                        tracing::info!("the collector takes batches again");
                    }
                    self.health.set_ready();
                    return Ok(partly);
                }
                Err(Refusal::ForGood(status)) => {
                    GatewayMetrics::count(&self.metrics.shipper_failures, "refused");
                    return Err(status);
                }
                Err(Refusal::ForNow { class, status, after }) => (class, status, after),
            };
            self.is_unsure = true;
            GatewayMetrics::count(&self.metrics.shipper_failures, class);
            let wait = after.unwrap_or(pause).min(LONGEST_PAUSE);
            if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
                told = Some(Instant::now());
                tracing::warn!(
                    class,
                    http.status = status.map(|status| status.as_u16()),
                    url = %to,
                    seconds = since.elapsed().as_secs(),
                    "the collector does not take a batch: what comes waits in the spool"
                );
            }
            self.show(class, status, to, since.elapsed());
            tokio::time::sleep(wait + self.jitter(wait)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// What `/readyz` says of a collector that takes nothing.
    fn show(&self, class: &str, status: Option<StatusCode>, to: &http::Uri, for_long: Duration) {
        match (class, status) {
            ("unauthorized", _) => self.health.set_unready("the collector refuses gateway.collector_key"),
            ("not_otlp", Some(status)) => self.health.set_unready(format!(
                "gateway.collector_url: {to} answers {}: expected an OTLP/HTTP endpoint",
                status.as_u16()
            )),
            _ if for_long >= PATIENCE => self.health.set_degraded(format!(
                "the collector takes nothing ({class}): calls wait in the spool until it is full"
            )),
            _ => {}
        }
    }

    /// Up to a quarter of `wait`, so that many gateways do not come back at once.
    fn jitter(&self, wait: Duration) -> Duration {
        let draw = self.random.new_span_id().to_bytes()[0];
        wait / 4 * u32::from(draw) / 256
    }

    async fn send(&self, body: &Bytes, to: &http::Uri) -> Result<Partly, Refusal> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if let Some(key) = &self.key {
            headers.insert(HeaderName::from_static("x-control-tower-service-key"), key.clone());
        }
        if self.is_unsure {
            headers.insert(RETRY, HeaderValue::from_static("1"));
        }
        let for_now = |class| Refusal::ForNow { class, status: None, after: None };
        let response = match timeout(ANSWER, self.client.request(request)).await {
            Err(_elapsed) => return Err(for_now("timeout")),
            Ok(Err(_unreachable)) => return Err(for_now("unreachable")),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        // The answer is read so that the connection can serve again, and for what it says of a part.
        let answer = timeout(ANSWER, Limited::new(response.into_body(), ANSWER_BYTES).collect()).await;
        let answer = answer.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
        let class = match status {
            status if status.is_success() => return Ok(Partly::read(&answer)),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                return Err(Refusal::ForGood(status));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "unauthorized",
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                "not_otlp"
            }
            _ => "busy",
        };
        Err(Refusal::ForNow { class, status: Some(status), after: after.map(Duration::from_secs) })
    }
}

impl Partly {
    /// From the body of an answer. Those to traces and to logs are one message on the wire.
    fn read(answer: &[u8]) -> Self {
        let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
        let partly = answer.partial_success.unwrap_or_default();
        let why = partly.error_message.chars().take(WHY).collect();
        Self { rejected: u64::try_from(partly.rejected_spans).unwrap_or(0), why }
    }
}

fn is_event(record: &Bytes) -> bool {
    record.first() == Some(&EVENT)
}

fn concatenated(records: &[Bytes]) -> Bytes {
    if let [one] = records {
        return one.clone();
    }
    let mut all = BytesMut::with_capacity(records.iter().map(Bytes::len).sum());
    for record in records {
        all.extend_from_slice(record);
    }
    all.freeze()
}
