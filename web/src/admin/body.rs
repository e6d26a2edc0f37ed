//! What comes in: JSON bodies, path segments and query strings, each refused in our own error shape.

use super::Failure;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use contracts::ApiError;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// A JSON body. The error's `param` is the path of the field at fault, such as `allowed_models[2]`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// The bytes of a JSON body.
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let content_type =
            request.headers().get(CONTENT_TYPE).map(|v| v.to_str().unwrap_or_default().to_owned());
        if !content_type.as_deref().is_some_and(is_json) {
            let given = content_type.unwrap_or_default();
            let message = format!("Content-Type {given:?} is not supported: expected application/json");
            let code = Some("unsupported_content_type");
            return Err(ApiError::client(415, "invalid_request_error", code, message).into());
        }
        Bytes::from_request(request, state).await.map(Self).map_err(|error| unreadable(&error))
    }
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn unreadable(error: &BytesRejection) -> Failure {
    if error.status() == 413 {
        let message = format!("the body is larger than {} bytes", super::BODY_LIMIT);
        return ApiError::client(413, "invalid_request_error", Some("body_too_large"), message).into();
    }
    Failure::invalid("body", format!("the body could not be read: {}", error.body_text()))
}

/// Parses a JSON body; the error names the field by its path.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = match error.path().to_string() {
            // The root, and a place that was not reached.
            root if matches!(root.as_str(), "." | "?") => String::from("body"),
            path => path,
        };
        let message = format!("{path}: {}", error.inner());
        Failure::invalid(&path, message)
    })?;
    deserializer.end().map_err(|error| Failure::invalid("body", format!("body: {error}")))?;
    Ok(value)
}

/// The one parameter of the path, parsed. A path that cannot name anything names nothing that exists.
pub(super) struct Id<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
    S: Send + Sync,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Failure::invalid("path", format!("path: {}", error.body_text())))?;
        let parsed = text.parse::<T>().map_err(|error| Failure::invalid("path", format!("path: {error}")))?;
        Ok(Self(parsed))
    }
}

/// The parameters of the path in order, parsed as their types say.
pub(super) struct Ids<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Ids<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(error) => Err(Failure::invalid("path", format!("path: {}", error.body_text()))),
        }
    }
}

/// The query string, parsed; unknown parameters are refused by the types themselves.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => Err(Failure::invalid("query", format!("query: {}", error.body_text()))),
        }
    }
}
