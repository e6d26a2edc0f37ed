//! The one place where errors of the admin API become HTTP.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use contracts::ApiError;
use control::ControlError;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const BAD_REQUEST: &str = "invalid_request_error";

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<ApiError>,
    /// What our own log tells beyond the answer.
    cause: Option<Box<ControlError>>,
}

impl Failure {
    /// 401.
    pub(super) fn unauthorized(message: &str) -> Self {
        ApiError::client(401, "authentication_error", Some("invalid_admin_key"), message).into()
    }

    /// 404 for a path that is none of ours.
    pub(super) fn no_such_endpoint() -> Self {
        let message = "no such endpoint: see /admin/v1/openapi.json";
        ApiError::client(404, BAD_REQUEST, Some("unknown_endpoint"), message).into()
    }

    /// 405.
    pub(super) fn method_not_allowed() -> Self {
        let message = "this endpoint does not support the method: see /admin/v1/openapi.json";
        ApiError::client(405, BAD_REQUEST, Some("method_not_allowed"), message).into()
    }

    /// 404 for a thing that does not exist.
    pub(super) fn not_found(kind: &str, id: &str) -> Self {
        ApiError::client(404, BAD_REQUEST, Some("not_found"), format!("{kind} {id:?} does not exist")).into()
    }

    /// 400: `field` has a value that cannot be.
    pub(super) fn invalid(field: &str, message: impl Into<String>) -> Self {
        ApiError::invalid(field, message).into()
    }

    /// 5xx: the answer says little, the log the rest.
    fn ours(error: ApiError, cause: ControlError) -> Self {
        Self { error: Box::new(error), cause: Some(Box::new(cause)) }
    }

    /// Of a request whose body refers to something: that it does not exist is the body's fault (400), not the path's (404).
    pub(super) fn of_body(error: ControlError) -> Self {
        match error {
            ControlError::NotFound { kind, .. } => Self::invalid(kind, format!("{kind}: {error}")),
            other => other.into(),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { error: Box::new(error), cause: None }
    }
}

impl From<ControlError> for Failure {
    fn from(cause: ControlError) -> Self {
        let text = cause.to_string();
        let error = match &cause {
            ControlError::Invalid { field, .. } => ApiError::invalid(*field, text),
            ControlError::Price(invalid) => ApiError::invalid(invalid.field, text),
            ControlError::Policy { invalid, .. } => ApiError::invalid(invalid.field.clone(), text),
            ControlError::Dangling { to_kind, .. } => ApiError::invalid(*to_kind, text),
            ControlError::Stale { .. } => ApiError::client(409, BAD_REQUEST, Some("stale_revision"), text),
            ControlError::NotFound { .. } => ApiError::client(404, BAD_REQUEST, Some("not_found"), text),
            ControlError::Exists { .. } => ApiError::client(409, BAD_REQUEST, Some("already_exists"), text),
            ControlError::InUse { .. } => ApiError::client(409, BAD_REQUEST, Some("in_use"), text),
            ControlError::Database { .. } => {
                let error = ApiError::internal(503, "the control database does not answer: try again");
                return Self::ours(ApiError { retry_after_seconds: Some(1), ..error }, cause);
            }
            _ => {
                return Self::ours(
                    ApiError::internal(500, "an internal error: see the log of the web role"),
                    cause,
                );
            }
        };
        error.into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let random = control::secrets::random_hex::<12>().unwrap_or_else(|_| String::from("unknown"));
        let id = format!("req_{random}");
        if let Some(cause) = &self.cause {
            let cause: &dyn std::error::Error = cause.as_ref();
            tracing::error!(error = cause, request.id = id, "an admin request failed");
        }
        let mut response = Response::new(Body::from(self.error.to_json(&id)));
        *response.status_mut() =
            StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        if self.error.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.error.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
