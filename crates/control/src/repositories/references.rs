//! What policy refers to: written with what refers, asked before something is removed.
//!
//! A name is read in the eyes of a tenant: its own thing of that name, or else the shared one. So what a reference leads to is not
//! stored; it is worked out when something is about to go.

use super::row;
use crate::ControlError;
use crate::database::{Tx, failed};
use contracts::TenantId;
use contracts::policy::{Kind, PromptRef, Reference, Selector};
use sqlx::any::AnyRow;
use std::fmt::Display;

/// More than this in one document is a mistake.
const MOST_REFERENCES: usize = 1000;

/// How many of those who refer to something an error names.
const SHOWN: usize = 5;

/// Something that refers, or is referred to: `plan`, `route`, `tenant` …, whose, and its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thing<'a> {
    pub(crate) kind: &'static str,
    pub(crate) tenant: Option<&'a TenantId>,
    pub(crate) name: &'a str,
}

/// A reference as it was noted.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) from_kind: String,
    pub(crate) from_tenant: Option<TenantId>,
    pub(crate) from_name: String,
    to_kind: String,
    to_tenant: Option<TenantId>,
    to_name: String,
    to_part: Option<String>,
}

/// Notes what `from` refers to instead of what it referred to before. All of it must exist.
pub(super) async fn replace(
    tx: &mut Tx,
    from: Thing<'_>,
    references: &[Reference],
) -> Result<(), ControlError> {
    if references.len() > MOST_REFERENCES {
        let expected = format!("at most {MOST_REFERENCES} references to other things");
        return Err(ControlError::invalid("spec", &references.len().to_string(), expected));
    }
    forget(tx, from).await?;
    for reference in references {
        let eyes = eyes(from, reference);
        must_exist(tx, from, reference, eyes).await?;
        sqlx::query(
            "INSERT INTO policy_references
                 (from_kind, from_tenant, from_name, to_kind, to_tenant, to_name, to_part)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(from.kind)
        .bind(from.tenant.map(TenantId::as_str))
        .bind(from.name)
        .bind(reference.kind())
        .bind(eyes.map(TenantId::as_str))
        .bind(reference.name())
        .bind(part(reference))
        .execute(&mut **tx)
        .await
        .map_err(failed("note a reference"))?;
    }
    Ok(())
}

/// Forgets what `from` referred to.
pub(super) async fn forget(tx: &mut Tx, from: Thing<'_>) -> Result<(), ControlError> {
    sqlx::query(
        "DELETE FROM policy_references WHERE from_kind = $1 AND from_name = $2
         AND ((CAST($3 AS TEXT) IS NULL AND from_tenant IS NULL) OR from_tenant = $3)",
    )
    .bind(from.kind)
    .bind(from.name)
    .bind(from.tenant.map(TenantId::as_str))
    .execute(&mut **tx)
    .await
    .map_err(failed("forget references"))?;
    Ok(())
}

/// Refuses when something refers to `to`; of a prompt, to this version or label of it.
pub(super) async fn refuse_if_referred(
    tx: &mut Tx,
    to: Thing<'_>,
    to_part: Option<&str>,
) -> Result<(), ControlError> {
    let users = users(tx, to, to_part).await?;
    if users.is_empty() {
        return Ok(());
    }
    Err(ControlError::InUse { kind: to.kind, id: to.name.to_owned(), users })
}

/// Who refers to `to`, as an error names them; empty when nobody does.
pub(super) async fn users(tx: &mut Tx, to: Thing<'_>, to_part: Option<&str>) -> Result<String, ControlError> {
    let rows = sqlx::query(
        "SELECT * FROM policy_references
         WHERE to_kind = $1 AND to_name = $2 AND (CAST($3 AS TEXT) IS NULL OR to_part = $3)
         ORDER BY from_kind, from_name, COALESCE(from_tenant, '')",
    )
    .bind(to.kind)
    .bind(to.name)
    .bind(to_part)
    .fetch_all(&mut **tx)
    .await
    .map_err(failed("list references"))?;
    let mut users: Vec<String> = Vec::new();
    for row in &rows {
        let noted = from_row(row)?;
        if is_meant(tx, to, noted.to_part.as_deref(), noted.to_tenant.as_ref()).await? {
            let of = noted.from_tenant.as_ref().filter(|_| noted.from_kind != "tenant");
            let of = of.map(|tenant| format!(" of {tenant}")).unwrap_or_default();
            users.push(format!("{} {:?}{of}", noted.from_kind, noted.from_name));
        }
    }
    users.dedup();
    let more = users.len().saturating_sub(SHOWN);
    users.truncate(SHOWN);
    if more > 0 {
        users.push(format!("{more} more"));
    }
    Ok(users.join(", "))
}

/// Every reference, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Noted>, ControlError> {
    let rows = sqlx::query("SELECT * FROM policy_references")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list references"))?;
    rows.iter().map(from_row).collect()
}

