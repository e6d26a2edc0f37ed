//! What a cache says, to whom, and above all to whom not.

use super::*;
use crate::answer::Keepable;
use crate::entry::Answer;
use crate::testing::{NOW, answer, cache, policy, question};
use bytes::Bytes;
use proptest::prelude::*;

const MANY: usize = 1 << 30;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(NOW.unix_seconds() + seconds)
}

async fn ask(cache: &AnswerCache, tenant: &str, text: &str) -> Asked {
    ask_with(cache, tenant, text, &policy(), Control::default(), NOW).await
}

async fn ask_with(
    cache: &AnswerCache,
    tenant: &str,
    text: &str,
    policy: &Cache,
    control: Control,
    now: Timestamp,
) -> Asked {
    cache.ask(question(tenant, "r", text, policy, None), policy, &control, now).await
}

fn lead(asked: Asked) -> Box<Lead> {
    match asked {
        Asked::Call(lead) => lead,
        other => panic!("a call was expected: {other:?}"),
    }
}

fn hit(asked: Asked) -> Hit {
    match asked {
        Asked::Hit(hit) => hit,
        other => panic!("a hit was expected: {other:?}"),
    }
}

async fn learn(cache: &AnswerCache, tenant: &str, text: &str) {
    assert!(lead(ask(cache, tenant, text).await).keep(answer(text), Keepable::Both, NOW));
}

#[tokio::test]
async fn the_same_again_is_a_hit_until_it_is_too_old() {
    let cache = cache(MANY);
    learn(&cache, "acme", "alpha").await;
    let again = |now| {
        let cache = cache.clone();
        async move { ask_with(&cache, "acme", "alpha", &policy(), Control::default(), now).await }
    };
    let found = hit(again(at(60)).await);
    assert_eq!((found.status, found.age, found.waited), (Status::HitExact, Duration::from_mins(1), false));
    assert_eq!((found.saved, found.similarity), (found.entry.answer.cost, None));
    assert_eq!(cache.usage().hits_exact, 0, "nobody was answered with it yet");
    cache.note_answered(&found);
    lead(again(at(3600)).await);
    let usage = cache.usage();
    assert_eq!((usage.hits_exact, usage.misses, usage.saved), (1, 2, found.saved));
}

#[tokio::test]
async fn the_same_meaning_is_a_hit_where_nothing_speaks_against_it() {
    let cache = cache(MANY);
    learn(&cache, "acme", "alpha 1").await;
    let found = hit(ask(&cache, "acme", "alpha 2").await);
    assert_eq!(found.status, Status::HitSemantic);
    assert!(found.similarity.unwrap() > 0.8);
    let mut guarded = policy();
    guarded.semantic.as_mut().unwrap().guard = contracts::policy::cache::Guard::Facts;
    lead(ask_with(&cache, "acme", "alpha 2", &guarded, Control::default(), NOW).await).release();
    assert_eq!(cache.usage().vetoed, 1);
    let stricter = Control { threshold: Some(0.9999), ..Control::default() };
    lead(ask_with(&cache, "acme", "alpha 2", &policy(), stricter, NOW).await);
    let looser = Control { threshold: Some(0.0), ..Control::default() };
    lead(ask_with(&cache, "acme", "zulu", &policy(), looser, NOW).await);
    lead(ask(&cache, "acme", "zulu").await);
    lead(ask(&cache, "acme", "fail").await);
    assert_eq!(cache.usage().not_embedded, 1);
}

#[tokio::test]
async fn what_is_kept_holds_no_more_than_itself() {
    let cache = cache(MANY);
    let buffer = Bytes::from(vec![b'x'; 64 << 10]);
    let first = lead(ask(&cache, "acme", "alpha").await);
    assert!(first.keep(Answer { body: buffer.slice(..4), ..answer("x") }, Keepable::Exact, NOW));
    assert_eq!(hit(ask(&cache, "acme", "alpha").await).entry.answer.body, "xxxx");
    assert!(buffer.is_unique());
}

