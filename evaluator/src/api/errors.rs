//! Errors become HTTP here, in OpenAI's shape.

use crate::judges::JudgeError;
use axum::response::{IntoResponse, Response};
use contracts::{ApiError, Fault};
use control::ControlError;
use http::{HeaderValue, StatusCode, header};
use warehouse::WarehouseError;

/// An error on its way out.
#[derive(Debug)]
pub struct Refusal(ApiError);

impl Refusal {
    /// The field `param` is at fault.
    pub fn invalid(param: &str, message: &str) -> Self {
        Self(ApiError::invalid(param, message))
    }

    /// There is no such thing.
    pub fn not_found(message: String) -> Self {
        Self(ApiError::client(404, "invalid_request_error", Some("not_found"), message))
    }

    /// The key does not open anything.
    pub fn unauthorized(message: &str) -> Self {
        Self(ApiError {
            fault: Fault::Policy,
            ..ApiError::client(401, "authentication_error", Some("invalid_api_key"), message)
        })
    }

    /// We cannot work yet, or not now.
    pub fn unavailable(message: String) -> Self {
        Self(ApiError { retry_after_seconds: Some(1), ..ApiError::internal(503, message) })
    }
}

impl From<JudgeError> for Refusal {
    fn from(error: JudgeError) -> Self {
        let message = error.to_string();
        Self(match error.into_cause() {
            JudgeError::Deadline { .. } => ApiError {
                fault: Fault::Internal,
                retryable: true,
                ..ApiError::client(504, "timeout_error", Some("deadline_exceeded"), message)
            },
            JudgeError::Budget { .. } => ApiError {
                fault: Fault::Policy,
                ..ApiError::client(429, "insufficient_quota", Some("judge_budget"), message)
            },
            cause
            @ (JudgeError::Failed { .. } | JudgeError::Unavailable { .. } | JudgeError::Paid { .. }) => {
                ApiError {
                    fault: Fault::Upstream,
                    retryable: cause.is_retryable(),
                    ..ApiError::client(502, "server_error", Some("judge_failed"), message)
                }
            }
        })
    }
}

impl From<WarehouseError> for Refusal {
    fn from(error: WarehouseError) -> Self {
        if let WarehouseError::Invalid { field, .. } = &error {
            return Self::invalid(field, &error.to_string());
        }
        tracing::warn!(error = &error as &dyn std::error::Error, "a read failed");
        Self::unavailable(error.to_string())
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        match &error {
            ControlError::NotFound { .. } => Self::not_found(error.to_string()),
            ControlError::Invalid { field, .. } => Self::invalid(field, &error.to_string()),
            _ => {
                tracing::error!(error = &error as &dyn std::error::Error, "the control database failed");
                Self::unavailable("the control database does not answer".to_owned())
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = self.0;
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, error.to_json("")).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = error.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
