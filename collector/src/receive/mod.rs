//! OTLP on the wire: gRPC and HTTP, compressed or not, until it is a list of encoded spans.

mod body;
mod compression;
mod grpc;
mod http;
mod status;
#[cfg(test)]
mod tests;
mod wire;

pub use grpc::router as grpc_router;
pub use http::router as http_router;
pub use wire::ExportRequest;
#[cfg(test)]
pub use wire::{OfResource, OfScope};

use crate::auth::{Authenticator, ClientCertificate};
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use runtime::InFlight;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

impl Signal {
    /// The message's name in OTLP.
    const fn request_name(self) -> &'static str {
        match self {
            Self::Traces => "ExportTraceServiceRequest",
            Self::Logs => "ExportLogsServiceRequest",
        }
    }

    /// What its answer calls what was not taken, in JSON.
    const fn rejected_name(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Logs => "rejectedLogRecords",
        }
    }
}

/// What both protocols need.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Knows senders.
    pub authenticator: Authenticator,
    /// Takes what they send.
    pub ingest: Ingest,
    /// Bounds what came in and is in work.
    pub in_flight: InFlight,
    /// Bounds what compressed requests in work became.
    pub unfolded: InFlight,
    /// Counts.
    pub metrics: Metrics,
    /// Sizes.
    pub sizes: Sizes,
}

/// Sizes of requests, bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Over the wire.
    pub max_request: usize,
    /// Decompressed.
    pub max_decompressed: usize,
}

impl Receiver {
    /// The same, for a connection whose client showed a certificate, or could have.
    pub fn for_client(mut self, certificate: Option<ClientCertificate>) -> Self {
        self.authenticator.certificate = certificate;
        self
    }

    /// Counts a request.
    fn count(&self, protocol: &'static str, outcome: &'static str) {
        self.metrics.requests.get_or_create(&[("protocol", protocol), ("outcome", outcome)]).inc();
    }
}
