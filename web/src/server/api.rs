//! `/api/v1/`: the JSON read API, and the two changes to keys that the console's own page makes. A handler parses, calls
//! [`reads`], answers.

use super::errors::{Refusal, not_found, signed_out};
use super::identity::{self, Viewer};
use super::openapi::{self, ErrorAnswer};
use super::{AppState, origin, reads};
use crate::api::types::{
    CallsAnswer, FacetsAnswer, KeyCreated, KeyInfo, KeyRequest, KeysAnswer, Me, ModelsAnswer, OutcomesAnswer,
    OverviewAnswer, SignalsAnswer,
};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, Path, RawQuery};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use contracts::ApiError;
use contracts::reads::CallDetail;
use http::request::Parts;

/// The routes, as paths below `/api/v1`; the `OpenAPI` document lists the same.
pub(crate) fn router(state: &AppState) -> Router<AppState> {
    let guarded = Router::new()
        .route("/me", get(me))
        .route("/overview", get(overview))
        .route("/outcomes", get(outcomes))
        .route("/signals", get(signals))
        .route("/calls", get(calls))
        .route("/calls/{trace_id}/{span_id}", get(call))
        .route("/facets", get(facets))
        .route("/models", get(models))
        .route("/keys", get(keys).post(create_key))
        .route("/keys/{id}/revoke", post(revoke_key))
        .layer(middleware::from_fn_with_state(state.clone(), origin::require))
        .layer(middleware::from_fn_with_state(state.clone(), identity::require_for_api));
    // The document says nothing that the source does not.
    Router::new().route("/openapi.json", get(openapi::document)).merge(guarded).fallback(no_route)
}

type Answer<T> = Result<Json<T>, Refusal>;

/// What [`crate::query`] reads of every read's URL: which stretch of time, and whose calls.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "tells the document what crate::query reads")]
pub(crate) struct SpanParams {
    /// 15m, 1h, 6h, 24h (default), 7d or 30d
    range: Option<String>,
    /// Start, RFC 3339 or milliseconds since the epoch; with `to`
    from: Option<String>,
    /// End, exclusive; with `from`
    to: Option<String>,
    /// Tenant ids; all visible ones when absent
    tenant: Option<Vec<String>>,
}

/// And of those that look at single calls: which.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "tells the document what crate::query reads")]
pub(crate) struct FilterParams {
    /// Routes
    route: Option<Vec<String>>,
    /// Models, as asked for
    model: Option<Vec<String>>,
    /// Key ids
    key: Option<Vec<String>>,
    /// ok or error
    status: Option<String>,
    /// Least total cost, USD
    min_cost: Option<String>,
    /// Least duration, milliseconds
    min_ms: Option<u64>,
    /// Text in prompt or answer, or an exact request, trace or response id
    q: Option<String>,
}

/// A viewer is put into the request by [`identity`]; without one nobody gets here.
impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Refusal(signed_out()))
    }
}

