//! `POST /v1/evaluate`, `POST /v1/score`, `GET /v1/judges`.

use super::auth::Caller;
use super::errors::Refusal;
use super::{Api, parse};
use crate::judges::{self, Judge, JudgeError, Passage, Subject, ToolCall, recorded};
use crate::online::Shared;
use crate::online::events::{cost_alone, event};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use contracts::reads::TenantScope;
use contracts::{SubjectRef, TenantId, Usd, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use warehouse::{EventRow, JudgeCall, UnjudgedCall};

/// What to judge: a call that was recorded, by its ids, or everything in the request itself.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateRequest {
    /// A recorded call's trace, 32 hex digits; with `span_id`.
    trace_id: Option<String>,
    /// A recorded call's span, 16 hex digits.
    span_id: Option<String>,
    /// What was asked; the last message of the user otherwise.
    question: Option<String>,
    /// The conversation, in OpenAI's or OpenTelemetry's shape.
    #[schema(value_type = Vec<Object>)]
    messages: Value,
    /// What the answer had to rest on: texts, or `{id, text, score, source}`.
    context: Vec<GivenPassage>,
    /// The answer.
    answer: String,
    /// Tool definitions.
    #[schema(value_type = Vec<Object>)]
    tools: Value,
    /// The answer's tool calls: `{name, arguments}`.
    #[schema(value_type = Vec<Object>)]
    tool_calls: Vec<ToolCall>,
    /// `{type: json_object | json_schema, json_schema: {schema}}`.
    #[schema(value_type = Object)]
    response_format: Value,
    /// Natural logarithms of the probabilities of the answer's tokens.
    logprobs: Vec<f64>,
    /// A reference answer.
    expected: Option<String>,
    /// Names of judges; all configured ones otherwise. `/v1/score` wants `judge` instead.
    judges: Option<Vec<String>>,
    /// The one judge of `/v1/score`.
    judge: Option<String>,
    /// How long this may take; the configured deadline is the most.
    deadline_ms: Option<u64>,
}

/// A passage, or its text alone.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum GivenPassage {
    Text(String),
    #[schema(value_type = Object)]
    Whole(Passage),
}

/// What the judges say.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EvaluateAnswer {
    /// One a judge.
    #[schema(value_type = Vec<Object>)]
    verdicts: Vec<Verdict>,
    /// What judging cost, USD, failures included.
    #[schema(value_type = String)]
    cost: Usd,
    /// Judges that reached no verdict, and why.
    failures: Vec<JudgeFailure>,
}

/// A judge that reached no verdict.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct JudgeFailure {
    /// Its name.
    judge: String,
    /// Why.
    message: String,
}

/// A configured judge.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct JudgeInfo {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// Whether it asks a model or another process.
    remote: bool,
}

/// All configured judges, or the named ones, on one subject. A judge that is not done by the deadline is among `failures`.
#[utoipa::path(post, path = "/v1/evaluate", request_body = EvaluateRequest, responses((status = 200, body = EvaluateAnswer)))]
pub async fn evaluate(
    State(api): State<Api>,
    Caller(tenant): Caller,
    body: Bytes,
) -> Result<Json<EvaluateAnswer>, Refusal> {
    let request: EvaluateRequest = parse(&body)?;
    let registry = &api.shared.registry;
    let judges: Vec<Arc<dyn Judge>> = match &request.judges {
        None => registry.all().to_vec(),
        Some(names) => names.iter().map(|name| judge(&api, "judges", name)).collect::<Result<_, _>>()?,
    };
    let until = Instant::now() + deadline(&api, &request)?;
    let subject = Arc::new(subject(&api, tenant, request, until).await?);
    let running: Vec<_> = judges
        .into_iter()
        .map(|judge| {
            let name = judge.name().to_owned();
            (name, tokio::spawn(ask(api.clone(), judge, subject.clone(), until)))
        })
        .collect();
    let mut answer = EvaluateAnswer { verdicts: Vec::new(), cost: Usd::ZERO, failures: Vec::new() };
    for (judge, running) in running {
        match running.await {
            Ok(Ok(verdict)) => {
                answer.cost += verdict.cost;
                answer.verdicts.push(verdict);
            }
            Ok(Err(error)) => {
                answer.cost += error.cost();
                answer.failures.push(JudgeFailure { judge, message: error.to_string() });
            }
            Err(_) => {
                answer.failures.push(JudgeFailure { judge, message: "did not come to an end".to_owned() });
            }
        }
    }
    Ok(Json(answer))
}

