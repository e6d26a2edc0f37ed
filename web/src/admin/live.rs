//! `/admin/v1/live`, `/admin/v1/budgets/{name}/use` and `/admin/v1/pools/{name}/health`: what goes on in the gateways at this moment.
//! Nothing of it is in the control database; the gateways are asked.

use super::auth::Admin;
use super::body::{Id, Parameters};
use super::routes::Owner;
use super::{AdminState, Failure};
use axum::Json;
use axum::http::HeaderMap;
use contracts::PolicyName;
use contracts::live::{BudgetKind, BudgetUse, GatewayPool, Live, PoolHealth, Silent};
use contracts::policy::Kind;

/// Everything: pools and what waits before them, budgets with their use, rate plans, caches, traffic.
#[utoipa::path(get, path = "/admin/v1/live", tag = "live", responses(
    (status = 200, body = Object, description = "What each gateway says, and what they have together. One that does not answer is named.")))]
pub(super) async fn live(Admin(state): Admin, headers: HeaderMap) -> Result<Json<Live>, Failure> {
    Ok(Json(state.gateways.ask(&headers, state.clock.now()).await?))
}

/// What of a budget is spent and held in its current window.
#[utoipa::path(get, path = "/admin/v1/budgets/{name}/use", tag = "budgets", params(("name" = String, Path), Owner), responses(
    (status = 200, body = Object, description = "Its use, unless no gateway answers, and the gateways that do not."),
    (status = 404, description = "There is none.")))]
pub(super) async fn budget_use(
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    Parameters(owner): Parameters<Owner>,
    headers: HeaderMap,
) -> Result<Json<BudgetUse>, Failure> {
    require(&state, Kind::Budget, &owner, &name).await?;
    let live = state.gateways.ask(&headers, state.clock.now()).await?;
    let is_it = |budget: &contracts::live::BudgetLive| {
        budget.kind == BudgetKind::Budget && budget.owner == owner.tenant && budget.name == name
    };
    let budget = live.budgets.into_iter().find(is_it);
    let silent =
        live.gateways.into_iter().filter_map(|answer| Some(Silent { url: answer.url, error: answer.error? }));
    Ok(Json(BudgetUse { budget, silent: silent.collect() }))
}

/// How the deployments of a pool do, and what waits before them: at each gateway, for each has breakers and a queue of its own.
#[utoipa::path(get, path = "/admin/v1/pools/{name}/health", tag = "pools", params(("name" = String, Path)), responses(
    (status = 200, body = Object, description = "What each gateway says. One that does not answer is named."),
    (status = 404, description = "There is none.")))]
pub(super) async fn pool_health(
    Admin(state): Admin,
    Id(name): Id<PolicyName>,
    headers: HeaderMap,
) -> Result<Json<PoolHealth>, Failure> {
    require(&state, Kind::Pool, &Owner::default(), &name).await?;
    let live = state.gateways.ask(&headers, state.clock.now()).await?;
    let gateways = live.gateways.into_iter().map(|answer| {
        let mut pools = answer.live.map(|live| live.pools).unwrap_or_default().into_iter();
        let pool = pools.find(|pool| pool.model.as_str() == name.as_str());
        GatewayPool { url: answer.url, error: answer.error, pool }
    });
    Ok(Json(PoolHealth { gateways: gateways.collect() }))
}

async fn require(state: &AdminState, kind: Kind, owner: &Owner, name: &PolicyName) -> Result<(), Failure> {
    let found = state.control.documents().get(kind, owner.tenant.as_ref(), name).await?;
    found.map(drop).ok_or_else(|| Failure::not_found(kind.as_str(), name.as_str()))
}
