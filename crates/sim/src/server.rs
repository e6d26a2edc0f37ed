//! The server: one router, and what every endpoint does before and after it has an answer.

use crate::answers::Answers;
use crate::api;
use crate::ask::Ask;
use crate::behaviour::{Behaviour, Fault};
use crate::config::{Config, Kind};
use crate::error::SimError;
use crate::hash::{self, Sequence};
use crate::log::{Entry, Log, Outcome, Record, Usage};
use crate::plan::{self, Plan};
use crate::playback::{self, Rendered};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use runtime::{Clock, Health, Metrics, ServeOptions, Shutdown};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The largest body that is read.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

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
    let sim = Sim::new(config, answers, log, Clock::system());
    let metrics = Metrics::new();
    metrics.with_registry(|registry| {
        registry.register(
            "sim_requests",
            "Requests answered, by endpoint and status",
            sim.0.requests.clone(),
        );
    });
    let router = router(sim).merge(runtime::health::router(health, metrics));
    let options = ServeOptions { drain_deadline, ..ServeOptions::default() };
    let drained = runtime::serve(listener, router, shutdown, options).await;
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "streams were cut at the end of the drain");
    }
    tokio::task::spawn_blocking(move || writer.close()).await?;
    Ok(())
}

/// The endpoints.
pub(crate) fn router(sim: Sim) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(api::chat::create))
        .route("/v1/completions", post(api::completions::create))
        .route("/v1/embeddings", post(api::embeddings::create))
        .route("/v1/responses", post(api::responses::create))
        .route("/v1/models", get(api::models::list))
        .route("/v1/models/{*id}", get(api::models::retrieve))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(sim)
}

/// The pool. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Sim(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    config: Config,
    answers: Answers,
    log: Log,
    clock: Clock,
    /// Differs from start to start, so that ids do.
    seed: u64,
    served: AtomicU64,
    requests: Family<Answered, Counter>,
}

/// Labels of a request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    endpoint: &'static str,
    status: u16,
}

/// What a request says about itself, whatever its endpoint.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) endpoint: &'static str,
    pub(crate) model: &'a str,
    pub(crate) stream: bool,
    pub(crate) service_tier: Option<&'a str>,
    pub(crate) metadata: Option<&'a HashMap<String, String>>,
}

/// A request being answered.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) model: String,
    pub(crate) behaviour: Behaviour,
    pub(crate) service_tier: &'static str,
    /// Seconds since the epoch.
    pub(crate) created: i64,
    /// For ids of answers, calls and items.
    pub(crate) ids: Sequence,
    sim: Sim,
}

/// An answer and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) id: String,
    pub(crate) usage: Usage,
    pub(crate) finish: &'static str,
    pub(crate) rendered: Rendered,
}

/// Reads a JSON body; what is wrong with it is an OpenAI error.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SimError> {
    serde_json::from_slice(body).map_err(|error| {
        let message = if error.is_data() {
            format!("The request body is not valid: {error}")
        } else {
            format!("We could not parse the JSON body of your request: {error}")
        };
        SimError { param: None, ..SimError::invalid("", message) }
    })
}

