//! A provider's error in the client's own protocol.

use crate::Dialect;
use crate::problem::Path;
use crate::read::{Fields, Json, document, is_object, is_string};
use crate::write::object_text;
use serde_json::value::RawValue;

/// What a provider says of its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamError {
    /// HTTP status; within a stream the one that stands for the error's kind.
    pub status: u16,
    /// The provider's own word: `overloaded_error`, `RESOURCE_EXHAUSTED`, `ThrottlingException`.
    pub kind: Option<String>,
    /// What it says.
    pub message: String,
    /// OpenAI's `code`.
    pub code: Option<String>,
    /// The field at fault, in the provider's protocol.
    pub param: Option<String>,
}

/// How much of a body that is no JSON is shown.
const SHOWN: usize = 500;

impl UpstreamError {
    /// An error of ours about what the provider sent.
    pub(crate) fn malformed(why: impl std::fmt::Display) -> Self {
        Self {
            status: 502,
            kind: None,
            message: format!("the model's server sent what cannot be read: {why}"),
            code: None,
            param: None,
        }
    }

    /// Reads an error's body, whatever it is.
    pub fn read(status: u16, body: &[u8]) -> Self {
        if let Ok(raw) = document(body)
            && let Some(error) = Self::from_json(raw, Some(status))
        {
            return error;
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
        let message = if text.trim().is_empty() {
            format!("the model's server answered with status {status}")
        } else {
            text.chars().take(SHOWN).collect()
        };
        Self { status, kind: None, message, code: None, param: None }
    }

    /// `{"error": {…}}`, `{"error": "…"}`, `{"message": "…"}`, also in an array of one, as Gemini streams send it.
    pub(crate) fn from_json(raw: &RawValue, status: Option<u16>) -> Option<Self> {
        let first: Vec<&RawValue>;
        let raw = if raw.get().starts_with('[') {
            first = serde_json::from_str(raw.get()).ok()?;
            *first.first()?
        } else {
            raw
        };
        let mut outer = Fields::read(raw, Path::ROOT).ok()?;
        let error = outer.raw("error");
        let mut fields = match error {
            Some(error) if is_object(error) => Fields::read(error, Path::ROOT).ok()?,
            Some(error) if is_string(error) => {
                let message: String = serde_json::from_str(error.get()).ok()?;
                return Some(Self {
                    status: status.unwrap_or(500),
                    kind: None,
                    message,
                    code: None,
                    param: None,
                });
            }
            _ => outer,
        };
        let message = match fields.string("message").ok()? {
            Some(message) => message,
            None => fields.string("Message").ok()??,
        };
        let mut word = |name: &str| fields.raw(name).and_then(word_of);
        let (kind, gemini, aws) = (word("type"), word("status"), word("__type"));
        let (code, param) = (word("code"), word("param"));
        let kind = kind.or(gemini).or(aws).map(|kind| match kind.rsplit_once('#') {
            Some((_, name)) => name.to_owned(),
            None => kind,
        });
        let numbered = code.as_deref().and_then(|code| code.parse().ok()).filter(|n| (400..600).contains(n));
        let status = status
            .or(numbered)
            .or_else(|| kind.as_deref().and_then(status_of_kind))
            .or_else(|| code.as_deref().and_then(status_of_kind))
            .unwrap_or(500);
        let code = code.filter(|_| numbered.is_none());
        Some(Self { status, kind, message, code, param })
    }

    /// The status of an exception within a Bedrock stream.
    pub(crate) fn of_exception(kind: &str, payload: &[u8], fallback: &str) -> Self {
        let said = document(payload).ok().and_then(|raw| Self::from_json(raw, None));
        let message = said.map_or_else(|| fallback.to_owned(), |said| said.message);
        let message = if message.is_empty() { kind.to_owned() } else { message };
        let status = status_of_kind(kind).unwrap_or(500);
        Self { status, kind: Some(kind.to_owned()), message, code: None, param: None }
    }

    /// The body for a client that speaks `to`.
    pub fn body(&self, to: Dialect, request_id: &str) -> Vec<u8> {
        match to {
            Dialect::Anthropic => object_text(|o| {
                o.put("type", "error");
                o.object("error", |o| self.fill_anthropic(o));
                o.put("request_id", request_id);
            }),
            Dialect::Gemini => object_text(|o| {
                o.object("error", |o| {
                    o.put("code", &self.status).put("message", &self.message);
                    o.put("status", self.kind.as_deref().unwrap_or("UNKNOWN"));
                });
            }),
            Dialect::Bedrock => object_text(|o| {
                o.put("message", &self.message);
            }),
            Dialect::OpenAiChat | Dialect::OpenAiResponses => object_text(|o| {
                o.object("error", |o| {
                    self.fill_openai(o);
                    o.put("request_id", request_id);
                });
            }),
        }
    }

    pub(crate) fn fill_openai(&self, o: &mut crate::write::Object<'_>) {
        o.put("message", &self.message).put("type", self.openai_type());
        o.put("param", &self.param).put("code", &self.openai_code());
    }

    pub(crate) fn fill_anthropic(&self, o: &mut crate::write::Object<'_>) {
        o.put("type", self.anthropic_type()).put("message", &self.message);
    }

    /// OpenAI's `type` for the status.
    const fn openai_type(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// OpenAI's `code`: the provider's own where it has one, else the word for the status.
    pub(crate) fn openai_code(&self) -> Option<String> {
        let of_status = match self.status {
            429 => Some("rate_limit_exceeded"),
            503 | 529 => Some("overloaded"),
            _ => None,
        };
        self.code.clone().or_else(|| of_status.map(str::to_owned)).or_else(|| self.kind.clone())
    }

    /// Anthropic's `error.type` for the status.
    const fn anthropic_type(&self) -> &'static str {
        match self.status {
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
}

/// Seconds to wait, as Gemini says them within an error's body (`google.rpc.RetryInfo`); rounded up.
pub fn retry_after(body: &[u8]) -> Option<u64> {
    let mut outer = Fields::read(document(body).ok()?, Path::ROOT).ok()?;
    let mut error = Fields::read(outer.raw("error")?, Path::ROOT).ok()?;
    error.items("details").ok()??.into_iter().find_map(|raw| {
        let mut detail = Fields::read(raw, Path::ROOT).ok()?;
        let delay = detail.string("retryDelay").ok()??;
        let (whole, part) =
            delay.strip_suffix('s')?.split_once('.').unwrap_or((delay.strip_suffix('s')?, ""));
        let seconds: u64 = whole.parse().ok()?;
        Some(if part.bytes().any(|digit| digit != b'0') { seconds.saturating_add(1) } else { seconds })
    })
}

fn word_of(raw: &RawValue) -> Option<String> {
    if is_string(raw) { serde_json::from_str(raw.get()).ok() } else { Some(Json::new(raw).text().to_owned()) }
}

/// The HTTP status that a provider sends with an error of this name. Within a stream AWS writes its names with a small first
/// letter.
fn status_of_kind(kind: &str) -> Option<u16> {
    Some(match kind {
        "invalid_request_error"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "ValidationException"
        | "validationException" => 400,
        "authentication_error" | "UNAUTHENTICATED" => 401,
        "billing_error" => 402,
        "permission_error" | "PERMISSION_DENIED" | "AccessDeniedException" => 403,
        "not_found_error" | "NOT_FOUND" | "ResourceNotFoundException" => 404,
        "request_too_large" => 413,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "RESOURCE_EXHAUSTED"
        | "ThrottlingException"
        | "throttlingException"
        | "ServiceQuotaExceededException" => 429,
        "api_error" | "server_error" | "INTERNAL" | "InternalServerException" | "internalServerException" => {
            500
        }
        "ModelStreamErrorException" | "modelStreamErrorException" | "ModelErrorException" => 502,
        "UNAVAILABLE"
        | "ServiceUnavailableException"
        | "serviceUnavailableException"
        | "ModelNotReadyException" => 503,
        "timeout_error" | "DEADLINE_EXCEEDED" | "ModelTimeoutException" | "modelTimeoutException" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_read_from_the_body() {
        let body = |delay: &str| {
            format!(
                r#"{{"error":{{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[{{"@type":"type.googleapis.com/google.rpc.Help"}},
                {{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}]}}}}"#
            )
        };
        for (delay, seconds) in
            [("7s", Some(7)), ("27.331s", Some(28)), ("3.000s", Some(3)), ("soon", None), ("-1s", None)]
        {
            assert_eq!(retry_after(body(delay).as_bytes()), seconds, "{delay}");
        }
        for other in ["", "[]", r#"{"error":"x"}"#, r#"{"error":{"details":{}}}"#] {
            assert_eq!(retry_after(other.as_bytes()), None, "{other}");
        }
    }
}
