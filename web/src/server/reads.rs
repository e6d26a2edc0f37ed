//! Everything the console shows, read for one viewer. Pages and the JSON API both end here; nothing else asks the stores.
//!
//! A read's scope is what the viewer may see, narrowed by what the URL names. Naming a tenant that the viewer may not see
//! is the same as naming one that does not exist.

use super::errors::{self, from_control, from_read};
use super::identity::Viewer;
use crate::api::types::{
    CallsAnswer, FacetsAnswer, KeyCreated, KeyInfo, KeyRequest, KeysAnswer, Me, ModelInfo, ModelsAnswer,
    OutcomesAnswer, OverviewAnswer, RouteInfo, SignalsAnswer, TenantName,
};
use crate::query::{DEFAULT_LIMIT, Query, bucket_seconds, cursor_text, is_hex};
use contracts::outcomes::{Attribution, InvalidAttribution, OutcomeReport};
use contracts::policy::Snapshot;
use contracts::price::{PriceBook, ServiceTier};
use contracts::reads::{
    CallCursor, CallDetail, CallFilter, CallPage, Facets, Overview, Signals, TenantScope, TimeRange,
};
use contracts::{ApiError, KeyId, ModelName, TenantId, Timestamp, TokenUsage, Usd};
use control::records::{ApiKey, NewApiKey};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// An answer under way.
pub type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, ReadError>> + Send + 'a>>;

/// Where the figures come from: the warehouse in production, prepared figures in tests.
pub trait Reads: Send + Sync {
    /// See `Warehouse::overview`.
    fn overview<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        bucket_seconds: u32,
        filter: &'a CallFilter,
    ) -> Reading<'a, Overview>;
    /// See `Warehouse::calls`.
    fn calls<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        filter: &'a CallFilter,
        cursor: Option<&'a CallCursor>,
        limit: u32,
    ) -> Reading<'a, CallPage>;
    /// See `Warehouse::call`.
    fn call<'a>(
        &'a self,
        scope: &'a TenantScope,
        trace_id: &'a str,
        span_id: &'a str,
        near_ms: Option<i64>,
    ) -> Reading<'a, Option<CallDetail>>;
    /// See `Warehouse::facets`.
    fn facets<'a>(&'a self, scope: &'a TenantScope, range: TimeRange) -> Reading<'a, Facets>;
    /// See `Warehouse::outcomes`.
    fn outcomes<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        attribution: Attribution,
        prices: &'a PriceBook,
        skipped_keys: &'a [String],
    ) -> Reading<'a, OutcomeReport>;
    /// See `Warehouse::golden_signals`.
    fn golden_signals<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        filter: &'a CallFilter,
        first_token: bool,
    ) -> Reading<'a, Signals>;
    /// Whether the store answers.
    fn ping(&self) -> Reading<'_, ()>;
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It would touch more than a read may: the viewer can narrow it.
    #[error("{0}")]
    TooLarge(String),
    /// The store is down or overloaded: it can be tried again.
    #[error("{0}")]
    Unavailable(String),
}

/// Who is signed in.
pub async fn me(viewer: &Viewer) -> Result<Me, ApiError> {
    let mut tenants = viewer.tenants().await?;
    tenants.sort_by_key(|tenant| tenant.name.to_lowercase());
    Ok(Me {
        name: viewer.name.clone(),
        admin: viewer.admin,
        tenants,
        gateway_url: viewer.state.parts.config.gateway_url.clone(),
    })
}

/// The Overview page.
pub async fn overview(viewer: &Viewer, search: &str) -> Result<OverviewAnswer, ApiError> {
    let query = parse(search)?;
    let range = query.span.resolve(now(viewer).unix_millis());
    let bucket = bucket_seconds(range);
    let Some(scope) = scope(viewer, &query).await? else {
        let overview = Overview { bucket_seconds: bucket, ..Overview::default() };
        return Ok(OverviewAnswer { range: range.into(), overview });
    };
    let read = viewer.state.parts.reads.overview(&scope, range, bucket, &query.filter);
    Ok(OverviewAnswer { range: range.into(), overview: timed(viewer, "overview", read).await? })
}

