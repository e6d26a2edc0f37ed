//! Several gateways on one Redis of the test's own.

use crate::answer::Keepable;
use crate::control::Control;
use crate::store::{Asked, Hit, Lead, Reach, Scope, Status};
use crate::testing::{NOW, Redis, answer, policy, question};
use crate::{AnswerCache, Worker};
use contracts::TenantId;
use proptest::prelude::*;

const MANY: usize = 1 << 30;

async fn ask(cache: &AnswerCache, tenant: &str, text: &str) -> Asked {
    cache.ask(question(tenant, "r", text, &policy(), None), &policy(), &Control::default(), NOW).await
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

async fn learn(gateway: &mut (AnswerCache, Worker), tenant: &str, text: &str) {
    lead(ask(&gateway.0, tenant, text).await).keep(answer(tenant), Keepable::Both, NOW);
    gateway.1.settle().await;
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

#[tokio::test]
async fn what_one_learns_another_gives() {
    let redis = Redis::start();
    let (mut one, mut other) = (redis.gateway(MANY), redis.gateway(MANY));
    learn(&mut one, "acme", "alpha 1").await;
    let exact = hit(ask(&other.0, "acme", "alpha 1").await);
    assert_eq!((exact.status, &exact.entry.answer), (Status::HitExact, &answer("acme")));
    other.1.settle().await;
    assert_eq!(hit(ask(&other.0, "acme", "alpha 2").await).status, Status::HitSemantic);
    // A third, which starts later, learns what was told before; what it gives by meaning it fetches.
    let mut third = redis.gateway(MANY);
    lead(ask(&third.0, "acme", "zulu").await).release();
    third.1.settle().await;
    let near = hit(ask(&third.0, "acme", "alpha 3").await);
    assert_eq!((near.status, &near.entry.answer), (Status::HitSemantic, &answer("acme")));
    lead(ask(&third.0, "other", "alpha 1").await);
    for key in redis.keys().await {
        assert!(key == "ct:cache:tenants" || key.starts_with("ct:cache:{acme}:"), "{key}");
    }
}

#[tokio::test]
async fn what_is_invalid_is_so_everywhere() {
    for scope in [Scope::All, Scope::Tenant(tenant("acme")), Scope::Route(tenant("acme"), "r".to_owned())] {
        let redis = Redis::start();
        let (mut one, mut other) = (redis.gateway(MANY), redis.gateway(MANY));
        learn(&mut one, "acme", "alpha 1").await;
        hit(ask(&other.0, "acme", "alpha 1").await);
        let under_way = lead(ask(&other.0, "acme", "zulu").await);
        assert_eq!(one.0.invalidate(scope).await, Reach::All);
        lead(ask(&one.0, "acme", "alpha 1").await).release();
        other.1.settle().await;
        lead(ask(&other.0, "acme", "alpha 1").await).release();
        // The call that was under way carries the old number: nobody reads it.
        under_way.keep(answer("old"), Keepable::Both, NOW);
        other.1.settle().await;
        one.1.settle().await;
        lead(ask(&one.0, "acme", "zulu").await).release();
    }
}

#[tokio::test]
async fn without_redis_each_has_its_own_and_nothing_fails() {
    let mut redis = Redis::start();
    let (mut one, mut other) = (redis.gateway(MANY), redis.gateway(MANY));
    learn(&mut one, "acme", "alpha").await;
    learn(&mut other, "acme", "beta").await;
    redis.stop();
    hit(ask(&one.0, "acme", "alpha").await);
    learn(&mut one, "acme", "gamma").await;
    hit(ask(&one.0, "acme", "gamma").await);
    assert_eq!(one.0.invalidate(Scope::Tenant(tenant("acme"))).await, Reach::Local);
    lead(ask(&one.0, "acme", "alpha").await).release();
    // Back again, it hears of it.
    redis.restart();
    tokio::time::sleep(super::super::REST + std::time::Duration::from_millis(50)).await;
    for _ in 0..100 {
        one.1.settle().await;
        other.1.settle().await;
        if matches!(ask(&other.0, "acme", "beta").await, Asked::Call(_)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the other gateway was never told");
}

#[tokio::test]
async fn what_lies_under_a_key_by_mistake_is_not_given() {
    let redis = Redis::start();
    let mut one = redis.gateway(MANY);
    learn(&mut one, "acme", "alpha").await;
    // Somebody copies a tenant's answer under another's key.
    let stolen = redis.keys().await.into_iter().find(|key| key.starts_with("ct:cache:{acme}:e:")).unwrap();
    let asked = question("other", "r", "alpha", &policy(), None);
    let place = super::super::entry_key(&tenant("other"), &asked.key());
    let shared = one.0.inner.shared.as_ref().unwrap();
    let mut pipe = redis::Pipeline::new();
    pipe.cmd("COPY").arg(&stolen).arg(&place);
    assert_eq!(shared.run::<(u8,)>(&pipe).await.unwrap(), (1,));
    lead(ask(&one.0, "other", "alpha").await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Two gateways with weak hashes, small bounds and one Redis: keys of Redis collide within a tenant, never across.
    #[test]
    fn no_tenant_ever_gets_anothers_answer_through_redis(
        steps in prop::collection::vec((any::<bool>(), 0_u8..5, "[ab][xy]{0,2}", 0_u8..12), 1..60),
        hashes in prop_oneof![Just(None), (1_u8..4).prop_map(Some)],
        max_bytes in prop_oneof![Just(6_000_usize), Just(MANY)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let redis = Redis::start();
            let mut gateways = [redis.gateway(max_bytes), redis.gateway(max_bytes)];
            for (which, asker, text, event) in steps {
                let asker = format!("t{asker}");
                let (cache, worker) = &mut gateways[usize::from(which)];
                let asked = question(&asker, "r", &text, &policy(), hashes);
                match cache.ask(asked, &policy(), &Control::default(), NOW).await {
                    Asked::Hit(hit) => {
                        assert_eq!(hit.entry.tenant.as_str(), asker);
                        assert_eq!(hit.entry.answer, answer(&asker));
                    }
                    Asked::Call(lead) => drop(lead.keep(answer(&asker), Keepable::Both, NOW)),
                    Asked::Absent => panic!("nobody forbade to call"),
                }
                match event {
                    0 => drop(cache.invalidate(Scope::Tenant(tenant(&asker))).await),
                    1 => drop(cache.invalidate(Scope::All).await),
                    2..=6 => worker.settle().await,
                    _ => {}
                }
            }
        });
    }
}
