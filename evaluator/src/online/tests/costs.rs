//! What judges spend is counted once, whoever asks them and whatever comes of it: what gateways were paid, what budgets know and what the report
//! says are the same to the picodollar.

use super::*;
use crate::api::{Api, router};
use crate::judges::{Kind, Ledger, ModelConfig};
use axum::Json;
use axum::extract::State;
use axum::routing::post;
use contracts::Usd;
use contracts::outcomes::Attribution;
use contracts::price::PriceBook;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const DAY: i64 = NOW / 86_400;
const GRADE: &str = "{\"grade\": 5}";

/// A gateway that answers in turn, for 0.002 USD each.
#[derive(Clone)]
struct Script {
    answers: Arc<Vec<&'static str>>,
    takes: Duration,
    turn: Arc<AtomicUsize>,
}

async fn answer(
    State(script): State<Script>,
    Json(_): Json<Value>,
) -> ([(&'static str, &'static str); 1], Json<Value>) {
    let turn = script.turn.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(script.takes).await;
    let content = script.answers[turn % script.answers.len()];
    ([("x-control-tower-cost-usd", "0.002")], Json(json!({"choices": [{"message": {"content": content}}]})))
}

async fn serve(app: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

struct Spending {
    bench: Bench,
    shared: Shared,
    script: Script,
}

impl Spending {
    /// One judge named `asks` of this kind, with so much a day.
    async fn new(kind: Kind, budget: &str, takes: Duration, answers: Vec<&'static str>) -> Self {
        let bench = Bench::new().await;
        let script = Script { answers: Arc::new(answers), takes, turn: Arc::default() };
        let app = axum::Router::new().route("/v1/chat/completions", post(answer)).with_state(script.clone());
        let model = ModelConfig {
            name: "asks".to_owned(),
            kind,
            model: "m".to_owned(),
            rubric: "helpfulness".to_owned(),
            samples: 2,
            budget_usd: budget.parse().unwrap(),
            reserve_usd: "0.005".parse().unwrap(),
        };
        let judges = JudgesConfig { enabled: Vec::new(), models: vec![model], ..JudgesConfig::default() };
        let ledger = Ledger::Shared(bench.judging.clone());
        let url = serve(app).await;
        let registry = Registry::configured(&judges, Some((&url, "key")), None, &ledger).unwrap();
        let shared = bench.shared(small(), registry);
        Self { bench, shared, script }
    }

    /// Asks the evaluator over HTTP.
    async fn ask(&self, path: &str, body: Value) -> (u16, Value) {
        let url = serve(router(Api::new(self.shared.clone()))).await;
        let request = http::Request::post(format!("{url}{path}"))
            .header("authorization", "Bearer secret")
            .body(http_body_util::Full::new(bytes::Bytes::from(body.to_string())))
            .unwrap();
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        let answer = client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// So much was paid, is in the budget, and is in the report.
    async fn is(&self, answers: usize, usd: &str) {
        self.shared.spending.close();
        self.shared.spending.wait().await;
        self.shared.spending.reopen();
        let usd: Usd = usd.parse().unwrap();
        assert_eq!(self.script.turn.load(Ordering::SeqCst), answers, "answers paid");
        assert_eq!(self.bench.judging.spent("asks", DAY).await.unwrap(), usd, "budget");
        let range = TimeRange { from_ms: (NOW - 86_400) * 1000, to_ms: (NOW + 86_400) * 1000 };
        let scope = TenantScope::one(tenant());
        let prices = PriceBook::new("none", Vec::new()).unwrap();
        let report = self.bench.warehouse.outcomes(&scope, range, Attribution::Trace, &prices, &[]);
        assert_eq!(report.await.unwrap().total.overhead, usd, "report");
    }
}

#[tokio::test]
async fn verdicts_that_are_asked_for_are_in_the_budget_and_in_the_report() {
    let spending = Spending::new(Kind::Rubric, "0.013", Duration::ZERO, vec![GRADE, "no grade"]).await;
    let subject = json!({"judge": "asks", "question": "Capital of Italy?", "answer": "Rome."});
    let (status, verdict) = spending.ask("/v1/score", subject.clone()).await;
    assert_eq!((status, &verdict["cost"]), (200, &json!("0.002")), "{verdict}");
    spending.is(1, "0.002").await;
    // A failure says what it cost, and costs it.
    let (status, refused) = spending.ask("/v1/score", subject.clone()).await;
    assert_eq!(status, 502, "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("0.002 USD paid"), "{refused}");
    spending.is(2, "0.004").await;
    let both = json!({"judges": ["asks"], "question": "Capital of Italy?", "answer": "Rome."});
    for (answers, total) in [(3, "0.006"), (4, "0.008"), (5, "0.01")] {
        let (status, said) = spending.ask("/v1/evaluate", both.clone()).await;
        assert_eq!((status, &said["cost"]), (200, &json!("0.002")), "{said}");
        spending.is(answers, total).await;
    }
    // 0.01 spent leaves no room for 0.005 more, whoever asks.
    assert_eq!(spending.ask("/v1/score", subject).await.0, 429);
    spending.is(5, "0.01").await;
}

#[tokio::test]
async fn a_verdict_that_comes_too_late_was_paid_all_the_same() {
    let takes = Duration::from_millis(700);
    let spending = Spending::new(Kind::Rubric, "1", takes, vec![GRADE]).await;
    let hasty =
        json!({"judge": "asks", "question": "Capital of Italy?", "answer": "Rome.", "deadline_ms": 200});
    let (status, refused) = spending.ask("/v1/score", hasty).await;
    assert_eq!(status, 504, "{refused}");
    tokio::time::sleep(takes * 2).await;
    spending.is(1, "0.002").await;
}

#[tokio::test]
async fn a_verdict_whose_second_answer_the_budget_refuses_was_paid_for_the_first() {
    // 0.002 spent leaves no room for 0.005 more.
    let spending = Spending::new(Kind::SelfConsistency, "0.006", Duration::ZERO, vec!["Rome."]).await;
    spending.bench.warehouse.insert_spans(&[call(1, 600, "Rome.", "")], "calls").await.unwrap();
    Planner::new(spending.shared.clone()).round().await.unwrap();
    assert!(Worker::new(spending.shared.clone(), 0).round().await.unwrap());
    assert_eq!(spending.bench.counts().await.len(), 0, "no verdict");
    spending.is(1, "0.002").await;
}

#[tokio::test]
async fn what_is_judged_again_was_paid_twice() {
    let spending = Spending::new(Kind::Rubric, "1", Duration::ZERO, vec!["no grade", GRADE]).await;
    spending.bench.warehouse.insert_spans(&[call(1, 600, "Rome.", "")], "calls").await.unwrap();
    drain(&spending.shared).await;
    spending.is(1, "0.002").await;
    spending.bench.clock.advance(Duration::from_mins(5));
    let again = changes::back_fill(&spending.shared, 1_000, 0);
    spending.bench.judging.ensure_stream(&again).await.unwrap();
    drain(&spending.shared).await;
    assert_eq!(spending.bench.verdicts().await.len(), 2);
    spending.is(2, "0.004").await;
}

#[tokio::test]
async fn what_a_chunk_cost_that_was_lost_before_it_was_written_counts_beside_what_it_costs_again() {
    let takes = Duration::from_millis(500);
    let spending = Spending::new(Kind::Rubric, "1", takes, vec![GRADE]).await;
    let Spending { bench, shared, .. } = &spending;
    bench.warehouse.insert_spans(&[call(1, 600, "Rome.", "")], "calls").await.unwrap();
    Planner::new(shared.clone()).round().await.unwrap();
    let slow = Worker { name: "slow".to_owned(), shared: shared.clone() };
    let slow = tokio::spawn(async move { slow.round().await });
    while spending.script.turn.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Its lease runs out while it waits, and another takes the chunk.
    bench.clock.advance(Duration::from_secs(61));
    let other = Worker { name: "other".to_owned(), shared: shared.clone() };
    assert!(other.round().await.unwrap());
    let lost = slow.await.unwrap().unwrap_err().to_string();
    assert!(lost.contains("taken over"), "{lost}");
    assert_eq!(bench.counts().await.len(), 1);
    spending.is(2, "0.004").await;
}
