//! Whose protocol a request speaks: how its errors look and what its answers carry in their headers.

use crate::engine::Engine;
use crate::error::SimError;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// A provider's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI's, as this server speaks it.
    OpenAi(Engine),
    Azure,
    Anthropic,
    Gemini,
    Bedrock,
}

impl Dialect {
    /// OpenAI's own.
    pub(crate) const OPENAI: Self = Self::OpenAi(Engine::OpenAi);
}

impl SimError {
    /// The error as this protocol sends it.
    pub(crate) fn answer(self, dialect: Dialect) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self.body(dialect))).into_response();
        let headers = response.headers_mut();
        if dialect == Dialect::Bedrock {
            headers.insert(
                HeaderName::from_static("x-amzn-errortype"),
                HeaderValue::from_static(bedrock_type(self.status)),
            );
            return response;
        }
        // Gemini tells in the body how long to wait.
        if let Some(seconds) = self.retry_after.filter(|_| dialect != Dialect::Gemini) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            if dialect == Dialect::Azure {
                let millis = HeaderValue::from(u64::from(seconds) * 1000);
                headers.insert(HeaderName::from_static("retry-after-ms"), millis);
            }
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let remaining = match dialect {
                Dialect::Anthropic => "anthropic-ratelimit-requests-remaining",
                _ => "x-ratelimit-remaining-requests",
            };
            headers.insert(HeaderName::from_static(remaining), HeaderValue::from_static("0"));
        }
        response
    }

    /// The body of the error.
    pub(crate) fn body(&self, dialect: Dialect) -> Value {
        match dialect {
            Dialect::OpenAi(engine) => engine.error(self),
            Dialect::Azure => json!({"error": {
                "code": azure_code(self), "message": self.message, "type": self.kind, "param": self.param,
            }}),
            Dialect::Anthropic => json!({
                "type": "error",
                "error": {"type": anthropic_type(self.status), "message": self.message},
                "request_id": null,
            }),
            Dialect::Gemini => {
                let mut error = json!({"code": self.status, "message": self.message, "status": gemini_status(self.status)});
                if let Some(seconds) = self.retry_after {
                    error["details"] = json!([{
                        "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s"),
                    }]);
                }
                json!({"error": error})
            }
            Dialect::Bedrock => json!({"message": self.message}),
        }
    }

    /// The event that ends a stream with this error, where events are server-sent.
    pub(crate) fn event(&self, dialect: Dialect) -> Bytes {
        let name = if dialect == Dialect::Anthropic { "event: error\n" } else { "" };
        Bytes::from(format!("{name}data: {}\n\n", self.body(dialect)))
    }
}

const fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        _ => "api_error",
    }
}

const fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        400..=498 => "INVALID_ARGUMENT",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

const fn bedrock_type(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        400..=499 => "ValidationException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

fn azure_code(error: &SimError) -> String {
    match (error.status, error.code) {
        (404, Some("model_not_found")) => "DeploymentNotFound".to_owned(),
        (_, Some(code)) if error.status < 429 && error.status != 401 => code.to_owned(),
        (status, _) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_says_too_many_requests_its_own_way() {
        let error = SimError { retry_after: Some(7), ..SimError::of_status(429) };
        let at = |dialect, path: &str| error.body(dialect).pointer(path).cloned().unwrap_or_default();
        assert_eq!(at(Dialect::OPENAI, "/error/code"), "rate_limit_exceeded");
        assert_eq!(at(Dialect::Azure, "/error/code"), "429");
        assert_eq!(at(Dialect::Anthropic, "/error/type"), "rate_limit_error");
        assert_eq!(at(Dialect::Gemini, "/error/status"), "RESOURCE_EXHAUSTED");
        assert_eq!(at(Dialect::Gemini, "/error/details/0/retryDelay"), "7s");
        assert_eq!(at(Dialect::Bedrock, "/message"), error.message);
        let headers = |dialect| error.clone().answer(dialect).headers().clone();
        assert_eq!(headers(Dialect::Anthropic)["retry-after"], "7");
        assert_eq!(headers(Dialect::Azure)["retry-after-ms"], "7000");
        assert_eq!(headers(Dialect::Bedrock)["x-amzn-errortype"], "ThrottlingException");
        assert!(!headers(Dialect::Gemini).contains_key("retry-after"));
        assert_eq!(SimError::of_status(529).body(Dialect::Anthropic)["error"]["type"], "overloaded_error");
    }
}
