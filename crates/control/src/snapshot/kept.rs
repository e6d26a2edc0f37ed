//! Documents that stay the same from one snapshot to the next. Limiters and ledgers hang on the [`Arc`] of the document that they
//! enforce, so a change of something else must not replace it.

use contracts::policy::{Document, Held, Named, Unreadable, read};
use contracts::{PolicyName, TenantId};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the last snapshot held.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Entries>);

type Entries = HashMap<Key, Entry>;

/// Kind, owner, name; and of a prompt its version, otherwise 0.
type Key = (&'static str, Option<TenantId>, PolicyName, u64);

#[derive(Debug)]
struct Entry {
    revision: u64,
    /// As it was stored: a database that is restored from a backup may give a revision twice.
    spec: String,
    document: Arc<dyn Any + Send + Sync>,
}

/// A document's row.
pub(super) struct Stored<'a> {
    pub(super) tenant: Option<&'a TenantId>,
    pub(super) name: &'a PolicyName,
    pub(super) revision: u64,
    /// Of a prompt its version, otherwise 0.
    pub(super) version: u64,
    pub(super) spec: &'a str,
}

/// One snapshot's turn. Others wait for its end, so that no two make different things of the same row.
pub(super) struct Turn<'a> {
    entries: MutexGuard<'a, Entries>,
    next: Entries,
}

impl Kept {
    pub(super) fn turn(&self) -> Turn<'_> {
        // Entries are put in place as a whole, so they are whole also after a panic.
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { entries, next: HashMap::new() }
    }
}

impl Turn<'_> {
    /// The document that a row holds: the one of the last snapshot when the row is the same.
    pub(super) fn document<D: Document>(&mut self, row: &Stored<'_>) -> Held<D> {
        let key = (D::KIND.as_str(), row.tenant.cloned(), row.name.clone(), row.version);
        let same =
            self.entries.remove(&key).filter(|old| old.revision == row.revision && old.spec == row.spec);
        if let Some(old) = same
            && let Ok(document) = old.document.clone().downcast::<Named<D>>()
        {
            self.next.insert(key, old);
            return Ok(document);
        }
        let unreadable = |reason: String| {
            let (tenant, name) = (row.tenant.cloned(), row.name.to_string());
            Arc::new(Unreadable { kind: D::KIND.as_str(), tenant, name, reason })
        };
        let spec = serde_json::from_str(row.spec).map_err(|error| unreadable(error.to_string()))?;
        let spec = read::<D>(&spec).map_err(|error| unreadable(error.to_string()))?;
        let (tenant, name) = (row.tenant.cloned(), row.name.clone());
        let document = Arc::new(Named { tenant, name, revision: row.revision, spec });
        let entry = Entry { revision: row.revision, spec: row.spec.to_owned(), document: document.clone() };
        self.next.insert(key, entry);
        Ok(document)
    }

    /// Keeps what this snapshot holds, and nothing else.
    pub(super) fn end(mut self) {
        *self.entries = std::mem::take(&mut self.next);
    }
}
