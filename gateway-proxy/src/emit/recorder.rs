//! Finished calls into the spool, each as one OTLP export request.

use super::otlp::{Request, Resource};
use super::shipper::EVENT;
use crate::metrics::GatewayMetrics;
use bytes::{BufMut, BytesMut};
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
        self.refuse_when_full && self.is_full_or_broken()
    }

    /// The same, whatever is to become of calls then.
    pub(crate) fn is_full_or_broken(&self) -> bool {
        self.spool.is_full() || self.is_broken()
    }

    /// What waits in the spool.
    pub(crate) fn stats(&self) -> spool::Stats {
        self.spool.stats()
    }

    /// A record to be filled.
    pub(super) fn begin(&self) -> Request {
        Request::new(&self.resource)
    }

    /// Puts a call into the spool, with those of other tasks that end in the same turn. What cannot be put there is counted and
    /// logged, not lost silently; it is an error unless calls may go unrecorded.
    pub(super) async fn record(&self, call: Request, metrics: &GatewayMetrics) -> Result<(), Unrecorded> {
        let appended = self.spool.append_grouped(call.finish()).await;
        self.outcome(appended, "a call", metrics)
    }

    /// Puts an event into the spool: an `ExportLogsServiceRequest`, marked so that the shipper can tell it from a call.
    /// One that is not there then is an error, whatever is to become of calls.
    pub(crate) fn record_event(&self, event: &[u8], metrics: &GatewayMetrics) -> Result<(), Unrecorded> {
        let mut record = BytesMut::with_capacity(1 + event.len());
        record.put_u8(EVENT);
        record.extend_from_slice(event);
        let appended = self.spool.append_or_refuse(&record);
        let is_recorded = appended.is_ok();
        self.outcome(appended, "an outcome", metrics)?;
        if is_recorded { Ok(()) } else { Err(Unrecorded) }
    }

    /// As [`Recorder::record`], alone and at once.
    pub(super) fn record_now(&self, call: Request, metrics: &GatewayMetrics) -> Result<(), Unrecorded> {
        let appended = self.spool.append(&call.finish());
        self.outcome(appended, "a call", metrics)
    }

    fn outcome(
        &self,
        appended: Result<spool::Position, AppendError>,
        what: &'static str,
        metrics: &GatewayMetrics,
    ) -> Result<(), Unrecorded> {
        let Err(error) = appended else { return Ok(()) };
        tracing::error!(error = &error as &dyn std::error::Error, "{what} could not be recorded");
        metrics.records_lost.inc();
        if matches!(error, AppendError::TooLarge { .. }) {
            // The fault of this one: the spool takes others.
            return if self.refuse_when_full { Err(Unrecorded) } else { Ok(()) };
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    #[test]
    fn a_record_that_is_too_large_is_its_own_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, _reader) = spool::Spool::open(spool::Options::new(dir.path())).unwrap();
        let recorder = Recorder::new(writer, "test", true);
        let metrics = GatewayMetrics::register(&mut Registry::default());
        recorder.record_event(&vec![0; spool::MAX_RECORD_BYTES], &metrics).unwrap_err();
        assert_eq!(metrics.records_lost.get(), 1);
        assert!(!recorder.refuses(), "others are taken");
        recorder.record_event(b"small", &metrics).unwrap();
    }
}
