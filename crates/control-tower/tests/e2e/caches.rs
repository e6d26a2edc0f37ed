//! A cache that is purged, on the command line and over the admin API.

use crate::tower::{Tower, run};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn what_was_kept_before_a_purge_is_not_given_again() {
    let tower = Tower::start().await;
    let dir = tower.dir().to_str().unwrap().to_owned();
    let cli = |args: &[&str]| {
        let output = run(&[args, &["--data-dir", &dir]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = |name: &str, spec: serde_json::Value| {
        let path = tower.dir().join(name);
        std::fs::write(&path, spec.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    cli(&["cache", "set", "keep", "--file", &file("keep.json", json!({"exact": true, "ttl_seconds": 3600}))]);
    let route = file("route.json", json!({"cache": "keep"}));
    cli(&["route", "create", "support", "--model", "sim-small", "--spec-file", &route]);
    let key = tower.text("/tenant_key").to_owned();
    let asked = json!({"model": "support", "messages": [{"role": "user", "content": "What is kept?"}]});
    let ask = async || {
        let answer = tower.http.call(&tower.gateway("/v1/chat/completions"), &key, &asked).await;
        if answer.status == 200 { answer.header("x-control-tower-cache") } else { answer.status.to_string() }
    };
    // The gateway learns of each change within its poll of the control database.
    let until = async |expected: &str| {
        for _ in 0..600 {
            let said = ask().await;
            if said == expected {
                return;
            }
            assert!(["miss", "hit_exact", "404"].contains(&said.as_str()), "{said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{expected} never came");
    };
    until("hit_exact").await;

    assert!(cli(&["cache", "purge", "keep"]).starts_with("cache keep is purged, at revision "));
    until("miss").await;
    assert_eq!(ask().await, "hit_exact", "what was answered since is kept");

    let admin = format!("Bearer {}", tower.text("/admin_key"));
    let url = tower.console("/admin/v1/caches/keep/purge");
    let purged = tower.http.post(&url, &[("authorization", &admin)], "").await;
    assert_eq!(purged.status, 200, "{}", purged.text());
    until("miss").await;

    let log = tower.api("/admin/v1/audit?kind=cache&action=update").await;
    let actors: Vec<&str> =
        log["data"].as_array().unwrap().iter().map(|change| change["actor"].as_str().unwrap()).collect();
    assert_eq!(actors.len(), 2, "{log}");
    tower.stop().await;
}
