//! Arms measured against the real engine, and what of it reaches a gateway's snapshot.

use super::*;
use crate::config::Config;
use crate::judges::{JudgesConfig, Registry as Judges};
use crate::online::{OnlineMetrics, generation};
use contracts::policy::{KeyPolicy, TenantPolicy};
use control::{Judging, SnapshotHandle, Snapshots};
use runtime::Clock;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use warehouse::testing::Engine;
use warehouse::{EventRow, SpanRow, Warehouse, WarehouseConfig};

/// 2026-11-02T10:00:00Z.
const NOW: i64 = 1_793_613_600;

fn experiment(tenant: Option<&str>) -> Named<Experiment> {
    let spec = json!({"arms": [{"name": "a"}, {"name": "b"}],
        "adaptive": {"metric": "cost_usd", "outcome": "continuous", "goal": "lower", "min_observations": 2}});
    Named {
        tenant: tenant.map(|tenant| tenant.parse().unwrap()),
        name: "tone".parse().unwrap(),
        revision: 1,
        spec: serde_json::from_value(spec).unwrap(),
    }
}

/// A snapshot with these tenants, and this experiment.
fn snapshot(tenants: &[&str], experiments: Vec<Named<Experiment>>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (n, tenant) in (0_u8..).zip(tenants) {
        let tenant = Arc::new(TenantPolicy::new(tenant.parse().unwrap()));
        let key = KeyPolicy::new(format!("key-{n}").parse().unwrap(), tenant);
        snapshot.keys.insert([n; 32], Arc::new(key));
    }
    for experiment in experiments {
        let (tenant, name) = (experiment.tenant.clone(), experiment.name.clone());
        snapshot.experiments.insert(tenant.as_ref(), name, Ok(Arc::new(experiment)));
    }
    snapshot
}

fn call(tenant: &str, trace: u8, variant: &str, dollars: i128) -> SpanRow {
    SpanRow {
        tenant_id: tenant.to_owned(),
        start_time: (NOW - 60) * 1_000_000_000,
        trace_id: format!("{trace:032x}"),
        span_id: format!("{trace:016x}"),
        record: "call".to_owned(),
        experiment_name: "tone".to_owned(),
        experiment_variant: variant.to_owned(),
        cost_total: dollars * 1_000_000_000_000,
        retention_days: 3650,
        ..SpanRow::default()
    }
}

fn measuring(snapshot: Snapshot, warehouse: Warehouse, judging: Judging) -> Measuring {
    let enabled = vec!["hallucination".to_owned()];
    let registry = Judges::built_in(&JudgesConfig { enabled, ..JudgesConfig::default() }, None).unwrap();
    Measuring::new(Shared {
        config: Arc::new(Config::default()),
        generation: generation(&registry),
        registry,
        warehouse,
        judging,
        snapshots: SnapshotHandle::fixed(snapshot),
        clock: Clock::manual(Timestamp::from_unix_seconds(NOW)),
        metrics: OnlineMetrics::default(),
        process: "one".to_owned(),
        spending: tokio_util::task::TaskTracker::new(),
    })
}

/// What gateways read of acme's experiment.
async fn measured(url: &str) -> Arc<Named<Measured>> {
    let stop = CancellationToken::new();
    let gateway = Snapshots::open(url, Duration::from_millis(20), stop.clone()).await.unwrap();
    gateway.loaded().await;
    stop.cancel();
    gateway.load_full().measured[&(Some("acme".parse().unwrap()), "tone".parse().unwrap())].clone()
}

