//! Policy documents of every kind: one content under one name, of one tenant or shared by all.

use super::audit::Change;
use super::references::{self, Thing};
use super::row;
use super::{repository, tenants};
use crate::database::{Db, Tx, failed, version};
use crate::records::Document;
use crate::{ControlError, policies};
use contracts::policy::{Kind, Reference};
use contracts::{PolicyName, TenantId, Timestamp};
use serde_json::Value;
use sqlx::any::AnyRow;

/// The longest document, as JSON (256 KiB): all of them are in memory.
pub(super) const LONGEST: usize = 256 * 1024;

/// A document by its kind, owner and name. The casts tell PostgreSQL the parameter's type where it is NULL.
const SELECT_ONE: &str = "SELECT * FROM documents WHERE kind = $1 AND name = $2
    AND ((CAST($3 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $3)";

/// A document's row, whatever it holds.
#[derive(Debug)]
pub(crate) struct DocumentRow {
    pub(crate) kind: String,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: PolicyName,
    pub(crate) spec: String,
    pub(crate) revision: u64,
}

repository! {
    /// Policy documents.
    Documents
}

impl Documents {
    /// Writes a document, of `tenant` or shared, over what there is. `expected` is the revision that must be there, 0 for none; when
    /// absent, whatever is there is written over. Nothing changes, the revision neither, when it says what is there already.
    pub async fn put(
        &self,
        kind: Kind,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        spec: &Value,
        expected: Option<u64>,
        now: Timestamp,
    ) -> Result<Document, ControlError> {
        let mut references = read(&self.db, kind, name, spec)?;
        if tenant.is_some() && !kind.may_be_of_a_tenant() {
            let tenant = tenant.map(ToString::to_string).unwrap_or_default();
            return Err(ControlError::invalid("tenant", &tenant, format!("none: a {kind} is shared by all")));
        }
        let text = row::json_text(kind.as_str(), spec)?;
        let thing = thing(kind, tenant, name);
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, kind, tenant, name).await?;
        must_be(thing, before.as_ref(), expected)?;
        if let Some(before) = before.as_ref().filter(|before| before.spec == *spec) {
            return Ok(before.clone());
        }
        if let Some(tenant) = tenant {
            tenants::find(&mut tx, tenant).await?;
        }
        if kind.is_of_a_model() {
            let model = name.as_str().parse().map_err(|e| ControlError::corrupt(kind.as_str(), name, e))?;
            references.push(Reference::Model(model));
        }
        references::replace(&mut tx, thing, &references).await?;
        let document = Document {
            kind,
            tenant: tenant.cloned(),
            name: name.clone(),
            spec: spec.clone(),
            revision: version(&mut tx).await?,
            created_at: before.as_ref().map_or(now, |before| before.created_at),
            updated_at: now,
        };
        delete_row(&mut tx, thing).await?;
        insert_row(&mut tx, &document, text).await?;
        let change = match &before {
            Some(before) => Change::updated(thing.kind, name, before, &document)?,
            None => Change::created(thing.kind, name, &document)?,
        };
        self.db.commit(tx, change.of(tenant)).await?;
        Ok(document)
    }

    /// The document of `tenant`, or the shared one when there is no tenant.
    pub async fn get(
        &self,
        kind: Kind,
        tenant: Option<&TenantId>,
        name: &PolicyName,
    ) -> Result<Option<Document>, ControlError> {
        let mut tx = self.db.read().await?;
        find(&mut tx, kind, tenant, name).await
    }

    /// The documents of a kind: all, or those that `tenant` has of its own. Shared ones first, then by tenant and name.
    pub async fn list(&self, kind: Kind, tenant: Option<&TenantId>) -> Result<Vec<Document>, ControlError> {
        let rows = sqlx::query(
            "SELECT * FROM documents WHERE kind = $1 AND (CAST($2 AS TEXT) IS NULL OR tenant_id = $2)
             ORDER BY COALESCE(tenant_id, ''), name",
        )
        .bind(kind.as_str())
        .bind(tenant.map(TenantId::as_str))
        .fetch_all(self.db.pool())
        .await
        .map_err(failed("list documents"))?;
        rows.iter().map(|row| from_row(kind, row)).collect()
    }

    /// Deletes a document that nothing refers to. `expected` as in [`Documents::put`].
    pub async fn delete(
        &self,
        kind: Kind,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        expected: Option<u64>,
    ) -> Result<(), ControlError> {
        let thing = thing(kind, tenant, name);
        let mut tx = self.db.write().await?;
        let before = find(&mut tx, kind, tenant, name).await?;
        must_be(thing, before.as_ref(), expected)?;
        let before = before.ok_or_else(|| ControlError::not_found(kind.as_str(), name))?;
        references::refuse_if_referred(&mut tx, thing, None).await?;
        references::forget(&mut tx, thing).await?;
        delete_row(&mut tx, thing).await?;
        self.db.commit(tx, Change::deleted(thing.kind, name, &before)?.of(tenant)).await
    }
}

/// Every document, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<DocumentRow>, ControlError> {
    let rows = sqlx::query("SELECT kind, tenant_id, name, spec, revision FROM documents")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list documents"))?;
    rows.iter()
        .map(|row| {
            Ok(DocumentRow {
                kind: row::text(row, "kind")?,
                tenant: row::optional_parsed(row, "document", "tenant_id")?,
                name: row::parsed(row, "document", "name")?,
                spec: row::text(row, "spec")?,
                revision: row::integer(row, "revision")?.unsigned_abs(),
            })
        })
        .collect()
}