impl Sim {
    pub(crate) fn new(config: Config, answers: Answers, log: Log, clock: Clock) -> Self {
        let seed = hash::mix(clock.now().unix_nanos().unsigned_abs());
        let (served, requests) = (AtomicU64::new(0), Family::default());
        Self(Arc::new(Pool { config, answers, log, clock, seed, served, requests }))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    /// Refuses a request without the key, when there is one.
    pub(crate) fn authorise(&self, headers: &HeaderMap) -> Result<(), SimError> {
        let Some(key) = &self.0.config.api_key else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if given.and_then(|value| value.strip_prefix("Bearer ")) == Some(key.as_str()) {
            Ok(())
        } else {
            Err(SimError::unauthorised())
        }
    }

    /// Answers a request with what `answer` makes of it, at the pace and with the faults of the model it names.
    pub(crate) async fn serve(
        &self,
        headers: &HeaderMap,
        head: Head<'_>,
        answer: impl FnOnce(&mut Turn) -> Result<Reply, SimError>,
    ) -> Response {
        let start = Instant::now();
        let pool = &self.0;
        let number = pool.served.fetch_add(1, Ordering::Relaxed);
        let mut ids = Sequence::new(hash::mix(pool.seed ^ hash::mix(number)));
        let now = pool.clock.now();
        let service_tier = match head.service_tier {
            Some("flex") => "flex",
            Some("priority") => "priority",
            _ => "default",
        };
        let mut entry = Entry::new(
            pool.log.clone(),
            Record {
                id: String::new(),
                time_ms: now.unix_millis(),
                endpoint: head.endpoint.to_owned(),
                model: head.model.to_owned(),
                service_tier: service_tier.to_owned(),
                stream: head.stream,
                status: 200,
                usage: Usage::default(),
                usage_reported: false,
                finish: String::new(),
                outcome: Outcome::Completed,
                tokens_sent: 0,
            },
        );
        let request_id = format!("req_{:016x}{:016x}", ids.next(), ids.next());
        let turn = self.authorise(headers).and_then(|()| self.behaviour(headers, &head, &mut ids)).map(
            |behaviour| Turn {
                model: head.model.to_owned(),
                behaviour,
                service_tier,
                created: now.unix_seconds(),
                ids,
                sim: self.clone(),
            },
        );
        let answered = turn.and_then(|mut turn| {
            if let Some(Fault::Error(status)) = turn.behaviour.fault {
                return Err(SimError::of_status(status));
            }
            answer(&mut turn).map(|reply| (turn, reply))
        });
        let mut response = match answered {
            Ok((turn, reply)) => {
                entry.update(|record| {
                    record.id = reply.id;
                    record.usage = reply.usage;
                    record.usage_reported = turn.behaviour.reports_usage;
                    reply.finish.clone_into(&mut record.finish);
                });
                playback::play(reply.rendered, reply.usage.completion, &turn.behaviour, start, entry).await
            }
            Err(error) => {
                entry.update(|record| record.status = error.status);
                entry.close(Outcome::Refused);
                error.into_response()
            }
        };
        let answered = Answered { endpoint: head.endpoint, status: response.status().as_u16() };
        pool.requests.get_or_create(&answered).inc();
        stamp(&mut response, &request_id, start);
        response
    }

    fn behaviour(
        &self,
        headers: &HeaderMap,
        head: &Head<'_>,
        dice: &mut Sequence,
    ) -> Result<Behaviour, SimError> {
        let header = headers.get("x-sim").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let metadata = head.metadata.and_then(|m| m.get("sim")).map_or("", String::as_str);
        let models = &self.0.config.models;
        if self.0.answers.knows(head.model) {
            // A recorded model has no pace of its own; it takes the first configured one's.
            let name = models.first().map_or("sim-nousage", |m| m.name.as_str());
            let behaviour = Behaviour::resolve(models, name, &[header, metadata], dice)?;
            return Ok(Behaviour { kind: Kind::Chat, reasoning_tokens: 0, ..behaviour });
        }
        Behaviour::resolve(models, head.model, &[header, metadata], dice)
    }
}

impl Turn {
    /// An id such as `chatcmpl-…`.
    pub(crate) fn id(&mut self, prefix: &str, length: usize) -> String {
        format!("{prefix}{}", self.ids.letters(length))
    }

    /// Decides the answer to `ask`.
    pub(crate) fn plan(&self, ask: &Ask) -> Result<Plan, SimError> {
        if self.behaviour.kind != Kind::Chat {
            return Err(SimError::invalid(
                "model",
                format!("model: {} makes embeddings, not text", self.model),
            ));
        }
        let answers = self.sim.answers();
        let recorded = if answers.knows(&self.model) {
            let found = answers.find(&self.model, &ask.text);
            Some(found.ok_or_else(|| SimError::answer_not_found(&self.model))?)
        } else {
            None
        };
        Ok(plan::plan(&self.model, ask, &self.behaviour, recorded))
    }
}

/// The headers that OpenAI's own answers carry and SDKs read.
fn stamp(response: &mut Response, request_id: &str, start: Instant) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    headers.insert(HeaderName::from_static("openai-version"), HeaderValue::from_static("2020-10-01"));
    let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    headers.insert(HeaderName::from_static("openai-processing-ms"), HeaderValue::from(elapsed));
}