/// Dollars per useful action, by the rule that `attribution` names.
pub async fn outcomes(viewer: &Viewer, search: &str) -> Result<OutcomesAnswer, ApiError> {
    let (attribution, rest) = attribution(search)?;
    let query = parse(&rest)?;
    let range = query.span.resolve(now(viewer).unix_millis());
    let Some(scope) = scope(viewer, &query).await? else {
        let report = OutcomeReport { attribution, ..OutcomeReport::default() };
        return Ok(OutcomesAnswer { range: range.into(), report });
    };
    let snapshot = viewer.state.parts.control.snapshot().await.map_err(from_control)?;
    // What judges ask models is in the cost of judging already. Evaluators note the keys that they do so with.
    let judges = viewer.state.parts.control.judging().keys().await.map_err(from_control)?;
    let judges: Vec<String> = judges.iter().map(ToString::to_string).collect();
    let read = viewer.state.parts.reads.outcomes(&scope, range, attribution, &snapshot.prices, &judges);
    Ok(OutcomesAnswer { range: range.into(), report: timed(viewer, "outcomes", read).await? })
}

/// Takes `attribution` out of a search.
fn attribution(search: &str) -> Result<(Attribution, String), ApiError> {
    let mut rule = Attribution::default();
    let mut rest = Vec::new();
    for pair in search.trim_start_matches('?').split('&') {
        match pair.strip_prefix("attribution=") {
            None => rest.push(pair),
            Some("") => {}
            Some(text) => {
                let wrong = |error: InvalidAttribution| ApiError::invalid("attribution", error.to_string());
                rule = text.parse().map_err(wrong)?;
            }
        }
    }
    Ok((rule, rest.join("&")))
}

/// Takes `first_token` out of a search: whether the time to the first token is asked for.
fn first_token(search: &str) -> Result<(bool, String), ApiError> {
    let mut is_asked = true;
    let mut rest = Vec::new();
    for pair in search.trim_start_matches('?').split('&') {
        match pair.strip_prefix("first_token=") {
            None => rest.push(pair),
            Some("" | "true") => is_asked = true,
            Some("false") => is_asked = false,
            Some(other) => {
                let other: String = other.chars().take(64).collect();
                let message = format!("first_token: {other:?} is not valid: expected true or false");
                return Err(ApiError::invalid("first_token", message));
            }
        }
    }
    Ok((is_asked, rest.join("&")))
}

/// The golden signals, over the calls that the filters pick.
pub async fn signals(viewer: &Viewer, search: &str) -> Result<SignalsAnswer, ApiError> {
    let (first_token, search) = first_token(search)?;
    let query = parse(&search)?;
    let range = query.span.resolve(now(viewer).unix_millis());
    let Some(scope) = scope(viewer, &query).await? else {
        return Ok(SignalsAnswer { range: range.into(), signals: Signals::default() });
    };
    let read = viewer.state.parts.reads.golden_signals(&scope, range, &query.filter, first_token);
    Ok(SignalsAnswer { range: range.into(), signals: timed(viewer, "signals", read).await? })
}

/// A page of calls.
pub async fn calls(viewer: &Viewer, search: &str) -> Result<CallsAnswer, ApiError> {
    let query = parse(search)?;
    let range = query.span.resolve(now(viewer).unix_millis());
    let Some(scope) = scope(viewer, &query).await? else {
        return Ok(CallsAnswer { range: range.into(), ..CallsAnswer::default() });
    };
    let limit = u32::from(query.limit.unwrap_or(DEFAULT_LIMIT));
    let read = viewer.state.parts.reads.calls(&scope, range, &query.filter, query.cursor.as_ref(), limit);
    let page = timed(viewer, "calls", read).await?;
    let next_cursor = page.next.as_ref().map(cursor_text);
    Ok(CallsAnswer { range: range.into(), page, next_cursor })
}

/// One call with its trace.
pub async fn call(
    viewer: &Viewer,
    trace_id: &str,
    span_id: &str,
    near_ms: Option<i64>,
) -> Result<CallDetail, ApiError> {
    let id = |param: &str, value: &str, digits: usize| {
        if is_hex(value, digits) {
            return Ok(value.to_ascii_lowercase());
        }
        let value: String = value.chars().take(80).collect();
        Err(ApiError::invalid(
            param,
            format!("{param}: {value:?} is not valid: expected {digits} hex digits"),
        ))
    };
    let (trace_id, span_id) = (id("trace_id", trace_id, 32)?, id("span_id", span_id, 16)?);
    let missing = || errors::not_found("call", &format!("{trace_id}/{span_id}"));
    let Some(scope) = scope(viewer, &Query::default()).await? else { return Err(missing()) };
    let read = viewer.state.parts.reads.call(&scope, &trace_id, &span_id, near_ms);
    timed(viewer, "call", read).await?.ok_or_else(missing)
}

