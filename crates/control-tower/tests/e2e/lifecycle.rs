//! Starting, stopping, healing and examining a tower.

use crate::tower::{Tower, number, run, signal};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_second_start_keeps_everything_and_a_second_tower_is_refused() {
    let tower = Tower::start().await;
    let mode = std::fs::metadata(tower.dir().join("bootstrap.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut names: Vec<&String> = tower.bootstrap.as_object().unwrap().keys().collect();
    names.sort();
    let promised = [
        "admin_key",
        "clickhouse",
        "console_password",
        "console_url",
        "console_user",
        "evaluator_key",
        "evaluator_url",
        "gateway_url",
        "otlp_grpc_url",
        "otlp_http_url",
        "tenant_id",
        "tenant_key",
    ];
    assert_eq!(names, promised);
    for owned in ["spool/gateway", "spool/collector", "gateway/budgets/lock", "store", "control.db"] {
        assert!(tower.dir().join(owned).exists(), "{owned}: what another tower must not share");
    }

    let dir = tower.dir().display().to_string();
    let second = run(&["up", "--data-dir", &dir, "--port-base", "1"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("another control tower is up"), "{said}");

    let asked = json!({"model": "sim-small", "messages": [{"role": "user", "content": "Remember me."}]});
    let key = tower.text("/tenant_key").to_owned();
    assert_eq!(tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await.status, 200);
    let before = tower.bootstrap.clone();
    // The stop flushes: the call must be there although nobody waited for it.
    let tower = Tower::start_on(tower.stop().await).await;
    assert_eq!(tower.bootstrap, before);
    assert_eq!(tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await.status, 200);
    tower.wait_for("SELECT count() AS n FROM calls", 2, Duration::from_secs(30)).await;
    tower.stop().await;
}

#[tokio::test]
async fn the_console_reads_clickhouse_and_could_not_write_it() {
    let tower = Tower::start().await;
    let asked = json!({"model": "sim-small", "messages": [{"role": "user", "content": "Who is looking?"}]});
    let key = tower.text("/tenant_key").to_owned();
    assert_eq!(tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await.status, 200);
    tower.wait_for("SELECT count() AS n FROM calls", 1, Duration::from_secs(30)).await;
    let overview = tower.api("/api/v1/overview?range=1h").await;
    assert_eq!(number(&overview["totals"]["calls"]), 1, "{overview:#}");

    let url = format!("{}/?database={}", tower.text("/clickhouse/url"), tower.text("/clickhouse/database"));
    let (user, password) = (tower.text("/clickhouse/reader_user"), tower.text("/clickhouse/reader_password"));
    let headers = [("x-clickhouse-user", user), ("x-clickhouse-key", password)];
    let count = tower.http.post(&url, &headers, "SELECT count() FROM calls".to_owned()).await;
    assert_eq!((count.status, count.text().trim()), (200, "1"));
    for statement in ["INSERT INTO spans (tenant_id) VALUES ('default')", "TRUNCATE TABLE calls"] {
        let refused = tower.http.post(&url, &headers, statement.to_owned()).await;
        let text = refused.text();
        assert!(refused.status >= 400, "{statement}: {} {text}", refused.status);
        assert!(text.contains("ACCESS_DENIED") || text.contains("READONLY"), "{statement}: {text}");
    }

    // Nor does its process know how one could.
    let knows = |role: &str, secret: &str| {
        let environment = std::fs::read(format!("/proc/{}/environ", tower.pids()[role])).unwrap();
        String::from_utf8_lossy(&environment).contains(secret)
    };
    let writing = tower.text("/clickhouse/password");
    assert!(knows("web", password) && !knows("web", writing));
    assert!(knows("collector", writing) && knows("evaluator", writing) && !knows("collector", password));
    tower.stop().await;
}

#[tokio::test]
async fn what_dies_is_started_again_and_nothing_outlives_up() {
    let tower = Tower::start().await;
    let before = tower.pids();
    let ready = [
        ("gateway", tower.gateway("/readyz")),
        ("web", tower.console("/readyz")),
        ("collector", format!("{}/readyz", tower.text("/otlp_http_url"))),
        ("store", format!("{}/ping", tower.text("/clickhouse/url"))),
    ];
    for (role, url) in ready {
        let old = number(&before[role]);
        signal(u32::try_from(old).unwrap(), Signal::KILL);
        let killed = Instant::now();
        while tower.pids()[role].as_u64().is_none_or(|pid| pid == old) {
            assert!(killed.elapsed() < Duration::from_secs(30), "{role} is not started again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while !tower.http.is_ok(&url).await {
            assert!(killed.elapsed() < Duration::from_secs(30), "{role} is not ready again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{role} healed in {:?}", killed.elapsed());
    }
    let (pids, credentials) = (tower.pids(), tower.bootstrap.clone());
    let site = tower.kill();
    // The next tower takes over, on the same ports and the same data.
    let tower = Tower::start_on(site).await;
    assert_eq!(tower.bootstrap, credentials);
    let killed = Instant::now();
    for (role, pid) in pids.as_object().unwrap() {
        while Path::new("/proc").join(pid.to_string()).exists() {
            assert!(killed.elapsed() < Duration::from_mins(1), "{role} outlives up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    tower.stop().await;
}

#[tokio::test]
async fn doctor_tells_a_healthy_tower_from_a_stopped_one() {
    let tower = Tower::start().await;
    let dir = tower.dir().display().to_string();
    let healthy = run(&["doctor", "--data-dir", &dir, "--json"]);
    let report: Value = serde_json::from_slice(&healthy.stdout).unwrap();
    assert!(healthy.status.success() && report["ok"] == true, "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().any(|c| c["detail"].as_str().unwrap().starts_with("ClickHouse 26.")), "{report:#}");
    let kept = tower.stop().await;
    let stopped = run(&["doctor", "--data-dir", &dir]);
    let said = String::from_utf8_lossy(&stopped.stdout).into_owned();
    assert!(!stopped.status.success() && said.contains("no tower is up"), "{said}");
    drop(kept);
}

#[test]
fn check_names_key_value_and_what_is_expected() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    std::fs::write(file.path(), "[gateway]\nlisten = \"here\"\n").unwrap();
    let refused = run(&["check", &path]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && said.contains("gateway.listen") && said.contains("here"), "{said}");
    std::fs::write(file.path(), "[gateway]\nlisten = \"127.0.0.1:9\"\n[sim]\ndrain_seconds = 1\n").unwrap();
    let valid = run(&["check", &path, "--json"]);
    assert!(valid.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&valid.stdout).unwrap()["valid"], true);
}
