//! The audit log: every change of what snapshots show, noted in its own transaction. See `Db::commit`, which no change can avoid.

use super::{repository, row};
use crate::ControlError;
use crate::database::failed;
use crate::records::{AuditEntry, AuditFilter, AuditPage};

use contracts::{TenantId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use sqlx::any::AnyRow;
use std::fmt::Display;

/// Changes on one page when nobody asks for another number.
const PAGE: u16 = 100;

/// The most on one page.
const LARGEST_PAGE: u16 = 1000;

/// What a transaction changes, told to whoever reads the log later. Records never show secrets, so neither does the log.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) action: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) tenant: Option<String>,
    pub(crate) name: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl Change {
    fn new(action: &'static str, kind: &'static str, name: impl Display) -> Self {
        Self { action, kind, tenant: None, name: name.to_string(), before: None, after: None }
    }

    pub(crate) fn created(
        kind: &'static str,
        name: impl Display,
        after: &impl Serialize,
    ) -> Result<Self, ControlError> {
        let change = Self::new("create", kind, name);
        Ok(Self { after: Some(json(kind, after)?), ..change })
    }

    pub(crate) fn updated(
        kind: &'static str,
        name: impl Display,
        before: &impl Serialize,
        after: &impl Serialize,
    ) -> Result<Self, ControlError> {
        let change = Self::new("update", kind, name);
        Ok(Self { before: Some(json(kind, before)?), after: Some(json(kind, after)?), ..change })
    }

    pub(crate) fn deleted(
        kind: &'static str,
        name: impl Display,
        before: &impl Serialize,
    ) -> Result<Self, ControlError> {
        let change = Self::new("delete", kind, name);
        Ok(Self { before: Some(json(kind, before)?), ..change })
    }

    /// The same of a thing that belongs to a tenant.
    pub(crate) fn of(self, tenant: Option<&TenantId>) -> Self {
        Self { tenant: tenant.map(ToString::to_string), ..self }
    }

    /// The same under another name for what was done.
    pub(crate) fn under(self, action: &'static str) -> Self {
        Self { action, ..self }
    }
}

fn json(kind: &'static str, value: &impl Serialize) -> Result<Value, ControlError> {
    serde_json::to_value(value).map_err(|error| ControlError::corrupt(kind, "", error))
}

repository! {
    /// The audit log.
    Audit
}

impl Audit {
    /// Changes, the latest first.
    pub async fn list(&self, filter: &AuditFilter) -> Result<AuditPage, ControlError> {
        let limit = filter.limit.unwrap_or(PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            let expected = format!("1 to {LARGEST_PAGE}");
            return Err(ControlError::invalid("limit", &limit.to_string(), expected));
        }
        let rows = sqlx::query(
            "SELECT * FROM audit
             WHERE (CAST($1 AS TEXT) IS NULL OR actor = $1) AND (CAST($2 AS TEXT) IS NULL OR action = $2)
               AND (CAST($3 AS TEXT) IS NULL OR kind = $3) AND (CAST($4 AS TEXT) IS NULL OR tenant_id = $4)
               AND (CAST($5 AS TEXT) IS NULL OR name = $5)
               AND at >= $6 AND at < $7 AND id < $8
             ORDER BY id DESC LIMIT $9",
        )
        .bind(filter.actor.as_deref())
        .bind(filter.action.as_deref())
        .bind(filter.kind.as_deref())
        .bind(filter.tenant.as_ref().map(TenantId::as_str))
        .bind(filter.name.as_deref())
        .bind(filter.since.map_or(i64::MIN, Timestamp::unix_nanos))
        .bind(filter.until.map_or(i64::MAX, Timestamp::unix_nanos))
        .bind(filter.cursor.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX)))
        // One more than is shown tells whether there is a next page.
        .bind(i64::from(limit) + 1)
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list the audit log"))?;
        let mut data = rows.iter().map(from_row).collect::<Result<Vec<AuditEntry>, ControlError>>()?;
        let more = data.len() > usize::from(limit);
        data.truncate(usize::from(limit));
        let next = data.last().filter(|_| more).map(|entry| entry.id);
        Ok(AuditPage { data, next })
    }
}

fn from_row(row: &AnyRow) -> Result<AuditEntry, ControlError> {
    let value = |column| -> Result<Option<Value>, ControlError> {
        Ok(row::optional_text(row, column)?.map(|text| row::lenient_json(&text)))
    };
    Ok(AuditEntry {
        id: row::integer(row, "id")?.unsigned_abs(),
        at: row::time(row, "at")?,
        actor: row::text(row, "actor")?,
        action: row::text(row, "action")?,
        kind: row::text(row, "kind")?,
        tenant: row::optional_text(row, "tenant_id")?,
        name: row::text(row, "name")?,
        before: value("before")?,
        after: value("after")?,
    })
}