#[tokio::test]
async fn only_answers_for_both_are_found_by_meaning() {
    let cache = cache(MANY);
    let first = lead(ask(&cache, "acme", "alpha 1").await);
    assert!(first.keep(answer("x"), Keepable::Exact, NOW));
    let other = lead(ask(&cache, "acme", "alpha 2").await);
    assert!(!other.keep(answer("x"), Keepable::No, NOW));
    hit(ask(&cache, "acme", "alpha 1").await);
    lead(ask(&cache, "acme", "alpha 2").await);
}

#[tokio::test]
async fn callers_decide_within_what_the_route_grants() {
    let cache = cache(MANY);
    learn(&cache, "acme", "alpha 1").await;
    let with = |text: &'static str, control: Control| {
        let cache = cache.clone();
        async move { ask_with(&cache, "acme", text, &policy(), control, at(10)).await }
    };
    let control = Control::default();
    lead(with("alpha 2", Control { mode: Mode::Exact, ..control }).await);
    hit(with("alpha 1", Control { mode: Mode::Exact, ..control }).await);
    let off = lead(with("alpha 1", Control { mode: Mode::Off, ..control }).await);
    assert!(!off.keep(answer("never"), Keepable::Both, at(10)));
    lead(with("alpha 1", Control { max_age: Some(Duration::from_secs(9)), ..control }).await);
    hit(with("alpha 1", Control { max_age: Some(Duration::from_secs(10)), ..control }).await);
    let only = Control { only_if_cached: true, ..control };
    hit(with("alpha 1", only).await);
    assert!(matches!(with("zulu", only).await, Asked::Absent));
    // `no-cache` asks the model, and others get what it said.
    let fresh = lead(with("alpha 1", Control { no_read: true, ..control }).await);
    assert!(fresh.keep(answer("fresh"), Keepable::Both, at(10)));
    assert_eq!(hit(with("alpha 1", control).await).age, Duration::ZERO);
    let brief = lead(with("brief", Control { ttl: Some(Duration::from_secs(5)), ..control }).await);
    brief.keep(answer("x"), Keepable::Both, at(10));
    lead(ask_with(&cache, "acme", "brief", &policy(), control, at(15)).await);
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let cache = cache(MANY);
    let small = Cache { max_entry_bytes: 1024, ..policy() };
    let asked = ask_with(&cache, "acme", "alpha", &small, Control::default(), NOW).await;
    assert!(!lead(asked).keep(answer(&"x".repeat(1024)), Keepable::Both, NOW));
    assert_eq!(cache.usage().entries, 0);
}

