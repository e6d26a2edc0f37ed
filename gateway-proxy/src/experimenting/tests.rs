//! Which snapshot's experiments are kept.

use super::*;
use contracts::policy::experiment::{ArmStats, Measured};
use serde_json::json;

fn named<D>(name: &str, revision: u64, spec: D) -> Arc<Named<D>> {
    Arc::new(Named { tenant: None, name: name.parse().unwrap(), revision, spec })
}

/// A policy of this version, whose experiment was measured so often.
fn snapshot(version: u64, revision: u64) -> Arc<Snapshot> {
    let spec =
        json!({"arms": [{"name": "a"}, {"name": "b"}], "adaptive": {"metric": "m", "outcome": "binary"}});
    let policy = RoutePolicy {
        experiment: Some(named("test", 1, serde_json::from_value(spec).unwrap())),
        ..RoutePolicy::default()
    };
    let route = Route { policy: Ok(policy), ..Route::new("route".parse().unwrap(), "m".parse().unwrap()) };
    let arm = |successes| ArmStats::Binary { successes, failures: 1_000 };
    let arms = [("a".to_owned(), arm(1_000)), ("b".to_owned(), arm(1_000 + revision))].into();
    let mut snapshot = Snapshot { version, ..Snapshot::default() };
    snapshot.shared_routes.insert(route.name.clone(), Arc::new(route));
    let measured = named("test", revision, Measured { metric: "m".into(), arms });
    snapshot.measured.insert((None, measured.name.clone()), measured);
    Arc::new(snapshot)
}

/// Asks for the route's experiment as a call under this snapshot does.
fn of(experiments: &Experiments, snapshot: &Arc<Snapshot>) -> Arc<Running> {
    let route = &snapshot.shared_routes[&"route".parse().unwrap()];
    let policy = route.policy.as_ref().unwrap();
    experiments.of(snapshot, route, policy, policy.experiment.as_ref().unwrap())
}

#[test]
fn a_call_that_began_earlier_does_not_turn_back_what_is_kept() {
    let experiments = Experiments::default();
    let [first, second, third] = [snapshot(1, 1), snapshot(1, 2), snapshot(2, 2)];
    let early = of(&experiments, &first);
    assert!(Arc::ptr_eq(&early, &of(&experiments, &first)), "kept");
    let later = of(&experiments, &second);
    assert_eq!((early.adapted.as_ref().unwrap().0, later.adapted.as_ref().unwrap().0), (1, 2));
    // Measured anew, under the same version.
    assert_eq!(of(&experiments, &first).adapted, early.adapted);
    assert!(Arc::ptr_eq(&later, &of(&experiments, &second)), "still kept");
    of(&experiments, &third);
    assert_eq!(of(&experiments, &second).adapted, later.adapted);
    assert!(Arc::ptr_eq(&experiments.current.load().snapshot, &third));
}
