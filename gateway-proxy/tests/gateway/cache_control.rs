//! What a request says of the answer cache.

use crate::cascades::{answer, routed};
use crate::support::{Answer, Collector, Gateway, Upstream, config, json};
use contracts::Timestamp;
use http::StatusCode;
use runtime::Clock;
use serde_json::{Value, json as value};
use std::time::Duration;

const CACHE_CONTROL: &str = "cache-control";
const MODE: &str = "x-control-tower-cache";
const TTL: &str = "x-control-tower-cache-ttl";
const THRESHOLD: &str = "x-control-tower-cache-threshold";

type Headers<'a> = &'a [(&'static str, &'a str)];

/// A gateway with this cache on its route.
struct Cached {
    gateway: Gateway,
    model: Upstream,
    clock: Clock,
}

impl Cached {
    async fn start(cache: Value, collector: Option<&Collector>) -> Self {
        let model = Upstream::always(json(200, &answer("gpt-4o-mini", "By the link under the form."))).await;
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_793_491_199));
        let mut config = config(collector);
        if cache["semantic"].is_object() {
            config.embedder = Some(inference::models::find(None, None).unwrap());
        }
        let policy = routed(&model, &model, None, Some(cache));
        Self { gateway: Gateway::start_at(config, policy, clock.clone()), model, clock }
    }

    async fn exact() -> Self {
        Self::start(value!({"exact": true, "ttl_seconds": 60}), None).await
    }

    async fn ask(&self, question: &str, headers: Headers<'_>) -> Answer {
        let body =
            value!({"model": "route", "temperature": 0, "messages": [{"role": "user", "content": question}]});
        let mut request = self.gateway.request("/v1/chat/completions", body.to_string());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        self.gateway.call(request).await
    }

    /// What the cache says of a question, which is answered.
    async fn status(&self, question: &str, headers: Headers<'_>) -> String {
        let answer = self.ask(question, headers).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.header(MODE).to_owned()
    }
}

const QUESTION: &str = "How do I reset my password?";
const SAME: &str = "How can I reset my password?";

#[tokio::test]
async fn an_answer_is_no_older_than_the_request_says() {
    let cached = Cached::exact().await;
    assert_eq!(cached.status(QUESTION, &[]).await, "miss");
    cached.clock.advance(Duration::from_secs(30));
    for (headers, status) in [
        (&[][..], "hit_exact"),
        (&[(CACHE_CONTROL, "max-age=30")], "hit_exact"),
        (&[(CACHE_CONTROL, "max-age=29")], "miss"),
        // The new answer has taken the place of the old one.
        (&[(CACHE_CONTROL, "max-age=0")], "hit_exact"),
    ] {
        assert_eq!(cached.status(QUESTION, headers).await, status, "{headers:?}");
    }
    assert_eq!(cached.model.received().len(), 2);
    let again = cached.ask(QUESTION, &[]).await;
    assert_eq!(again.header("age"), "0");
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_neither_read_nor_kept() {
    for headers in [[(CACHE_CONTROL, "no-store")], [(MODE, "off")]] {
        let cached = Cached::exact().await;
        assert_eq!(cached.status(QUESTION, &headers).await, "bypass");
        assert_eq!(cached.status(QUESTION, &[]).await, "miss", "{headers:?}: it was not kept");
        assert_eq!(cached.status(QUESTION, &headers).await, "bypass", "{headers:?}: it is not read");
        assert_eq!(cached.status(QUESTION, &[]).await, "hit_exact");
        assert_eq!(cached.model.received().len(), 3, "{headers:?}");
    }
}

#[tokio::test]
async fn an_answer_is_kept_for_as_long_as_the_request_says_and_no_longer_than_the_route() {
    for (ttl, lasts) in [("20", 20), ("3600", 60)] {
        let cached = Cached::exact().await;
        assert_eq!(cached.status(QUESTION, &[(TTL, ttl)]).await, "miss");
        cached.clock.advance(Duration::from_secs(lasts - 1));
        assert_eq!(cached.status(QUESTION, &[]).await, "hit_exact", "{ttl}");
        cached.clock.advance(Duration::from_secs(2));
        assert_eq!(cached.status(QUESTION, &[]).await, "miss", "{ttl}");
    }
}

#[tokio::test]
async fn how_much_alike_questions_must_be_is_as_strict_as_route_and_request_say() {
    let by_meaning = |threshold: f64| value!({"semantic": {"threshold": threshold}, "ttl_seconds": 60});
    let collector = Collector::start().await;
    let cached = Cached::start(by_meaning(0.8), Some(&collector)).await;
    assert_eq!(cached.status(QUESTION, &[]).await, "miss");
    assert_eq!(cached.status(SAME, &[]).await, "hit_semantic");
    let calls = collector.calls(2).await;
    let hit = calls.iter().find(|call| call.get("control_tower.cache.status") == "hit_semantic").unwrap();
    let alike: f64 = hit.get("control_tower.cache.similarity").parse().unwrap();
    assert!((0.8..0.997).contains(&alike), "{alike}");
    let (below, above) = ((alike - 0.002).to_string(), (alike + 0.002).to_string());
    assert_eq!(cached.status(SAME, &[(THRESHOLD, &below)]).await, "hit_semantic");
    assert_eq!(cached.status(SAME, &[(THRESHOLD, &above)]).await, "miss");

    // A request is not less strict than the route.
    let strict = Cached::start(by_meaning(alike + 0.002), None).await;
    assert_eq!(strict.status(QUESTION, &[]).await, "miss");
    assert_eq!(strict.status(SAME, &[(THRESHOLD, &below)]).await, "miss");
    // Nor does it want what only means the same, where it says so.
    let exact =
        Cached::start(value!({"exact": true, "semantic": {"threshold": 0.8}, "ttl_seconds": 60}), None).await;
    assert_eq!(exact.status(QUESTION, &[]).await, "miss");
    assert_eq!(exact.status(SAME, &[(MODE, "exact")]).await, "miss");
    assert_eq!(exact.status(QUESTION, &[(MODE, "exact")]).await, "hit_exact");
}

#[tokio::test]
async fn a_header_that_says_nothing_is_refused_by_its_name() {
    let cached = Cached::exact().await;
    for (name, said) in [(CACHE_CONTROL, "max-age=soon"), (MODE, "on"), (TTL, "-1"), (THRESHOLD, "1.5")] {
        let refused = cached.ask(QUESTION, &[(name, said)]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name}: {}", refused.text());
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(name) && message.contains(said), "{message}");
    }
    assert!(cached.model.received().is_empty());
}