/// Reads a policy as its kind says, compiles it, and returns what it refers to; the error names kind and name.
pub(super) fn read(
    db: &Db,
    kind: Kind,
    name: &PolicyName,
    spec: &Value,
) -> Result<Vec<Reference>, ControlError> {
    let length = spec.to_string().len();
    if length > LONGEST {
        let expected = format!("at most {LONGEST} bytes of JSON");
        return Err(ControlError::invalid("spec", &format!("{length} bytes"), expected));
    }
    policies::check(kind, spec, db.compilers())
        .map_err(|invalid| ControlError::policy(kind.as_str(), name, invalid))
}

fn thing<'a>(kind: Kind, tenant: Option<&'a TenantId>, name: &'a PolicyName) -> Thing<'a> {
    Thing { kind: kind.as_str(), tenant, name: name.as_str() }
}

/// Refuses a change of something else than the caller has seen.
fn must_be(thing: Thing<'_>, found: Option<&Document>, expected: Option<u64>) -> Result<(), ControlError> {
    let found = found.map_or(0, |document| document.revision);
    match expected {
        Some(expected) if expected != found => {
            Err(ControlError::Stale { kind: thing.kind, id: thing.name.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

pub(super) async fn find(
    tx: &mut Tx,
    kind: Kind,
    tenant: Option<&TenantId>,
    name: &PolicyName,
) -> Result<Option<Document>, ControlError> {
    let row = sqlx::query(SELECT_ONE)
        .bind(kind.as_str())
        .bind(name.as_str())
        .bind(tenant.map(TenantId::as_str))
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a document"))?;
    row.as_ref().map(|row| from_row(kind, row)).transpose()
}

async fn insert_row(tx: &mut Tx, document: &Document, text: String) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO documents (kind, tenant_id, name, spec, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(document.kind.as_str())
    .bind(document.tenant.as_ref().map(TenantId::as_str))
    .bind(document.name.as_str())
    .bind(text)
    .bind(i64::try_from(document.revision).unwrap_or(i64::MAX))
    .bind(document.created_at.unix_nanos())
    .bind(document.updated_at.unix_nanos())
    .execute(&mut **tx)
    .await
    .map_err(row::insert_failed(document.kind.as_str(), document.name.as_str()))?;
    Ok(())
}

async fn delete_row(tx: &mut Tx, thing: Thing<'_>) -> Result<(), ControlError> {
    sqlx::query(
        "DELETE FROM documents WHERE kind = $1 AND name = $2
         AND ((CAST($3 AS TEXT) IS NULL AND tenant_id IS NULL) OR tenant_id = $3)",
    )
    .bind(thing.kind)
    .bind(thing.name)
    .bind(thing.tenant.map(TenantId::as_str))
    .execute(&mut **tx)
    .await
    .map_err(failed("delete a document"))?;
    Ok(())
}

fn from_row(kind: Kind, row: &AnyRow) -> Result<Document, ControlError> {
    Ok(Document {
        kind,
        tenant: row::optional_parsed(row, "document", "tenant_id")?,
        name: row::parsed(row, "document", "name")?,
        spec: row::lenient_json(&row::text(row, "spec")?),
        revision: row::integer(row, "revision")?.unsigned_abs(),
        created_at: row::time(row, "created_at")?,
        updated_at: row::time(row, "updated_at")?,
    })
}