/// What filters can be set to.
pub async fn facets(viewer: &Viewer, search: &str) -> Result<FacetsAnswer, ApiError> {
    let query = parse(search)?;
    let range = query.span.resolve(now(viewer).unix_millis());
    let Some(scope) = scope(viewer, &query).await? else { return Ok(FacetsAnswer::default()) };
    let facets = timed(viewer, "facets", viewer.state.parts.reads.facets(&scope, range)).await?;
    let named = visible_keys(viewer).await?.into_iter().filter(|key| !key.name.is_empty());
    let key_names = named.map(|key| TenantName { id: key.id.to_string(), name: key.name }).collect();
    Ok(FacetsAnswer { facets, key_names })
}

/// Models and routes.
pub async fn models(viewer: &Viewer) -> Result<ModelsAnswer, ApiError> {
    let control = &viewer.state.parts.control;
    let snapshot = control.snapshot().await.map_err(from_control)?;
    let at = now(viewer);
    let models = control.models().list().await.map_err(from_control)?;
    let routes = control.routes().list().await.map_err(from_control)?;
    let visible = viewer.visible().await?;
    let routes = routes
        .into_iter()
        .filter(|route| route.tenant.as_ref().is_none_or(|tenant| visible.contains(tenant)))
        .map(|route| RouteInfo {
            tenant: route.tenant.map(|tenant| tenant.to_string()),
            name: route.name.to_string(),
            model: route.model.to_string(),
        });
    let models = models.into_iter().map(|model| {
        let per_million = |usage: TokenUsage| price(&snapshot, &model.name, usage, at);
        ModelInfo {
            input_per_million: per_million(TokenUsage { input: 1_000_000, ..TokenUsage::default() }),
            output_per_million: per_million(TokenUsage { output: 1_000_000, ..TokenUsage::default() }),
            cache_read_per_million: per_million(TokenUsage {
                input: 1_000_000,
                cache_read: 1_000_000,
                ..TokenUsage::default()
            }),
            name: model.name.to_string(),
            provider: model.provider.to_string(),
            upstream_model: model.upstream_model.clone(),
            tier: model.tier.clone(),
        }
    });
    Ok(ModelsAnswer { models: models.collect(), routes: routes.collect() })
}

/// The keys of the viewer's tenants, newest first.
pub async fn keys(viewer: &Viewer) -> Result<KeysAnswer, ApiError> {
    let mut keys: Vec<KeyInfo> = visible_keys(viewer).await?.into_iter().map(key_info).collect();
    keys.sort_by(|a, b| b.created_ms.cmp(&a.created_ms).then_with(|| a.id.cmp(&b.id)));
    Ok(KeysAnswer { keys, now_ms: now(viewer).unix_millis() })
}

/// Creates a key for a tenant that the viewer sees. Admins only.
pub async fn create_key(viewer: &Viewer, request: KeyRequest) -> Result<KeyCreated, ApiError> {
    viewer.require_admin()?;
    let tenant = visible_tenant(viewer, &request.tenant).await?;
    let allowed_models =
        request.allowed_models.map(|names| names.iter().map(|name| model_name(name)).collect());
    let now = now(viewer);
    let new = NewApiKey {
        tenant,
        name: request.name,
        allowed_models: allowed_models.transpose()?,
        expires_at: request.expires_in_days.map(|days| {
            let lasts = Duration::from_secs(u64::from(days) * 86_400);
            Timestamp::from_unix_nanos(
                now.unix_nanos().saturating_add(i64::try_from(lasts.as_nanos()).unwrap_or(i64::MAX)),
            )
        }),
        plan: None,
        guardrails: None,
    };
    let created = viewer.control().keys().create(new, now).await.map_err(from_control)?;
    tracing::info!(key.id = %created.key.id, user = viewer.name, "a key was created");
    Ok(KeyCreated { key: key_info(created.key), secret: created.secret })
}