impl Noted {
    /// The reference; absent when a newer version wrote one of a kind that is not known here.
    pub(crate) fn reference(&self) -> Option<Reference> {
        Some(match self.to_kind.as_str() {
            "model" => Reference::Model(self.to_name.parse().ok()?),
            "tenant" => Reference::Tenant(self.to_name.parse().ok()?),
            "key" => Reference::Key(self.to_name.parse().ok()?),
            "route" => Reference::Route(self.to_tenant.clone(), self.to_name.parse().ok()?),
            "provider" => Reference::Provider(self.to_name.parse().ok()?),
            "organisation" => Reference::Organisation(self.to_name.parse().ok()?),
            "tag" => Reference::Tag(self.to_name.clone()),
            "prompt" => {
                let (kind, which) = self.to_part.as_deref()?.split_once(':')?;
                Reference::Prompt(PromptRef {
                    name: self.to_name.parse().ok()?,
                    version: (kind == "version").then(|| which.parse().ok()).flatten(),
                    label: (kind == "label").then(|| which.to_owned()),
                })
            }
            kind => Reference::Document(kind.parse().ok()?, self.to_name.parse().ok()?),
        })
    }

    /// The prompt's name and version, when one is meant for good.
    pub(crate) fn pinned_version(&self) -> Option<(&str, u64)> {
        let version = self.to_part.as_deref()?.strip_prefix("version:")?.parse().ok()?;
        Some((self.to_name.as_str(), version))
    }
}

/// In whose eyes a name is read: those of whoever refers, unless the reference says.
fn eyes<'a>(from: Thing<'a>, reference: &'a Reference) -> Option<&'a TenantId> {
    match reference {
        Reference::Route(Some(tenant), _) => Some(tenant),
        _ => from.tenant,
    }
}

/// What is meant of a prompt, as it is stored.
fn part(reference: &Reference) -> Option<String> {
    let Reference::Prompt(prompt) = reference else { return None };
    Some(stored(prompt.selector()))
}

/// A version or a label, as it is stored.
pub(super) fn stored(selector: Selector<'_>) -> String {
    match selector {
        Selector::Version(version) => format!("version:{version}"),
        Selector::Label(label) => format!("label:{label}"),
    }
}

/// Whether the name of `to`, read in the eyes of `eyes`, means `to`; of a prompt, this version or label of it.
async fn is_meant(
    tx: &mut Tx,
    to: Thing<'_>,
    to_part: Option<&str>,
    eyes: Option<&TenantId>,
) -> Result<bool, ControlError> {
    let mut which = to.kind;
    let own = match to.kind {
        "route" => "SELECT count(*) FROM routes WHERE tenant_id = $1 AND name = $2 AND $3 = 'route'",
        // As `contracts::policy::Prompts::get` reads it: the tenant's own is meant where it has the label, or was ever given the number.
        "prompt" => match to_part.and_then(|part| part.split_once(':')) {
            Some(("label", label)) => {
                which = label;
                "SELECT count(*) FROM prompt_labels WHERE tenant_id = $1 AND name = $2 AND label = $3"
            }
            Some(("version", version)) => {
                which = version;
                "SELECT count(*) FROM prompts WHERE tenant_id = $1 AND name = $2
                 AND version = CAST(CAST($3 AS TEXT) AS BIGINT)"
            }
            _ => {
                "SELECT count(*) FROM prompts WHERE tenant_id = $1 AND name = $2 AND $3 = 'prompt' AND deleted_at IS NULL"
            }
        },
        kind if kind.parse::<Kind>().is_ok() => {
            "SELECT count(*) FROM documents WHERE tenant_id = $1 AND name = $2 AND kind = $3"
        }
        // Models, tenants, keys and providers: one name, one thing.
        _ => return Ok(true),
    };
    match (to.tenant, eyes) {
        (Some(tenant), Some(eyes)) => Ok(tenant == eyes),
        (Some(_), None) => Ok(false),
        (None, None) => Ok(true),
        (None, Some(eyes)) => {
            let row = sqlx::query(own)
                .bind(eyes.as_str())
                .bind(to.name)
                .bind(which)
                .fetch_one(&mut **tx)
                .await
                .map_err(failed("look for a tenant's own"))?;
            let count: i64 = sqlx::Row::try_get(&row, 0).map_err(failed("look for a tenant's own"))?;
            Ok(count == 0)
        }
    }
}