/// Who is signed in, and the tenants they see.
#[utoipa::path(get, path = "/me", 
    responses((status = 200, description = "Who is signed in, and the tenants they see.", body = Me), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn me(viewer: Viewer) -> Answer<Me> {
    Ok(Json(reads::me(&viewer).await?))
}

/// Totals, the range before, series and groups.
#[utoipa::path(get, path = "/overview", params(SpanParams, FilterParams),
    responses((status = 200, description = "Totals, the range before, series and groups.", body = OverviewAnswer), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn overview(viewer: Viewer, RawQuery(search): RawQuery) -> Answer<OverviewAnswer> {
    Ok(Json(reads::overview(&viewer, &search.unwrap_or_default()).await?))
}

/// Dollars per useful action, overhead and idle time apart.
#[utoipa::path(get, path = "/outcomes", params(
        SpanParams,
        ("attribution" = Option<String>, Query, description = "Which calls pay for an action: last, trace (default) or weighted"),
    ),
    responses((status = 200, description = "Dollars per useful action, overhead and idle time apart.", body = OutcomesAnswer), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn outcomes(viewer: Viewer, RawQuery(search): RawQuery) -> Answer<OutcomesAnswer> {
    Ok(Json(reads::outcomes(&viewer, &search.unwrap_or_default()).await?))
}

/// The golden signals of a range.
#[utoipa::path(get, path = "/signals", params(
        SpanParams, FilterParams,
        ("first_token" = Option<bool>, Query, description = "Whether the time to the first token is worked out, which reads every call; true when absent"),
    ),
    responses((status = 200, description = "The golden signals of a range.", body = SignalsAnswer), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn signals(viewer: Viewer, RawQuery(search): RawQuery) -> Answer<SignalsAnswer> {
    Ok(Json(reads::signals(&viewer, &search.unwrap_or_default()).await?))
}

/// A page of calls, newest first.
#[utoipa::path(get, path = "/calls", params(
        SpanParams, FilterParams,
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("limit" = Option<u16>, Query, description = "Rows, 1 to 500; 50 when absent"),
    ),
    responses((status = 200, description = "A page of calls, newest first.", body = CallsAnswer), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn calls(viewer: Viewer, RawQuery(search): RawQuery) -> Answer<CallsAnswer> {
    Ok(Json(reads::calls(&viewer, &search.unwrap_or_default()).await?))
}

/// One call with every span of its trace.
#[utoipa::path(get, path = "/calls/{trace_id}/{span_id}", params(
        ("trace_id" = String, Path, description = "32 hex digits"),
        ("span_id" = String, Path, description = "16 hex digits"),
        ("at" = Option<i64>, Query, description = "About when it started, milliseconds since the epoch: a faster read"),
    ),
    responses((status = 200, description = "One call with every span of its trace.", body = Object), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn call(
    viewer: Viewer,
    Path((trace_id, span_id)): Path<(String, String)>,
    RawQuery(search): RawQuery,
) -> Answer<CallDetail> {
    let near_ms = crate::query::near_ms(&search.unwrap_or_default())
        .map_err(|error| ApiError::invalid(error.param.clone(), error.to_string()))?;
    Ok(Json(reads::call(&viewer, &trace_id, &span_id, near_ms).await?))
}

/// Values that filters can take within the range.
#[utoipa::path(get, path = "/facets", params(SpanParams, FilterParams),
    responses((status = 200, description = "Values that filters can take within the range.", body = FacetsAnswer), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn facets(viewer: Viewer, RawQuery(search): RawQuery) -> Answer<FacetsAnswer> {
    Ok(Json(reads::facets(&viewer, &search.unwrap_or_default()).await?))
}

/// Models, routes and prices for a million tokens.
#[utoipa::path(get, path = "/models", 
    responses((status = 200, description = "Models, routes and prices for a million tokens.", body = ModelsAnswer), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn models(viewer: Viewer) -> Answer<ModelsAnswer> {
    Ok(Json(reads::models(&viewer).await?))
}

/// API keys, without their secrets.
#[utoipa::path(get, path = "/keys", 
    responses((status = 200, description = "API keys, without their secrets.", body = KeysAnswer), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn keys(viewer: Viewer) -> Answer<KeysAnswer> {
    Ok(Json(reads::keys(&viewer).await?))
}

/// Creates a key; its secret is in this answer and nowhere else. Admins only.
#[utoipa::path(post, path = "/keys", request_body = KeyRequest,
    responses((status = 200, description = "Creates a key; its secret is in this answer and nowhere else. Admins only.", body = KeyCreated), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn create_key(
    viewer: Viewer,
    body: Result<Json<KeyRequest>, JsonRejection>,
) -> Answer<KeyCreated> {
    let Json(request) = body.map_err(|rejection| {
        let message = format!("body: {}", rejection.body_text());
        ApiError { status: rejection.status().as_u16(), ..ApiError::invalid("body", message) }
    })?;
    Ok(Json(reads::create_key(&viewer, request).await?))
}

/// Revokes a key for good. Admins only.
#[utoipa::path(post, path = "/keys/{id}/revoke", params(("id" = String, Path, description = "Key id")),
    responses((status = 200, description = "Revokes a key for good. Admins only.", body = KeyInfo), (status = "4XX", description = "The request is at fault", body = ErrorAnswer),
        (status = "5XX", description = "A store is at fault; try again", body = ErrorAnswer)))]
pub(crate) async fn revoke_key(viewer: Viewer, Path(id): Path<String>) -> Answer<KeyInfo> {
    Ok(Json(reads::revoke_key(&viewer, &id).await?))
}

async fn no_route(uri: http::Uri) -> Refusal {
    Refusal(not_found("path", uri.path()))
}