#[tokio::test]
async fn a_hundred_who_ask_the_same_make_one_call() {
    let cache = cache(MANY);
    let first = lead(ask(&cache, "acme", "alpha").await);
    let waiting: Vec<_> = (0..99)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { ask(&cache, "acme", "alpha").await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(first.keep(answer("once"), Keepable::Exact, NOW));
    for waiter in waiting {
        let found = hit(waiter.await.unwrap());
        assert_eq!(found.status, Status::HitExact);
        cache.note_answered(&found);
    }
    let usage = cache.usage();
    assert_eq!((usage.misses, usage.hits_exact), (1, 99));
}

#[tokio::test]
async fn a_leader_that_leaves_is_followed_by_one_who_waits() {
    let cache = cache(MANY);
    let first = lead(ask(&cache, "acme", "alpha").await);
    let mut waiting: Vec<_> = (0..2)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { ask(&cache, "acme", "alpha").await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(first);
    let second = lead(waiting.remove(0).await.unwrap());
    assert!(!waiting[0].is_finished());
    second.release();
    let alone = lead(waiting.remove(0).await.unwrap());
    assert!(alone.seat.is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let cache = cache(MANY);
    let exact = Cache { semantic: None, ..policy() };
    let first = lead(ask_with(&cache, "acme", "alpha", &exact, Control::default(), NOW).await);
    let before = tokio::time::Instant::now();
    lead(ask_with(&cache, "acme", "alpha", &exact, Control::default(), NOW).await);
    assert_eq!(before.elapsed().as_secs(), 10);
    drop(first);
}

#[tokio::test]
async fn what_is_invalid_goes_and_what_is_under_way_is_not_kept() {
    for scope in [
        Scope::All,
        Scope::Tenant("acme".parse().unwrap()),
        Scope::Route("acme".parse().unwrap(), "r".to_owned()),
    ] {
        let cache = cache(MANY);
        learn(&cache, "acme", "alpha").await;
        learn(&cache, "other", "alpha").await;
        let under_way = lead(ask(&cache, "acme", "zulu").await);
        assert_eq!(cache.invalidate(scope.clone()).await, Reach::All);
        lead(ask(&cache, "acme", "alpha").await).release();
        under_way.keep(answer("old"), Keepable::Both, NOW);
        lead(ask(&cache, "acme", "zulu").await).release();
        assert_eq!(matches!(ask(&cache, "other", "alpha").await, Asked::Hit(_)), scope != Scope::All);
    }
}

#[tokio::test]
async fn a_flood_does_not_wash_others_out() {
    let cache = cache(200_000);
    let exact = Cache { semantic: None, ..policy() };
    learn(&cache, "quiet", "alpha").await;
    for number in 0..500 {
        let asked = ask_with(&cache, "noisy", &number.to_string(), &exact, Control::default(), NOW).await;
        lead(asked).keep(answer("x"), Keepable::Both, NOW);
        assert!(cache.usage().bytes <= 200_000);
    }
    hit(ask(&cache, "quiet", "alpha").await);
    assert!(cache.usage().evicted > 100);
}

#[tokio::test]
async fn what_is_swept_is_forgotten_with_its_tenant() {
    let cache = cache(MANY);
    learn(&cache, "acme", "alpha").await;
    cache.sweep(at(10));
    assert_eq!((cache.usage().entries, cache.inner.tenants().len()), (1, 1));
    cache.sweep(at(3600));
    assert_eq!((cache.usage().bytes, cache.inner.tenants().len()), (0, 0));
    assert_eq!(cache.inner.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn heights_are_cut_to_one() {
    assert_eq!(common_height(&mut [10, 50, 90], 100), 45);
    assert_eq!(common_height(&mut [10, 20], 100), usize::MAX);
    assert_eq!(common_height(&mut [], 0), usize::MAX);
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Ask { tenant: u8, route: u8, text: String, keep: bool, mode: Mode },
    Invalidate(Option<u8>),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let modes = prop_oneof![Just(Mode::Semantic), Just(Mode::Exact)];
    prop_oneof![
        20 => (0_u8..6, 0_u8..2, "[ab][xy]{0,2}", prop::bool::weighted(0.8), modes)
            .prop_map(|(tenant, route, text, keep, mode)| Step::Ask { tenant, route, text, keep, mode }),
        1 => prop::option::weighted(0.8, 0_u8..6).prop_map(Step::Invalidate),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every question of every tenant collides with (nearly) every other: only the structure holds tenants apart.
    #[test]
    fn no_tenant_ever_gets_anothers_answer(
        steps in prop::collection::vec(step(), 1..120),
        hashes in prop_oneof![Just(None), (1_u8..4).prop_map(Some)],
        max_bytes in prop_oneof![Just(5_000_usize), Just(20_000), Just(MANY)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cache = cache(max_bytes);
            let policy = policy();
            for step in steps {
                match step {
                    Step::Ask { tenant, route, text, keep, mode } => {
                        let tenant = format!("t{tenant}");
                        let asked = question(&tenant, &format!("r{route}"), &text, &policy, hashes);
                        let mut cheap = Control { mode, ..Control::default() };
                        cheap.only_if_cached = !keep;
                        match cache.ask(asked, &policy, &cheap, NOW).await {
                            Asked::Hit(hit) => {
                                assert_eq!(hit.entry.tenant.as_str(), tenant);
                                assert_eq!(hit.entry.answer.body, answer(&format!("{tenant} r{route}")).body);
                            }
                            Asked::Call(lead) => {
                                lead.keep(answer(&format!("{tenant} r{route}")), Keepable::Both, NOW);
                            }
                            Asked::Absent => {}
                        }
                    }
                    Step::Invalidate(None) => drop(cache.invalidate(Scope::All).await),
                    Step::Invalidate(Some(tenant)) => {
                        cache.invalidate(Scope::Tenant(format!("t{tenant}").parse().unwrap())).await;
                    }
                    Step::Sweep => cache.sweep(NOW),
                }
            }
        });
    }
}
