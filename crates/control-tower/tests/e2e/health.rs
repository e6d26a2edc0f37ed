//! What each role says about itself, and what becomes of one that says nothing.

use crate::tower::{Tower, number, run, signal};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every role, and a component of it that `/readyz` names.
const ROLES: [(&str, &str); 6] = [
    ("gateway", "policy"),
    ("collector", "spool"),
    ("evaluator", "store"),
    ("web", "store"),
    ("store", "clickhouse"),
    ("sim", "models"),
];

#[tokio::test]
async fn every_role_answers_for_itself() {
    let tower = Tower::start().await;
    for (role, component) in ROLES {
        let url = tower.health(role);
        let alive = tower.http.get(&format!("{url}/healthz"), &[]).await;
        assert_eq!((alive.status, alive.text().as_str()), (200, r#"{"alive":true}"#), "{role}");
        let ready = tower.http.get(&format!("{url}/readyz"), &[]).await;
        assert_eq!(
            (ready.status, &ready.json()["components"][component]["ready"]),
            (200, &true.into()),
            "{role}: {}",
            ready.text()
        );
        let metrics = tower.http.get(&format!("{url}/metrics"), &[]).await;
        assert!(metrics.status == 200 && metrics.text().ends_with("# EOF\n"), "{role}: {}", metrics.text());
        assert!(metrics.header("content-type").starts_with("application/openmetrics-text"), "{role}");
    }
    the_stores_gauges_follow(&tower).await;
    let asked = json!({"model": "sim-small", "messages": [{"role": "user", "content": "How are you?"}]});
    let answer =
        tower.http.call(&tower.gateway("/v1/chat/completions"), tower.text("/tenant_key"), &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let metrics = tower.http.get(&format!("{}/metrics", tower.health("sim")), &[]).await.text();
    assert!(metrics.contains(r#"status="200"} 1"#), "{metrics}");

    let dir = tower.dir().display().to_string();
    let healthy = run(&["doctor", "--data-dir", &dir, "--json"]);
    let report: Value = serde_json::from_slice(&healthy.stdout).unwrap();
    for (role, _) in ROLES {
        let detail = detail(&report, role);
        assert!(detail.contains(&tower.health(role)) && detail.contains("ready"), "{report:#}");
    }
    tower.stop().await;
}

async fn the_stores_gauges_follow(tower: &Tower) {
    let started = Instant::now();
    let metrics = loop {
        let metrics = tower.http.get(&format!("{}/metrics", tower.health("store")), &[]).await.text();
        // The list of applied migrations is a table of ours, and has rows by now.
        if gauge(&metrics, "store_rows") > 0 {
            break metrics;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{metrics}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    for name in [
        "store_clickhouse_up",
        "store_memory_bytes",
        "store_parts",
        "store_table_bytes",
        "store_disk_free_bytes",
    ] {
        assert!(gauge(&metrics, name) > 0, "{name}: {metrics}");
    }
    assert!(
        gauge(&metrics, "store_disk_total_bytes") >= gauge(&metrics, "store_disk_free_bytes"),
        "{metrics}"
    );
    assert_eq!(gauge(&metrics, "store_gauge_failures_total"), 0, "{metrics}");
}

#[tokio::test]
async fn what_hangs_alive_is_replaced_and_doctor_names_it_meanwhile() {
    let tower = Tower::start().await;
    // One that was never heard would be taken for one that starts slowly.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let old = number(&tower.pids()["web"]);
    signal(u32::try_from(old).unwrap(), Signal::STOP);
    let stopped = Instant::now();
    let dir = tower.dir().display().to_string();
    let ill = run(&["doctor", "--data-dir", &dir, "--json"]);
    let report: Value = serde_json::from_slice(&ill.stdout).unwrap();
    assert!(!ill.status.success() && detail(&report, "web").contains("no answer within 3 s"), "{report:#}");

    while tower.pids()["web"].as_u64().is_none_or(|pid| pid == old)
        || !tower.http.is_ok(&tower.console("/readyz")).await
    {
        assert!(stopped.elapsed() < Duration::from_secs(20), "web hangs and is not replaced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("web replaced after {:?}", stopped.elapsed());
    let log = tower.read("up.log");
    assert!(log.lines().any(|line| line.contains("hangs, killing it") && line.contains("web")), "{log}");
    let others = ["gateway", "collector", "store", "sim"];
    assert!(
        !others.iter().any(|role| log
            .lines()
            .any(|line| line.contains("hangs") && line.contains(&format!("role={role}")))),
        "{log}"
    );
    tower.stop().await;
}

fn detail(report: &Value, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"));
    check["detail"].as_str().unwrap().to_owned()
}

/// A value of an exposition; whole numbers only.
fn gauge(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {metrics}")).parse().unwrap()
}