#[tokio::test]
async fn what_is_measured_reaches_the_snapshots_of_gateways() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("control.db").display());
    let judging = Judging::open(&url).await.unwrap();
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let snapshot = snapshot(&["acme", "other"], vec![experiment(Some("acme"))]);
    let measuring = measuring(snapshot, warehouse.clone(), judging.clone());
    assert_eq!(measuring.round().await.unwrap(), 0, "nothing was called yet");

    let calls = [
        call("acme", 1, "a", 1),
        call("acme", 2, "a", 3),
        call("acme", 3, "b", 5),
        // Somebody else's experiment of that name.
        call("other", 4, "a", 90),
    ];
    warehouse.insert_spans(&calls, "calls").await.unwrap();
    assert_eq!(measuring.round().await.unwrap(), 1);
    assert_eq!(measuring.round().await.unwrap(), 0, "the same again is nothing new");

    let stop = CancellationToken::new();
    let gateway = Snapshots::open(&url, Duration::from_millis(20), stop.clone()).await.unwrap();
    gateway.loaded().await;
    let key = (Some("acme".parse().unwrap()), "tone".parse().unwrap());
    let measured = gateway.load_full().measured[&key].clone();
    assert_eq!(measured.metric, "cost_usd");
    assert_eq!(measured.arms["a"], ArmStats::Continuous { n: 2, mean: 2.0, m2: 2.0 });
    assert_eq!(measured.arms["b"], ArmStats::Continuous { n: 1, mean: 5.0, m2: 0.0 });

    // What comes later is live without a new version of the policy.
    let version = gateway.status().version;
    warehouse.insert_spans(&[call("acme", 5, "b", 7)], "more").await.unwrap();
    assert_eq!(measuring.round().await.unwrap(), 1);
    let began = std::time::Instant::now();
    while gateway.load().measured[&key].revision == measured.revision {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not become live");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(gateway.load().measured[&key].arms["b"], ArmStats::Continuous { n: 2, mean: 6.0, m2: 2.0 });
    assert_eq!(gateway.status().version, version);
    stop.cancel();

    // Somebody else is at it.
    let lease = judging.acquire(LEASE, "two", ROUND, Timestamp::from_unix_seconds(NOW)).await.unwrap();
    assert!(lease.is_some());
    warehouse.insert_spans(&[call("acme", 6, "b", 9)], "last").await.unwrap();
    assert_eq!(measuring.round().await.unwrap(), 0);
}

#[tokio::test]
async fn shares_may_follow_what_people_say() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("control.db").display());
    let judging = Judging::open(&url).await.unwrap();
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let mut experiment = experiment(Some("acme"));
    let adaptive = json!({"arms": [{"name": "a"}, {"name": "b"}], "adaptive": {"metric": "feedback", "outcome": "binary"}});
    experiment.spec = serde_json::from_value(adaptive).unwrap();
    let measuring = measuring(snapshot(&["acme"], vec![experiment]), warehouse.clone(), judging);

    let calls = [call("acme", 1, "a", 1), call("acme", 2, "a", 1), call("acme", 3, "b", 1)];
    warehouse.insert_spans(&calls, "calls").await.unwrap();
    let said = |id: &str, trace: u8, score: &str| EventRow {
        tenant_id: "acme".to_owned(),
        time: NOW * 1_000_000_000,
        trace_id: format!("{trace:032x}"),
        event_id: id.to_owned(),
        event_name: "control_tower.feedback".to_owned(),
        attributes: vec![
            ("control_tower.idempotency.key".to_owned(), id.to_owned()),
            ("control_tower.feedback.score".to_owned(), score.to_owned()),
        ],
        retention_days: 3650,
        ..EventRow::default()
    };
    let events = [said("f1", 1, "1"), said("f2", 2, "0"), said("f3", 3, "1"), said("f4", 9, "1")];
    warehouse.insert_events(&events, "events").await.unwrap();
    assert_eq!(measuring.round().await.unwrap(), 1);
    let measured = measured(&url).await;
    assert_eq!(measured.arms["a"], ArmStats::Binary { successes: 1, failures: 1 });
    assert_eq!(measured.arms["b"], ArmStats::Binary { successes: 1, failures: 0 });
}

