//! Errors as a provider sends them: OpenAI's shape here, the others' in [`crate::dialect`].

use crate::ask::Ask;
use crate::dialect::Dialect;
use axum::response::{IntoResponse, Response};

/// An error ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SimError {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) param: Option<String>,
    pub(crate) message: String,
    /// Seconds to wait before the next try.
    pub(crate) retry_after: Option<u32>,
}

impl SimError {
    /// A request that is wrong in `param`.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            param: Some(param.to_owned()),
            message: message.into(),
            retry_after: None,
        }
    }

    /// A model that is not served here.
    pub(crate) fn model_not_found(name: &str) -> Self {
        Self {
            status: 404,
            code: Some("model_not_found"),
            ..Self::invalid(
                "model",
                format!("The model `{name}` does not exist or you do not have access to it."),
            )
        }
    }

    /// A recorded model that was asked something that nobody recorded.
    pub(crate) fn answer_not_found(model: &str, ask: &Ask) -> Self {
        let prompt = match &ask.prompt_id {
            Some(id) => format!("the prompt {id:?}"),
            None => format!("{:?}", ask.last.chars().take(80).collect::<String>()),
        };
        Self {
            status: 404,
            code: Some("answer_not_found"),
            ..Self::invalid("messages", format!("messages: no answer of `{model}` to {prompt} was recorded."))
        }
    }

    /// A request without the right key.
    pub(crate) fn unauthorised() -> Self {
        Self {
            status: 401,
            code: Some("invalid_api_key"),
            param: None,
            ..Self::invalid("", "Incorrect API key provided.")
        }
    }

    /// The error of this status, as OpenAI words it.
    pub(crate) fn of_status(status: u16) -> Self {
        let (kind, code, message) = match status {
            401 => ("invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided."),
            403 => (
                "invalid_request_error",
                Some("unsupported_country_region_territory"),
                "Access is not allowed.",
            ),
            404 => ("invalid_request_error", Some("model_not_found"), "The model does not exist."),
            429 => (
                "requests",
                Some("rate_limit_exceeded"),
                "Rate limit reached for requests. Please try again in 1s.",
            ),
            400..=499 => ("invalid_request_error", None, "The request was refused, as it asked to be."),
            503 => ("server_error", None, "The engine is currently overloaded, please try again later."),
            _ => ("server_error", None, "The server had an error while processing your request."),
        };
        let retry_after = (status == 429).then_some(1);
        Self { status, kind, code, param: None, message: message.to_owned(), retry_after }
    }

    /// Everything that can wait does wait already.
    pub(crate) fn overloaded() -> Self {
        Self { message: "Too many requests are waiting already.".to_owned(), ..Self::of_status(429) }
    }

    /// What is sent when a stream breaks off because the model failed.
    pub(crate) fn broken() -> Self {
        Self::of_status(500)
    }
}

impl IntoResponse for SimError {
    fn into_response(self) -> Response {
        self.answer(Dialect::OPENAI)
    }
}
