//! Datasets in ClickHouse: make a version, find one, read its rows.

use super::{DatasetError, Row, Version};
use contracts::reads::TenantScope;
use contracts::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use warehouse::{DatasetRowRow, DatasetVersion, DatasetVersionRow, Warehouse};

/// Least digits of a version that name it.
const SHORTEST_PREFIX: usize = 6;

/// A dataset by name, and perhaps a version: `NAME` (the newest) or `NAME@VERSION` (at least six digits of it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRef {
    /// Name.
    pub name: String,
    /// First digits of the version.
    pub version: Option<String>,
}

impl DatasetRef {
    /// Reads `NAME` or `NAME@VERSION`.
    pub fn parse(text: &str) -> Result<Self, DatasetError> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version.to_ascii_lowercase())),
            None => (text, None),
        };
        check_name(name)?;
        if let Some(version) = &version
            && !((SHORTEST_PREFIX..=64).contains(&version.len())
                && version.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(DatasetError::invalid("dataset", "version", version, "6 to 64 hex digits"));
        }
        Ok(Self { name: name.to_owned(), version })
    }
}

/// Where a version's rows come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// A file.
    File {
        /// Its name, without the directory.
        name: String,
    },
    /// Production calls.
    Calls {
        /// The filter, for people.
        filter: String,
    },
    /// Annotated calls.
    Annotations {
        /// The filter, for people.
        filter: String,
    },
}

/// Makes `version` the newest of the dataset `name`; says whether it had not been there before. The same rows again change nothing but
/// which version is newest.
pub async fn create(
    warehouse: &Warehouse,
    tenant: &TenantId,
    name: &str,
    version: &Version,
    origin: &Origin,
    now: Timestamp,
) -> Result<bool, DatasetError> {
    check_name(name)?;
    let known = warehouse.dataset_versions(&scope(tenant), Some(name)).await?;
    if known.first().is_some_and(|newest| newest.version == version.hash()) {
        return Ok(false);
    }
    let row = DatasetVersionRow {
        tenant_id: tenant.to_string(),
        name: name.to_owned(),
        created_at: now.unix_nanos(),
        version: version.hash().to_owned(),
        rows: version.rows().len() as u64,
        origin: serde_json::to_string(origin).unwrap_or_default(),
    };
    let rows: Vec<DatasetRowRow> = (0_u64..)
        .zip(version.rows())
        .map(|(position, row)| DatasetRowRow {
            tenant_id: tenant.to_string(),
            version: version.hash().to_owned(),
            position,
            row: super::canon::line(row),
        })
        .collect();
    warehouse.insert_dataset(&row, &rows).await?;
    Ok(!known.iter().any(|other| other.version == version.hash()))
}

/// All versions, or those of one dataset, newest first.
pub async fn list(
    warehouse: &Warehouse,
    tenant: &TenantId,
    name: Option<&str>,
) -> Result<Vec<DatasetVersion>, DatasetError> {
    Ok(warehouse.dataset_versions(&scope(tenant), name).await?)
}

/// The version that a reference means.
pub async fn resolve(
    warehouse: &Warehouse,
    tenant: &TenantId,
    reference: &DatasetRef,
) -> Result<DatasetVersion, DatasetError> {
    let versions = warehouse.dataset_versions(&scope(tenant), Some(&reference.name)).await?;
    let prefix = reference.version.as_deref().unwrap_or("");
    let mut meant = versions.into_iter().filter(|version| version.version.starts_with(prefix));
    let missing = || DatasetError::NotFound {
        name: reference
            .version
            .as_ref()
            .map_or_else(|| reference.name.clone(), |v| format!("{}@{v}", reference.name)),
    };
    let found = meant.next().ok_or_else(missing)?;
    if reference.version.is_some() && meant.any(|other| other.version != found.version) {
        return Err(DatasetError::invalid(
            "dataset",
            "version",
            prefix,
            "more digits: several versions start so",
        ));
    }
    Ok(found)
}

/// The rows of a version, checked against its hash: what is run is what was named.
pub async fn load(
    warehouse: &Warehouse,
    tenant: &TenantId,
    version: &DatasetVersion,
) -> Result<Version, DatasetError> {
    let lines = warehouse.dataset_rows(&scope(tenant), &version.version, version.row_count).await?;
    let rows: Result<Vec<Row>, _> = lines.iter().map(|line| serde_json::from_str(line)).collect();
    let damaged = |what: &str| {
        DatasetError::invalid(
            &format!("dataset {}", version.name),
            "version",
            &version.version,
            &format!("rows that hash to it; {what}"),
        )
    };
    let rows = rows.map_err(|error| damaged(&format!("a row cannot be read ({error})")))?;
    let loaded = Version::new(rows)?;
    if loaded.hash() == version.version {
        Ok(loaded)
    } else {
        Err(damaged(&format!("they hash to {}", loaded.hash())))
    }
}

fn scope(tenant: &TenantId) -> TenantScope {
    TenantScope::one(tenant.clone())
}

fn check_name(name: &str) -> Result<(), DatasetError> {
    let fine = (1..=100).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if fine {
        Ok(())
    } else {
        Err(DatasetError::invalid(
            "dataset",
            "name",
            name,
            "1 to 100 of A-Z a-z 0-9 . _ -, starting with a letter or digit",
        ))
    }
}