#[tokio::test]
async fn an_experiment_that_does_not_adapt_or_is_paused_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("control.db").display());
    let (mut fixed, mut paused) = (experiment(None), experiment(Some("acme")));
    fixed.spec.adaptive = None;
    paused.spec.status = Status::Paused;
    let snapshot = snapshot(&["acme"], vec![fixed, paused]);
    // There is no ClickHouse at this address.
    let nowhere = Warehouse::connect(WarehouseConfig {
        url: "http://127.0.0.1:1".into(),
        ..WarehouseConfig::default()
    });
    let measuring = measuring(snapshot, nowhere, Judging::open(&url).await.unwrap());
    assert_eq!(measuring.round().await.unwrap(), 0);
}

#[tokio::test]
async fn an_own_and_a_shared_experiment_of_one_name_are_measured_apart() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("control.db").display());
    let judging = Judging::open(&url).await.unwrap();
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let snapshot = snapshot(&["acme", "other"], vec![experiment(None), experiment(Some("acme"))]);
    let measuring = measuring(snapshot, warehouse.clone(), judging);
    let owned = |owner: &str, call: SpanRow| SpanRow {
        span_attributes: vec![("control_tower.experiment.owner".to_owned(), owner.to_owned())],
        ..call
    };
    let calls = [
        owned("tenant", call("acme", 1, "a", 1)),
        owned("tenant", call("acme", 2, "b", 3)),
        // Acme on a route that all share, and somebody else there.
        owned("shared", call("acme", 3, "a", 50)),
        owned("shared", call("other", 4, "a", 70)),
        // From before it was recorded: to acme its own, to the other the shared one.
        call("acme", 5, "a", 3),
        call("other", 6, "b", 90),
    ];
    warehouse.insert_spans(&calls, "calls").await.unwrap();
    assert_eq!(measuring.round().await.unwrap(), 2);

    let stop = CancellationToken::new();
    let gateway = Snapshots::open(&url, Duration::from_millis(20), stop.clone()).await.unwrap();
    gateway.loaded().await;
    stop.cancel();
    let of = |tenant: Option<&str>, arm: &str| {
        let key = (tenant.map(|tenant| tenant.parse().unwrap()), "tone".parse().unwrap());
        gateway.load_full().measured[&key].arms[arm]
    };
    let stats = |n, mean, m2| ArmStats::Continuous { n, mean, m2 };
    assert_eq!((of(Some("acme"), "a"), of(Some("acme"), "b")), (stats(2, 2.0, 2.0), stats(1, 3.0, 0.0)));
    assert_eq!((of(None, "a"), of(None, "b")), (stats(2, 60.0, 200.0), stats(1, 90.0, 0.0)));
}

#[test]
fn scores_count_in_part() {
    let row = |units, mean, variance| ExperimentRow {
        variant: "a".into(),
        metric: "grounding".into(),
        units,
        mean,
        variance,
    };
    let binary = |units, mean| stats(&row(units, mean, 0.0), Outcome::Binary);
    assert_eq!(binary(10, 0.74), ArmStats::Binary { successes: 7, failures: 3 });
    assert_eq!(binary(3, 1.5), ArmStats::Binary { successes: 3, failures: 0 }, "two actions of one trace");
    assert_eq!(binary(0, f64::NAN), ArmStats::Binary { successes: 0, failures: 0 });
    let one = stats(&row(1, 2.0, 0.0), Outcome::Continuous);
    assert_eq!(one, ArmStats::Continuous { n: 1, mean: 2.0, m2: 0.0 });
}

#[test]
fn the_order_of_sums_makes_no_new_measurement() {
    let of = |mean, variance| {
        let row = ExperimentRow { variant: "a".into(), metric: "cost_usd".into(), units: 3, mean, variance };
        stats(&row, Outcome::Continuous)
    };
    let (one, other) = ((0.1 + 0.2) + 0.3, 0.1 + (0.2 + 0.3));
    assert_ne!(f64::to_bits(one), f64::to_bits(other));
    assert_eq!(of(one, one / 7.0), of(other, other / 7.0));
    assert_eq!(of(-1.5e-30, 2.0e200), ArmStats::Continuous { n: 3, mean: -1.5e-30, m2: 4.0e200 });
    assert_eq!(of(1.234_567_894_9, 0.0), ArmStats::Continuous { n: 3, mean: 1.234_567_89, m2: 0.0 });
}
