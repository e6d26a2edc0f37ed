//! The evaluator as its users meet it: a call through the gateway gets its verdicts, judges answer when they are asked, and workers
//! that are killed at random neither miss a call nor judge one twice.
//!
//! The short form of the last judges 4,000 calls. The long form, 100,000, is ignored by default, for it takes minutes:
//! `cargo nextest run -p control-tower --run-ignored all evaluator`.

use crate::tower::{Tower, number};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_control-tower");
/// What the workers that are killed judge by: quick, so that there is much to write.
const JUDGES: [&str; 3] = ["refusal", "pii_leak", "language_match"];
const WORKERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_gets_its_verdicts_and_judges_answer_when_asked() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), "[evaluator]\nsettle = \"1s\"\npoll = \"200ms\"\nlookback = \"20s\"\n")
        .unwrap();
    let tower = Tower::start_with(file.path()).await;
    let key = tower.text("/tenant_key").to_owned();
    let asked = json!({
        "model": "sim-small",
        "messages": [{"role": "user", "content": "What is the capital of Italy?"}],
        "response_format": {"type": "json_object"},
        "logprobs": true,
        "control_tower": {"context": [{"id": "d1", "text": "Rome is the capital of Italy."}]}
    });
    let answer = tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    tower
        .wait_for(
            "SELECT count() AS n FROM evaluations WHERE judge = 'refusal' AND source = ''",
            1,
            Duration::from_mins(1),
        )
        .await;
    // What the answer could rest on came with the request.
    tower
        .wait_for(
            "SELECT count() AS n FROM evaluations WHERE judge = 'grounding' AND score IS NOT NULL",
            1,
            Duration::from_mins(1),
        )
        .await;

    // And so did what form it had to have, and how probable its tokens were.
    for judge in ["json_validity", "uncertainty"] {
        let scored =
            format!("SELECT count() AS n FROM evaluations WHERE judge = '{judge}' AND score IS NOT NULL");
        tower.wait_for(&scored, 1, Duration::from_mins(1)).await;
    }

    // Responses carry probabilities with their texts, whole or as they stream.
    for (stream, judged) in [(false, 2), (true, 3)] {
        let asked = json!({
            "model": "sim-small", "input": "What is the capital of Italy?", "stream": stream,
            "include": ["message.output_text.logprobs"],
        });
        let answer = tower.http.call(&tower.gateway("/v1/responses"), &key, &asked).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        tower
            .wait_for(
                "SELECT count() AS n FROM evaluations WHERE judge = 'uncertainty' AND score > 0",
                judged,
                Duration::from_mins(1),
            )
            .await;
    }

    let evaluator = |path: &str| format!("{}{path}", tower.text("/evaluator_url"));
    let subject = json!({
        "question": "What is the capital of Italy?",
        "context": [{"id": "d1", "text": "Rome is the capital of Italy. It has 2.8 million inhabitants."}],
        "answer": "The capital is Rome. It has 9 million inhabitants.",
        "judges": ["grounding", "hallucination", "pii_leak"]
    });
    let answer = tower.http.call(&evaluator("/v1/evaluate"), &key, &subject).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json();
    assert_eq!(said["failures"], json!([]), "{said}");
    let of = |judge: &str| -> Value {
        let verdicts = said["verdicts"].as_array().unwrap();
        verdicts.iter().find(|verdict| verdict["judge"] == judge).unwrap().clone()
    };
    let claims = of("grounding")["details"]["claims"].as_array().unwrap().clone();
    let wrong = claims.iter().find(|claim| claim["reason"] == "number_mismatch");
    assert!(wrong.is_some_and(|claim| claim["support"].as_f64().unwrap() < 0.5), "{claims:?}");
    assert_eq!(of("pii_leak")["label"], "clean");

    let one = json!({"judge": "refusal", "answer": "I'm sorry, but I can't help with that."});
    let verdict = tower.http.call(&evaluator("/v1/score"), &key, &one).await.json();
    assert_eq!((&verdict["label"], &verdict["score"]), (&json!("refused"), &json!(1.0)));

    // Bad input names what is wrong, and nobody gets in without a key.
    for (path, body, status, expected) in [
        ("/v1/score", json!({"answer": "x"}), 400, "judge"),
        ("/v1/score", json!({"judge": "nobody", "answer": "x"}), 400, "refusal"),
        ("/v1/evaluate", json!({"answr": "x"}), 400, "answr"),
        ("/v1/evaluate", json!({"answer": 7}), 400, "answer"),
        ("/v1/evaluate", json!({"trace_id": "x"}), 400, "span_id"),
        ("/v1/backfills", json!({"from_ms": 5, "to_ms": 5}), 400, "to_ms"),
        ("/v1/nothing", json!({}), 404, "openapi.json"),
    ] {
        let answer = tower.http.call(&evaluator(path), &key, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected), "{path} {body}: {message}");
    }
    assert_eq!(
        tower.http.call(&evaluator("/v1/evaluate"), "ct-nobody", &json!({"answer": "x"})).await.status,
        401
    );

    annotate(&tower, &key).await;
    tower.stop().await;
}