/// One judge on one subject.
#[utoipa::path(post, path = "/v1/score", request_body = EvaluateRequest, responses((status = 200, body = Object)))]
pub async fn score(
    State(api): State<Api>,
    Caller(tenant): Caller,
    body: Bytes,
) -> Result<Json<Verdict>, Refusal> {
    let request: EvaluateRequest = parse(&body)?;
    let Some(name) = request.judge.clone() else {
        return Err(Refusal::invalid(
            "judge",
            "judge: missing, expected the name of a judge; see /v1/judges",
        ));
    };
    let judge = judge(&api, "judge", &name)?;
    let until = Instant::now() + deadline(&api, &request)?;
    let subject = Arc::new(subject(&api, tenant, request, until).await?);
    Ok(Json(ask(api, judge, subject, until).await?))
}

/// The configured judges.
#[utoipa::path(get, path = "/v1/judges", responses((status = 200, body = Vec<JudgeInfo>)))]
pub async fn judges(State(api): State<Api>, _caller: Caller) -> Json<Vec<JudgeInfo>> {
    let info = |judge: &Arc<dyn Judge>| JudgeInfo {
        name: judge.name().to_owned(),
        version: judge.version().to_owned(),
        remote: judge.is_remote(),
    };
    Json(api.shared.registry.all().iter().map(info).collect())
}

fn judge(api: &Api, param: &str, name: &str) -> Result<Arc<dyn Judge>, Refusal> {
    let registry = &api.shared.registry;
    registry.get(name).cloned().ok_or_else(|| {
        let known = registry.names().join(", ");
        let name: String = name.chars().take(80).collect();
        Refusal::invalid(param, &format!("{param}: {name:?} is not a judge, expected one of {known}"))
    })
}

fn deadline(api: &Api, request: &EvaluateRequest) -> Result<Duration, Refusal> {
    let most = api.shared.config.deadline;
    match request.deadline_ms {
        None => Ok(most),
        Some(0) => Err(Refusal::invalid("deadline_ms", "deadline_ms: 0 is not valid, expected at least 1")),
        Some(millis) => Ok(most.min(Duration::from_millis(millis))),
    }
}

/// One judge's verdict, within the deadline. Judges that compute do so off the threads that serve, as many at a time as there are
/// cores. One that is too late is not waited for, but comes to its end: what it has asked for is paid for, and is written down.
async fn ask(
    api: Api,
    judge: Arc<dyn Judge>,
    subject: Arc<Subject>,
    until: Instant,
) -> Result<Verdict, JudgeError> {
    let started = Instant::now();
    let name = judge.name().to_owned();
    let failed = |reason: String| JudgeError::Failed { judge: name.clone(), reason, retryable: false };
    let work = async {
        let room = if judge.is_remote() { &api.remote } else { &api.cores };
        let room = room.clone().acquire_owned().await.map_err(|error| failed(error.to_string()))?;
        let work = tokio::spawn(judged(api.shared.clone(), judge, subject, room));
        work.await.map_err(|error| failed(error.to_string()))?
    };
    match tokio::time::timeout_at(until, work).await {
        Ok(verdict) => verdict,
        Err(_) => Err(JudgeError::Deadline { judge: name.clone(), millis: started.elapsed().as_millis() }),
    }
}

/// The verdict, and its cost written down, if it has any: a verdict that was asked for is not kept.
async fn judged(
    shared: Shared,
    judge: Arc<dyn Judge>,
    subject: Arc<Subject>,
    _room: OwnedSemaphorePermit,
) -> Result<Verdict, JudgeError> {
    let name = judge.name().to_owned();
    let failed = |reason: String| JudgeError::Failed { judge: name, reason, retryable: false };
    // Before anything is paid.
    let id = match control::secrets::random_hex::<16>() {
        Ok(id) => id,
        Err(error) => return Err(failed(error.to_string())),
    };
    let reached = if judge.is_remote() {
        judges::ask(judge.as_ref(), &subject).await
    } else {
        let handle = tokio::runtime::Handle::current();
        let (judge, subject) = (judge.clone(), subject.clone());
        let look = move || handle.block_on(judges::ask(judge.as_ref(), &subject));
        let computed = tokio::task::spawn_blocking(look).await;
        computed.unwrap_or_else(|error| Err(failed(error.to_string())))
    };
    let cost = reached.as_ref().map_or_else(JudgeError::cost, |verdict| verdict.cost);
    let paid = Verdict { cost, ..subject.verdict(judge.as_ref(), None, "") };
    let cost = cost_of_asking(&shared, &paid, &subject, &id);
    shared.spend(cost.into_iter().collect(), format!("judging-costs-{id}"));
    reached
}

