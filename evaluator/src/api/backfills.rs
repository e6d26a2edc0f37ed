//! `GET` and `POST /v1/backfills`: judge a range of time that went by before there was an evaluator, or this version of a judge.

use super::auth::Caller;
use super::errors::Refusal;
use super::{Api, parse};
use crate::judges::versioned;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use control::records::JudgingStream;
use serde::{Deserialize, Serialize};

/// Which range.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRequest {
    /// First millisecond since the epoch.
    from_ms: i64,
    /// First millisecond after.
    to_ms: i64,
    /// Names of judges, at their present versions; all configured ones otherwise.
    judges: Option<Vec<String>>,
}

/// Asks for a back-fill of the tenant's calls. Calls that have a verdict of a judge's present version do not get another, unless it is
/// one of `error`.
#[utoipa::path(post, path = "/v1/backfills", request_body = BackfillRequest, responses((status = 200, body = Object)))]
pub async fn create(
    State(api): State<Api>,
    Caller(tenant): Caller,
    body: Bytes,
) -> Result<Json<JudgingStream>, Refusal> {
    let request: BackfillRequest = parse(&body)?;
    if request.from_ms < 0 || request.to_ms <= request.from_ms || request.to_ms > i64::MAX / 1_000_000 {
        return Err(Refusal::invalid(
            "to_ms",
            &format!(
                "to_ms: {} is not valid, expected milliseconds since the epoch after from_ms",
                request.to_ms
            ),
        ));
    }
    let registry = &api.shared.registry;
    let judges = match request.judges {
        None => registry.versions(),
        Some(names) => names
            .iter()
            .map(|name| {
                let judge = registry.get(name).ok_or_else(|| {
                    let known = registry.names().join(", ");
                    Refusal::invalid(
                        "judges",
                        &format!("judges: {name:?} is not a judge, expected some of {known}"),
                    )
                })?;
                Ok(versioned(judge.as_ref()))
            })
            .collect::<Result<Vec<String>, Refusal>>()?,
    };
    let stream = JudgingStream {
        id: format!("backfill-{}", control::secrets::random_hex::<8>()?),
        generation: api.shared.generation.clone(),
        judges,
        tenant: Some(tenant),
        next_ns: request.from_ms * 1_000_000,
        until_ns: Some(request.to_ms * 1_000_000),
        planned: 0,
        created_at: api.shared.clock.now(),
        finished_at: None,
    };
    api.shared.judging.ensure_stream(&stream).await?;
    Ok(Json(stream))
}

/// A back-fill, and whether it goes on.
#[derive(Debug, Serialize)]
pub struct BackfillState {
    #[serde(flatten)]
    stream: JudgingStream,
    /// Nobody has its judges any more, so that it stays where it is.
    stopped: bool,
}

/// The tenant's back-fills, and how far they are.
#[utoipa::path(get, path = "/v1/backfills", responses((status = 200, body = Vec<Object>)))]
pub async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
) -> Result<Json<Vec<BackfillState>>, Refusal> {
    let known = api.shared.registry.versions();
    let state = |stream: JudgingStream| {
        let stopped =
            stream.finished_at.is_none() && !stream.judges.iter().any(|judge| known.contains(judge));
        BackfillState { stream, stopped }
    };
    let streams = api.shared.judging.backfills(&tenant).await?;
    Ok(Json(streams.into_iter().map(state).collect()))
}
