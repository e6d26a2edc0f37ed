//! Judges that ask a model, against a gateway that answers as told.

use super::*;
use axum::Json;
use axum::extract::State;
use axum::routing::post;
use contracts::SubjectRef;
use std::sync::atomic::{AtomicUsize, Ordering};

type Script = Arc<(Vec<&'static str>, AtomicUsize)>;

async fn answer(
    State(script): State<Script>,
    Json(_): Json<Value>,
) -> ([(&'static str, &'static str); 1], Json<Value>) {
    let turn = script.1.fetch_add(1, Ordering::SeqCst);
    let content = script.0[turn % script.0.len()];
    ([("x-control-tower-cost-usd", "0.002")], Json(json!({"choices": [{"message": {"content": content}}]})))
}

/// The judge and the count of its calls.
async fn judge(kind: Kind, budget: &str, script: Vec<&'static str>) -> (ModelJudge, Script) {
    judge_with(kind, budget, script, Ledger::Here).await
}

async fn judge_with(
    kind: Kind,
    budget: &str,
    script: Vec<&'static str>,
    ledger: Ledger,
) -> (ModelJudge, Script) {
    let script: Script = Arc::new((script, AtomicUsize::new(0)));
    let app = axum::Router::new().route("/v1/chat/completions", post(answer)).with_state(script.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config = ModelConfig {
        name: "asks".to_owned(),
        kind,
        model: "m".to_owned(),
        rubric: "helpfulness".to_owned(),
        samples: 2,
        budget_usd: budget.parse().unwrap(),
        reserve_usd: "0.005".parse().unwrap(),
    };
    config.validate().unwrap();
    let gateway = Gateway::new(Wire::new().unwrap(), &url, "key").unwrap();
    (ModelJudge::new(config, gateway, None, ledger), script)
}

fn subject() -> Subject {
    let reference = SubjectRef {
        tenant: "acme".parse().unwrap(),
        trace_id: String::new(),
        span_id: String::new(),
        response_id: String::new(),
    };
    Subject {
        question: Some("Capital of Italy?".to_owned()),
        answer: "It is Rome".to_owned(),
        expected: Some("Rome".to_owned()),
        ..Subject::new(reference, Timestamp::from_unix_seconds(1_000_000))
    }
}

#[tokio::test]
async fn a_grade_becomes_a_score_with_its_cost() {
    let (judge, _) =
        judge(Kind::Rubric, "1", vec!["```json\n{\"grade\": 4, \"reason\": \"short\"}\n```"]).await;
    let verdict = judge.look(&subject()).await.unwrap();
    assert_eq!((verdict.score, verdict.label.as_str()), (Some(0.75), "pass"));
    assert_eq!((verdict.cost, verdict.explanation.as_str()), ("0.002".parse().unwrap(), "short"));
}

#[tokio::test]
async fn who_wins_by_place_alone_has_tied() {
    let (by_place, _) = judge(Kind::Pairwise, "1", vec!["{\"better\": \"A\"}"]).await;
    let verdict = by_place.look(&subject()).await.unwrap();
    assert_eq!((verdict.label.as_str(), verdict.details["consistent"].as_bool()), ("tie", Some(false)));
    assert_eq!(verdict.cost, "0.004".parse().unwrap());
    let (by_worth, _) = judge(Kind::Pairwise, "1", vec!["{\"better\": \"A\"}", "{\"better\": \"B\"}"]).await;
    assert_eq!(by_worth.look(&subject()).await.unwrap().label, "better");
}

#[tokio::test]
async fn samples_that_agree_score_high() {
    let (judge, calls) = judge(Kind::SelfConsistency, "1", vec!["it is rome", "no idea"]).await;
    let verdict = judge.look(&subject()).await.unwrap();
    assert_eq!((verdict.score, calls.1.load(Ordering::SeqCst)), (Some(0.5), 2));
}

#[tokio::test]
async fn a_budget_is_never_overshot_and_comes_back_the_next_day() {
    let (judge, calls) = judge(Kind::Rubric, "0.010", vec!["{\"grade\": 5}"]).await;
    let judge = Arc::new(judge);
    let subject = subject();
    let (mut paid, mut refused) = (0, 0);
    for round in 0..4 {
        let asked: Vec<_> = (0..5)
            .map(|_| {
                let (judge, subject) = (judge.clone(), subject.clone());
                tokio::spawn(async move { judge.look(&subject).await })
            })
            .collect();
        for one in asked {
            match one.await.unwrap() {
                Ok(_) => paid += 1,
                Err(JudgeError::Budget { .. }) => refused += 1,
                Err(other) => panic!("round {round}: {other}"),
            }
        }
    }
    // At 0.002 each, 0.006 spent leaves no room for a reservation of 0.005.
    assert_eq!((paid, refused), (3, 17));
    assert_eq!(calls.1.load(Ordering::SeqCst), 3);
    let tomorrow = Subject { at: Timestamp::from_unix_seconds(1_000_000 + 86_400), ..subject };
    judge.look(&tomorrow).await.unwrap();
}

#[tokio::test]
async fn a_budget_holds_over_several_evaluators_and_their_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("control.db").display());
    let evaluator = async || {
        let ledger = Ledger::Shared(control::Judging::open(&url).await.unwrap());
        Arc::new(judge_with(Kind::Rubric, "0.010", vec!["{\"grade\": 5}"], ledger).await.0)
    };
    let evaluators = [evaluator().await, evaluator().await, evaluator().await];
    let (mut paid, mut refused) = (0, 0);
    for _ in 0..3 {
        let asked: Vec<_> = evaluators
            .iter()
            .map(|judge| {
                let judge = judge.clone();
                tokio::spawn(async move { judge.look(&subject()).await })
            })
            .collect();
        for one in asked {
            match one.await.unwrap() {
                Ok(_) => paid += 1,
                Err(JudgeError::Budget { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    // As one evaluator alone: at 0.002 each, 0.006 spent leaves no room for a reservation of 0.005.
    assert_eq!((paid, refused), (3, 6));
    let restarted = evaluator().await;
    assert!(matches!(restarted.look(&subject()).await, Err(JudgeError::Budget { .. })));
}

#[tokio::test]
async fn what_was_paid_for_no_verdict_counts_all_the_same() {
    let (mumbles, _) = judge(Kind::Rubric, "1", vec!["well, good I suppose"]).await;
    let error = mumbles.look(&subject()).await.unwrap_err();
    assert_eq!(error.cost(), "0.002".parse().unwrap());
    assert!(error.to_string().contains("no JSON with a grade") && !error.is_retryable(), "{error}");
    // The second of two answers is of no use: both were paid.
    let (wavers, _) = judge(Kind::Pairwise, "1", vec!["{\"better\": \"A\"}", "{\"better\": \"C\"}"]).await;
    assert_eq!(wavers.look(&subject()).await.unwrap_err().cost(), "0.004".parse().unwrap());
    let verdict = super::super::patience::apart(Arc::new(wavers), Arc::new(subject())).await;
    assert_eq!((verdict.label.as_str(), verdict.cost), (super::super::ERROR, "0.004".parse().unwrap()));
}
