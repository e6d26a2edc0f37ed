//! Whether a role is alive and whether it can do its work.
//!
//! Alive (`/healthz`) means that the process answers. Ready (`/readyz`) means that every component says so: a component
//! starts unready, and whoever runs it moves its [`HealthHandle`].

use crate::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The components of a role and their states. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<RwLock<BTreeMap<String, Component>>>);

/// Moves the state of one component.
#[derive(Debug, Clone)]
pub struct HealthHandle {
    health: Health,
    name: String,
}

/// The state of one component, as `/readyz` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Whether it can do its work.
    pub ready: bool,
    /// Why not; or, of one that is ready, what a person should look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    components: BTreeMap<String, Component>,
}

impl Health {
    /// No components: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component, unready until its handle says otherwise.
    pub fn component(&self, name: impl Into<String>) -> HealthHandle {
        let handle = HealthHandle { health: self.clone(), name: name.into() };
        handle.set_unready("starting");
        handle
    }

    /// Whether every component is ready.
    pub fn is_ready(&self) -> bool {
        self.components().values().all(|component| component.ready)
    }

    /// Every component by name.
    pub fn components(&self) -> BTreeMap<String, Component> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, name: &str, component: Component) {
        let mut components = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if components.get(name) == Some(&component) {
            return;
        }
        match &component.reason {
            None => tracing::info!(health.component = name, "{name} is ready"),
            Some(reason) if component.ready => {
                tracing::warn!(health.component = name, "{name} is ready, but: {reason}");
            }
            Some(reason) => tracing::warn!(health.component = name, "{name} is not ready: {reason}"),
        }
        components.insert(name.to_owned(), component);
    }
}

impl HealthHandle {
    /// The component can do its work.
    pub fn set_ready(&self) {
        self.health.set(&self.name, Component { ready: true, reason: None });
    }

    /// The component can do its work, but a person should look at this.
    pub fn set_degraded(&self, reason: impl Into<String>) {
        self.health.set(&self.name, Component { ready: true, reason: Some(reason.into()) });
    }

    /// The component cannot do its work, for this reason.
    pub fn set_unready(&self, reason: impl Into<String>) {
        self.health.set(&self.name, Component { ready: false, reason: Some(reason.into()) });
    }
}

/// `GET /healthz` (200 while the process answers), `GET /readyz` (200 or 503, and each component, as JSON) and
/// `GET /metrics` (`OpenMetrics` text).
pub fn router(health: Health, metrics: Metrics) -> Router {
    let readiness = Router::new().route("/readyz", get(readyz)).with_state(health);
    let metrics = Router::new().route("/metrics", get(metrics_text)).with_state(metrics);
    Router::new().route("/healthz", get(healthz)).merge(readiness).merge(metrics)
}

async fn healthz() -> Response {
    axum::Json(serde_json::json!({ "alive": true })).into_response()
}

async fn readyz(State(health): State<Health>) -> Response {
    let components = health.components();
    let ready = components.values().all(|component| component.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready, components })).into_response()
}

async fn metrics_text(State(metrics): State<Metrics>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn get_json(router: &Router, path: &str) -> (StatusCode, serde_json::Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn ready_when_all_components_are() {
        let health = Health::new();
        let router = router(health.clone(), Metrics::new());
        assert_eq!(get_json(&router, "/readyz").await.0, StatusCode::OK);

        let spool = health.component("spool");
        let policy = health.component("policy");
        policy.set_ready();
        let (status, body) = get_json(&router, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let expected = serde_json::json!({
            "ready": false,
            "components": {"policy": {"ready": true}, "spool": {"ready": false, "reason": "starting"}},
        });
        assert_eq!(body, expected);
        assert!(!health.is_ready());

        spool.set_ready();
        assert_eq!(get_json(&router, "/readyz").await.0, StatusCode::OK);
        spool.set_unready("disk full");
        assert_eq!(get_json(&router, "/readyz").await.1["components"]["spool"]["reason"], "disk full");
        assert_eq!(get_json(&router, "/healthz").await.0, StatusCode::OK);
    }
}
