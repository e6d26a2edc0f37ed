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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a failure, and between tries, before the spool is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Writes calls down.
#[derive(Debug)]
pub(crate) struct Recorder {
    exporter: opentelemetry_otlp::SpanExporter,
    spool: spool::Writer,
    refuse_when_full: bool,
    /// The last record could not be put into the spool.
    is_broken: AtomicBool,
    /// When to try again; looked at only while broken.
    try_at: Mutex<Option<Instant>>,
}

/// A call could not be recorded, and may not be answered without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unrecorded;

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
        let (is_broken, try_at) = (AtomicBool::new(false), Mutex::new(None));
        Ok(Self { exporter, spool, refuse_when_full, is_broken, try_at })
    }

    /// Whether a new call must be refused because it could not be recorded: the spool has reached its bound, or its disk
    /// took no record the last time.
    pub(crate) fn refuses(&self) -> bool {
        self.refuse_when_full && (self.spool.is_full() || self.is_broken())
    }

    /// Puts one call into the spool. What cannot be put there is counted and logged, not lost silently; it is an error unless
    /// calls may go unrecorded.
    pub(crate) fn record(&self, spans: Vec<SpanData>, metrics: &GatewayMetrics) -> Result<(), Unrecorded> {
        match self.exporter.export(spans).now_or_never() {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => tracing::error!(%error, "a call could not be recorded"),
            None => tracing::error!("a call could not be recorded: the exporter wanted to wait"),
        }
        metrics.records_lost.inc();
        *self.try_at() = Some(Instant::now() + RETRY);
        self.is_broken.store(true, Ordering::Release);
        if self.refuse_when_full { Err(Unrecorded) } else { Ok(()) }
    }

    /// Whether the spool takes nothing; while so, one caller now and then finds out whether it does again.
    fn is_broken(&self) -> bool {
        if !self.is_broken.load(Ordering::Acquire) {
            return false;
        }
        let mut try_at = self.try_at();
        if try_at.is_some_and(|at| Instant::now() < at) {
            return true;
        }
        if let Err(error) = self.spool.probe() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "calls are refused: the spool takes no records"
            );
            *try_at = Some(Instant::now() + RETRY);
            return true;
        }
        tracing::info!("the spool takes records again");
        *try_at = None;
        self.is_broken.store(false, Ordering::Release);
        false
    }

    fn try_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.try_at.lock().unwrap_or_else(PoisonError::into_inner)
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
