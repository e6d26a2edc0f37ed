//! What was measured of adaptive experiments: written by evaluators, read by gateways with their snapshots.
//!
//! It is state, not policy, and changes with the traffic: it bumps no version. Watchers look at the greatest revision besides
//! ([`mark`]).

use super::{repository, row};
use crate::ControlError;
use crate::database::{Tx, failed};
use contracts::policy::experiment::Measured;
use contracts::{PolicyName, TenantId, Timestamp};
use sqlx::any::AnyRow;

/// A row, whatever it holds.
#[derive(Debug)]
pub(crate) struct MeasuredRow {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: PolicyName,
    pub(crate) measured: String,
    pub(crate) revision: u64,
}

repository! {
    /// Measurements of experiments.
    Measurements
}

impl Measurements {
    /// Writes what was measured of an experiment, of `tenant` or shared, over what there is. Whether that is anything new; nothing changes
    /// when it is not.
    pub async fn put(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        measured: &Measured,
        now: Timestamp,
    ) -> Result<bool, ControlError> {
        let text = serde_json::to_string(measured)
            .map_err(|error| ControlError::corrupt("measurement", name, error))?;
        let owner = tenant.map_or("", TenantId::as_str);
        let mut tx = self.db.write_unversioned().await?;
        let written = sqlx::query(
            "INSERT INTO experiment_measurements (tenant_id, name, measured, revision, measured_at)
             VALUES ($1, $2, $3, (SELECT COALESCE(MAX(revision), 0) + 1 FROM experiment_measurements), $4)
             ON CONFLICT (tenant_id, name) DO UPDATE
             SET measured = excluded.measured, revision = excluded.revision, measured_at = excluded.measured_at
             WHERE experiment_measurements.measured <> excluded.measured",
        )
        .bind(owner)
        .bind(name.as_str())
        .bind(text)
        .bind(now.unix_nanos())
        .execute(&mut *tx)
        .await
        .map_err(failed("write a measurement"))?;
        tx.commit().await.map_err(failed("write a measurement"))?;
        Ok(written.rows_affected() > 0)
    }
}

/// What was measured of an experiment, of `tenant` or shared, and when that last changed. What this version cannot read is as if it were not
/// there, as it is to gateways.
pub(super) async fn find(
    tx: &mut Tx,
    tenant: Option<&TenantId>,
    name: &PolicyName,
) -> Result<Option<(Measured, Timestamp)>, ControlError> {
    let row = sqlx::query(
        "SELECT measured, measured_at FROM experiment_measurements WHERE tenant_id = $1 AND name = $2",
    )
    .bind(tenant.map_or("", TenantId::as_str))
    .bind(name.as_str())
    .fetch_optional(&mut **tx)
    .await
    .map_err(failed("read a measurement"))?;
    let Some(row) = row else { return Ok(None) };
    let measured_at = row::time(&row, "measured_at")?;
    Ok(serde_json::from_str(&row::text(&row, "measured")?).ok().map(|measured| (measured, measured_at)))
}

/// Grows with every change.
pub(crate) async fn mark(db: &crate::database::Db) -> Result<i64, ControlError> {
    let row = sqlx::query("SELECT COALESCE(MAX(revision), 0) AS mark FROM experiment_measurements")
        .fetch_one(db.pool())
        .await
        .map_err(failed("look for measurements"))?;
    row::integer(&row, "mark")
}

/// Every measurement, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<MeasuredRow>, ControlError> {
    let rows = sqlx::query("SELECT tenant_id, name, measured, revision FROM experiment_measurements")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list measurements"))?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &AnyRow) -> Result<MeasuredRow, ControlError> {
    let owner = row::text(row, "tenant_id")?;
    let tenant = (!owner.is_empty()).then(|| row::parsed(row, "measurement", "tenant_id")).transpose()?;
    Ok(MeasuredRow {
        tenant,
        name: row::parsed(row, "measurement", "name")?,
        measured: row::text(row, "measured")?,
        revision: row::integer(row, "revision")?.unsigned_abs(),
    })
}