/// Revokes a key of a tenant that the viewer sees. Admins only.
pub async fn revoke_key(viewer: &Viewer, id: &str) -> Result<KeyInfo, ApiError> {
    viewer.require_admin()?;
    let missing = || errors::not_found("key", id);
    let key_id: KeyId = id.parse().map_err(|_| missing())?;
    let keys = viewer.control().keys();
    let key = keys.get(&key_id).await.map_err(from_control)?.ok_or_else(missing)?;
    if !viewer.visible().await?.contains(&key.tenant) {
        return Err(missing());
    }
    let revoked = keys.revoke(&key_id, now(viewer)).await.map_err(from_control)?;
    tracing::info!(key.id = %key_id, user = viewer.name, "a key was revoked");
    Ok(key_info(revoked))
}

fn parse(search: &str) -> Result<Query, ApiError> {
    Query::parse(search).map_err(|error| ApiError::invalid(error.param.clone(), error.to_string()))
}

fn now(viewer: &Viewer) -> Timestamp {
    viewer.state.parts.clock.now()
}

/// What the viewer may see, narrowed by the URL; `None` when that is nothing at all.
async fn scope(viewer: &Viewer, query: &Query) -> Result<Option<TenantScope>, ApiError> {
    let visible = viewer.visible().await?;
    for tenant in &query.tenants {
        if !visible.contains(tenant) {
            return Err(errors::not_found("tenant", tenant.as_str()));
        }
    }
    Ok(TenantScope::many(if query.tenants.is_empty() { visible } else { query.tenants.clone() }))
}

async fn visible_tenant(viewer: &Viewer, id: &str) -> Result<TenantId, ApiError> {
    let visible = viewer.visible().await?;
    visible.into_iter().find(|tenant| tenant.as_str() == id).ok_or_else(|| errors::not_found("tenant", id))
}

async fn visible_keys(viewer: &Viewer) -> Result<Vec<ApiKey>, ApiError> {
    let visible = viewer.visible().await?;
    let keys = viewer.state.parts.control.keys().list(None).await.map_err(from_control)?;
    Ok(keys.into_iter().filter(|key| visible.contains(&key.tenant)).collect())
}

/// Measures and counts a read, and turns its error into ours.
async fn timed<T>(viewer: &Viewer, kind: &'static str, read: Reading<'_, T>) -> Result<T, ApiError> {
    let counts = &viewer.state.counts;
    let start = tokio::time::Instant::now();
    let result = read.await;
    counts.read_seconds.get_or_create(&vec![("read", kind)]).observe(start.elapsed().as_secs_f64());
    result.map_err(|error| {
        counts.failed_reads.get_or_create(&vec![("read", kind)]).inc();
        tracing::warn!(read = kind, error = &error as &dyn std::error::Error, "a read failed");
        from_read(error)
    })
}

fn price(snapshot: &Snapshot, model: &ModelName, usage: TokenUsage, at: Timestamp) -> Option<Usd> {
    let model = snapshot.models.get(model)?;
    let cost =
        |name: &str| snapshot.prices.cost(&model.provider.price_as, name, ServiceTier::Standard, &usage, at);
    cost(model.price_name()).or_else(|| cost(model.name.as_str())).map(|cost| cost.total)
}

fn model_name(name: &str) -> Result<ModelName, ApiError> {
    name.parse().map_err(|error: contracts::ids::InvalidId| {
        ApiError::invalid("allowed_models", format!("allowed_models: {error}"))
    })
}

fn key_info(key: ApiKey) -> KeyInfo {
    KeyInfo {
        id: key.id.to_string(),
        tenant: key.tenant.to_string(),
        name: key.name,
        prefix: key.prefix,
        allowed_models: key.allowed_models.map(|names| names.iter().map(ToString::to_string).collect()),
        plan: key.plan.map(|plan| plan.to_string()),
        guardrails: key.guardrails.iter().flatten().map(ToString::to_string).collect(),
        created_ms: key.created_at.unix_millis(),
        expires_ms: key.expires_at.map(Timestamp::unix_millis),
        revoked_ms: key.revoked_at.map(Timestamp::unix_millis),
    }
}
