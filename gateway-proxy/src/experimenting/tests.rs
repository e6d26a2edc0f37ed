//! Which experiments are kept, who reckons them, and on which thread.

use super::*;
use contracts::policy::experiment::{ArmStats, Measured};
use futures_util::FutureExt;
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

/// Asks for the route's experiment as a call under this snapshot does, while `in_force` is.
fn of(experiments: &Arc<Experiments>, in_force: &Arc<Snapshot>, snapshot: &Arc<Snapshot>) -> Arc<Running> {
    let route = &snapshot.shared_routes[&"route".parse().unwrap()];
    let policy = route.policy.as_ref().unwrap();
    let in_force = || in_force.clone();
    experiments.of(in_force, snapshot, route, policy, policy.experiment.as_ref().unwrap())
}

/// What the weights follow; 0 where they are the experiment's own.
fn follows(running: &Running) -> u64 {
    running.adapted.as_ref().map_or(0, |(measured, _)| measured.revision)
}

/// Waits until nobody reckons.
async fn reckoned(experiments: &Experiments) {
    drop(experiments.renewing.lock().await);
}

#[tokio::test]
async fn a_call_never_waits_for_draws_and_is_dealt_by_the_weights_before() {
    let experiments = Arc::new(Experiments::default());
    let [first, second] = [snapshot(1, 1), snapshot(1, 2)];
    experiments.prepare(first.clone()).await;
    assert_eq!(follows(&of(&experiments, &first, &first)), 1, "drawn before the first call");
    // Somebody draws, and takes his time: this thread cannot wait for him, since it is he.
    let drawing = experiments.renewing.try_lock().unwrap();
    assert_eq!(follows(&of(&experiments, &second, &second)), 1);
    drop(drawing);
    // The next one has it done, by another thread than its own: on this one nothing else runs until it awaits.
    assert_eq!(follows(&of(&experiments, &second, &second)), 1);
    reckoned(&experiments).await;
    let later = of(&experiments, &second, &second);
    assert_eq!(follows(&later), 2);
    assert!(Arc::ptr_eq(&later, &of(&experiments, &second, &second)), "kept");
}

#[tokio::test]
async fn a_call_that_began_earlier_does_not_turn_back_what_is_kept() {
    let experiments = Arc::new(Experiments::default());
    let [first, second] = [snapshot(1, 1), snapshot(2, 2)];
    experiments.prepare(first.clone()).await;
    experiments.prepare(second.clone()).await;
    let kept = of(&experiments, &second, &second);
    of(&experiments, &second, &first);
    reckoned(&experiments).await;
    assert!(Arc::ptr_eq(&experiments.current.load().snapshot, &second));
    assert!(Arc::ptr_eq(&kept, &of(&experiments, &second, &second)));
}

#[tokio::test]
async fn a_policy_that_was_restored_to_an_earlier_version_is_reckoned_once() {
    let experiments = Arc::new(Experiments::default());
    let [before, restored] = [snapshot(9, 4), snapshot(3, 4)];
    experiments.prepare(before).await;
    of(&experiments, &restored, &restored);
    reckoned(&experiments).await;
    let kept = of(&experiments, &restored, &restored);
    assert!(Arc::ptr_eq(&kept, &of(&experiments, &restored, &restored)));
}

#[tokio::test]
async fn another_measurement_of_the_same_revision_is_drawn_anew() {
    let experiments = Arc::new(Experiments::default());
    let before = snapshot(9, 4);
    // As a restored database has it, in which the count goes on from where it was.
    let mut restored = Snapshot::clone(&before);
    for measured in restored.measured.values_mut() {
        let better = ArmStats::Binary { successes: 2_000, failures: 1_000 };
        let mut arms = measured.arms.clone();
        arms.insert("a".to_owned(), better);
        *measured = named("test", measured.revision, Measured { metric: measured.metric.clone(), arms });
    }
    let restored = Arc::new(restored);
    experiments.prepare(before.clone()).await;
    let weights = of(&experiments, &before, &before).adapted.clone().unwrap().1;
    experiments.prepare(restored.clone()).await;
    let after = of(&experiments, &restored, &restored).adapted.clone().unwrap().1;
    assert!(after[0] > weights[0], "{weights:?} {after:?}");
}

#[test]
fn a_large_body_is_looked_through_off_the_async_threads_and_its_user_gets_the_same_arm() {
    let (experiments, snapshot) = (Arc::new(Experiments::default()), snapshot(1, 1));
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let _entered = runtime.enter();
    let running = of(&experiments, &snapshot, &snapshot);
    let (headers, key) = (HeaderMap::new(), "key-1".parse().unwrap());
    let body = |padding: usize| Bytes::from(json!({"padding": "x".repeat(padding), "user": "u"}).to_string());
    let [small, large] = [body(0), body(LARGE)];
    let expected = dealt(&running, &small, &headers, &key, "r").now_or_never().unwrap().unwrap();
    assert_eq!(expected.by, Sticky::User);
    // As long as the only other thread has something else to do, nothing comes of it.
    runtime.block_on(reckoned(&experiments));
    let (busy, done) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || done.recv());
    let mut elsewhere = Box::pin(dealt(&running, &large, &headers, &key, "r"));
    assert!(elsewhere.as_mut().now_or_never().is_none());
    drop(busy);
    assert_eq!(runtime.block_on(elsewhere).unwrap(), expected);
}
