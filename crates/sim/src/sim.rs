//! The pool, and what every endpoint does before and after it has an answer.

use crate::answers::Answers;
use crate::ask::{Ask, Caching};
use crate::behaviour::{Behaviour, Fault};
use crate::config::{Config, Kind};
use crate::deployment::{Deployment, Treatment};
use crate::dialect::Dialect;
use crate::engine::Engine;
use crate::error::SimError;
use crate::hash::{self, Sequence};
use crate::log::{Entry, Log, Outcome, Record, Usage};
use crate::plan::{self, Plan};
use crate::playback::{self, Rendered};
use crate::prefixes::Prefixes;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use runtime::Clock;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// The pool. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Sim {
    pool: Arc<Pool>,
    /// The deployment that requests came to.
    at: Arc<Deployment>,
}

#[derive(Debug)]
struct Pool {
    config: Config,
    answers: Answers,
    log: Log,
    clock: Clock,
    /// Prefixes of prompts that clients had cached.
    prefixes: Prefixes,
    /// Differs from start to start, so that ids do.
    seed: u64,
    served: AtomicU64,
    requests: Requests,
}

/// Requests answered, by endpoint and status.
pub(crate) type Requests = Family<Answered, Counter>;

/// Labels of a request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Answered {
    endpoint: &'static str,
    status: u16,
}

/// What a request says about itself, whatever its endpoint.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) dialect: Dialect,
    /// Whether it may ask at all.
    pub(crate) admitted: Result<(), SimError>,
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
    dialect: Dialect,
    prompt_id: Option<String>,
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
    /// The pool as its `default` deployment.
    pub(crate) fn new(config: Config, answers: Answers, log: Log, clock: Clock, at: Arc<Deployment>) -> Self {
        let seed = hash::mix(clock.now().unix_nanos().unsigned_abs());
        let (served, requests, prefixes) = (AtomicU64::new(0), Family::default(), Prefixes::default());
        let pool = Pool { config, answers, log, clock, prefixes, seed, served, requests };
        Self { pool: Arc::new(pool), at }
    }

    /// The same pool as another deployment.
    pub(crate) fn at(&self, deployment: Arc<Deployment>) -> Self {
        Self { pool: self.pool.clone(), at: deployment }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.pool.config
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.pool.answers
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.pool.clock
    }

    pub(crate) fn deployment(&self) -> &Deployment {
        &self.at
    }

    pub(crate) fn shared(&self) -> Arc<Deployment> {
        self.at.clone()
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.pool.requests
    }

    /// Answers a request with what `answer` makes of it, at the pace and with the faults of the model it names and of the
    /// deployment it came to.
    pub(crate) async fn serve(
        &self,
        headers: &HeaderMap,
        mut head: Head<'_>,
        answer: impl FnOnce(&mut Turn) -> Result<Reply, SimError>,
    ) -> Response {
        let start = Instant::now();
        let pool = &self.pool;
        let number = pool.served.fetch_add(1, Ordering::Relaxed);
        let mut ids = Sequence::new(hash::mix(pool.seed ^ hash::mix(number)));
        let now = pool.clock.now();
        let service_tier = match head.service_tier {
            Some("flex") => "flex",
            Some("priority") => "priority",
            _ => "default",
        };
        let mut entry = self.entry(&head, service_tier, now.unix_millis());
        let request_id = format!("req_{:016x}{:016x}", ids.next(), ids.next());
        let treatment = self.at.treat();
        if !treatment.delay().is_zero() {
            tokio::time::sleep(treatment.delay()).await;
        }
        let admitted = std::mem::replace(&mut head.admitted, Ok(()));
        let turn = admitted.and_then(|()| self.behaviour(headers, &head, &mut ids)).map(|mut behaviour| {
            treatment.apply(&mut behaviour);
            Turn {
                model: head.model.to_owned(),
                behaviour,
                service_tier,
                dialect: head.dialect,
                prompt_id: prompt_id(headers, head.metadata),
                created: now.unix_seconds(),
                ids,
                sim: self.clone(),
            }
        });
        let answered = turn.and_then(|mut turn| match turn.behaviour.fault {
            Some(Fault::Error(status)) => Err(failed(status, &treatment)),
            Some(Fault::Break) if !head.stream => Err(failed(500, &treatment)),
            _ => answer(&mut turn).map(|reply| (turn, reply)),
        });
        let mut response = match answered {
            Ok((turn, reply)) => self.play(turn, reply, &treatment, entry).await,
            Err(error) => {
                entry.update(|record| record.status = error.status);
                entry.close(Outcome::Refused);
                error.answer(head.dialect)
            }
        };
        let answered = Answered { endpoint: head.endpoint, status: response.status().as_u16() };
        pool.requests.get_or_create(&answered).inc();
        stamp(&mut response, head.dialect, &request_id, start);
        response
    }

    fn entry(&self, head: &Head<'_>, service_tier: &str, time_ms: i64) -> Entry {
        let record = Record {
            id: String::new(),
            time_ms,
            endpoint: head.endpoint.to_owned(),
            deployment: self.at.name.clone(),
            model: head.model.to_owned(),
            service_tier: service_tier.to_owned(),
            stream: head.stream,
            status: 200,
            usage: Usage::default(),
            usage_reported: false,
            finish: String::new(),
            outcome: Outcome::Completed,
            tokens_sent: 0,
        };
        Entry::new(self.pool.log.clone(), self.at.clone(), record)
    }

    /// Waits for a slot, then sends the answer.
    async fn play(&self, turn: Turn, reply: Reply, treatment: &Treatment, mut entry: Entry) -> Response {
        // One that is never answered takes no slot from those that are.
        if turn.behaviour.fault != Some(Fault::Hang) {
            let Some(seat) = self.at.seat(treatment, reply.usage.prompt).await else {
                let error = SimError::overloaded();
                let retry_after = treatment.retry_after().or(error.retry_after);
                entry.update(|record| record.status = error.status);
                entry.close(Outcome::Refused);
                return SimError { retry_after, ..error }.answer(turn.dialect);
            };
            entry.seated(seat);
        }
        entry.update(|record| {
            record.id = reply.id;
            record.usage = reply.usage;
            record.usage_reported = turn.behaviour.reports_usage;
            reply.finish.clone_into(&mut record.finish);
        });
        playback::play(reply.rendered, reply.usage.completion, &turn.behaviour, Instant::now(), entry).await
    }

    fn behaviour(
        &self,
        headers: &HeaderMap,
        head: &Head<'_>,
        dice: &mut Sequence,
    ) -> Result<Behaviour, SimError> {
        let header = headers.get("x-sim").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let metadata = head.metadata.and_then(|m| m.get("sim")).map_or("", String::as_str);
        let models = &self.pool.config.models;
        let (base, modifiers) = head.model.split_once(':').unwrap_or((head.model, ""));
        if self.pool.answers.knows(base) {
            // A recorded model has no pace of its own; it takes the first configured one's.
            let name = models.first().map_or("sim-nousage", |m| m.name.as_str());
            let behaviour = Behaviour::resolve(models, name, &[modifiers, header, metadata], dice)?;
            return Ok(Behaviour { kind: Kind::Chat, reasoning_tokens: 0, ..behaviour });
        }
        Behaviour::resolve(models, head.model, &[header, metadata], dice)
    }
}