/// The queue: a judged call is sampled, labelled, and compared.
async fn annotate(tower: &Tower, key: &str) {
    let evaluator = |path: &str| format!("{}{path}", tower.text("/evaluator_url"));
    let sample = json!({"from_ms": 0, "to_ms": 4_000_000_000_000_u64, "calls": 1, "judge": "refusal"});
    let queued = tower.http.call(&evaluator("/v1/annotations/sample"), key, &sample).await.json();
    assert_eq!(queued.as_array().map(Vec::len), Some(1), "{queued}");
    let id = queued[0]["id"].as_str().unwrap();
    let label = json!({"label": "pass", "annotator": "ann"});
    let path = format!("/v1/annotations/{id}/label");
    let labelled = tower.http.call(&evaluator(&path), key, &label).await;
    assert_eq!(labelled.status, 200, "{}", labelled.text());
    let bearer = format!("Bearer {key}");
    let agreement = tower.http.get(&evaluator("/v1/agreement"), &[("authorization", &bearer)]).await.json();
    let refusal = agreement.as_array().unwrap().iter().find(|one| one["judge"] == "refusal").cloned();
    assert_eq!(refusal.unwrap()["pairs"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_judge_every_call_once() {
    kill_at_random(4_000, Duration::from_millis(700)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: the short form above is the everyday one"]
async fn workers_that_are_killed_judge_a_hundred_thousand_calls_once() {
    kill_at_random(100_000, Duration::from_secs(4)).await;
}

/// Four evaluators judge `calls` calls while one after the other is killed and started again.
async fn kill_at_random(calls: u64, between: Duration) {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let mut config = String::new();
    let judges: Vec<String> = JUDGES.iter().map(|judge| format!("{judge:?}")).collect();
    write!(
        config,
        "[evaluator]\nonline = false\nworkers = 1\nsettle = \"100ms\"\npoll = \"100ms\"\nlease = \"3s\"\n\
         chunk_calls = 200\n[evaluator.judges]\nenabled = [{}]\n",
        judges.join(", ")
    )
    .unwrap();
    std::fs::write(file.path(), config).unwrap();
    let tower = Tower::start_with(file.path()).await;
    insert(&tower, calls).await;

    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| Worker::start(&tower, file.path())).collect();
    let started = Instant::now();
    let (mut kills, mut choice) = (0_usize, 12_345_u64);
    let wanted = calls * JUDGES.len() as u64;
    let patience = Duration::from_secs(180 + calls / 60);
    loop {
        tokio::time::sleep(between).await;
        let done = number(&tower.query("SELECT count() AS n FROM evaluations").await[0]["n"]);
        if done >= wanted {
            break;
        }
        assert!(
            started.elapsed() < patience,
            "{done} of {wanted} verdicts after {patience:?} and {kills} kills"
        );
        // A fixed sequence, so that a failure can be seen again; when the kills fall within the work is random enough.
        choice = choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let index = usize::try_from(choice >> 33).unwrap() % WORKERS;
        // Every other worker gets to live for longer than it takes to start.
        if workers[index].since.elapsed() > between * 2 {
            workers[index] = Worker::start(&tower, file.path());
            kills += 1;
        }
    }
    println!("{calls} calls, {kills} kills, {:.1} s", started.elapsed().as_secs_f64());
    assert!(kills >= 3, "{kills} kills prove nothing");
    // Longer than a lease: whatever a killed worker left is taken up and must change nothing.
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(workers);
    let counted = tower
        .query(
            "SELECT count() AS n, uniqExact(tenant_id, trace_id, span_id, judge, version) AS distinct, \
             uniqExact(tenant_id, trace_id, span_id) AS calls FROM evaluations",
        )
        .await;
    assert_eq!(number(&counted[0]["n"]), wanted, "verdicts: {counted:?}");
    assert_eq!(number(&counted[0]["distinct"]), wanted, "distinct verdicts: {counted:?}");
    assert_eq!(number(&counted[0]["calls"]), calls);
    let events =
        tower.query("SELECT count() AS n FROM events WHERE event_name = 'gen_ai.evaluation.result'").await;
    assert_eq!(number(&events[0]["n"]), wanted, "events");
    tower.stop().await;
}

/// Calls of the last half hour, each with a question and an answer.
async fn insert(tower: &Tower, calls: u64) {
    let sql = format!(
        "INSERT INTO spans (tenant_id, start_time, trace_id, span_id, record, operation, request_model, http_status, \
         input_messages, output_messages, retention_days) \
         SELECT 'default', now64(9, 'UTC') - toIntervalMillisecond(60000 + number * 1700000 / {calls}), \
         lower(hex(sipHash128(number))), lower(hex(sipHash64(number))), 'call', 'chat', 'm', 200, \
         '[{{\"role\":\"user\",\"parts\":[{{\"type\":\"text\",\"content\":\"Where is my order, please?\"}}]}}]', \
         '[{{\"role\":\"assistant\",\"parts\":[{{\"type\":\"text\",\"content\":\"It has left for Rome yesterday.\"}}]}}]', 30 \
         FROM numbers({calls})"
    );
    let url = format!("{}/?database={}", tower.text("/clickhouse/url"), tower.text("/clickhouse/database"));
    let headers = [
        ("x-clickhouse-user", tower.text("/clickhouse/user")),
        ("x-clickhouse-key", tower.text("/clickhouse/password")),
    ];
    let answer = tower.http.post(&url, &headers, sql).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        number(&tower.query("SELECT uniqExact(trace_id, span_id) AS n FROM calls").await[0]["n"]),
        calls
    );
}

/// An evaluator of its own; killed when dropped.
struct Worker {
    child: Child,
    since: Instant,
}

impl Worker {
    fn start(tower: &Tower, config: &std::path::Path) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let store = |name: &str| tower.text(&format!("/clickhouse/{name}")).to_owned();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(tower.dir().join("logs/workers.log"))
            .unwrap();
        let child = Command::new(BINARY)
            .arg("--config")
            .arg(config)
            .arg("evaluator")
            .env("CONTROL_TOWER__EVALUATOR__ONLINE", "true")
            .env("CONTROL_TOWER__EVALUATOR__LISTEN", format!("127.0.0.1:{port}"))
            .env("CONTROL_TOWER__STORE__CLICKHOUSE_URL", store("url"))
            .env("CONTROL_TOWER__STORE__USER", store("user"))
            .env("CONTROL_TOWER__STORE__PASSWORD", store("password"))
            .env("CONTROL_TOWER__STORE__DATABASE", store("database"))
            .env(
                "CONTROL_TOWER__CONTROL__URL",
                format!("sqlite://{}", tower.dir().join("control.db").display()),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, since: Instant::now() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // SIGKILL: nothing of it gets to end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
