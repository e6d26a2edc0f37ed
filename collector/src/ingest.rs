//! From a decoded request to durable rows: decode each span or log record, normalise, redact, spool, and only then say that it was taken.

use crate::auth::Principal;
use crate::metrics::Metrics;
use crate::normalise::{Limits, Origin, Rejected, Source, Tally, normalise, normalise_log};
use crate::parts::{self, Kind};
use crate::receive::{ExportRequest, Signal};
use crate::record::Sender;
use crate::row::Row;
use crate::{record, redact};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtime::Clock;
use spool::AppendError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests with more bytes of spans are worked off the async threads.
const INLINE_BYTES: usize = 64 * 1024;

/// Takes requests. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Where rows become durable.
    pub spool: spool::Writer,
    /// Counts.
    pub metrics: Metrics,
    /// When spans came in.
    pub clock: Clock,
    /// Sizes of spans.
    pub limits: Limits,
    /// Most bytes of rows that one request may become.
    pub max_expanded: usize,
    /// Days to keep what nobody says how long to keep.
    pub default_retention_days: u16,
    /// What a refused client is asked to wait.
    pub retry_after: Duration,
    /// So many large requests are worked at a time: a span that is decoded takes more than its bytes.
    pub workers: Arc<Semaphore>,
}

/// Why a request was not taken. All but the last can succeed later.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The spool is full.
    #[error("the collector's spool is full: it takes spans again when ClickHouse has taken some")]
    Full,
    /// The disk failed.
    #[error("the collector cannot write to its disk")]
    Disk(#[source] AppendError),
    /// The process is about to end.
    #[error("the collector is stopping")]
    Stopped,
    /// One request became too much.
    #[error("the request's spans take more than {limit} bytes as rows: send fewer spans in a request")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Spans, or log records, that are durable.
    pub accepted: u64,
    /// Those that were not taken, by reason.
    pub rejected: BTreeMap<&'static str, (u64, String)>,
    /// Those that lost content for their size.
    pub truncated: u64,
}

impl Outcome {
    /// OTLP's `partial_success`: how many spans were rejected, and a text for people; none when all went well. With no span
    /// rejected the text is a warning.
    pub fn partial_success(&self) -> Option<(i64, String)> {
        let rejected: u64 = self.rejected.values().map(|(spans, _)| spans).sum();
        let mut reasons: Vec<String> =
            self.rejected.values().map(|(spans, reason)| format!("{spans} rejected: {reason}")).collect();
        if self.truncated > 0 {
            reasons.push(format!("{} cut down to metadata: larger than one may be", self.truncated));
        }
        (!reasons.is_empty()).then(|| (i64::try_from(rejected).unwrap_or(i64::MAX), reasons.join("; ")))
    }
}

/// A request's rows, encoded, and what was noticed.
#[derive(Debug, Default)]
struct Prepared {
    records: Vec<Vec<u8>>,
    outcome: Outcome,
    tally: Tally,
    redacted: u64,
    bytes: usize,
}

