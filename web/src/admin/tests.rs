//! The admin API at its HTTP boundary.

mod access;
mod caches;
mod errors;
mod experiments;
mod live;
mod policy;
mod resources;

use super::{AdminState, Gateways, router};
use crate::server::Config;
use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, StatusCode};
use contracts::Timestamp;
use contracts::policy::InvalidPolicy;
use contracts::policy::experiment::Arm;
use control::{Compilers, Control};
use runtime::Clock;
use serde_json::Value;
use tower::ServiceExt;

/// When every test happens: 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

/// As far as the API is concerned, what opens a brace compiles no prompt, and a rule by the name of `unclosed` no guardrail; and arms are dealt
/// by how often they were measured, those of an experiment by the full name of `acme/tone` alone.
const COMPILERS: Compilers = Compilers {
    prompt: |prompt| {
        let compiles = !prompt.messages.iter().any(|message| message.content.contains("{{"));
        compiles.then_some(()).ok_or_else(|| InvalidPolicy::new("messages[0].content", "{{", "a template"))
    },
    guardrail: |guardrail| {
        let compiles = !guardrail.input.iter().any(|rule| rule.name == "unclosed");
        compiles.then_some(()).ok_or_else(|| InvalidPolicy::new("input[0].check", "(", "a pattern"))
    },
    weights: |name, experiment, measured| {
        let weight = |arm: &Arm| f64::from(u32::try_from(measured.arms[&arm.name].observations()).unwrap());
        (name == "acme/tone").then(|| experiment.arms.iter().map(weight).collect())
    },
};

/// The API on a fresh database.
struct Api {
    router: Router,
    control: Control,
    key: String,
    _directory: tempfile::TempDir,
}

/// An answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Api {
    async fn start() -> Self {
        Self::with(Vec::new()).await
    }

    /// The API of a console that asks these gateways.
    async fn with(gateways: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("control.db").display());
        let control = Control::open(&url).await.unwrap().compiling(COMPILERS);
        let key = control.admin_keys().create("test", NOW).await.unwrap().secret;
        let config = Config { gateways, ..Config::default() };
        let gateways = Gateways::new(&config).unwrap();
        let state = AdminState { control: control.clone(), clock: Clock::manual(NOW), gateways };
        Self { router: Router::new().nest("/admin/v1", router(state)), control, key, _directory: directory }
    }

    /// Sends a request as it is.
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request with the admin key; `path` follows `/admin/v1`.
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(self.request(method, path, body.map(|json| json.to_string()))).await
    }

    fn request(&self, method: &str, path: &str, body: Option<String>) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/admin/v1{path}"))
            .header(AUTHORIZATION, format!("Bearer {}", self.key));
        match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap(),
            None => request.body(Body::empty()).unwrap(),
        }
    }

    /// Creates something that must succeed.
    async fn create(&self, path: &str, body: Value) -> Value {
        let answer = self.call("POST", path, Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body
    }
}

impl Answer {
    /// Asserts the shape that every error has, and what is particular to this one.
    fn assert_error(&self, status: u16, code: Option<&str>, param: Option<&str>, message: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        let error = self.body["error"].as_object().unwrap_or_else(|| panic!("no error in {}", self.body));
        let mut fields: Vec<&str> = error.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["code", "fault", "message", "param", "request_id", "retryable", "type"]);
        assert_eq!(error["code"].as_str(), code, "{}", self.body);
        assert_eq!(error["param"].as_str(), param, "{}", self.body);
        let text = error["message"].as_str().unwrap();
        assert!(text.contains(message), "{text:?} does not say {message:?}");
        assert_eq!(self.headers["x-request-id"].to_str().unwrap(), error["request_id"].as_str().unwrap());
        assert_eq!(self.headers[CONTENT_TYPE], "application/json");
    }
}
