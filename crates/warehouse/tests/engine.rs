//! The engine's process: one per directory, closed to everybody else, orderly in its end, durable over restarts.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be had must end it")]

mod common;

use common::{T0_MS, attempt, call, scope};
use contracts::reads::{CallFilter, TimeRange};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;
use warehouse::Warehouse;
use warehouse::testing::Engine;

/// Sends one statement over plain HTTP and returns the whole answer.
fn post(engine: &Engine, user: &str, password: &str, statement: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", engine.config().http_port)).unwrap();
    write!(
        stream,
        "POST / HTTP/1.0\r\nX-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\nContent-Length: {}\r\n\r\n{statement}",
        statement.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn nothing_but_our_databases_can_be_reached_through_it() {
    let engine = Engine::start().await;
    engine.warehouse("control_tower").await;
    let (user, password) = (engine.config().user.as_str(), engine.config().password.as_str());
    assert!(post(&engine, user, password, "SELECT 41 + 1").ends_with("42\n"));
    for statement in [
        "SELECT * FROM file('/etc/passwd', 'LineAsString', 'x String')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/key.csv', 'CSV', 'x String')",
        "SELECT * FROM remote('127.0.0.1:1', 'system', 'one')",
        "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
        "INSERT INTO FUNCTION file('/tmp/stolen.csv', 'CSV', 'x String') VALUES ('a')",
        "CREATE TABLE control_tower.f (x String) ENGINE = File(CSV, '/etc/passwd')",
        "CREATE TABLE control_tower.u (x String) ENGINE = URL('http://127.0.0.1:1/', CSV)",
        "CREATE DATABASE elsewhere",
        "CREATE USER intruder",
        "CREATE FUNCTION f AS x -> x",
        "SYSTEM SHUTDOWN",
    ] {
        let answer = post(&engine, user, password, statement);
        assert!(
            answer.contains("ACCESS_DENIED") || answer.contains("Not enough privileges"),
            "{statement}: {answer}"
        );
    }
    // The engine has no programs to run at all, and says so before it asks for a grant.
    let answer = post(&engine, user, password, "SELECT * FROM executable('id', 'LineAsString', 'x String')");
    assert!(answer.starts_with("HTTP/1.0 5") && answer.contains("Code: "), "{answer}");
    for (user, password) in [("default", ""), (user, "wrong"), ("", "")] {
        let answer = post(&engine, user, password, "SELECT 1");
        assert!(!answer.starts_with("HTTP/1.0 200") && answer.contains("Code: "), "{user}: {answer}");
    }
    // No system log grows on the disk.
    let logs = post(
        &engine,
        &engine.config().user,
        &engine.config().password,
        "SELECT count() FROM system.tables WHERE database = 'system' AND name LIKE '%_log' AND engine LIKE '%MergeTree'",
    );
    assert!(logs.ends_with("\r\n0\n"), "{logs}");
}

#[tokio::test]
async fn the_reader_reads_our_databases_and_does_nothing_else() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let one = call("acme", 1, 0);
    warehouse.insert_spans(&[attempt(&one), one.clone()], "one").await.unwrap();
    let reader = engine.config().reader.clone().unwrap();
    let ask = |statement: &str| post(&engine, &reader.user, &reader.password, statement);
    assert!(ask("SELECT count() FROM control_tower.calls SETTINGS max_threads = 1").ends_with("\r\n1\n"));
    assert!(ask("SHOW TABLES FROM control_tower").contains("calls"));
    for statement in [
        "INSERT INTO control_tower.spans (tenant_id) VALUES ('acme')",
        "INSERT INTO control_tower.spans SELECT * FROM control_tower.spans",
        "INSERT INTO control_tower.events (tenant_id) SETTINGS readonly = 0 VALUES ('acme')",
        "ALTER TABLE control_tower.spans DELETE WHERE 1",
        "ALTER TABLE control_tower.spans DROP COLUMN tenant_id",
        "DELETE FROM control_tower.spans WHERE 1",
        "TRUNCATE TABLE control_tower.spans",
        "DROP TABLE control_tower.spans",
        "OPTIMIZE TABLE control_tower.spans",
        "CREATE TABLE control_tower.mine (x UInt8) ENGINE = MergeTree ORDER BY x",
        "CREATE TEMPORARY TABLE mine (x UInt8)",
        "CREATE DATABASE control_tower_mine",
        "CREATE USER intruder",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM file('/etc/passwd', 'LineAsString', 'x String')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')",
        "SYSTEM SHUTDOWN",
    ] {
        let answer = ask(statement);
        let refused = ["ACCESS_DENIED", "READONLY"].iter().any(|code| answer.contains(code));
        assert!(refused, "{statement}: {answer}");
    }
    let reading = Warehouse::connect(engine.reader_config("control_tower"));
    let error = reading.insert_spans(std::slice::from_ref(&one), "two").await.unwrap_err().to_string();
    assert!(error.contains("Not enough privileges"), "{error}");
    let range = TimeRange { from_ms: T0_MS, to_ms: T0_MS + 1 };
    let page = reading.calls(&scope("acme"), range, &CallFilter::default(), None, 5).await.unwrap();
    assert_eq!(page.calls.len(), 1, "what was there is there, and there is no more");
    assert!(post(&engine, &reader.user, "wrong", "SELECT 1").contains("Code: "));
}

#[tokio::test]
async fn a_second_process_on_its_directory_is_refused() {
    let engine = Engine::start().await;
    let mut config = engine.config().clone();
    (config.http_port, config.tcp_port) = (config.http_port ^ 1, config.tcp_port ^ 1);
    let second = Command::new(env!("CARGO_BIN_EXE_warehouse-engine"))
        .arg(serde_json::to_string(&config).unwrap())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success());
    assert!(said.contains(&engine.id().to_string()), "{said}");
    assert!(said.contains(&config.path.display().to_string()), "{said}");
    engine.warehouse("control_tower").await.ping().await.unwrap();
}

