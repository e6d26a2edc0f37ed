//! 2,000 mixed calls, 200 at a time: a row for each, and the sum of their cost as it is recomputed here, with this file's own
//! arithmetic, from the simulator's own log.

use crate::tower::{Tower, number};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const CALLS: usize = 2000;
const CONCURRENCY: usize = 200;
/// Of 20 kinds of calls each is made a hundred times.
const OF_EACH: u64 = CALLS as u64 / KINDS as u64;
const KINDS: usize = 20;

/// Picodollars a token: input that was not cached, input that was, output. 1 USD per million tokens is 1,000,000.
const PRICES: [(&str, &str, [i128; 3]); 6] = [
    ("sim-fast", "default", [37_000, 18_500, 149_000]),
    ("sim-small", "default", [150_000, 75_000, 600_000]),
    ("sim-small", "flex", [75_000, 37_500, 300_000]),
    ("sim-large", "default", [2_500_000, 1_250_000, 10_000_000]),
    ("sim-reasoning", "default", [1_100_000, 550_000, 4_400_000]),
    ("sim-embedding", "default", [20_000, 20_000, 0]),
];

/// What is done with an answer.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Read,
    /// Leave after the first tokens.
    Leave,
}

/// Call number `index`: path, body, and what is done with the answer.
fn call(index: usize) -> (&'static str, Value, Manner) {
    const CHAT: &str = "/v1/chat/completions";
    let words = "a few more words to make prompts differ in length and in what is cached ".repeat(index % 7);
    let text = format!("This is call number {index}. {words}");
    let chat = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": text}]});
    let with = |mut body: Value, fields: Value| {
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let stream = json!({"stream": true});
    match index % KINDS {
        0..=3 => (CHAT, chat("sim-small"), Manner::Read),
        4 => (CHAT, chat("sim-reasoning"), Manner::Read),
        5 => (CHAT, with(chat("sim-large"), json!({"n": 2})), Manner::Read),
        6..=8 => (CHAT, with(chat("sim-small"), stream), Manner::Read),
        9 => (
            CHAT,
            with(chat("sim-reasoning"), json!({"stream": true, "stream_options": {"include_usage": true}})),
            Manner::Read,
        ),
        // Ten seconds of tokens: whoever leaves has left before the end.
        10 | 11 => (
            CHAT,
            with(chat("sim-slow"), json!({"stream": true, "metadata": {"sim": "tokens-200"}})),
            Manner::Leave,
        ),
        12 => (CHAT, chat("sim-nousage"), Manner::Read),
        13 => (CHAT, with(chat("sim-nousage"), stream), Manner::Read),
        14 => (CHAT, chat("sim-error-500"), Manner::Read),
        15 => (CHAT, with(chat("sim-error-429"), stream), Manner::Read),
        16 => ("/v1/embeddings", json!({"model": "sim-embedding", "input": text}), Manner::Read),
        17 => ("/v1/responses", json!({"model": "sim-large", "input": text, "stream": true}), Manner::Read),
        18 => ("/v1/completions", json!({"model": "sim-fast", "prompt": text, "stream": true}), Manner::Read),
        _ => (CHAT, with(chat("sim-small"), json!({"stream": true, "service_tier": "flex"})), Manner::Read),
    }
}

/// Makes a call; returns its request id.
async fn make(tower: &Tower, index: usize) -> String {
    let (path, body, manner) = call(index);
    let bearer = format!("Bearer {}", tower.text("/tenant_key"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer =
        tower.http.open(Method::POST, &tower.gateway(path), &headers, Bytes::from(body.to_string())).await;
    let (status, failing) = (answer.status().as_u16(), matches!(index % KINDS, 14 | 15));
    assert_eq!(status == 200, !failing, "call {index} got {status}");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut body = answer.into_body();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap_or_else(|error| panic!("call {index} broke off: {error:?}"));
        seen += frame.data_ref().map_or(0, |data| String::from_utf8_lossy(data).matches("data: ").count());
        if manner == Manner::Leave && seen >= 4 {
            break;
        }
    }
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_has_its_row_and_costs_add_up_to_the_picodollar() {
    let tower = Arc::new(Tower::start().await);
    let gate = Arc::new(Semaphore::new(CONCURRENCY));
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..CALLS {
        let (tower, gate) = (tower.clone(), gate.clone());
        tasks.spawn(async move {
            let _turn = gate.acquire().await.unwrap();
            make(&tower, index).await
        });
    }
    let made: BTreeSet<String> = tasks.join_all().await.into_iter().collect();
    assert_eq!(made.len(), CALLS, "request ids are not unique");
    tower.wait_for("SELECT count() AS n FROM calls", CALLS as u64, Duration::from_mins(1)).await;
    let rows = tower
        .query(
            "SELECT request_id, response_id, request_model, usage_source, http_status, input_tokens, output_tokens, \
             cache_read_tokens, reasoning_tokens, toString(cost_total) AS cost, client_disconnected FROM calls",
        )
        .await;
    let recorded: BTreeSet<String> = rows.iter().map(|row| text(row, "request_id")).collect();
    assert!(recorded == made, "{} calls have no row", made.difference(&recorded).count());
    check_rows(&rows, &simulated(&tower));
    let sums = tower.query("SELECT toString(sum(cost_total)) AS a, (SELECT toString(sum(cost_total)) FROM spans WHERE record = 'call') AS b, (SELECT toString(sum(cost_total)) FROM usage_5min) AS c FROM calls").await;
    let all = |name: &str| picos(&text(&sums[0], name));
    let by_rows: i128 = rows.iter().map(|row| picos(&text(row, "cost"))).sum();
    assert_eq!((all("a"), all("b"), all("c")), (by_rows, by_rows, by_rows));
    let Ok(tower) = Arc::try_unwrap(tower) else { panic!("the tower is still in use") };
    tower.stop().await;
}

/// The simulator's log, by id of the answer.
fn simulated(tower: &Tower) -> BTreeMap<String, Value> {
    let log = tower.read("sim.jsonl");
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|record| (text(&record, "id"), record)).collect()
}

fn check_rows(rows: &[Value], log: &BTreeMap<String, Value>) {
    let completed = |record: &&Value| record["outcome"] == "completed" && record["usage_reported"] == true;
    let source = |name: &str| {
        rows.iter().filter(|row| row["usage_source"] == name && row["http_status"] == 200).collect::<Vec<_>>()
    };
    let (reported, estimated, partial) = (source("reported"), source("estimated"), source("partial"));
    assert_eq!(estimated.len() as u64, 2 * OF_EACH, "calls without usage");
    assert_eq!(partial.len() as u64, 2 * OF_EACH, "calls that were left");
    assert_eq!(reported.len() as u64, 14 * OF_EACH, "calls that were answered in full, with usage");
    for row in estimated.iter().chain(&partial) {
        assert!(picos(&text(row, "cost")) > 0, "{row}");
    }
    let left: Vec<&Value> = log.values().filter(|record| record["model"] == "sim-slow").collect();
    assert!(
        left.iter().all(|record| record["outcome"] == "disconnected"),
        "an upstream went on after its client had left"
    );
    for row in rows.iter().filter(|row| row["http_status"] != 200) {
        assert_eq!(picos(&text(row, "cost")), 0, "{row}");
    }
    // Embeddings carry no id: they are compared as a whole.
    let (embedded, others): (Vec<&&Value>, Vec<&&Value>) =
        reported.iter().partition(|row| row["request_model"] == "sim-embedding");
    for row in others {
        let record =
            log.get(&text(row, "response_id")).unwrap_or_else(|| panic!("not in the simulator's log: {row}"));
        let usage = &record["usage"];
        for (column, kind) in [
            ("input_tokens", "prompt"),
            ("output_tokens", "completion"),
            ("cache_read_tokens", "cached"),
            ("reasoning_tokens", "reasoning"),
        ] {
            assert_eq!(number(&row[column]), number(&usage[kind]), "{column}: {row} {record}");
        }
        assert_eq!(picos(&text(row, "cost")), cost(record), "{row} {record}");
    }
    let records: Vec<&Value> = log.values().filter(completed).collect();
    let embeddings: i128 = records.iter().filter(|r| r["model"] == "sim-embedding").map(|r| cost(r)).sum();
    assert_eq!(embedded.iter().map(|row| picos(&text(row, "cost"))).sum::<i128>(), embeddings);
    let expected: i128 = records.iter().map(|record| cost(record)).sum();
    let charged: i128 = reported.iter().map(|row| picos(&text(row, "cost"))).sum();
    assert!(expected > 0);
    assert_eq!(charged, expected, "the sum of cost, in picodollars");
    println!("{} rows, {} reported at {charged} picodollars in all", rows.len(), reported.len());
}

/// What a call that the simulator served costs.
fn cost(record: &Value) -> i128 {
    let price =
        PRICES.iter().find(|(model, tier, _)| record["model"] == *model && record["service_tier"] == *tier);
    let (_, _, [input, cached, output]) = price.unwrap_or_else(|| panic!("no price: {record}"));
    let tokens = |kind: &str| i128::from(number(&record["usage"][kind]));
    (tokens("prompt") - tokens("cached")) * input + tokens("cached") * cached + tokens("completion") * output
}

/// A decimal number of dollars in picodollars.
fn picos(decimal: &str) -> i128 {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    format!("{whole}{part:0<12}").parse().unwrap_or_else(|error| panic!("{decimal:?}: {error}"))
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_else(|| panic!("no {name}: {row}")).to_owned()
}
