//! Calls that take long are sent a second time, and whichever answers first is the answer.

use crate::pools::pooled;
use crate::support::{Answer, Collector, Gateway, Span, Step, Upstream, chat, config, json, sse};
use contracts::Usd;
use contracts::policy::budget::Budget;
use contracts::policy::{Named, Reaching, Snapshot};
use http::StatusCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Costs 3 x $1 + 2 x $2 a million: 0.000007.
const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// The same, streamed.
fn streamed() -> Vec<Step> {
    sse(&[
        br#"data: {"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}

"#,
        br#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

"#,
        br#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}

"#,
        b"data: [DONE]\n\n",
    ])
}

/// Two deployments that answer at once, until they are told what the next requests meet, at whichever of them.
struct Two {
    upstreams: [Upstream; 2],
    next: Arc<Mutex<Vec<Vec<Step>>>>,
}

impl Two {
    async fn start() -> Self {
        let next: Arc<Mutex<Vec<Vec<Step>>>> = Arc::default();
        let start = || {
            let next = next.clone();
            Upstream::start(move |received| {
                let told = next.lock().unwrap().pop();
                let stream = received.json()["stream"] == true;
                told.unwrap_or_else(|| if stream { streamed() } else { json(200, ANSWER) })
            })
        };
        let upstreams = [start().await, start().await];
        Self { upstreams, next }
    }

    /// What the next requests meet, in the order in which they come.
    fn then<const N: usize>(&self, scripts: [Vec<Step>; N]) {
        *self.next.lock().unwrap() = scripts.into_iter().rev().collect();
    }

    fn sent(&self) -> usize {
        self.upstreams.iter().map(|upstream| upstream.received().len()).sum()
    }

    /// A connection on which one of them hung was closed.
    async fn closed(&mut self) {
        let [one, other] = &mut self.upstreams;
        tokio::select! {
            _ = one.closed() => {}
            _ = other.closed() => {}
        }
    }

    /// A policy with hedges after some milliseconds.
    fn policy(&self) -> Snapshot {
        let policy = serde_json::json!({
            "hedge": {"after": {"fixed_ms": 30}, "max_percent": 50},
            "breaker": {"consecutive_faults": 1},
            "balance": {"kind": "weighted"},
        });
        pooled(&[&self.upstreams[0], &self.upstreams[1]], &policy)
    }
}

