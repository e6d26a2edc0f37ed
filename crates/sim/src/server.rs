//! The server: one router a deployment, and one before them all.

use crate::answers::Answers;
use crate::api;
use crate::config::Config;
use crate::control;
use crate::deployment::{Conduct, DEFAULT, Deployment, is_name};
use crate::log::Log;
use crate::sim::Sim;
use crate::vllm;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::uri::{PathAndQuery, Uri};
use runtime::{Clock, Health, Metrics, ServeOptions, Shutdown};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tower::ServiceExt;

/// The largest body that is read.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// The most deployments of one process.
const MOST_DEPLOYMENTS: usize = 1024;

/// Serves the simulated pool until shutdown.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    config.validate()?;
    let answers = Answers::load(&config.answers)?;
    let (log, writer) = Log::open(config.log.as_deref()).map_err(|error| {
        let path = config.log.clone().unwrap_or_default();
        anyhow::Error::new(error).context(format!("sim.log = {}: cannot be opened", path.display()))
    })?;
    let listener = runtime::listen("sim.listen", config.listen)?;
    let address = listener.local_addr()?;
    let health = Health::new();
    health.component("models").set_ready();
    let drain_deadline = Duration::from_secs(config.drain_seconds);
    tracing::info!(%address, models = config.models.len(), "the simulated pool is ready");
    let listens: Vec<(String, SocketAddr)> =
        config.deployments.iter().filter_map(|d| Some((d.name.clone(), d.listen?))).collect();
    let deployments = Deployments::new(config, answers, log, Clock::system());
    let metrics = Metrics::new();
    metrics.with_registry(|registry| {
        let requests = deployments.0.sim.requests().clone();
        registry.register("sim_requests", "Requests answered, by endpoint and status", requests);
    });
    let options = ServeOptions { drain_deadline, ..ServeOptions::default() };
    let mut others = tokio::task::JoinSet::new();
    for (name, address) in listens {
        let listener = runtime::listen("sim.deployments.listen", address)?;
        if let Some(router) = deployments.at_a_root(&name) {
            others.spawn(runtime::serve(listener, router, shutdown.clone(), options.clone()));
        }
    }
    let router = router(deployments).merge(runtime::health::router(health, metrics));
    let drained = runtime::serve(listener, router, shutdown, options).await;
    let cut = others.join_all().await.iter().map(|drained| drained.cut).sum::<usize>() + drained.cut;
    if cut > 0 {
        tracing::warn!(connections = cut, "streams were cut at the end of the drain");
    }
    tokio::task::spawn_blocking(move || writer.close()).await?;
    Ok(())
}

/// Everything that is served: the default deployment at the root, all of them under `/d/{name}`, and their control.
pub(crate) fn router(deployments: Deployments) -> Router {
    let root = protocols(deployments.0.sim.clone());
    Router::new()
        .route("/sim/behaviour", get(control::list).post(control::set))
        // Not a route: what its pattern matched would be taken for the inner route's.
        .fallback(dispatch)
        .with_state(deployments)
        .merge(root)
}

/// The endpoints of all protocols, for one deployment.
fn protocols(sim: Sim) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(api::chat::create))
        .route("/v1/completions", post(api::completions::create))
        .route("/v1/embeddings", post(api::embeddings::create))
        .route("/v1/responses", post(api::responses::create))
        .route("/v1/models", get(api::models::list))
        .route("/v1/models/{*id}", get(api::models::retrieve).post(api::gemini::call))
        .route("/v1/messages", post(api::anthropic::create))
        .route("/v1/messages/count_tokens", post(api::anthropic::count))
        .route("/v1beta/models", get(api::gemini::list))
        .route("/v1beta/models/{*call}", post(api::gemini::call))
        .route("/model/{model}/converse", post(api::bedrock::converse))
        .route("/model/{model}/converse-stream", post(api::bedrock::converse_stream))
        .route("/model/{model}/count-tokens", post(api::bedrock::count))
        .route("/openai/v1/chat/completions", post(api::azure::create))
        .route("/openai/deployments/{deployment}/chat/completions", post(api::azure::create_at))
        .route("/openai/v1/responses", post(api::azure::respond))
        .route("/openai/responses", post(api::azure::respond_at))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(sim)
}

/// What a server for models has beside its protocol; the root has the simulator's own.
fn engine(sim: Sim) -> Router {
    Router::new().route("/metrics", get(vllm::metrics)).route("/health", get(StatusCode::OK)).with_state(sim)
}

/// All deployments. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Deployments(Arc<All>);

#[derive(Debug)]
struct All {
    /// The default deployment.
    sim: Sim,
    served: RwLock<BTreeMap<String, (Arc<Deployment>, Router)>>,
}

impl Deployments {
    pub(crate) fn new(config: Config, answers: Answers, log: Log, clock: Clock) -> Self {
        let configured = config.deployments.clone();
        let conduct = |name: &str| configured.iter().find(|d| d.name == name).map(|d| d.conduct.clone());
        let default = Deployment::new(DEFAULT, String::new(), conduct(DEFAULT).unwrap_or_default());
        let sim = Sim::new(config, answers, log, clock, Arc::new(default));
        let deployments = Self(Arc::new(All { sim: sim.clone(), served: RwLock::default() }));
        let _served = deployments.add(DEFAULT, sim);
        for deployment in &configured {
            if let Some(found) = deployments.find(&deployment.name) {
                found.0.set(deployment.conduct.clone());
            }
        }
        deployments
    }

    fn add(&self, name: &str, sim: Sim) -> (Arc<Deployment>, Router) {
        let served = (sim.shared(), protocols(sim.clone()).merge(engine(sim)));
        let mut all = self.0.served.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(name.to_owned()).or_insert(served).clone()
    }

    /// The deployment of this name, made when it is called for the first time. `None` for what cannot be one.
    pub(crate) fn find(&self, name: &str) -> Option<(Arc<Deployment>, Router)> {
        let known = {
            let all = self.0.served.read().unwrap_or_else(PoisonError::into_inner);
            if !all.contains_key(name) && (all.len() >= MOST_DEPLOYMENTS || !is_name(name)) {
                return None;
            }
            all.get(name).cloned()
        };
        Some(known.unwrap_or_else(|| {
            let new = Deployment::new(name, format!("/d/{name}"), Conduct::default());
            self.add(name, self.0.sim.at(Arc::new(new)))
        }))
    }

    /// The router of a deployment that has a port of its own.
    fn at_a_root(&self, name: &str) -> Option<Router> {
        self.find(name).map(|(_, router)| router)
    }

    /// All that there are.
    pub(crate) fn all(&self) -> Vec<Arc<Deployment>> {
        let all = self.0.served.read().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|(deployment, _)| deployment.clone()).collect()
    }

    /// The pool that they share.
    pub(crate) fn sim(&self) -> &Sim {
        &self.0.sim
    }
}

/// Hands `/d/{name}/…` to the deployment of that name, as `/…`.
async fn dispatch(State(deployments): State<Deployments>, mut request: Request) -> Response {
    let Some((router, uri)) = request.uri().path_and_query().and_then(|whole| {
        let (name, _) = whole.as_str().strip_prefix("/d/")?.split_once('/')?;
        let (_, router) = deployments.find(name)?;
        let rest = whole.as_str().strip_prefix("/d/")?.strip_prefix(name)?;
        Some((router, PathAndQuery::try_from(rest).ok()?))
    }) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    *request.uri_mut() = Uri::from(uri);
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
