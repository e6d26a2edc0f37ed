//! `GET /v1/models` and `GET /v1/models/{id}`.

use crate::behaviour::simulated;
use crate::error::SimError;
use crate::sim::Sim;
use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde_json::{Value, json};

/// When all of them were made: 2026-01-01.
const CREATED: i64 = 1_767_225_600;

/// All models, recorded ones included.
pub(crate) async fn list(State(sim): State<Sim>, headers: HeaderMap) -> Result<Json<Value>, SimError> {
    sim.authorise(&headers)?;
    let data: Vec<Value> = names(&sim).iter().map(|name| model(name)).collect();
    Ok(Json(json!({"object": "list", "data": data})))
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
