//! Errors as clients see them: OpenAI's shape, plus whose fault it is and whether a retry can help.
//!
//! Code below the HTTP boundary returns typed errors; they become an [`ApiError`] in exactly one place per service.

use serde::{Deserialize, Serialize};

/// Who caused an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The request was wrong.
    Client,
    /// The request was right but a rule forbids it: key, budget, limit, allow-list.
    Policy,
    /// The model's server failed.
    Upstream,
    /// We failed.
    Internal,
}

impl Fault {
    /// `client`, `policy`, `upstream` or `internal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Internal => "internal",
        }
    }
}

/// An error ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`, such as `invalid_request_error`.
    pub kind: &'static str,
    /// OpenAI's `error.code`, such as `model_not_found`.
    pub code: Option<&'static str>,
    /// The request field at fault, such as `messages`.
    pub param: Option<String>,
    /// One sentence that names the field, the value and what is expected.
    pub message: String,
    /// Who caused it.
    pub fault: Fault,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Seconds to wait before a retry, when known.
    pub retry_after_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
    fault: Fault,
    retryable: bool,
    request_id: &'a str,
}

impl ApiError {
    /// A request that is wrong in `param` (400, `invalid_request_error`).
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::client(400, "invalid_request_error", None, message) }
    }

    /// An error that the client caused and a retry cannot mend.
    pub fn client(
        status: u16,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self {
            status,
            kind,
            code,
            param: None,
            message,
            fault: Fault::Client,
            retryable: false,
            retry_after_seconds: None,
        }
    }

    /// Something on our side failed (500 or 503); a retry may help.
    pub fn internal(status: u16, message: impl Into<String>) -> Self {
        Self {
            fault: Fault::Internal,
            retryable: true,
            ..Self::client(status, "server_error", None, message)
        }
    }

    /// The JSON body in OpenAI's error shape: `{"error": {message, type, param, code, fault, retryable, request_id}}`.
    pub fn to_json(&self, request_id: &str) -> String {
        let body = Body {
            message: &self.message,
            kind: self.kind,
            param: self.param.as_deref(),
            code: self.code,
            fault: self.fault,
            retryable: self.retryable,
            request_id,
        };
        // Plain strings and booleans always serialise; the fallback keeps this function total.
        serde_json::to_string(&Envelope { error: body }).unwrap_or_else(|_| String::from("{\"error\":{}}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_openais() {
        let error = ApiError::invalid("messages", "messages: expected a non-empty array");
        let json: serde_json::Value = serde_json::from_str(&error.to_json("req_1")).unwrap();
        assert_eq!(json["error"]["type"], "invalid_request_error");
        assert_eq!(json["error"]["param"], "messages");
        assert_eq!(json["error"]["request_id"], "req_1");
        assert_eq!(json["error"]["fault"], "client");
    }
}
