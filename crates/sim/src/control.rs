//! `/sim/behaviour`: how deployments behave and what they served, read and changed while they run.

use crate::config::ConfigError;
use crate::deployment::{Conduct, Counts, DEFAULT};
use crate::error::SimError;
use crate::server::Deployments;
use crate::sim::parse;
use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A deployment as it stands.
#[derive(Serialize)]
pub(crate) struct Standing {
    conduct: Conduct,
    counts: Counts,
}

#[derive(Deserialize)]
struct Change {
    /// `default` without it.
    #[serde(default)]
    deployment: Option<String>,
    /// All of its conduct: what is left out has its default.
    #[serde(flatten)]
    conduct: serde_json::Map<String, serde_json::Value>,
}

/// All deployments by name.
pub(crate) async fn list(
    State(deployments): State<Deployments>,
    headers: HeaderMap,
) -> Result<Json<BTreeMap<String, Standing>>, SimError> {
    deployments.sim().authorise(&headers)?;
    let standing = |d: &crate::deployment::Deployment| Standing { conduct: d.conduct(), counts: d.counts() };
    Ok(Json(deployments.all().iter().map(|d| (d.name.clone(), standing(d))).collect()))
}

/// Replaces the conduct of one deployment, from the next request on.
pub(crate) async fn set(
    State(deployments): State<Deployments>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Standing>, SimError> {
    deployments.sim().authorise(&headers)?;
    let change: Change = parse(&body)?;
    let conduct: Conduct = parse(serde_json::Value::Object(change.conduct).to_string().as_bytes())?;
    conduct
        .validate()
        .map_err(|error: ConfigError| SimError::invalid(&error.key.clone(), error.to_string()))?;
    let name = change.deployment.as_deref().unwrap_or(DEFAULT);
    let Some((deployment, _)) = deployments.find(name) else {
        let expected = "1 to 64 letters, digits, '.', '_' or '-'";
        return Err(SimError::invalid(
            "deployment",
            format!("deployment = {name:?} is not valid: expected {expected}"),
        ));
    };
    deployment.set(conduct);
    Ok(Json(Standing { conduct: deployment.conduct(), counts: deployment.counts() }))
}
