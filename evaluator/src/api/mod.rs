//! The HTTP surface: judges asked synchronously, back-fills, and the queue of annotations.
//!
//! Every request carries a tenant's API key, as at the gateway, and sees that tenant's data alone. A handler parses, calls, answers;
//! errors become HTTP in [`errors`] and nowhere else.

mod annotations;
mod auth;
mod backfills;
mod errors;
mod judge;
mod openapi;

use crate::online::Shared;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use errors::Refusal;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Most bytes of a request: an answer with its context.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Judges that ask somebody else at a time, for all requests; who comes when all are out waits within its deadline.
const MAX_REMOTE: usize = 64;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// Judges, stores, policy, time.
    pub shared: Shared,
    /// Judging that computes takes a core each; who comes when all are busy waits within its deadline.
    cores: Arc<Semaphore>,
    /// Judging that asks somebody else is held to so many at a time.
    remote: Arc<Semaphore>,
}

impl Api {
    /// Over what the workers use too.
    pub fn new(shared: Shared) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { shared, cores: Arc::new(Semaphore::new(cores)), remote: Arc::new(Semaphore::new(MAX_REMOTE)) }
    }
}

/// All routes but health.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/evaluate", post(judge::evaluate))
        .route("/v1/score", post(judge::score))
        .route("/v1/judges", get(judge::judges))
        .route("/v1/backfills", get(backfills::list).post(backfills::create))
        .route("/v1/annotations", get(annotations::open).post(annotations::create))
        .route("/v1/annotations/sample", post(annotations::sample))
        .route("/v1/annotations/{id}/label", post(annotations::label))
        .route("/v1/annotations/{id}/skip", post(annotations::skip))
        .route("/v1/agreement", get(annotations::agreement))
        .route("/v1/openapi.json", get(openapi::document))
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}

async fn no_route(uri: http::Uri) -> Refusal {
    Refusal::not_found(format!("{}: no such path; see /v1/openapi.json", uri.path()))
}

/// A request's JSON, or an error that names the field.
fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "body".to_owned() } else { path };
        Refusal::invalid(&field, &format!("{field}: {}", error.inner()))
    })?;
    reader.end().map_err(|error| Refusal::invalid("body", &format!("body: {error}")))?;
    Ok(value)
}