/// The error of a fault, with the time to wait that the deployment tells.
fn failed(status: u16, treatment: &Treatment) -> SimError {
    let error = SimError::of_status(status);
    SimError { retry_after: treatment.retry_after().or(error.retry_after), ..error }
}

/// The recording that a request means.
fn prompt_id(headers: &HeaderMap, metadata: Option<&HashMap<String, String>>) -> Option<String> {
    let header = headers.get("x-sim-prompt-id").and_then(|value| value.to_str().ok());
    metadata.and_then(|m| m.get("prompt_id")).cloned().or_else(|| header.map(str::to_owned))
}

impl Turn {
    /// An id such as `chatcmpl-…`.
    pub(crate) fn id(&mut self, prefix: &str, length: usize) -> String {
        format!("{prefix}{}", self.ids.letters(length))
    }

    /// Whose protocol is spoken.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What is pretended to be where OpenAI's chat protocol is spoken.
    pub(crate) fn engine(&self) -> Engine {
        match self.dialect {
            Dialect::OpenAi(engine) => engine,
            _ => Engine::OpenAi,
        }
    }

    /// The event that ends a stream when the model fails.
    pub(crate) fn broken(&self) -> Bytes {
        SimError::broken().event(self.dialect)
    }

    /// Decides the answer to `ask`.
    pub(crate) fn plan(&self, mut ask: Ask) -> Result<Plan, SimError> {
        if self.behaviour.kind != Kind::Chat {
            return Err(SimError::invalid(
                "model",
                format!("model: {} makes embeddings, not text", self.model),
            ));
        }
        ask.prompt_id.clone_from(&self.prompt_id);
        let answers = self.sim.answers();
        let base = self.model.split(':').next().unwrap_or_default();
        let recorded = if answers.knows(base) {
            Some(answers.find(base, &ask).ok_or_else(|| SimError::answer_not_found(&self.model, &ask))?)
        } else {
            None
        };
        let mut plan = plan::plan(&self.model, &ask, &self.behaviour, recorded);
        if let Caching::Marked(marks) = &ask.caching {
            let place = hash::of(&self.model) ^ hash::of(&self.sim.at.name);
            let now = self.sim.pool.clock.now().unix_millis();
            self.sim.pool.prefixes.meet(place, marks, now, &mut plan.usage);
        }
        Ok(plan)
    }
}

/// The headers that a provider's own answers carry and SDKs read.
fn stamp(response: &mut Response, dialect: Dialect, request_id: &str, start: Instant) {
    let headers = response.headers_mut();
    let name = match dialect {
        Dialect::OPENAI => "x-request-id",
        Dialect::Azure => "apim-request-id",
        Dialect::Anthropic => "request-id",
        Dialect::Bedrock => "x-amzn-requestid",
        Dialect::Gemini | Dialect::OpenAi(_) => return,
    };
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(name), value);
    }
    if dialect == Dialect::OPENAI {
        headers.insert(HeaderName::from_static("openai-version"), HeaderValue::from_static("2020-10-01"));
        let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(HeaderName::from_static("openai-processing-ms"), HeaderValue::from(elapsed));
    }
}
