//! A truth set through the gateway, with a kill -9 in the middle: taken up again, every row has one result, and the cost is what the
//! gateway metered, to the picodollar, calls that the kill cut off included.

use crate::tower::{Tower, number, run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROWS: usize = 2000;

fn truth_set(path: &Path) {
    let row = |index: usize| {
        let words = "and a few more words so that prompts differ in length ".repeat(index % 5);
        let task = if index.is_multiple_of(3) { "echo" } else { "talk" };
        json!({"id": format!("row-{index}"), "input": format!("echo number {index} {words}"), "expected": format!("number {index}"), "task": task})
    };
    let lines: String = (0..ROWS).map(|index| row(index).to_string() + "\n").collect();
    std::fs::write(path, lines).unwrap();
}

fn arguments(tower: &Tower, more: &[&str]) -> Vec<String> {
    let dir = tower.dir().display().to_string();
    let fixed = ["eval", "run", "--data-dir", &dir, "--dataset", "faq", "--target", "model:sim-small"];
    let fixed = fixed.iter().chain(&["--judges", "exact_match,token_f1", "--concurrency", "16", "--json"]);
    fixed.chain(more).map(|text| (*text).to_owned()).collect()
}

fn start(arguments: &[String]) -> Child {
    let command = Command::new(env!("CARGO_BIN_EXE_control-tower"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    command.unwrap()
}

fn told(output: &Output) -> Value {
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn eval(arguments: &[String]) -> Output {
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Picodollars of a decimal text.
fn picos(text: &str) -> i128 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<12}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_is_taken_up_with_every_row_once_and_the_cost_exact() {
    let tower = Tower::start().await;
    let dir = tower.dir().display().to_string();
    let file = tower.dir().join("faq.jsonl");
    truth_set(&file);
    let made = run(&[
        "eval",
        "dataset",
        "create",
        "faq",
        "--from",
        &file.display().to_string(),
        "--data-dir",
        &dir,
        "--json",
    ]);
    let made = told(&made);
    assert_eq!((&made["rows"], &made["new"]), (&json!(ROWS), &json!(true)));

    let arguments = arguments(&tower, &["--run", "nightly", "--fail-if", "errors > 0 or results != 2000"]);
    let mut first = start(&arguments);
    let journal = tower.dir().join("eval/nightly/journal.jsonl");
    let lines = || std::fs::read_to_string(&journal).unwrap_or_default().lines().count();
    let started = Instant::now();
    while lines() < ROWS / 3 {
        assert!(started.elapsed() < Duration::from_mins(2), "the run does not get on: {} lines", lines());
        assert!(first.try_wait().unwrap().is_none(), "the run ended by itself");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let before = lines();
    assert!(before < ROWS, "killed too late to prove anything: {before} lines");

    let output = eval(&arguments);
    let report = told(&output);
    assert!(output.status.success(), "{report:#}");
    println!("killed after {} results; account: {}", before - 1, report["account"]);
    assert_eq!((&report["state"], &report["results"]), (&json!("finished"), &json!(ROWS)));

    let results = "SELECT count() AS n, uniqExact(row_id) AS rows, toString(sum(cost)) AS cost FROM eval_results WHERE run_id = 'nightly'";
    let results = tower.query(results).await.remove(0);
    assert_eq!((number(&results["n"]), number(&results["rows"])), (ROWS as u64, ROWS as u64));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in std::fs::read_to_string(&journal).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(row) = line["result"]["row_id"].as_str() {
            *seen.entry(row.to_owned()).or_default() += 1;
        }
    }
    assert!(seen.len() == ROWS && seen.values().all(|count| *count == 1));

    let text = |pointer: &str| report.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    assert_eq!(
        (&report["account"]["check"]["missing"], &report["account"]["check"]["differing"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(text("/account/cost"), text("/account/check/metered"));
    let calls =
        tower.query("SELECT count() AS n, toString(sum(cost_total)) AS cost FROM calls").await.remove(0);
    let (cost, lost) = (picos(&text("/account/cost")), picos(&text("/account/check/lost")));
    assert_eq!(picos(calls["cost"].as_str().unwrap()), cost + lost, "the whole bill of the run");
    assert_eq!(picos(results["cost"].as_str().unwrap()), cost);
    assert!(cost > 0);
    assert_eq!(number(&calls["n"]), ROWS as u64 + number(&report["account"]["check"]["lost_calls"]));
    assert!(tower.dir().join("eval/nightly/results.parquet").metadata().unwrap().len() > 1000);

    // Once more changes nothing: no call is made, no result doubled.
    assert!(eval(&arguments).status.success());
    let again =
        tower.query("SELECT count() AS n, uniqExact(run_id) AS runs FROM eval_results").await.remove(0);
    assert_eq!(number(&again["n"]), ROWS as u64);
    let after = tower.query("SELECT count() AS n FROM calls").await.remove(0);
    assert_eq!(after["n"], calls["n"]);

    gates_ceilings_and_comparisons(&tower, cost);
    tower.stop().await;
}

fn gates_ceilings_and_comparisons(tower: &Tower, cost: i128) {
    let dir = tower.dir().display().to_string();
    let junit = tower.dir().join("junit.xml").display().to_string();
    let output =
        eval(&arguments(tower, &["--run", "nightly", "--fail-if", "token_f1 < 2", "--junit", &junit]));
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tower.read("junit.xml").contains("failures=\"1\""), "{}", tower.read("junit.xml"));
    let output = eval(&arguments(tower, &["--run", "x", "--fail-if", "token_f1 << 2"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("column 11"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    // A tenth of what the whole costs.
    let ceiling = cost / 10;
    let usd = format!("{}.{:012}", ceiling / 1_000_000_000_000, ceiling % 1_000_000_000_000);
    let output = eval(&arguments(tower, &["--run", "cheap", "--cost-ceiling", &usd]));
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let report = told(&output);
    let spent = picos(report["account"]["cost"].as_str().unwrap());
    println!("ceiling {ceiling}, spent {spent} picodollars");
    assert!(spent <= ceiling && spent > ceiling * 8 / 10, "spent {spent} of {ceiling}");

    let output = eval(&arguments(tower, &["--run", "second"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run(&["eval", "compare", "nightly", "second", "--data-dir", &dir, "--json"]);
    let changes = told(&output);
    let change = changes
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["metric"] == "token_f1" && c["value"] == "echo")
        .unwrap();
    assert_eq!(
        (&change["difference"]["estimate"], &change["pairs"]),
        (&json!(0.0), &json!(ROWS.div_ceil(3)))
    );
}
