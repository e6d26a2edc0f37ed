//! A tower beside a ClickHouse and a PostgreSQL that it did not start.

use crate::postgres::Postgres;
use crate::tower::{Tower, run};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_tower_on_a_clickhouse_and_a_postgresql_of_somebody_else() {
    // Its engine is the ClickHouse; nothing else of it is used.
    let engine = Tower::start().await;
    let server = Postgres::start().await;
    let control = server.create_database("control").await;
    let config = tempfile::NamedTempFile::new().unwrap();
    let database = format!("{}_outside", engine.text("/clickhouse/database"));
    let text = format!(
        "[control]\nurl = {control:?}\n\n[store]\nclickhouse_url = {:?}\nuser = {:?}\npassword = {:?}\n\
         reader_user = {:?}\nreader_password = {:?}\ndatabase = {database:?}\n",
        engine.text("/clickhouse/url"),
        engine.text("/clickhouse/user"),
        engine.text("/clickhouse/password"),
        engine.text("/clickhouse/reader_user"),
        engine.text("/clickhouse/reader_password"),
    );
    std::fs::write(config.path(), text).unwrap();

    let tower = Tower::start_with(config.path()).await;
    assert!(tower.pids()["store"].is_null(), "an engine was started: {}", tower.pids());
    assert_eq!(tower.text("/clickhouse/url"), engine.text("/clickhouse/url"));
    assert!(!tower.dir().join("control.db").exists());

    let asked =
        json!({"model": "sim-small", "messages": [{"role": "user", "content": "Is anybody out there?"}]});
    let (url, key) = (tower.gateway("/v1/chat/completions"), tower.text("/tenant_key").to_owned());
    let answer = tower.http.call(&url, &key, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request_id = answer.header("x-request-id");
    let answered = Instant::now();
    loop {
        let page = tower.api(&format!("/api/v1/calls?range=1h&q={request_id}")).await;
        if page["calls"][0]["request_id"] == request_id.as_str() {
            break;
        }
        assert!(answered.elapsed() < Duration::from_secs(20), "the call does not show: {page:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let elsewhere = engine.api("/api/v1/calls?range=1h").await;
    assert_eq!(elsewhere["calls"], json!([]), "the call is in the wrong database");

    let dir = tower.dir().display().to_string();
    let healthy = run(&["--config", &config.path().display().to_string(), "doctor", "--data-dir", &dir]);
    assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stdout));

    // Without its control database the gateway serves what it knows.
    server.stop();
    let answer = tower.http.call(&url, &key, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    tower.stop().await;
    engine.stop().await;
}
