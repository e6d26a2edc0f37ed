//! The queue of annotations, and how well judges agree with the people who worked it.
//!
//! A queued call keeps what judges said of it at the time, so that agreement compares a person with the version that was judging.

use super::auth::Caller;
use super::errors::Refusal;
use super::{Api, judge, parse};
use crate::judges::agreement::{self, Agreement};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use contracts::reads::{TenantScope, TimeRange};
use contracts::{TenantId, Verdict};
use control::records::{Annotation, HumanLabel, NewAnnotation};
use serde::Deserialize;
use serde_json::json;
use warehouse::SampledCall;

/// Calls that one request may queue.
const MOST_SAMPLED: usize = 500;
/// Calls that one answer lists: each comes with its context.
const MOST_LISTED: u32 = 500;
/// Characters of a comment.
const LONGEST_COMMENT: usize = 10_000;

/// A call to queue.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueRequest {
    /// Which queue.
    #[serde(default = "default_queue")]
    queue: String,
    /// Its trace, 32 hex digits.
    trace_id: String,
    /// Its span, 16 hex digits.
    span_id: String,
}

/// Calls to queue.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleRequest {
    /// Which queue.
    #[serde(default = "default_queue")]
    queue: String,
    /// Of calls from here on, milliseconds since the epoch.
    from_ms: i64,
    /// To here.
    to_ms: i64,
    /// How many.
    calls: usize,
    /// That this judge has judged; any otherwise.
    judge: Option<String>,
    /// With one of these labels; any otherwise.
    #[serde(default)]
    labels: Vec<String>,
}

/// A label.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelRequest {
    /// `pass` or `fail`, which agreement is measured by, or a class of one's own.
    label: String,
    /// 0 to 1.
    score: Option<f64>,
    /// Why.
    #[serde(default)]
    comment: String,
    /// Who says so.
    annotator: String,
}

/// Which queue, and how much of it.
#[derive(Debug, Deserialize)]
pub struct QueueQuery {
    #[serde(default = "default_queue")]
    queue: String,
    limit: Option<u32>,
}

fn default_queue() -> String {
    "default".to_owned()
}

/// Queues one call.
#[utoipa::path(post, path = "/v1/annotations", request_body = QueueRequest, responses((status = 200, body = Object)))]
pub async fn create(
    State(api): State<Api>,
    Caller(tenant): Caller,
    body: Bytes,
) -> Result<Json<Annotation>, Refusal> {
    let request: QueueRequest = parse(&body)?;
    let call = (request.trace_id.as_str(), request.span_id.as_str());
    let queued = queue(&api, &tenant, &request.queue, call, None).await?;
    Ok(Json(queued))
}

/// Queues calls of a range of time, taken evenly over it: a sample that does not depend on who takes it.
#[utoipa::path(post, path = "/v1/annotations/sample", request_body = SampleRequest, responses((status = 200, body = Vec<Object>)))]
pub async fn sample(
    State(api): State<Api>,
    Caller(tenant): Caller,
    body: Bytes,
) -> Result<Json<Vec<Annotation>>, Refusal> {
    let request: SampleRequest = parse(&body)?;
    if !(1..=MOST_SAMPLED).contains(&request.calls) {
        return Err(Refusal::invalid(
            "calls",
            &format!("calls: {} is not valid, expected 1 to {MOST_SAMPLED}", request.calls),
        ));
    }
    let range = TimeRange { from_ms: request.from_ms, to_ms: request.to_ms };
    let judges: Vec<String> = request.judge.into_iter().collect();
    let rows = u32::try_from(request.calls).unwrap_or(u32::MAX);
    let scope = TenantScope::one(tenant.clone());
    let calls = api.shared.warehouse.sample_calls(&scope, range, &judges, &request.labels, rows).await?;
    let mut queued = Vec::with_capacity(calls.len());
    for SampledCall { trace_id, span_id, start_ns } in calls {
        let near_ms = Some(start_ns.div_euclid(1_000_000));
        queued.push(queue(&api, &tenant, &request.queue, (&trace_id, &span_id), near_ms).await?);
    }
    Ok(Json(queued))
}

