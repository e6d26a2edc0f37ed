//! Finished calls into the spool, each as one OTLP export request.

use super::otlp::{Request, Resource};
use super::shipper::EVENT;
use crate::metrics::GatewayMetrics;
use bytes::{BufMut, Bytes, BytesMut};
use contracts::attributes::otel;
use spool::AppendError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a failure, and between tries, before the spool is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Writes calls down.
#[derive(Debug)]
pub(crate) struct Recorder {
    resource: Resource,
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
    pub(crate) fn new(spool: spool::Writer, instance: &str, refuse_when_full: bool) -> Self {
        let resource = Resource::new(&[
            (otel::SERVICE_NAME, "control-tower-gateway"),
            (otel::SERVICE_INSTANCE_ID, instance),
            (otel::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
        ]);
        let (is_broken, try_at) = (AtomicBool::new(false), Mutex::new(None));
        Self { resource, spool, refuse_when_full, is_broken, try_at }
    }

    /// Whether a new call must be refused because it could not be recorded: the spool has reached its bound, or its disk
    /// took no record the last time.
    pub(crate) fn refuses(&self) -> bool {
        self.refuse_when_full && (self.spool.is_full() || self.is_broken())
    }

    /// A record to be filled.
    pub(super) fn begin(&self) -> Request {
        Request::new(&self.resource)
    }

    /// Puts a call into the spool, with those of other tasks that end in the same turn. What cannot be put there is counted and
    /// logged, not lost silently; it is an error unless calls may go unrecorded.
    pub(super) async fn record(&self, call: Request, metrics: &GatewayMetrics) -> Result<(), Unrecorded> {
        let appended = self.spool.append_grouped(call.finish()).await;
        self.outcome(appended, metrics)
    }

    /// Puts an event into the spool: an `ExportLogsServiceRequest`, marked so that the shipper can tell it from a call.
    pub(crate) async fn record_event(
        &self,
        event: Bytes,
        metrics: &GatewayMetrics,
    ) -> Result<(), Unrecorded> {
        let mut record = BytesMut::with_capacity(1 + event.len());
        record.put_u8(EVENT);
        record.extend_from_slice(&event);
        self.outcome(self.spool.append_grouped(record.freeze()).await, metrics)?;
        Ok(())
    }

    /// As [`Recorder::record`], alone and at once.
    pub(super) fn record_now(&self, call: Request, metrics: &GatewayMetrics) -> Result<(), Unrecorded> {
        let appended = self.spool.append(&call.finish());
        self.outcome(appended, metrics)
    }

    fn outcome(
        &self,
        appended: Result<spool::Position, AppendError>,
        metrics: &GatewayMetrics,
    ) -> Result<(), Unrecorded> {
        let Err(error) = appended else { return Ok(()) };
        tracing::error!(error = &error as &dyn std::error::Error, "a call could not be recorded");
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
