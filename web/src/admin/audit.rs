//! `/admin/v1/audit`: who changed what.

use super::Failure;
use super::auth::Admin;
use super::body::Parameters;
use axum::Json;
use contracts::{TenantId, Timestamp};
use control::records::{AuditFilter, AuditPage, parse_time};
use serde::Deserialize;

/// Which changes to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those that this actor made: `cli`, `up`, `system`, or the id of an admin key or a user.
    actor: Option<String>,
    /// Only those of this action, such as `delete`.
    action: Option<String>,
    /// Only those of this kind of thing, such as `plan`.
    kind: Option<String>,
    /// Only those of things of this tenant.
    #[param(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// Only those of the thing of this name.
    name: Option<String>,
    /// Not before this time (RFC 3339 or a date).
    since: Option<String>,
    /// Only before this time (RFC 3339 or a date).
    until: Option<String>,
    /// `next` of the page before.
    cursor: Option<u64>,
    /// At most so many, 1 to 1000; 100 when absent.
    limit: Option<u16>,
}

/// Changes, the latest first.
#[utoipa::path(get, path = "/admin/v1/audit", tag = "audit", params(Filter), responses((status = 200, body = AuditPage)))]
pub(super) async fn list(
    Admin(state): Admin,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<AuditPage>, Failure> {
    let filter = AuditFilter {
        actor: filter.actor,
        action: filter.action,
        kind: filter.kind,
        tenant: filter.tenant,
        name: filter.name,
        since: time("since", filter.since)?,
        until: time("until", filter.until)?,
        cursor: filter.cursor,
        limit: filter.limit,
    };
    Ok(Json(state.control.audit().list(&filter).await?))
}

fn time(field: &str, text: Option<String>) -> Result<Option<Timestamp>, Failure> {
    let parsed = text.map(|text| parse_time(&text)).transpose();
    parsed.map_err(|message| Failure::invalid(field, format!("{field}: {message}")))
}
