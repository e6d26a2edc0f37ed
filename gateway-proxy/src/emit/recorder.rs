//! Finished calls into the spool, by way of OpenTelemetry's own exporter.
//!
//! `opentelemetry-otlp` encodes the spans and "sends" them through its HTTP client, and that client is the spool: a request's
//! body becomes a record. Nothing in it waits, so a call is recorded by polling the export once.

use crate::metrics::GatewayMetrics;
use bytes::Bytes;
use contracts::attributes::otel;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// Writes calls down.
#[derive(Debug)]
pub(crate) struct Recorder {
    exporter: opentelemetry_otlp::SpanExporter,
    spool: spool::Writer,
    refuse_when_full: bool,
}

impl Recorder {
    /// Records go to `spool`, as those of the gateway named `instance`.
    pub(crate) fn new(spool: spool::Writer, instance: &str, refuse_when_full: bool) -> anyhow::Result<Self> {
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint("http://spool.invalid/v1/traces")
            .with_http_client(SpoolClient(spool.clone()))
            .build()?;
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new(otel::SERVICE_NAME, "control-tower-gateway"),
                KeyValue::new(otel::SERVICE_INSTANCE_ID, instance.to_owned()),
                KeyValue::new(otel::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            ])
            .build();
        exporter.set_resource(&resource);
        Ok(Self { exporter, spool, refuse_when_full })
    }

    /// Whether a new call must be refused because it could not be recorded.
    pub(crate) fn refuses(&self) -> bool {
        self.refuse_when_full && self.spool.is_full()
    }

    /// Puts one call into the spool. What cannot be put there is counted and logged, not lost silently.
    pub(crate) fn record(&self, spans: Vec<SpanData>, metrics: &GatewayMetrics) {
        match self.exporter.export(spans).now_or_never() {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                metrics.records_lost.inc();
                tracing::error!(%error, "a call could not be recorded");
            }
            None => {
                metrics.records_lost.inc();
                tracing::error!("a call could not be recorded: the exporter wanted to wait");
            }
        }
    }
}

#[derive(Debug)]
struct SpoolClient(spool::Writer);

impl HttpClient for SpoolClient {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> BoxFuture<'async_trait, Result<Response<Bytes>, HttpError>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let appended = self.0.append(request.body());
        let response = appended.map(|_| Response::new(Bytes::new())).map_err(HttpError::from);
        std::future::ready(response).boxed()
    }
}
