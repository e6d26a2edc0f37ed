//! Judges of one's own in production and over a truth set that is made of what people labelled: whatever they cost is counted, within
//! what they may spend.

use crate::tower::{Tower, number, run};
use serde_json::{Value, json};
use std::time::Duration;

const CALLS: usize = 6;
const WITHIN: Duration = Duration::from_mins(2);
/// Calls that are not judged, once all are that should be: those of judges.
const BY_JUDGES: &str = "FROM calls WHERE trace_id NOT IN (SELECT trace_id FROM evaluations)";

/// Picodollars of a decimal text.
fn picos(text: &str) -> i128 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<12}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_labelled_is_run_again_by_configured_judges_and_their_cost_counts() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    // One asks a model twice, through the gateway, one is a command that says what it costs.
    std::fs::write(
        file.path(),
        // A call that a busy machine brings in later than `settle` is found by looking back, every twentieth of `lookback`.
        "[evaluator]\nsettle = \"1s\"\npoll = \"200ms\"\nlookback = \"1m\"\n\
         [evaluator.judges]\nenabled = [\"refusal\"]\n\
         [[evaluator.judges.models]]\nname = \"steady\"\nkind = \"self_consistency\"\nmodel = \"sim-small\"\nsamples = 2\n\
         budget_usd = \"1\"\n\
         [[evaluator.judges.custom]]\nname = \"house\"\nversion = \"1\"\n\
         command = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"score\\\": 1, \\\"cost\\\": \\\"0.001\\\"}'\"]\n",
    )
    .unwrap();
    let tower = Tower::start_with(file.path()).await;
    let key = tower.text("/tenant_key").to_owned();
    for index in 0..CALLS {
        let text = format!("echo number {index}");
        let asked = json!({"model": "sim-small", "messages": [{"role": "user", "content": text}]});
        let answer = tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // Online: every call has its verdict of each judge, and the judges' own calls have none.
    let verdicts = "SELECT count() AS n FROM evaluations WHERE source = ''";
    tower.wait_for(verdicts, 3 * CALLS as u64, WITHIN).await;
    let judged =
        "SELECT toString(sum(cost)) AS cost, uniqExact(trace_id) AS calls FROM evaluations WHERE source = ''";
    let judged = tower.query(judged).await.remove(0);
    assert_eq!(number(&judged["calls"]), CALLS as u64);
    tower.wait_for(&format!("SELECT count() AS n {BY_JUDGES}"), 2 * CALLS as u64, WITHIN).await;
    let bill = tower.query(&format!("SELECT toString(sum(cost_total)) AS cost {BY_JUDGES}")).await;
    let bill = picos(bill[0]["cost"].as_str().unwrap());
    assert_eq!(picos(judged["cost"].as_str().unwrap()), bill + 6 * 1_000_000_000);
    // What judges ask models is no overhead of the answers' own: it is in the cost of judging them.
    let report = tower.api("/api/v1/outcomes?range=1h").await;
    assert_eq!(report["total"]["overhead_calls"], json!(CALLS), "{report:#}");

    let rows = annotated(&tower, &key).await;
    run_again(&tower, file.path(), rows).await;
    tower.stop().await;
}

/// Labels four calls, and makes a truth set of them; how many rows it has.
async fn annotated(tower: &Tower, key: &str) -> u64 {
    let evaluator = |path: &str| format!("{}{path}", tower.text("/evaluator_url"));
    let sample = json!({"from_ms": 0, "to_ms": 4_000_000_000_000_u64, "calls": 4, "judge": "refusal"});
    let queued = tower.http.call(&evaluator("/v1/annotations/sample"), key, &sample).await.json();
    let queued = queued.as_array().unwrap();
    assert_eq!(queued.len(), 4);
    for (index, call) in queued.iter().enumerate() {
        let said = if index % 2 == 0 { "pass" } else { "fail" };
        let label = json!({"label": said, "annotator": "ann"});
        let path = format!("/v1/annotations/{}/label", call["id"].as_str().unwrap());
        let labelled = tower.http.call(&evaluator(&path), key, &label).await;
        assert_eq!(labelled.status, 200, "{}", labelled.text());
    }
    let dir = tower.dir().display().to_string();
    let create = |more: &[&str]| {
        let fixed =
            ["eval", "dataset", "create", "labelled", "--from-annotations", "--data-dir", &dir, "--json"];
        run(&[&fixed, more].concat())
    };
    let made = create(&[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["rows"], 4, "{made}");
    let exported = run(&["eval", "dataset", "export", "labelled", "--data-dir", &dir]);
    let exported = String::from_utf8(exported.stdout).unwrap();
    let rows: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &rows {
        let asked = row["messages"][0]["content"].as_str().unwrap();
        let expected = asked.strip_prefix("echo ").filter(|_| row["slices"]["label"] == "pass");
        assert_eq!(row["expected"].as_str(), expected, "{row}");
    }
    let none = create(&["--queue", "nobody"]);
    assert_eq!(none.status.code(), Some(1));
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(said.contains("queue \"nobody\""), "{said}");
    rows.len() as u64
}

/// The truth set through the gateway, by the same judges.
async fn run_again(tower: &Tower, config: &std::path::Path, rows: u64) {
    let (config, dir) = (config.display().to_string(), tower.dir().display().to_string());
    let eval = |judges: &str| {
        run(&[
            "--config",
            &config,
            "eval",
            "run",
            "--data-dir",
            &dir,
            "--dataset",
            "labelled",
            "--target",
            "model:sim-small",
            "--judges",
            judges,
            "--json",
        ])
    };
    let output = eval("steady,house,token_f1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for judge in ["steady", "house", "token_f1"] {
        let mean = &report["summary"]["judges"][judge]["mean"]["estimate"];
        assert!((mean.as_f64().unwrap() - 1.0).abs() < 1e-6, "{judge}: {report:#}");
    }
    // Each row is one call of the run's and two of its judge's, and as it is a call like any other it is judged online, too. What judges
    // asked models for is what the verdicts and the run say that they cost.
    let account = |field: &str| picos(report.pointer(field).and_then(Value::as_str).unwrap());
    assert_eq!(account("/account/cost"), account("/account/check/metered"), "{report:#}");
    let all = CALLS as u64 + rows;
    tower.wait_for("SELECT count() AS n FROM evaluations WHERE source = ''", 3 * all, WITHIN).await;
    tower.wait_for(&format!("SELECT count() AS n {BY_JUDGES}"), 2 * all + 2 * rows, WITHIN).await;
    let sum = async |sql: &str| picos(tower.query(sql).await[0]["cost"].as_str().unwrap());
    let bill = sum(&format!("SELECT toString(sum(cost_total)) AS cost {BY_JUDGES}")).await;
    let online = sum("SELECT toString(sum(cost)) AS cost FROM evaluations WHERE source = ''").await;
    let house = i128::from(all + rows) * 1_000_000_000;
    assert_eq!(online + account("/account/cost_judges"), bill + house);
    assert!(account("/account/cost_judges") > i128::from(rows) * 1_000_000_000, "{report:#}");

    let output = eval("nobody");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("\"nobody\"") && said.contains("steady, house"), "{said}");
}