impl Ingest {
    /// What a refused client is asked to wait.
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// Takes a request; when this returns, what was accepted survives any crash.
    pub async fn export(
        &self,
        principal: Principal,
        signal: Signal,
        request: ExportRequest,
    ) -> Result<Outcome, IngestError> {
        // Before the work, so that pressure stays cheap.
        if self.spool.is_full() {
            return Err(IngestError::Full);
        }
        let size: usize = encoded_items(&request).map(bytes::Bytes::len).sum();
        let prepared = if size <= INLINE_BYTES {
            self.prepare(&principal, signal, request)?
        } else {
            let _worker = self.workers.acquire().await.map_err(|_| IngestError::Stopped)?;
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.prepare(&principal, signal, request))
                .await
                .map_err(|_| IngestError::Stopped)??
        };
        let records: Vec<&[u8]> = prepared.records.iter().map(Vec::as_slice).collect();
        if !records.is_empty() {
            self.spool.append_durable(&records).await.map_err(|error| match error {
                AppendError::Full { .. } => IngestError::Full,
                error => {
                    tracing::error!(error = &error as &dyn std::error::Error, "spans could not be spooled");
                    IngestError::Disk(error)
                }
            })?;
        }
        self.count(signal, &prepared);
        Ok(prepared.outcome)
    }

    fn prepare(
        &self,
        principal: &Principal,
        signal: Signal,
        request: ExportRequest,
    ) -> Result<Prepared, IngestError> {
        let mut prepared = Prepared::default();
        for of_resource in request.resources {
            if of_resource.scopes.iter().all(|scope| scope.items.is_empty()) {
                continue;
            }
            let source = Source::resource(of_resource.resource, self.limits, &mut prepared.tally);
            // A resource is copied to each of its scopes: not to those that nothing comes from.
            for of_scope in of_resource.scopes.into_iter().filter(|scope| !scope.items.is_empty()) {
                let source = source.with_scope(of_scope.scope, self.limits, &mut prepared.tally);
                for item in of_scope.items {
                    if let Err(reason) = self.prepare_item(&item, signal, &source, principal, &mut prepared) {
                        let (items, _) = prepared
                            .outcome
                            .rejected
                            .entry(reason.as_str())
                            .or_insert_with(|| (0, reason.to_string()));
                        *items += 1;
                    }
                    if prepared.bytes > self.max_expanded {
                        return Err(IngestError::TooLarge { limit: self.max_expanded });
                    }
                }
            }
        }
        Ok(prepared)
    }

    fn prepare_item(
        &self,
        encoded: &bytes::Bytes,
        signal: Signal,
        source: &Source,
        principal: &Principal,
        prepared: &mut Prepared,
    ) -> Result<(), Rejected> {
        let origin = match principal {
            Principal::Tenant(policy) => Origin::Tenant(policy),
            Principal::Service { .. } => {
                Origin::Service { default_retention_days: self.default_retention_days }
            }
        };
        let now = self.clock.now();
        let kind = match signal {
            Signal::Traces => Kind::Span,
            Signal::Logs => Kind::Log,
        };
        // What is made of too much is cut as what is too long is.
        let most = self.limits.most_parts();
        let thin = parts::thinned(kind, encoded, most).map_err(|_| Rejected::Undecodable)?;
        let limits = if thin.is_some() { Limits { max_span: 0 } } else { self.limits };
        let kept = thin.unwrap_or_else(|| encoded.clone());
        let cut = encoded.len() - kept.len();
        let (mut row, mut tally) = match signal {
            Signal::Traces => {
                let span = Span::decode(kept).map_err(|_| Rejected::Undecodable)?;
                let (row, tally) = normalise(span, encoded.len(), source, origin, limits, now)?;
                (Row::from(row), tally)
            }
            Signal::Logs => {
                let log = LogRecord::decode(kept).map_err(|_| Rejected::Undecodable)?;
                let (row, tally) = normalise_log(log, encoded, source, origin, limits, now)?;
                (Row::from(row), tally)
            }
        };
        tally.truncated_bytes += cut as u64;
        prepared.redacted += u64::from(redact::redact(&mut row, principal));
        // Postcard fails on types that rows do not have; were it to fail, the span is refused and counted.
        let sender = match principal {
            Principal::Tenant(_) => Sender::Tenant,
            Principal::Service { again: false } => Sender::Service,
            Principal::Service { again: true } => Sender::ServiceAgain,
        };
        let record = record::encode(&row, sender).map_err(|_| Rejected::Undecodable)?;
        prepared.bytes += record.len();
        prepared.records.push(record);
        prepared.outcome.accepted += 1;
        prepared.outcome.truncated += tally.truncated_spans;
        prepared.tally.add(&tally);
        Ok(())
    }

    fn count(&self, signal: Signal, prepared: &Prepared) {
        let rejected: u64 = prepared.outcome.rejected.values().map(|(spans, _)| spans).sum();
        let (received, accepted, refused) = match signal {
            Signal::Traces => (&self.metrics.received, &self.metrics.accepted, &self.metrics.rejected),
            Signal::Logs => {
                let metrics = &self.metrics;
                (&metrics.events_received, &metrics.events_accepted, &metrics.events_rejected)
            }
        };
        received.inc_by(prepared.outcome.accepted + rejected);
        accepted.inc_by(prepared.outcome.accepted);
        self.metrics.redacted.inc_by(prepared.redacted);
        for (reason, (spans, _)) in &prepared.outcome.rejected {
            refused.get_or_create(&[("reason", *reason)]).inc_by(*spans);
        }
        self.metrics.count(&prepared.tally);
    }
}

fn encoded_items(request: &ExportRequest) -> impl Iterator<Item = &bytes::Bytes> {
    request.resources.iter().flat_map(|resource| &resource.scopes).flat_map(|scope| &scope.items)
}
