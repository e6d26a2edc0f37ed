//! A tower beside a ClickHouse and a PostgreSQL that it did not start.

use crate::postgres::Postgres;
use crate::tower::{Tower, run};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on to a server, and keeps what that is asked.
struct Tap {
    url: String,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    async fn before(url: &str) -> Self {
        let server = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tap = Self { url: format!("http://{}", listener.local_addr().unwrap()), asked: Arc::default() };
        let asked = tap.asked.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, asked) = (server.clone(), asked.clone());
                tokio::spawn(async move {
                    let (mut ask, mut answered) = client.into_split();
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (mut answer, mut on) = server.into_split();
                    tokio::spawn(async move { tokio::io::copy(&mut answer, &mut answered).await });
                    let mut piece = vec![0; 16 << 10];
                    while let Ok(read @ 1..) = ask.read(&mut piece).await {
                        asked.lock().unwrap().extend_from_slice(&piece[..read]);
                        if on.write_all(&piece[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        tap
    }

    fn was_asked(&self, text: &str) -> bool {
        self.asked.lock().unwrap().windows(text.len()).any(|asked| asked == text.as_bytes())
    }
}

// Commands are waited for on a thread, while the tap goes on on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tower_on_a_clickhouse_and_a_postgresql_of_somebody_else() {
    // Its engine is the ClickHouse; nothing else of it is used.
    let engine = Tower::start().await;
    let server = Postgres::start().await;
    let control = server.create_database("control").await;
    let config = tempfile::NamedTempFile::new().unwrap();
    let database = format!("{}_outside", engine.text("/clickhouse/database"));
    let tap = Tap::before(engine.text("/clickhouse/url")).await;
    let text = format!(
        "[control]\nurl = {control:?}\n\n[store]\nclickhouse_url = {:?}\nuser = {:?}\npassword = {:?}\n\
         reader_user = {:?}\nreader_password = {:?}\ndatabase = {database:?}\n",
        tap.url,
        engine.text("/clickhouse/user"),
        engine.text("/clickhouse/password"),
        engine.text("/clickhouse/reader_user"),
        engine.text("/clickhouse/reader_password"),
    );
    std::fs::write(config.path(), text).unwrap();

    let tower = Tower::start_with(config.path()).await;
    assert!(tower.pids()["store"].is_null(), "an engine was started: {}", tower.pids());
    assert_eq!(tower.text("/clickhouse/url"), tap.url);
    // Others may insert into it at any time: its views are never taken away, and those that somebody took away come back.
    assert!(tap.was_asked("ATTACH TABLE IF NOT EXISTS spans_to_calls") && !tap.was_asked("DETACH TABLE"));
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
