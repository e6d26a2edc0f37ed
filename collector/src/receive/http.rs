//! OTLP over HTTP: `POST /v1/traces` and `/v1/logs`, protobuf or JSON, answered in the encoding of the request.

use super::compression::{Compression, DecompressError};
use super::status::Refusal;
use super::{ExportRequest, Receiver, Signal, body, wire};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::time::Duration;
use tonic::Code;

/// Smaller bodies are unfolded where they are; larger ones would hold up other requests.
const INLINE_BYTES: usize = 64 * 1024;

/// OTLP's paths.
pub fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/v1/traces", post(|s, h, b| take(Signal::Traces, s, h, b)).fallback(not_post))
        .route("/v1/logs", post(|s, h, b| take(Signal::Logs, s, h, b)).fallback(not_post))
        .route("/v1/{signal}", any(other_signal))
        .with_state(receiver)
}

/// Protobuf or JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// From `Content-Type`, parameters aside.
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => {
                let message = format!(
                    "Content-Type {value:?} is not supported: expected application/x-protobuf or application/json"
                );
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Err(Refusal::client(status, Code::InvalidArgument, "media_type", message))
            }
        }
    }

    const fn content_type(self) -> HeaderValue {
        match self {
            Self::Protobuf => HeaderValue::from_static("application/x-protobuf"),
            Self::Json => HeaderValue::from_static("application/json"),
        }
    }
}

async fn take(signal: Signal, State(receiver): State<Receiver>, headers: HeaderMap, body: Body) -> Response {
    // Whoever sends neither encoding is told so in the one that people read.
    let encoding = Encoding::of(&headers);
    let answer_in = encoding.as_ref().map_or(Encoding::Json, |encoding| *encoding);
    match export(signal, &receiver, encoding, &headers, body).await {
        Ok(response) => {
            receiver.count("http", "ok");
            let body = match answer_in {
                Encoding::Protobuf => response.encode_to_vec(),
                Encoding::Json => json(signal, &response).to_string().into_bytes(),
            };
            ([(CONTENT_TYPE, answer_in.content_type())], body).into_response()
        }
        Err(refusal) => {
            receiver.count("http", refusal.label);
            refuse(&refusal, answer_in)
        }
    }
}

/// In protobuf's JSON mapping: what is not set is absent, and a 64 bit integer is a text.
fn json(signal: Signal, response: &ExportTraceServiceResponse) -> serde_json::Value {
    match &response.partial_success {
        None => serde_json::json!({}),
        Some(partial) => serde_json::json!({"partialSuccess": {
            (signal.rejected_name()): partial.rejected_spans.to_string(),
            "errorMessage": partial.error_message,
        }}),
    }
}

async fn export(
    signal: Signal,
    receiver: &Receiver,
    encoding: Result<Encoding, Refusal>,
    headers: &HeaderMap,
    body: Body,
) -> Result<ExportTraceServiceResponse, Refusal> {
    let retry_after = receiver.ingest.retry_after();
    let principal =
        receiver.authenticator.authenticate(headers).map_err(|error| Refusal::auth(&error, retry_after))?;
    let encoding = encoding?;
    let compression = compression(headers)?;
    let max_request = receiver.sizes.max_request;
    let weight = body::weight(length(headers, max_request)?);
    let mut room = receiver.in_flight.enter(weight).await.ok_or_else(|| body::no_room(retry_after))?;
    let body = body::read(body, max_request, &mut room, retry_after).await?;
    let mut unfolded = body::enter_unfolding(receiver, compression, body.len()).await?;
    let (plain, decoded) = unfold(body, encoding, compression, receiver).await?;
    let weight = body::weight(plain.len()).saturating_add(decoded);
    body::fit(unfolded.as_mut().unwrap_or(&mut room), weight, retry_after).await?;
    let request = decode(signal, plain, encoding, retry_after).await?;
    let outcome = receiver.ingest.export(principal, signal, request).await;
    let outcome = outcome.map_err(|error| Refusal::ingest(&error, retry_after))?;
    let partial_success = outcome
        .partial_success()
        .map(|(rejected_spans, error_message)| ExportTracePartialSuccess { rejected_spans, error_message });
    Ok(ExportTraceServiceResponse { partial_success })
}

fn compression(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let name = headers.get(CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str());
    name.ok().and_then(Compression::parse).ok_or_else(|| {
        let message = "Content-Encoding is not supported: expected gzip, zstd, deflate or identity";
        Refusal::client(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, "media_type", message)
    })
}

/// How many bytes the body is said to have, at most `most`; where nothing is said, it is weighed as it comes.
fn length(headers: &HeaderMap, most: usize) -> Result<usize, Refusal> {
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let length: usize = declared.unwrap_or(body::FIRST_ROOM);
    if length > most && declared.is_some() {
        return Err(Refusal::too_large(format!("the body has {length} bytes: expected at most {most}")));
    }
    Ok(length)
}

/// Decompresses, away from the async threads when that takes long; returns what decoding will take beside it, too.
async fn unfold(
    body: Bytes,
    encoding: Encoding,
    compression: Compression,
    receiver: &Receiver,
) -> Result<(Bytes, usize), Refusal> {
    let limit = receiver.sizes.max_decompressed;
    let inline = body.len() <= INLINE_BYTES && compression == Compression::Identity;
    let work = move || {
        let plain = compression.decompress(body, limit).map_err(|error| match error {
            DecompressError::TooLarge { .. } => Refusal::too_large(error.to_string()),
            DecompressError::Broken { .. } => Refusal::invalid(error.to_string()),
        })?;
        let decoded = match encoding {
            Encoding::Protobuf => wire::weigh_protobuf(&plain),
            Encoding::Json => wire::weigh_json(&plain),
        };
        let decoded = decoded.map_err(|error| Refusal::too_large(error.to_string()))?;
        Ok((plain, decoded))
    };
    let unfolded = body::off_thread(!inline, receiver.ingest.retry_after(), work).await?;
    receiver.metrics.request_bytes.inc_by(unfolded.0.len() as u64);
    Ok(unfolded)
}

/// Decodes, for which there is room now.
async fn decode(
    signal: Signal,
    plain: Bytes,
    encoding: Encoding,
    retry_after: Duration,
) -> Result<ExportRequest, Refusal> {
    let is_long = plain.len() > INLINE_BYTES;
    let work = move || {
        let request = match encoding {
            Encoding::Protobuf => wire::from_protobuf(signal, plain),
            Encoding::Json => wire::from_json(signal, &plain),
        };
        request.map_err(Refusal::invalid)
    };
    body::off_thread(is_long, retry_after, work).await
}

async fn not_post() -> Response {
    let message = "expected POST: this takes OTLP export requests";
    let refusal = Refusal::client(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, "method", message);
    let mut response = refuse(&refusal, Encoding::Json);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn other_signal(headers: HeaderMap, uri: http::Uri) -> Response {
    let message = format!(
        "{} is not served here: only traces and logs are collected, at /v1/traces and /v1/logs",
        uri.path()
    );
    let refusal = Refusal::client(StatusCode::NOT_FOUND, Code::Unimplemented, "not_found", message);
    refuse(&refusal, Encoding::of(&headers).unwrap_or(Encoding::Json))
}

fn refuse(refusal: &Refusal, encoding: Encoding) -> Response {
    let body = match encoding {
        Encoding::Protobuf => refusal.status().encode_to_vec(),
        Encoding::Json => refusal.json().to_string().into_bytes(),
    };
    let mut response = (refusal.http, [(CONTENT_TYPE, encoding.content_type())], body).into_response();
    if let Some(seconds) = refusal.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
