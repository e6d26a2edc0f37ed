//! Azure OpenAI: chat completions and responses under Azure's paths, with Azure's key, errors and content filter.
//!
//! `POST /openai/deployments/{deployment}/chat/completions?api-version=…` and `POST /openai/v1/chat/completions`;
//! `POST /openai/responses?api-version=…` and `POST /openai/v1/responses`.

use super::chat::{Asker, chat};
use super::responses::responses;
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::sim::Sim;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};

/// Answers a conversation; the body names the model.
pub(crate) async fn create(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    let asker = Asker {
        dialect: Dialect::Azure,
        admitted: sim.authorise_azure(&headers),
        endpoint: "/openai/v1/chat/completions",
        model: None,
    };
    chat(&sim, &headers, &body, asker).await
}

/// Answers a conversation; the path names the model.
pub(crate) async fn create_at(
    State(sim): State<Sim>,
    Path(deployment): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asker = Asker {
        dialect: Dialect::Azure,
        admitted: sim.authorise_azure(&headers).and_then(|()| versioned(&uri)),
        endpoint: "/openai/deployments/{deployment}/chat/completions",
        model: Some(deployment),
    };
    chat(&sim, &headers, &body, asker).await
}

/// Answers an input.
pub(crate) async fn respond(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    let admitted = sim.authorise_azure(&headers);
    responses(&sim, &headers, &body, (Dialect::Azure, "/openai/v1/responses", admitted)).await
}

/// Answers an input, of a version of the API.
pub(crate) async fn respond_at(
    State(sim): State<Sim>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let admitted = sim.authorise_azure(&headers).and_then(|()| versioned(&uri));
    responses(&sim, &headers, &body, (Dialect::Azure, "/openai/responses", admitted)).await
}

/// Without a version Azure knows no such resource.
fn versioned(uri: &Uri) -> Result<(), SimError> {
    let version =
        uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("api-version="));
    match version {
        Some(version) if version.starts_with("20") => Ok(()),
        _ => Err(SimError {
            code: Some("404"),
            param: None,
            message: "Resource not found".to_owned(),
            ..SimError::of_status(404)
        }),
    }
}

fn verdicts() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}

fn prompt_verdicts() -> Value {
    json!([{"prompt_index": 0, "content_filter_results": verdicts()}])
}

/// The chunk that comes before all others: no choice, only what the filter thinks of the prompt.
pub(super) fn opening(model: &str) -> Value {
    json!({
        "id": "", "object": "", "created": 0, "model": model, "choices": [],
        "prompt_filter_results": prompt_verdicts(),
    })
}

/// Adds to a whole answer what the filter thinks of it.
pub(super) fn annotate(completion: &mut Value) {
    completion["prompt_filter_results"] = prompt_verdicts();
    for choice in completion["choices"].as_array_mut().into_iter().flatten() {
        choice["content_filter_results"] = verdicts();
    }
}