async fn must_exist(
    tx: &mut Tx,
    from: Thing<'_>,
    reference: &Reference,
    eyes: Option<&TenantId>,
) -> Result<(), ControlError> {
    let (sql, part) = match reference {
        Reference::Organisation(_) | Reference::Tag(_) => return Ok(()),
        Reference::Model(_) => ("SELECT count(*) FROM models WHERE name = $1", None),
        Reference::Tenant(_) => ("SELECT count(*) FROM tenants WHERE id = $1", None),
        Reference::Key(_) => ("SELECT count(*) FROM api_keys WHERE id = $1", None),
        Reference::Provider(_) => ("SELECT count(*) FROM providers WHERE id = $1", None),
        Reference::Route(..) => {
            let sql = "SELECT count(*) FROM routes WHERE name = $1 AND (tenant_id IS NULL OR tenant_id = $2)";
            (sql, Some(String::new()))
        }
        Reference::Document(kind, _) => {
            let sql = "SELECT count(*) FROM documents
                       WHERE name = $1 AND (tenant_id IS NULL OR tenant_id = $2) AND kind = $3";
            (sql, Some(kind.as_str().to_owned()))
        }
        Reference::Prompt(prompt) => return prompt_must_exist(tx, from, prompt, eyes).await,
    };
    let mut query = sqlx::query(sql).bind(reference.name());
    if let Some(kind) = part {
        query = query.bind(eyes.map(TenantId::as_str));
        if !kind.is_empty() {
            query = query.bind(kind);
        }
    }
    let row = query.fetch_one(&mut **tx).await.map_err(failed("look for what is referred to"))?;
    let count: i64 = sqlx::Row::try_get(&row, 0).map_err(failed("look for what is referred to"))?;
    if count > 0 { Ok(()) } else { Err(dangling(from, reference.kind(), reference.name())) }
}

async fn prompt_must_exist(
    tx: &mut Tx,
    from: Thing<'_>,
    prompt: &PromptRef,
    eyes: Option<&TenantId>,
) -> Result<(), ControlError> {
    let shared = Thing { kind: "prompt", tenant: None, name: prompt.name.as_str() };
    // Not meant in these eyes: the tenant has its own.
    let part = stored(prompt.selector());
    let owner = if is_meant(tx, shared, Some(&part), eyes).await? { None } else { eyes };
    let found = super::prompts::version_of(tx, owner, &prompt.name, prompt.selector()).await?;
    if found.is_some() {
        return Ok(());
    }
    let which = match prompt.selector() {
        Selector::Version(version) => format!("{}, version {version}", prompt.name),
        Selector::Label(label) => format!("{}, label {label}", prompt.name),
    };
    Err(dangling(from, "prompt", which))
}

fn dangling(from: Thing<'_>, kind: &'static str, name: impl Display) -> ControlError {
    ControlError::Dangling {
        kind: from.kind,
        id: from.name.to_owned(),
        to_kind: kind,
        to_id: name.to_string(),
    }
}

fn from_row(row: &AnyRow) -> Result<Noted, ControlError> {
    Ok(Noted {
        from_kind: row::text(row, "from_kind")?,
        from_tenant: row::optional_parsed(row, "reference", "from_tenant")?,
        from_name: row::text(row, "from_name")?,
        to_kind: row::text(row, "to_kind")?,
        to_tenant: row::optional_parsed(row, "reference", "to_tenant")?,
        to_name: row::text(row, "to_name")?,
        to_part: row::optional_text(row, "to_part")?,
    })
}
