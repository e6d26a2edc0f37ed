//! Everything that can go wrong with a call, and the one table that says what the client is told.

mod money;

pub(crate) use money::renews_soon;

use crate::call::{CLOSED, CUT, TIMED_OUT};
use crate::request::BodyError;
use contracts::policy::{Model, Protocol, Unreadable};
use contracts::{ApiError, Fault};
use std::sync::Arc;
use std::time::Duration;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no such endpoint")]
    NoSuchEndpoint { method: String, path: String },
    #[error("wrong method")]
    WrongMethod { method: String, path: &'static str, allowed: &'static str },
    #[error("no key")]
    NoKey,
    #[error("malformed authorization header")]
    MalformedKey,
    #[error("wrong key")]
    WrongKey { shown: String },
    #[error("revoked key")]
    RevokedKey { id: String },
    #[error("expired key")]
    ExpiredKey { id: String },
    #[error("not an admin key")]
    NotAdmin { key: String },
    #[error("no policy yet")]
    NoPolicy,
    #[error("model not allowed")]
    ModelNotAllowed { model: String, key: String },
    #[error("unknown model")]
    UnknownModel { model: String },
    #[error("content type")]
    ContentType { got: String },
    #[error("content encoding")]
    ContentEncoding { got: String },
    #[error("body too large")]
    BodyTooLarge { limit: usize },
    #[error("the client's body came too slowly")]
    SlowBody { after: Duration },
    #[error("the client's body took too long")]
    LongBody { after: Duration },
    #[error("too many bodies in work")]
    TooManyBodies,
    #[error("the client's body broke off")]
    BrokenBody,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("spool full")]
    SpoolFull,
    #[error("not recorded")]
    Unrecorded,
    #[error("outcome not recorded")]
    OutcomeUnrecorded,
    #[error("unknown stream")]
    UnknownStream { id: String },
    #[error("bad event number")]
    BadEventNumber { field: &'static str, value: String },
    #[error("events gone")]
    EventsGone { first: u64 },
    #[error("too many streams are kept")]
    TooManyStreams,
    #[error("too many sockets")]
    TooManySockets { most: u32 },
    #[error("{0}")]
    BadProvider(String),
    #[error("{name}: {value:?} is not valid here: expected {expected}")]
    BadHeader { name: &'static str, value: String, expected: &'static str },
    #[error("not served")]
    NotServed { path: &'static str, protocol: Protocol },
    #[error(transparent)]
    Untranslatable(protocols::Invalid),
    #[error("rate limited")]
    RateLimited(Box<admission::rates::Refusal>),
    #[error("budget")]
    Budget(budget::Refused),
    #[error("no bound")]
    Unbounded { field: String },
    #[error("no price")]
    Unpriced(Arc<Model>),
    #[error("{message}")]
    BadPrompt { field: String, message: String },
    #[error("{0}")]
    BadTemplate(String),
    #[error("{message}")]
    Guarded { message: String },
    #[error("{0}")]
    BadCacheControl(String),
    #[error("not cached")]
    NotCached,
    #[error("price ceiling")]
    PriceCeiling,
    #[error("too many failures to authenticate")]
    Flooded { wait: Duration },
    #[error("no deployment")]
    NoDeployment(pool::Unavailable),
    #[error("busy")]
    Busy(admission::queue::Refused),
    #[error(transparent)]
    Unreadable(Arc<Unreadable>),
    #[error("upstream unreachable")]
    Unreachable,
    #[error("upstream closed the connection")]
    Closed,
    #[error("upstream timed out")]
    Timeout { what: &'static str, after: Duration },
    #[error("upstream answered with what is not an answer")]
    Garbage { status: u16, detail: &'static str },
    #[error("upstream refuses the provider's credential")]
    ProviderCredential { status: u16 },
    #[error("upstream's answer is too large")]
    AnswerTooLarge { limit: usize },
    #[error("upstream's stream broke off")]
    Cut,
}

const INVALID: &str = "invalid_request_error";

impl Failure {
    /// What the client is told.
    pub(crate) fn to_api(&self) -> ApiError {
        match self {
            Self::NoSuchEndpoint { method, path } => {
                let message = format!("no such endpoint: {method} {path}");
                ApiError::client(404, INVALID, Some("unknown_url"), message)
            }
            Self::WrongMethod { method, path, allowed } => {
                let message = format!("{method} is not allowed on {path}: expected {allowed}");
                ApiError::client(405, INVALID, Some("method_not_allowed"), message)
            }
            Self::NoKey
            | Self::MalformedKey
            | Self::WrongKey { .. }
            | Self::RevokedKey { .. }
            | Self::ExpiredKey { .. } => self.key_error(),
            Self::NotAdmin { key } => {
                let message = format!("authorization: {key} is a key of a tenant: expected an admin key");
                let error = ApiError::client(403, INVALID, Some("admin_key_required"), message);
                ApiError { fault: Fault::Policy, ..error }
            }
            Self::NoPolicy => retry_in(
                1,
                ApiError::internal(503, "the gateway has not read its policy yet: retry in a moment"),
            ),
            Self::ModelNotAllowed { model, key } => {
                let message = format!("model: the key {key} is not allowed to use {model:?}");
                let error = ApiError::client(403, INVALID, Some("model_not_allowed"), message);
                ApiError { param: Some("model".into()), fault: Fault::Policy, ..error }
            }
            Self::UnknownModel { model } => {
                let message = format!(
                    "model: {model:?} does not exist or is not available to you; GET /v1/models lists what is"
                );
                let error = ApiError::client(404, INVALID, Some("model_not_found"), message);
                ApiError { param: Some("model".into()), ..error }
            }
            Self::ContentType { .. }
            | Self::ContentEncoding { .. }
            | Self::BodyTooLarge { .. }
            | Self::SlowBody { .. }
            | Self::LongBody { .. }
            | Self::BrokenBody
            | Self::Body(_)
            | Self::TooManyBodies => self.body_error(),
            Self::SpoolFull => {
                let message = "calls cannot be recorded at the moment, so none is made: retry later";
                retry_in(5, ApiError { code: Some("spool_full"), ..ApiError::internal(503, message) })
            }
            Self::Unrecorded => {
                let message = "the call could not be recorded, so its answer is withheld: retry later";
                retry_in(5, ApiError { code: Some("not_recorded"), ..ApiError::internal(503, message) })
            }
            Self::OutcomeUnrecorded => {
                let message = "the outcome could not be recorded: send it again later";
                retry_in(5, ApiError { code: Some("not_recorded"), ..ApiError::internal(503, message) })
            }
            Self::UnknownStream { .. }
            | Self::BadEventNumber { .. }
            | Self::EventsGone { .. }
            | Self::TooManyStreams
            | Self::TooManySockets { .. } => self.stream_error(),
            Self::BadProvider(message) => ApiError {
                code: Some("provider_misconfigured"),
                retryable: false,
                ..ApiError::internal(500, message.clone())
            },
            _ => self.decided(),
        }
    }

    /// Bodies that are not taken.
    fn body_error(&self) -> ApiError {
        match self {
            Self::ContentType { got } => {
                let message = format!("content-type: {got:?} is not supported: expected application/json");
                ApiError::client(415, INVALID, Some("unsupported_media_type"), message)
            }
            Self::ContentEncoding { got } => {
                let message = format!(
                    "content-encoding: {got:?} is not supported: expected a body that is not compressed"
                );
                ApiError::client(415, INVALID, Some("unsupported_content_encoding"), message)
            }
            Self::BodyTooLarge { limit } => {
                let message = format!("body: larger than {limit} bytes: expected at most that");
                ApiError::client(413, INVALID, Some("request_too_large"), message)
            }
            Self::SlowBody { after } | Self::LongBody { after } => {
                let what = if matches!(self, Self::LongBody { .. }) {
                    "its end did not come"
                } else {
                    "nothing more came"
                };
                let message = format!("body: {what} within {} ms", after.as_millis());
                ApiError {
                    retryable: true,
                    ..ApiError::client(408, INVALID, Some("request_timeout"), message)
                }
            }
            Self::BrokenBody => {
                ApiError::client(400, INVALID, Some("incomplete_body"), "body: it broke off before its end")
            }
            Self::Body(BodyError::Invalid(error)) => error.clone(),
            Self::Body(error) => {
                let code = match error {
                    BodyError::NotUtf8(_) => "invalid_utf8",
                    BodyError::TooDeep { .. } => "nested_too_deep",
                    _ => "invalid_json",
                };
                ApiError::client(400, INVALID, Some(code), error.to_string())
            }
            Self::TooManyBodies => {
                let message = "the gateway has as many bytes of requests in work as it takes: retry later";
                retry_in(
                    2,
                    ApiError { code: Some("too_many_requests_in_work"), ..ApiError::internal(503, message) },
                )
            }
            _ => self.upstream_error(),
        }
    }

    /// What plans, budgets, prompts, caches, cascades and translations decided.
    fn decided(&self) -> ApiError {
        match self {
            Self::BadHeader { name, .. } => ApiError::invalid(*name, self.to_string()),
            Self::NotServed { path, protocol } => {
                let message = format!("model: its provider speaks {protocol}, which has no {path}");
                let error = ApiError::client(400, INVALID, Some("endpoint_not_served"), message);
                ApiError { param: Some("model".into()), ..error }
            }
            Self::Untranslatable(invalid) => {
                let error = ApiError::invalid(invalid.field.clone(), invalid.to_string());
                ApiError { code: Some("untranslatable"), ..error }
            }
            Self::RateLimited(refusal) => rate_limited(refusal),
            Self::Budget(refused) => money::over_budget(refused),
            Self::Unbounded { field } => money::unbounded(field),
            Self::Unpriced(model) => money::unpriced(model),
            Self::NoDeployment(unavailable) => no_deployment(*unavailable),
            Self::Busy(refused) => busy(refused),
            Self::Unreadable(unreadable) => ApiError {
                code: Some("policy_unreadable"),
                retryable: false,
                ..ApiError::internal(503, unreadable.to_string())
            },
            Self::BadPrompt { field, message } => {
                ApiError { code: Some("invalid_prompt"), ..ApiError::invalid(field.clone(), message.clone()) }
            }
            Self::BadTemplate(message) => ApiError {
                code: Some("prompt_misconfigured"),
                retryable: false,
                ..ApiError::internal(500, message.clone())
            },
            Self::Guarded { message } => {
                let error = ApiError::client(400, INVALID, Some("content_filter"), message.clone());
                ApiError { fault: Fault::Policy, ..error }
            }
            Self::BadCacheControl(message) => {
                let param = message.split(':').next().unwrap_or_default().to_owned();
                ApiError::invalid(param, message.clone())
            }
            Self::NotCached => {
                let message = "cache-control: only-if-cached: there is no answer to this request";
                ApiError::client(504, INVALID, Some("not_cached"), message)
            }
            Self::PriceCeiling => {
                let message = "no model of this route can answer the request within the route's price ceiling: expected a shorter prompt or answer";
                let error = ApiError::client(400, INVALID, Some("price_ceiling"), message);
                ApiError { fault: Fault::Policy, ..error }
            }
            Self::Flooded { wait } => {
                let message =
                    "authorization: too many wrong keys from this address: wait before the next try";
                let error = ApiError::client(429, "rate_limit_error", Some("too_many_wrong_keys"), message);
                retry_in(seconds(*wait), ApiError { fault: Fault::Policy, retryable: true, ..error })
            }
            _ => self.upstream_error(),
        }
    }

    /// Streams that are kept.
    fn stream_error(&self) -> ApiError {
        match self {
            Self::BadEventNumber { field, value } => {
                let message = format!("{field}: {value:?} is not valid: expected the number of an event");
                ApiError::invalid(*field, message)
            }
            Self::EventsGone { first } => {
                let message = format!(
                    "the events before number {first} were let go of: expected to go on after {} or later",
                    first.saturating_sub(1)
                );
                ApiError::client(410, INVALID, Some("events_gone"), message)
            }
            Self::TooManyStreams => {
                let message = "as many streams are kept, of you or of all, as there is room for: retry later, or do not ask to resume";
                retry_in(
                    5,
                    ApiError { code: Some("too_many_streams_kept"), ..ApiError::internal(503, message) },
                )
            }
            Self::TooManySockets { most } => {
                let message = format!("the API key has {most} sockets open, as many as it may");
                let error = ApiError::client(429, "rate_limit_error", Some("too_many_sockets"), message);
                retry_in(5, ApiError { fault: Fault::Policy, retryable: true, ..error })
            }
            other => {
                let id = if let Self::UnknownStream { id } = other { id.as_str() } else { "" };
                let message = format!(
                    "{id:?} is not known: expected what was asked for with \"background\" or x-control-tower-resume, at this gateway and not long ago"
                );
                ApiError::client(404, INVALID, Some("not_found"), message)
            }
        }
    }

    fn key_error(&self) -> ApiError {
        let message = match self {
            Self::MalformedKey => "authorization: expected the form \"Bearer KEY\"".into(),
            Self::WrongKey { shown } => format!("authorization: no such API key: {shown}"),
            Self::RevokedKey { id } => format!("authorization: the API key {id} was revoked"),
            Self::ExpiredKey { id } => format!("authorization: the API key {id} has expired"),
            _ => "authorization: no API key: expected a header \"Authorization: Bearer KEY\"".to_owned(),
        };
        // One code for all, as at OpenAI, so that SDKs and scripts need no new case; the message tells them apart.
        let error = ApiError::client(401, INVALID, Some("invalid_api_key"), message);
        let is_policy = matches!(self, Self::RevokedKey { .. } | Self::ExpiredKey { .. });
        ApiError { fault: if is_policy { Fault::Policy } else { Fault::Client }, ..error }
    }

    fn upstream_error(&self) -> ApiError {
        let (status, code, retryable, message) = match self {
            Self::Unreachable => {
                (502, "upstream_unreachable", true, "the model's server cannot be reached".into())
            }
            Self::Closed => {
                (502, CLOSED, true, "the model's server closed the connection without an answer".into())
            }
            Self::Timeout { what, after } => (
                504,
                TIMED_OUT,
                true,
                format!("the model's server sent no {what} within {} ms", after.as_millis()),
            ),
            Self::Garbage { status, detail } => {
                let message = format!("the model's server answered {status} with {detail}");
                (502, "upstream_invalid_response", true, message)
            }
            Self::ProviderCredential { status } => {
                let message = format!(
                    "the model's server refuses the gateway's own credential ({status}); your key is fine"
                );
                (502, "upstream_authentication", false, message)
            }
            Self::AnswerTooLarge { limit } => (
                502,
                "upstream_answer_too_large",
                false,
                format!("the model's answer is larger than {limit} bytes"),
            ),
            _ => (
                502,
                CUT,
                true,
                "the model's server broke off its answer; what came so far is incomplete".into(),
            ),
        };
        ApiError {
            status,
            kind: "upstream_error",
            code: Some(code),
            param: None,
            message,
            fault: Fault::Upstream,
            retryable,
            retry_after_seconds: None,
        }
    }
}

/// A rate plan refuses, as `OpenAI` does: the type says of what there was too much.
fn rate_limited(refusal: &admission::rates::Refusal) -> ApiError {
    let kind =
        if refusal.limit == admission::rates::LimitKind::TokensPerMinute { "tokens" } else { "requests" };
    let never = if refusal.retry_after.is_none() { ": this request is larger than the limit" } else { "" };
    ApiError {
        status: 429,
        kind,
        code: Some("rate_limit_exceeded"),
        param: None,
        message: format!("{refusal}{never}"),
        fault: Fault::Policy,
        retryable: refusal.retry_after.is_some(),
        retry_after_seconds: refusal.retry_after.map(seconds),
    }
}

/// Nobody serves the model at the moment.
fn no_deployment(unavailable: pool::Unavailable) -> ApiError {
    let (status, code) = match unavailable {
        pool::Unavailable::Out { .. } => (503, "no_deployment"),
        pool::Unavailable::RateLimited { .. } => (429, "upstream_rate_limited"),
    };
    ApiError {
        status,
        kind: "upstream_error",
        code: Some(code),
        param: None,
        message: format!("the model's servers: {unavailable}"),
        fault: Fault::Upstream,
        retryable: true,
        retry_after_seconds: unavailable.retry_in().map(seconds),
    }
}

/// The queue before a pool does not take a call: for its tenant's own calls, or for everybody's.
fn busy(refused: &admission::queue::Refused) -> ApiError {
    let own = refused.is_own_fault();
    ApiError {
        status: if own { 429 } else { 503 },
        kind: if own { "rate_limit_error" } else { "server_error" },
        code: Some(if own { "queue_share_full" } else { "queue_full" }),
        param: None,
        message: format!("the model is busy: {refused}"),
        fault: Fault::Policy,
        retryable: true,
        retry_after_seconds: Some(seconds(refused.retry_after)),
    }
}

/// Whole seconds, rounded up: whoever comes back then does not come too early.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn retry_in(seconds: u64, error: ApiError) -> ApiError {
    ApiError { retry_after_seconds: Some(seconds), ..error }
}

/// The stable class of an upstream's own error status.
pub(crate) const fn class_of_status(status: u16) -> &'static str {
    match status {
        429 => "upstream_rate_limited",
        400..=499 => "upstream_refused",
        _ => "upstream_error",
    }
}
