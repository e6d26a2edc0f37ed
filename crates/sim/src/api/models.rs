//! `GET /v1/models` and `GET /v1/models/{id}`.

use super::gemini;
use crate::behaviour::simulated;
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::sim::Sim;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use serde_json::{Value, json};

/// When all of them were made: 2026-01-01.
const CREATED: i64 = 1_767_225_600;

/// All models, recorded ones included, as whoever asks expects them: three protocols share this path.
pub(crate) async fn list(State(sim): State<Sim>, uri: Uri, headers: HeaderMap) -> Response {
    if headers.contains_key("x-goog-api-key") {
        return gemini::list(State(sim), uri, headers).await;
    }
    if headers.contains_key("anthropic-version") {
        if let Err(error) = sim.authorise_anthropic(&headers) {
            return error.answer(Dialect::Anthropic);
        }
        let data: Vec<Value> = names(&sim)
            .iter()
            .map(|name| json!({"id": name, "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z"}))
            .collect();
        let (first, last) = (data.first().map(|m| m["id"].clone()), data.last().map(|m| m["id"].clone()));
        return Json(json!({"data": data, "has_more": false, "first_id": first, "last_id": last}))
            .into_response();
    }
    if let Err(error) = sim.authorise(&headers) {
        return error.into_response();
    }
    let data: Vec<Value> = names(&sim).iter().map(|name| model(name)).collect();
    Json(json!({"object": "list", "data": data})).into_response()
}

/// One model.
pub(crate) async fn retrieve(
    State(sim): State<Sim>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, SimError> {
    sim.authorise(&headers)?;
    if names(&sim).contains(&id) { Ok(Json(model(&id))) } else { Err(SimError::model_not_found(&id)) }
}

fn names(sim: &Sim) -> Vec<String> {
    let simulated = simulated(sim.config()).into_iter().map(|m| m.name);
    simulated.chain(sim.answers().models().into_iter().map(str::to_owned)).collect()
}

fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": CREATED, "owned_by": "control-tower-sim"})
}