fn cost_of_asking(shared: &Shared, paid: &Verdict, subject: &Subject, id: &str) -> Option<EventRow> {
    let reference = &subject.reference;
    let call = JudgeCall {
        tenant_id: reference.tenant.to_string(),
        trace_id: reference.trace_id.clone(),
        span_id: reference.span_id.clone(),
        response_id: reference.response_id.clone(),
        route: subject.route.clone(),
        request_model: subject.model.clone(),
        retention_days: shared.retention_days(reference.tenant.as_str()),
        ..JudgeCall::default()
    };
    let now = shared.clock.now();
    let cost = cost_alone(event(paid, &call, now), now)?;
    Some(EventRow { event_id: format!("asked:{id}"), ..cost })
}

/// The subject of a request.
async fn subject(
    api: &Api,
    tenant: TenantId,
    request: EvaluateRequest,
    until: Instant,
) -> Result<Subject, Refusal> {
    match (&request.trace_id, &request.span_id) {
        (Some(trace), Some(span)) => {
            let read = load(api, &tenant, trace, span, None);
            let read = tokio::time::timeout_at(until, read).await;
            read.map_err(|_| {
                Refusal::unavailable("the call could not be read within the deadline".to_owned())
            })?
        }
        (None, None) => Ok(given(api, tenant, request)),
        _ => Err(Refusal::invalid("span_id", "trace_id and span_id: expected both or neither")),
    }
}

/// A recorded call of the tenant's; `near_ms` (milliseconds since the epoch) tells to within a day when it started.
pub(super) async fn load(
    api: &Api,
    tenant: &TenantId,
    trace: &str,
    span: &str,
    near_ms: Option<i64>,
) -> Result<Subject, Refusal> {
    let warehouse = &api.shared.warehouse;
    let scope = TenantScope::one(tenant.clone());
    let missing = || Refusal::not_found(format!("trace {trace:?}, span {span:?}: no such call"));
    let detail = warehouse.call(&scope, trace, Some(span), near_ms).await?.ok_or_else(missing)?;
    let start = detail.spans.iter().find(|view| view.span_id == span).map_or(0, |view| view.start_ns);
    let ids = [UnjudgedCall {
        tenant_id: tenant.as_str().to_owned(),
        start_ns: start,
        at_ns: start,
        trace_id: trace.to_owned(),
        span_id: span.to_owned(),
        done: Vec::new(),
    }];
    let call = warehouse.judge_calls(&ids, &[], 0).await?.into_iter().next().ok_or_else(missing)?;
    let retrievals = warehouse.judge_retrievals(&ids).await?;
    let retrievals: Vec<_> = retrievals.iter().collect();
    Ok(recorded::subject(tenant.clone(), &call, &retrievals, api.shared.clock.now()))
}

/// A subject made of the request alone.
fn given(api: &Api, tenant: TenantId, request: EvaluateRequest) -> Subject {
    let nowhere = String::new;
    let reference = SubjectRef { tenant, trace_id: nowhere(), span_id: nowhere(), response_id: nowhere() };
    let mut subject = Subject::new(reference, api.shared.clock.now());
    recorded::take_input(&mut subject, &request.messages);
    recorded::take_format(&mut subject, &request.response_format);
    subject.question = request.question.or(subject.question);
    subject.context.extend(request.context.into_iter().enumerate().map(|(index, passage)| match passage {
        GivenPassage::Text(text) => {
            Passage { id: (index + 1).to_string(), text, score: None, source: String::new() }
        }
        GivenPassage::Whole(passage) => passage,
    }));
    subject.answer = request.answer;
    subject.tools = recorded::tools(&request.tools);
    subject.tool_calls = request.tool_calls;
    subject.logprobs = request.logprobs;
    subject.expected = request.expected;
    subject
}