#[tokio::test]
async fn it_ends_with_its_standard_input_and_keeps_what_it_has() {
    let mut engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let one = call("acme", 1, 0);
    warehouse.insert_spans(&[attempt(&one), one.clone()], "one").await.unwrap();
    for _ in 0..3 {
        assert!(engine.stop(), "the engine reported a failure");
        assert!(warehouse.ping().await.is_err());
        let error = warehouse.insert_spans(std::slice::from_ref(&one), "two").await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        engine.restart().await;
        warehouse.migrate().await.unwrap();
    }
    let range = TimeRange { from_ms: T0_MS, to_ms: T0_MS + 1 };
    let page = warehouse.calls(&scope("acme"), range, &CallFilter::default(), None, 5).await.unwrap();
    assert_eq!(page.calls.len(), 1);
}

#[tokio::test]
async fn bad_rows_and_far_times_do_not_harm_their_neighbours() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let mut uneven = call("acme", 1, 0);
    uneven.event_time_ns = vec![1];
    let error = warehouse.insert_spans(&[uneven], "uneven").await.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    // 1970, 2100, and a batch over more days than a part may have partitions by default.
    let mut spans: Vec<_> =
        (0..150).map(|n| call("acme", n, -i64::try_from(n).unwrap() * 86_400_000)).collect();
    spans.push(warehouse::SpanRow { start_time: 0, retention_days: 65_535, ..call("acme", 900, 0) });
    spans.push(warehouse::SpanRow { start_time: 4_102_444_800_000_000_000, ..call("acme", 901, 0) });
    warehouse.insert_spans(&spans, "far").await.unwrap();
    let range = TimeRange { from_ms: 0, to_ms: i64::MAX };
    let page = warehouse.calls(&scope("acme"), range, &CallFilter::default(), None, 500).await.unwrap();
    let years: Vec<i64> = [&page.calls[0], page.calls.last().unwrap()].iter().map(|c| c.start_ms).collect();
    assert_eq!((page.calls.len(), years), (152, vec![4_102_444_800_000, 0]));
}

#[tokio::test]
async fn it_says_how_it_fares_before_and_after_there_are_tables() {
    let engine = Engine::start().await;
    let client = Warehouse::connect(engine.client_config("control_tower"));
    let empty = client.vitals().await.unwrap();
    assert_eq!((empty.parts, empty.rows, empty.bytes_on_disk), (0, 0, 0));
    assert!(empty.queries >= 1, "{empty:?}");
    // A young engine has not looked at its own memory yet: until then it knows what its threads have told it, which may be nothing.
    tokio::time::timeout(Duration::from_secs(30), async {
        while client.vitals().await.unwrap().memory_bytes <= 1 << 20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    assert!(0 < empty.disk_free_bytes && empty.disk_free_bytes <= empty.disk_total_bytes, "{empty:?}");
    let warehouse = engine.warehouse("control_tower").await;
    warehouse.insert_spans(&[call("acme", 1, 0), call("acme", 2, 10)], "vitals").await.unwrap();
    let filled = client.vitals().await.unwrap();
    assert!(filled.rows >= 4 && filled.parts > 1 && filled.bytes_on_disk > 0, "{filled:?}");
}