/// Calls that want a label, oldest first.
#[utoipa::path(get, path = "/v1/annotations", params(("queue" = Option<String>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<Object>)))]
pub async fn open(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Query(query): Query<QueueQuery>,
) -> Result<Json<Vec<Annotation>>, Refusal> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=MOST_LISTED).contains(&limit) {
        let message = format!("limit: {limit} is not valid, expected 1 to {MOST_LISTED}");
        return Err(Refusal::invalid("limit", &message));
    }
    Ok(Json(api.shared.judging.annotations().open(&tenant, &query.queue, limit).await?))
}

/// Labels a call, over what was said before.
#[utoipa::path(post, path = "/v1/annotations/{id}/label", request_body = LabelRequest, responses((status = 200, body = Object)))]
pub async fn label(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Annotation>, Refusal> {
    let request: LabelRequest = parse(&body)?;
    if let Some(score) = request.score.filter(|score| !(0.0..=1.0).contains(score)) {
        return Err(Refusal::invalid("score", &format!("score: {score} is not valid, expected 0 to 1")));
    }
    if request.annotator.is_empty() || request.annotator.chars().count() > 128 {
        let annotator: String = request.annotator.chars().take(80).collect();
        let message = format!("annotator: {annotator:?} is not valid, expected 1 to 128 characters");
        return Err(Refusal::invalid("annotator", &message));
    }
    if request.comment.chars().count() > LONGEST_COMMENT {
        let message = format!("comment: too long, expected at most {LONGEST_COMMENT} characters");
        return Err(Refusal::invalid("comment", &message));
    }
    let label = HumanLabel {
        label: request.label,
        score: request.score,
        comment: request.comment,
        annotator: request.annotator,
        at: api.shared.clock.now(),
    };
    Ok(Json(api.shared.judging.annotations().label(&tenant, &id, &label).await?))
}

/// Nobody will label this call.
#[utoipa::path(post, path = "/v1/annotations/{id}/skip", responses((status = 200, body = Object)))]
pub async fn skip(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Path(id): Path<String>,
) -> Result<Json<Annotation>, Refusal> {
    let now = api.shared.clock.now();
    Ok(Json(api.shared.judging.annotations().skip(&tenant, &id, now).await?))
}

/// How well each judge agrees with the labels of the last 90 days.
#[utoipa::path(get, path = "/v1/agreement", params(("queue" = Option<String>, Query)), responses((status = 200, body = Vec<Object>)))]
pub async fn agreement(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Query(query): Query<QueueQuery>,
) -> Result<Json<Vec<Agreement>>, Refusal> {
    let since = agreement::since(api.shared.clock.now());
    let labelled = api.shared.judging.annotations().said(&tenant, &query.queue, since).await?;
    Ok(Json(agreement::of(&labelled)))
}

/// `near_ms` (milliseconds since the epoch) tells to within a day when the call started, and makes the reads fast.
async fn queue(
    api: &Api,
    tenant: &TenantId,
    queue: &str,
    (trace, span): (&str, &str),
    near_ms: Option<i64>,
) -> Result<Annotation, Refusal> {
    let scope = TenantScope::one(tenant.clone());
    let stored = api.shared.warehouse.evaluations_of_call(&scope, trace, span, near_ms).await?;
    // Of our own judges: whoever else says something of the call may call himself as he likes.
    let verdicts = stored.into_iter().filter(|stored| stored.source.is_empty()).map(|stored| stored.verdict);
    let subject = judge::load(api, tenant, trace, span, near_ms).await?;
    let said = |verdict: Verdict| {
        json!({"judge": verdict.judge, "version": verdict.version, "score": verdict.score,
               "label": verdict.label, "cost": verdict.cost})
    };
    let new = NewAnnotation {
        tenant: tenant.clone(),
        queue: queue.to_owned(),
        trace_id: trace.to_owned(),
        span_id: span.to_owned(),
        subject: json!({"question": subject.question, "context": subject.context, "answer": subject.answer}),
        verdicts: verdicts.map(said).collect(),
    };
    Ok(api.shared.judging.annotations().create(new, api.shared.clock.now()).await?)
}
