//! From a decoded request to durable rows: decode each span, normalise, redact, spool, and only then say that it was taken.

use crate::auth::Principal;
use crate::metrics::Metrics;
use crate::normalise::{Limits, Origin, Rejected, Source, Tally, normalise};
use crate::receive::TraceRequest;
use crate::record::Sender;
use crate::{record, redact};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use runtime::Clock;
use spool::AppendError;
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// Spans that are durable.
    pub accepted: u64,
    /// Spans that were not taken, by reason.
    pub rejected: BTreeMap<&'static str, (u64, String)>,
    /// Spans that lost content for their size.
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
            reasons.push(format!("{} cut down to metadata: larger than a span may be", self.truncated));
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
    pub async fn export(&self, principal: Principal, request: TraceRequest) -> Result<Outcome, IngestError> {
        // Before the work, so that pressure stays cheap.
        if self.spool.is_full() {
            return Err(IngestError::Full);
        }
        let size: usize = encoded_spans(&request).map(bytes::Bytes::len).sum();
        let prepared = if size <= INLINE_BYTES {
            self.prepare(&principal, request)?
        } else {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.prepare(&principal, request))
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
        self.count(&prepared);
        Ok(prepared.outcome)
    }

    fn prepare(&self, principal: &Principal, request: TraceRequest) -> Result<Prepared, IngestError> {
        let mut prepared = Prepared::default();
        for resource_spans in request.resource_spans {
            let source = Source::resource(resource_spans.resource, self.limits, &mut prepared.tally);
            for scope_spans in resource_spans.scope_spans {
                let source = source.with_scope(scope_spans.scope, self.limits, &mut prepared.tally);
                for span in scope_spans.spans {
                    if let Err(reason) = self.prepare_span(span, &source, principal, &mut prepared) {
                        let (spans, _) = prepared
                            .outcome
                            .rejected
                            .entry(reason.as_str())
                            .or_insert_with(|| (0, reason.to_string()));
                        *spans += 1;
                    }
                    if prepared.bytes > self.max_expanded {
                        return Err(IngestError::TooLarge { limit: self.max_expanded });
                    }
                }
            }
        }
        Ok(prepared)
    }

    fn prepare_span(
        &self,
        encoded: bytes::Bytes,
        source: &Source,
        principal: &Principal,
        prepared: &mut Prepared,
    ) -> Result<(), Rejected> {
        let size = encoded.len();
        let span = Span::decode(encoded).map_err(|_| Rejected::Undecodable)?;
        let origin = match principal {
            Principal::Tenant(policy) => Origin::Tenant(policy),
            Principal::Service { .. } => {
                Origin::Service { default_retention_days: self.default_retention_days }
            }
        };
        let (mut row, tally) = normalise(span, size, source, origin, self.limits, self.clock.now())?;
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

    fn count(&self, prepared: &Prepared) {
        let rejected: u64 = prepared.outcome.rejected.values().map(|(spans, _)| spans).sum();
        self.metrics.received.inc_by(prepared.outcome.accepted + rejected);
        self.metrics.accepted.inc_by(prepared.outcome.accepted);
        self.metrics.redacted.inc_by(prepared.redacted);
        for (reason, (spans, _)) in &prepared.outcome.rejected {
            self.metrics.rejected.get_or_create(&[("reason", *reason)]).inc_by(*spans);
        }
        self.metrics.count(&prepared.tally);
        self.metrics.show_spool(&self.spool.stats());
    }
}

fn encoded_spans(request: &TraceRequest) -> impl Iterator<Item = &bytes::Bytes> {
    request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}
