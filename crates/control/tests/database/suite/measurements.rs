//! What was measured of experiments.

use crate::support::{NOW, Store};
use contracts::policy::experiment::{ArmStats, Measured};
use contracts::{PolicyName, TenantId};
use control::Snapshots;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

fn tone() -> PolicyName {
    "tone".parse().unwrap()
}

fn measured(successes: u64) -> Measured {
    let arms = [
        ("a".to_owned(), ArmStats::Binary { successes, failures: 1 }),
        // Numbers come back as they were.
        ("b".to_owned(), ArmStats::Continuous { n: 3, mean: 0.1 + 0.2, m2: 1e-300 }),
    ];
    Measured { metric: "useful".into(), arms: arms.into() }
}

pub async fn are_live_without_a_new_version(store: Store) {
    let measurements = store.control.judging().measurements();
    let acme: TenantId = "acme".parse().unwrap();
    let version = store.control.version().await.unwrap();
    measurements.put(None, &tone(), &measured(1), NOW).await.unwrap();
    let shutdown = CancellationToken::new();
    let handle = Snapshots::start(store.control.clone(), Duration::from_millis(50), shutdown.clone());
    tokio::time::timeout(Duration::from_secs(10), handle.loaded()).await.unwrap();
    let of = |tenant: Option<&TenantId>| handle.load().measured.get(&(tenant.cloned(), tone())).cloned();
    let first = of(None).unwrap();
    assert_eq!((&first.spec, first.tenant.as_ref()), (&measured(1), None));
    assert_eq!(of(Some(&acme)), None);

    let other = control::Control::open(&store.url).await.unwrap().judging().measurements();
    other.put(Some(&acme), &tone(), &measured(2), NOW).await.unwrap();
    let changed = Instant::now();
    while of(Some(&acme)).is_none() {
        assert!(changed.elapsed() < Duration::from_secs(20), "it does not become live");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(of(Some(&acme)).unwrap().spec, measured(2));
    assert_eq!(of(None).unwrap().revision, first.revision, "one for itself");
    assert_eq!((handle.status().version, store.control.version().await.unwrap()), (version, version));
    assert_eq!(handle.status().rebuilds, 2, "rebuilt on change only");
    shutdown.cancel();
}

pub async fn are_new_only_when_they_differ(store: Store) {
    let measurements = store.control.judging().measurements();
    assert!(measurements.put(None, &tone(), &measured(1), NOW).await.unwrap());
    assert!(!measurements.put(None, &tone(), &measured(1), NOW).await.unwrap());
    assert!(measurements.put(None, &tone(), &measured(2), NOW).await.unwrap());
    let other = "other".parse().unwrap();
    assert!(measurements.put(None, &other, &measured(2), NOW).await.unwrap());
    let snapshot = store.control.snapshot().await.unwrap();
    let revision = |name: &PolicyName| snapshot.measured[&(None, name.clone())].revision;
    assert_eq!((revision(&tone()), revision(&other)), (2, 3));
}