/// A call that is never hedged, however long it takes.
fn kept() -> String {
    chat(false).replacen('{', r#"{"store":true,"#, 1)
}

/// As many calls as allow for a few hedges: they may be half of the calls.
async fn allow_hedges(gateway: &Gateway) {
    Gateway::warm_up();
    for _ in 0..8 {
        assert_eq!(gateway.post("/v1/chat/completions", kept()).await.status, StatusCode::OK);
    }
}

/// The attempts of the call that had two, in order, and the call.
async fn raced(collector: &Collector, calls: usize) -> (Span, Vec<Span>) {
    let calls = collector.calls(calls).await;
    let call =
        calls.into_iter().find(|call| call.get("control_tower.attempt") == "2").expect("a call with two");
    let mut tries: Vec<Span> = collector.spans();
    tries.retain(|span| span.kind == 3 && span.trace_id == call.trace_id);
    tries.sort_by_key(|span| span.get("control_tower.attempt").to_owned());
    assert_eq!(tries.len(), 2, "{tries:?}");
    (call, tries)
}

/// What a span says that it cost; nothing where it says nothing.
fn cost(span: &Span) -> Usd {
    span.get("control_tower.cost.total").parse().unwrap_or_default()
}

fn assert_sums_up(call: &Span, tries: &[Span], answer: &Answer) {
    let sum: Usd = tries.iter().map(cost).sum();
    assert_eq!(cost(call), sum);
    assert!(tries.iter().all(|span| cost(span) > Usd::ZERO), "both may be billed: {tries:?}");
    if !answer.header("x-control-tower-cost-usd").is_empty() {
        assert_eq!(answer.header("x-control-tower-cost-usd").parse::<Usd>().unwrap(), sum);
    }
}

#[tokio::test]
async fn a_hedge_answers_for_a_deployment_that_hangs() {
    for stream in [false, true] {
        let mut two = Two::start().await;
        let collector = Collector::start().await;
        let gateway = Gateway::start(config(Some(&collector)), two.policy());
        allow_hedges(&gateway).await;
        let before = two.sent();
        two.then([vec![Step::Hang]]);
        let answer = gateway.post("/v1/chat/completions", chat(stream)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.text().matches("\"Hi\"").count(), 1, "{}", answer.text());
        assert_eq!(two.sent() - before, 2);
        two.closed().await;

        let (call, tries) = raced(&collector, 9).await;
        assert_eq!((call.get("error.type"), call.get("http.response.status_code")), ("", "200"));
        let said = |name: &str| [tries[0].get(name).to_owned(), tries[1].get(name).to_owned()];
        assert_eq!(said("error.type"), ["cancelled", ""]);
        assert_eq!(said("control_tower.hedge"), ["", "true"]);
        assert_eq!(said("control_tower.usage.source"), ["partial", "reported"]);
        assert!(tries[0].get("gen_ai.usage.input_tokens").parse::<u64>().unwrap() > 0);
        assert_eq!(tries[1].get("control_tower.cost.total"), "0.000007");
        assert_ne!(tries[0].get("server.port"), tries[1].get("server.port"), "another deployment");
        assert_sums_up(&call, &tries, &answer);
        assert_eq!(gateway.metric("gateway_hedges_total").await, Some(1.0));
        assert_eq!(gateway.metric("gateway_hedges_won_total").await, Some(1.0));

        // One fault would put the loser out: that it was cancelled is none.
        let counts = || two.upstreams.each_ref().map(|upstream| upstream.received().len());
        let before = counts();
        for _ in 0..40 {
            assert_eq!(gateway.post("/v1/chat/completions", kept()).await.status, StatusCode::OK);
        }
        let after = counts();
        assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
    }
}

#[tokio::test]
async fn a_hedge_that_is_late_is_cancelled() {
    for stream in [false, true] {
        let mut two = Two::start().await;
        let collector = Collector::start().await;
        let gateway = Gateway::start(config(Some(&collector)), two.policy());
        allow_hedges(&gateway).await;
        let before = two.sent();
        let gate = Arc::new(Semaphore::new(0));
        let mut slow = vec![Step::Until(gate.clone())];
        slow.extend(if stream { streamed() } else { json(200, ANSWER) });
        two.then([slow, vec![Step::Open(gate), Step::Hang]]);
        let answer = gateway.post("/v1/chat/completions", chat(stream)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.text().matches("\"Hi\"").count(), 1, "{}", answer.text());
        assert_eq!(two.sent() - before, 2);
        two.closed().await;

        // Who answers is the last of the attempts: they stand in the order in which they were over.
        let (call, tries) = raced(&collector, 9).await;
        let said = |name: &str| [tries[0].get(name).to_owned(), tries[1].get(name).to_owned()];
        assert_eq!(said("error.type"), ["cancelled", ""]);
        assert_eq!(said("control_tower.hedge"), ["true", ""]);
        assert_eq!(said("control_tower.usage.source"), ["partial", "reported"]);
        assert_sums_up(&call, &tries, &answer);
        assert_eq!(gateway.metric("gateway_hedges_won_total").await, Some(0.0));
    }
}

#[tokio::test]
async fn an_error_of_one_waits_for_the_other() {
    let oops = json(500, r#"{"error":{"message":"oops"}}"#);
    for first_fails in [false, true] {
        let two = Two::start().await;
        let collector = Collector::start().await;
        let gateway = Gateway::start(config(Some(&collector)), two.policy());
        allow_hedges(&gateway).await;
        let before = two.sent();
        // The first to come waits until the second is there; who fails does so at once, and the other a while later.
        let gate = Arc::new(Semaphore::new(0));
        let (mut first, mut second) = (vec![Step::Until(gate.clone())], vec![Step::Open(gate)]);
        let (fails, answers) =
            if first_fails { (&mut first, &mut second) } else { (&mut second, &mut first) };
        fails.extend(oops.clone());
        answers.push(Step::Wait(Duration::from_millis(300)));
        answers.extend(json(200, ANSWER));
        two.then([first, second]);
        let answer = gateway.post("/v1/chat/completions", chat(false)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(two.sent() - before, 2, "neither is tried again");
        let (call, tries) = raced(&collector, 9).await;
        assert_eq!(call.get("error.type"), "");
        assert_eq!(tries[0].get("error.type"), "upstream_error");
        assert_eq!(tries[0].get("control_tower.cost.total"), "", "what was refused costs nothing");
        assert_eq!(cost(&call), cost(&tries[1]));
        assert_eq!(tries[1].get("control_tower.hedge"), if first_fails { "true" } else { "" });
    }
}

#[tokio::test]
async fn two_that_fail_are_tried_again() {
    let oops = || json(500, r#"{"error":{"message":"oops"}}"#);
    let two = Two::start().await;
    let mut policy = two.policy();
    let calm = serde_json::json!({"balance": {"kind": "weighted"}, "hedge": {"after": {"fixed_ms": 30}, "max_percent": 50}});
    policy.pools = pooled(&[&two.upstreams[0], &two.upstreams[1]], &calm).pools;
    let gateway = Gateway::start(config(None), policy);
    allow_hedges(&gateway).await;
    let before = two.sent();
    let gate = Arc::new(Semaphore::new(0));
    let mut first = vec![Step::Until(gate.clone())];
    first.extend(oops());
    let mut second = vec![Step::Open(gate)];
    second.extend(oops());
    two.then([first, second]);
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(two.sent() - before, 3);
}

#[tokio::test]
async fn what_the_request_is_to_blame_for_ends_the_race() {
    let mut two = Two::start().await;
    let gateway = Gateway::start(config(None), two.policy());
    allow_hedges(&gateway).await;
    two.then([vec![Step::Hang], json(400, r#"{"error":{"message":"bad"}}"#)]);
    let answer = gateway.post("/v1/chat/completions", chat(false)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    two.closed().await;
}

#[tokio::test]
async fn what_its_provider_keeps_is_sent_once() {
    let two = Two::start().await;
    let gateway = Gateway::start(config(None), two.policy());
    allow_hedges(&gateway).await;
    let before = two.sent();
    let mut slow = vec![Step::Wait(Duration::from_millis(300))];
    slow.extend(json(200, ANSWER));
    two.then([slow]);
    assert_eq!(gateway.post("/v1/chat/completions", kept()).await.status, StatusCode::OK);
    assert_eq!(two.sent() - before, 1);
}

#[tokio::test]
async fn hedges_are_at_most_a_share_of_the_calls() {
    const CALLS: usize = 40;
    let slow = || {
        let mut steps = vec![Step::Wait(Duration::from_millis(40))];
        steps.extend(json(200, ANSWER));
        Upstream::always(steps)
    };
    let upstreams = [slow().await, slow().await];
    let policy = serde_json::json!({"hedge": {"after": {"fixed_ms": 1}, "max_percent": 10}});
    let gateway = Gateway::start(config(None), pooled(&[&upstreams[0], &upstreams[1]], &policy));
    for _ in 0..CALLS {
        assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
    }
    let hedges = gateway.metric("gateway_hedges_total").await.unwrap();
    assert!((1.0..=4.0).contains(&hedges), "{hedges} hedges for {CALLS} calls, all of them slow");
}

/// With a budget that holds at most this much. A call of [`long`] holds some $2, two of them some $4.
pub fn budgeted(policy: Snapshot, limit: &str) -> Snapshot {
    let mut policy = policy;
    let json =
        serde_json::json!({"scope": {"kind": "tenant", "tenant": "acme"}, "limit": limit, "window": "total"});
    let budget: Budget = serde_json::from_value(json).unwrap();
    let reach = budget.reach();
    let named = Named { tenant: None, name: "b".parse().unwrap(), revision: 1, spec: budget };
    policy.budgets.insert(None, reach, Ok(Arc::new(named)));
    policy
}

/// A request whose answer may have a million tokens.
fn long() -> String {
    chat(false).replacen('{', r#"{"max_tokens":1000000,"service_tier":"default","#, 1)
}

#[tokio::test]
async fn there_is_no_hedge_without_the_money_for_both() {
    for (limit, expected) in [("3", 1), ("5", 2)] {
        let two = Two::start().await;
        let gateway = Gateway::start(config(None), budgeted(two.policy(), limit));
        allow_hedges(&gateway).await;
        // Were what is held for both not given back, the second time there would be nothing left for one.
        for _ in 0..4 {
            let before = two.sent();
            let gate = Arc::new(Semaphore::new(0));
            let mut slow = if expected == 2 {
                vec![Step::Until(gate.clone())]
            } else {
                vec![Step::Wait(Duration::from_millis(200))]
            };
            slow.extend(json(200, ANSWER));
            two.then([slow, vec![Step::Open(gate), Step::Hang]]);
            let answer = gateway.post("/v1/chat/completions", long()).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            assert_eq!(two.sent() - before, expected, "with {limit}");
            two.then([]);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_amid_a_race_cancels_both() {
    let mut two = Two::start().await;
    let collector = Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), two.policy());
    allow_hedges(&gateway).await;
    let before = two.sent();
    two.then([vec![Step::Hang], vec![Step::Hang]]);
    let calling = gateway.send(gateway.request("/v1/chat/completions", chat(false)));
    let came = async {
        while two.sent() - before < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = calling => panic!("nobody answers"),
        () = came => {}
    }
    two.closed().await;
    two.closed().await;
    let (call, tries) = raced(&collector, 9).await;
    assert_eq!(call.get("control_tower.client.disconnected"), "true");
    for span in &tries {
        assert_eq!(span.get("error.type"), "client_disconnected");
        assert_eq!(span.get("control_tower.usage.source"), "partial");
    }
    assert_eq!(cost(&call), cost(&tries[0]) + cost(&tries[1]));
}

#[tokio::test]
async fn a_failure_is_told_as_it_was_when_there_is_no_money_for_another_try() {
    let count = Arc::new(AtomicUsize::new(0));
    let dead = || {
        let count = count.clone();
        Upstream::start(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            vec![Step::Close]
        })
    };
    let upstreams = [dead().await, dead().await];
    // What the first try cost nobody knows, so that as much must be held again: that is too much.
    let policy = budgeted(pooled(&[&upstreams[0], &upstreams[1]], &serde_json::json!({})), "3");
    let gateway = Gateway::start(config(None), policy);
    let answer = gateway.post("/v1/chat/completions", long()).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.json()["error"]["code"], "upstream_closed");
    assert_eq!(count.load(Ordering::Relaxed), 1, "it is not tried again");
    // With more money it is.
    let policy = budgeted(pooled(&[&upstreams[0], &upstreams[1]], &serde_json::json!({})), "9");
    let gateway = Gateway::start(config(None), policy);
    gateway.post("/v1/chat/completions", long()).await;
    assert!(count.load(Ordering::Relaxed) > 2);
}
