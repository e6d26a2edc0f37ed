//! Tenants by id. The snapshot has them by key, so a tenant is known once it has a key, even a revoked one: a revoked key says
//! nothing about a certificate.

use arc_swap::ArcSwapOption;
use contracts::TenantId;
use contracts::policy::{Snapshot, TenantPolicy};
use std::collections::HashMap;
use std::sync::Arc;

/// An index over the tenants of the snapshot in force, made anew when that changes. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Tenants(Arc<ArcSwapOption<Index>>);

#[derive(Debug)]
struct Index {
    version: u64,
    by_id: HashMap<TenantId, Arc<TenantPolicy>>,
}

impl Tenants {
    /// The tenant of this id.
    pub fn get(&self, snapshot: &Snapshot, id: &TenantId) -> Option<Arc<TenantPolicy>> {
        let current = self.0.load();
        if let Some(index) = current.as_ref().filter(|index| index.version == snapshot.version) {
            return index.by_id.get(id).cloned();
        }
        // Two may do this at a time, to the same end.
        let tenants = snapshot.keys.values().map(|key| (key.tenant.id.clone(), key.tenant.clone()));
        let index = Index { version: snapshot.version, by_id: tenants.collect() };
        let found = index.by_id.get(id).cloned();
        self.0.store(Some(Arc::new(index)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::policy::KeyPolicy;

    fn snapshot(version: u64, retention_days: u16) -> Snapshot {
        let id = "acme".parse().unwrap();
        let tenant = Arc::new(TenantPolicy { retention_days, ..TenantPolicy::new(id) });
        let key = KeyPolicy::new("key".parse().unwrap(), tenant);
        Snapshot { version, keys: HashMap::from([([0; 32], Arc::new(key))]), ..Snapshot::default() }
    }

    #[test]
    fn a_new_snapshot_is_seen_at_once() {
        let (tenants, acme) = (Tenants::default(), "acme".parse().unwrap());
        assert_eq!(tenants.get(&Snapshot::default(), &acme), None);
        for (version, days) in [(1, 7), (2, 30)] {
            let found = tenants.get(&snapshot(version, days), &acme).unwrap();
            assert_eq!(found.retention_days, days);
        }
        assert_eq!(tenants.get(&snapshot(3, 7), &"globex".parse().unwrap()), None);
    }
}
