//! Errors on the wire: `google.rpc.Status`, with `google.rpc.RetryInfo` where a retry can help, as OTLP asks of both
//! protocols. This is the one place where a refusal gets its codes.

use crate::auth::AuthError;
use crate::ingest::IngestError;
use http::StatusCode;
use prost::Message;
use std::time::Duration;
use tonic::Code;

/// A refusal, before it is put into a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub http: StatusCode,
    /// gRPC code.
    pub code: Code,
    /// For people.
    pub message: String,
    /// When to come again; none where that is useless.
    pub retry_after: Option<Duration>,
    /// As a metric's label.
    pub label: &'static str,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Details by type.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// Type of the value.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// Encoded.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// How long to wait.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Delay {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

impl Refusal {
    /// What the client did wrong; a retry is useless.
    pub fn client(http: StatusCode, code: Code, label: &'static str, message: impl Into<String>) -> Self {
        Self { http, code, message: message.into(), retry_after: None, label }
    }

    /// No room now.
    pub fn pressure(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            http: StatusCode::SERVICE_UNAVAILABLE,
            code: Code::Unavailable,
            message: message.into(),
            retry_after: Some(retry_after),
            label: "pressure",
        }
    }

    /// Of a refused key.
    pub fn auth(error: &AuthError, retry_after: Duration) -> Self {
        match error {
            AuthError::NotLoaded => Self::pressure(error.to_string(), retry_after),
            _ => Self::client(
                StatusCode::UNAUTHORIZED,
                Code::Unauthenticated,
                error.as_str(),
                error.to_string(),
            ),
        }
    }

    /// Of what could not be taken in.
    pub fn ingest(error: &IngestError, retry_after: Duration) -> Self {
        match error {
            IngestError::Full | IngestError::Disk(_) | IngestError::Stopped => {
                Self::pressure(error.to_string(), retry_after)
            }
            IngestError::TooLarge { .. } => Self::too_large(error.to_string()),
        }
    }

    /// Of what is larger than allowed. gRPC has no code of its own for it; this one is not retried without `RetryInfo`.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::client(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, "too_large", message)
    }

    /// Of what cannot be read.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::client(StatusCode::BAD_REQUEST, Code::InvalidArgument, "invalid", message)
    }

    /// Whole seconds to wait, for `Retry-After`.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|delay| delay.as_secs().max(1))
    }

    /// As `google.rpc.Status`.
    pub fn status(&self) -> Status {
        let details = self.retry_after.map(|delay| Any {
            type_url: RETRY_INFO.to_owned(),
            value: RetryInfo {
                retry_delay: Some(Delay {
                    seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                    nanos: i32::try_from(delay.subsec_nanos()).unwrap_or(0),
                }),
            }
            .encode_to_vec(),
        });
        Status {
            code: self.code as i32,
            message: self.message.clone(),
            details: details.into_iter().collect(),
        }
    }

    /// As `google.rpc.Status` in JSON.
    pub fn json(&self) -> serde_json::Value {
        let details: Vec<_> = self
            .retry_after
            .map(|delay| serde_json::json!({"@type": RETRY_INFO, "retryDelay": format!("{}s", delay.as_secs_f64())}))
            .into_iter()
            .collect();
        serde_json::json!({"code": self.code as i32, "message": self.message, "details": details})
    }

    /// As gRPC's status, details included.
    pub fn grpc(&self) -> tonic::Status {
        tonic::Status::with_details(self.code, self.message.clone(), self.status().encode_to_vec().into())
    }
}
