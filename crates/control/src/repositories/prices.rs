//! The price book's entries. A change is refused as a whole when the book it would lead to is not valid.

use super::audit::Change;
use super::{repository, row};
use crate::ControlError;
use crate::database::{Db, Tx, failed};
use contracts::Timestamp;
use contracts::price::{ModelPrice, PriceBook, PriceKey};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How "since ever" is stored: a NULL could not be part of the primary key.
const SINCE_EVER: i64 = i64::MIN;

/// What a change of prices did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, utoipa::ToSchema)]
pub struct PriceChanges {
    /// Entries that were not there before.
    pub added: usize,
    /// Entries that were there with another content.
    pub changed: usize,
    /// Of the entries handed in, those that were there already, just so.
    pub unchanged: usize,
    /// Entries that are no longer there.
    pub removed: usize,
}

repository! {
    /// The price book's entries.
    Prices
}

impl Prices {
    /// All entries, by provider, model and date.
    pub async fn list(&self) -> Result<Vec<ModelPrice>, ControlError> {
        let mut tx = self.db.read().await?;
        all(&mut tx).await
    }

    /// The price book as snapshots hold it. Its version is a hash of its content.
    pub async fn book(&self) -> Result<PriceBook, ControlError> {
        book(self.list().await?)
    }

    /// Adds entries; one of the same provider, model and date replaces what there was.
    pub async fn put(&self, entries: Vec<ModelPrice>) -> Result<PriceChanges, ControlError> {
        let mut tx = self.db.write().await?;
        let before = by_key(all(&mut tx).await?);
        let mut after = before.clone();
        let entries = by_key(entries);
        let given = entries.len();
        after.extend(entries);
        apply(&self.db, tx, &before, &after, given).await
    }

    /// Replaces the whole book.
    pub async fn replace(&self, entries: Vec<ModelPrice>) -> Result<PriceChanges, ControlError> {
        let mut tx = self.db.write().await?;
        let before = by_key(all(&mut tx).await?);
        let after = by_key(entries);
        apply(&self.db, tx, &before, &after, after.len()).await
    }

    /// Deletes one entry.
    pub async fn delete(&self, key: &PriceKey) -> Result<(), ControlError> {
        let mut tx = self.db.write().await?;
        let stored = (key.provider.clone(), key.model.clone(), stored_date(key.valid_from));
        let name = format!("{}/{}", key.provider, key.model);
        let before = by_key(all(&mut tx).await?).remove(&stored);
        let before = before.ok_or_else(|| ControlError::not_found("price", &name))?;
        delete_row(&mut tx, &stored).await?;
        self.db.commit(tx, Change::deleted("price", name, &[before])?).await
    }
}

/// Provider, model and stored date.
type Key = (String, String, i64);

type Entries = BTreeMap<Key, ModelPrice>;

fn by_key(entries: Vec<ModelPrice>) -> Entries {
    entries
        .into_iter()
        .map(|entry| ((entry.provider.clone(), entry.model.clone(), stored_date(entry.valid_from)), entry))
        .collect()
}

/// Writes the difference between two books, of which `given` entries were handed in. Nothing changes, the version
/// neither, when there is none.
async fn apply(
    db: &Db,
    mut tx: Tx,
    before: &Entries,
    after: &Entries,
    given: usize,
) -> Result<PriceChanges, ControlError> {
    PriceBook::new("", after.values().cloned().collect())?;
    let mut changes = PriceChanges::default();
    for (key, entry) in after {
        match before.get(key) {
            Some(old) if old == entry => continue,
            Some(_) => {
                changes.changed += 1;
                delete_row(&mut tx, key).await?;
            }
            None => changes.added += 1,
        }
        insert_row(&mut tx, entry).await?;
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        delete_row(&mut tx, key).await?;
        changes.removed += 1;
    }
    changes.unchanged = given - changes.added - changes.changed;
    if changes.added + changes.changed + changes.removed > 0 {
        db.commit(tx, difference(before, after)?).await?;
    }
    Ok(changes)
}

/// What the audit log says: only entries that are not the same on both sides, under their name when it is one.
fn difference(before: &Entries, after: &Entries) -> Result<Change, ControlError> {
    fn only<'a>(these: &'a Entries, those: &Entries) -> Vec<&'a ModelPrice> {
        these.iter().filter(|(key, entry)| those.get(*key) != Some(entry)).map(|(_, entry)| entry).collect()
    }
    let (old, new) = (only(before, after), only(after, before));
    let mut names: Vec<String> =
        old.iter().chain(&new).map(|entry| format!("{}/{}", entry.provider, entry.model)).collect();
    names.sort();
    names.dedup();
    let name = match names.as_slice() {
        [name] => name.clone(),
        names => format!("{} models", names.len()),
    };
    Change::updated("price", name, &old, &new)
}

/// All entries, by provider, model and date, as `tx` sees them.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<ModelPrice>, ControlError> {
    let rows = sqlx::query("SELECT provider, model, entry FROM prices ORDER BY provider, model, valid_from")
        .fetch_all(&mut **tx)
        .await
        .map_err(failed("list prices"))?;
    rows.iter()
        .map(|row| {
            let entry = row::text(row, "entry")?;
            serde_json::from_str(&entry).map_err(|error| {
                let id = format!(
                    "{}/{}",
                    row::text(row, "provider").unwrap_or_default(),
                    row::text(row, "model").unwrap_or_default()
                );
                ControlError::corrupt("price", id, error)
            })
        })
        .collect()
}

/// The book of `entries`; its version is the first 16 hex digits of the SHA-256 of their JSON, in order.
pub(crate) fn book(mut entries: Vec<ModelPrice>) -> Result<PriceBook, ControlError> {
    // Databases sort texts by their own rules; equal content must have an equal version everywhere.
    entries.sort_by(|a, b| (&a.provider, &a.model, a.valid_from).cmp(&(&b.provider, &b.model, b.valid_from)));
    let json = serde_json::to_vec(&entries).map_err(|error| ControlError::corrupt("price", "", error))?;
    let digest = hex::encode(Sha256::digest(&json));
    let version: String = digest.chars().take(16).collect();
    PriceBook::new(version, entries)
        .map_err(|error| ControlError::corrupt("price", &error.entry, &error.problem))
}

fn stored_date(valid_from: Option<Timestamp>) -> i64 {
    valid_from.map_or(SINCE_EVER, Timestamp::unix_nanos)
}

async fn insert_row(tx: &mut Tx, entry: &ModelPrice) -> Result<(), ControlError> {
    let json =
        serde_json::to_string(entry).map_err(|error| ControlError::corrupt("price", &entry.model, error))?;
    sqlx::query("INSERT INTO prices (provider, model, valid_from, entry) VALUES ($1, $2, $3, $4)")
        .bind(entry.provider.as_str())
        .bind(entry.model.as_str())
        .bind(stored_date(entry.valid_from))
        .bind(json)
        .execute(&mut **tx)
        .await
        .map_err(failed("write a price"))?;
    Ok(())
}

async fn delete_row(tx: &mut Tx, (provider, model, date): &Key) -> Result<(), ControlError> {
    sqlx::query("DELETE FROM prices WHERE provider = $1 AND model = $2 AND valid_from = $3")
        .bind(provider.as_str())
        .bind(model.as_str())
        .bind(*date)
        .execute(&mut **tx)
        .await
        .map_err(failed("delete a price"))?;
    Ok(())
}
