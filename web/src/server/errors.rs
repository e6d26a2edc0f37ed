//! The one place where errors of the console become HTTP: JSON in the shape of [`ApiError`] for programs.

use super::reads::ReadError;
use axum::response::{IntoResponse, Response};
use contracts::{ApiError, Fault};
use control::ControlError;
use http::{HeaderValue, StatusCode, header};

/// An error on its way to a program.
#[derive(Debug)]
pub struct Refusal(pub(crate) ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/json");
        let mut response = (status, [(header::CONTENT_TYPE, json)], self.0.to_json("")).into_response();
        if let Some(seconds) = self.0.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// No session and no admin key.
pub(crate) fn signed_out() -> ApiError {
    let message = "authorization: missing or no longer valid, expected a session cookie or an admin key as `Authorization: Bearer …`";
    ApiError::client(401, "authentication_error", Some("not_signed_in"), message)
}

/// Signed in, but not allowed to do this.
pub(crate) fn not_admin() -> ApiError {
    ApiError {
        fault: Fault::Policy,
        ..ApiError::client(
            403,
            "permission_error",
            Some("admin_only"),
            "role: \"viewer\" may only look, expected an admin",
        )
    }
}

/// The request was made with a cookie, but not by one of our pages.
pub(crate) fn wrong_origin() -> ApiError {
    ApiError {
        fault: Fault::Policy,
        ..ApiError::client(
            403,
            "permission_error",
            Some("wrong_origin"),
            "origin: a change made with a session cookie must come from the console's own pages; programs use an admin key",
        )
    }
}

/// Something does not exist, or not for this viewer: both look the same from outside.
pub(crate) fn not_found(param: &str, value: &str) -> ApiError {
    let value: String = value.chars().take(160).collect();
    let message = format!("{param}: {value:?} does not exist or is not visible to you");
    ApiError {
        param: Some(param.to_owned()),
        ..ApiError::client(404, "invalid_request_error", Some("not_found"), message)
    }
}

/// An error of the control database.
pub(crate) fn from_control(error: ControlError) -> ApiError {
    match error {
        ControlError::Invalid { field, .. } => ApiError::invalid(field, error.to_string()),
        ControlError::NotFound { kind, id } => not_found(kind, &id),
        ControlError::Exists { .. } | ControlError::InUse { .. } => {
            ApiError::client(409, "invalid_request_error", Some("conflict"), error.to_string())
        }
        other => {
            tracing::error!(error = &other as &dyn std::error::Error, "the control database failed");
            ApiError::internal(503, "the control database cannot be reached right now: try again shortly")
        }
    }
}

/// An error of a read.
pub(crate) fn from_read(error: ReadError) -> ApiError {
    match error {
        ReadError::TooLarge(message) => ApiError {
            param: Some(String::from("range")),
            ..ApiError::client(422, "invalid_request_error", Some("too_large"), message)
        },
        ReadError::Unavailable(message) => {
            ApiError { retry_after_seconds: Some(2), ..ApiError::internal(503, message) }
        }
    }
}
