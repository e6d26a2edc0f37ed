//! One request, from a client to the console: seen within seconds with tokens, cost and trace; and what governs it.

use crate::tower::{Tower, number, run};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_request_is_seen_with_tokens_cost_and_the_spans_of_its_application() {
    let tower = Tower::start().await;
    let key = tower.text("/tenant_key").to_owned();
    let bearer = format!("Bearer {key}");
    let asked = json!({"model": "sim-small", "messages": [{"role": "user", "content": "echo a needle in the haystack"}]});
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("traceparent", traceparent.as_str()),
    ];
    let answer = tower.http.post(&tower.gateway("/v1/chat/completions"), &headers, asked.to_string()).await;
    let answered = Instant::now();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request_id = answer.header("x-request-id");
    assert_eq!(answer.header("x-control-tower-trace-id"), TRACE);
    let cost = answer.header("x-control-tower-cost-usd");

    // Before it is in ClickHouse, whoever looks sees it at the gateway.
    let live = tower.live();
    assert_eq!(live["traffic"]["since_start"]["calls"], 1, "{live:#}");
    assert_eq!(live["traffic"]["today"]["cost"], cost.as_str());
    assert_eq!(live["gateways"][0]["url"], tower.text("/gateway_url"));

    let retrieval = application_span();
    let url = format!("{}/v1/traces", tower.text("/otlp_http_url"));
    let sent = tower.http.call(&url, &key, &retrieval).await;
    assert_eq!(sent.status, 200, "{}", sent.text());

    let row = loop {
        let page = tower.api(&format!("/api/v1/calls?range=1h&q={request_id}")).await;
        if let Some(row) = page["calls"].as_array().unwrap().first() {
            break row.clone();
        }
        assert!(answered.elapsed() < Duration::from_secs(20), "the call does not show");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("seen after {:?}", answered.elapsed());
    let usage = &answer.json()["usage"];
    assert_eq!(row["request_id"], request_id);
    assert_eq!(row["usage"]["input"], usage["prompt_tokens"]);
    assert_eq!(row["usage"]["output"], usage["completion_tokens"]);
    assert_eq!(row["cost"], cost.as_str());
    assert_eq!((&row["trace_id"], &row["usage_source"]), (&json!(TRACE), &json!("reported")));
    assert_eq!(row["tenant_id"], tower.text("/tenant_id"));

    let path = format!("/api/v1/calls/{TRACE}/{}", row["span_id"].as_str().unwrap());
    let detail = loop {
        let detail = tower.api(&path).await;
        if detail["spans"].as_array().unwrap().len() >= 3 {
            break detail;
        }
        assert!(answered.elapsed() < Duration::from_secs(30), "the trace is not whole: {detail:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let spans = detail["spans"].as_array().unwrap();
    let named = |name: &str| {
        spans.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("no {name}: {detail:#}"))
    };
    assert_eq!(named("retrieval docs")["parent_span_id"], PARENT);
    let attempt = named("chat sim-small");
    assert_eq!(attempt["parent_span_id"], row["span_id"]);
    let texts = spans.iter().map(Value::to_string).collect::<String>();
    assert!(texts.contains("a needle in the haystack"), "{detail:#}");
    let other = tower.api("/api/v1/overview?range=1h").await;
    assert_eq!(other["totals"]["calls"], 1, "{other:#}");
    tower.stop().await;
}

/// What an application's own instrumentation sends: a retrieval under the same parent.
fn application_span() -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", "my-app")]},
        "scopeSpans": [{"scope": {"name": "my-instrumentation"}, "spans": [{
            "traceId": TRACE, "spanId": "53995c3f42cd8ad8", "parentSpanId": PARENT, "name": "retrieval docs", "kind": 3,
            "startTimeUnixNano": (now - 50_000_000).to_string(), "endTimeUnixNano": now.to_string(),
            "attributes": [
                attribute("gen_ai.operation.name", "retrieval"), attribute("gen_ai.data_source.id", "docs"),
                attribute("control_tower.tenant.id", "somebody-else"),
            ],
        }]}],
    }]})
}

#[tokio::test]
async fn what_an_administrator_changes_holds_within_two_seconds() {
    let tower = Tower::start().await;
    let dir = tower.dir().display().to_string();
    let admin = |args: &[&str]| -> Value {
        let mut line = args.to_vec();
        line.extend(["--data-dir", &dir, "--json"]);
        let output = run(&line);
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    admin(&["tenant", "create", "acme"]);
    for (kind, name, spec) in [
        ("budget", "acme", r#"{"scope": {"kind": "tenant", "tenant": "acme"}, "limit": "5"}"#),
        ("pool", "sim-small", r#"{"queue": {"concurrency": 4}}"#),
    ] {
        let file = tower.dir().join("spec.json");
        std::fs::write(&file, spec).unwrap();
        admin(&[kind, "set", name, "--file", file.to_str().unwrap()]);
    }
    let made = admin(&["key", "create", "--tenant", "acme", "--model", "sim-small"]);
    let (id, secret) = (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned());
    let url = tower.gateway("/v1/chat/completions");
    let asked = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});

    assert!(until(&tower, &secret, &asked("sim-small"), 200).await <= Duration::from_secs(2));
    let used = admin(&["budget", "use", "acme"]);
    assert_eq!((&used[0]["counted"]["by"], &used[0]["held"]), (&json!("gateway"), &json!("0")), "{used:#}");
    assert_ne!(used[0]["spent"], "0");
    assert_eq!(tower.api("/admin/v1/budgets/acme/use").await["budget"], used[0]);
    let pools = admin(&["pool", "health", "sim-small"]);
    assert_eq!(pools[0]["pool"]["health"]["deployments"][0]["succeeded"], 1, "{pools:#}");

    let forbidden = tower.http.call(&url, &secret, &asked("sim-large")).await;
    assert_eq!((forbidden.status, &forbidden.json()["error"]["code"]), (403, &json!("model_not_allowed")));
    admin(&["key", "revoke", &id]);
    let took = until(&tower, &secret, &asked("sim-small"), 401).await;
    println!("a revoked key is refused after {took:?}");
    assert!(took <= Duration::from_secs(2), "a revoked key worked for {took:?}");
    let refused = tower.http.call(&url, &secret, &asked("sim-small")).await;
    assert!(refused.text().contains("revoked"), "{}", refused.text());

    let tenants = tower.api("/admin/v1/tenants").await;
    assert!(tenants.to_string().contains("acme"), "{tenants}");
    assert_eq!(tower.http.get(&tower.console("/admin/v1/tenants"), &[]).await.status, 401);
    let wrong = [("authorization", "Bearer ct-admin-wrong")];
    assert_eq!(tower.http.get(&tower.console("/admin/v1/tenants"), &wrong).await.status, 401);
    tower
        .wait_for(
            "SELECT count() > 0 AS n FROM calls WHERE tenant_id = 'acme' AND http_status = 200",
            1,
            Duration::from_secs(20),
        )
        .await;
    let rows =
        tower.query("SELECT count() AS n FROM calls WHERE tenant_id = 'acme' AND http_status = 403").await;
    assert_eq!(number(&rows[0]["n"]), 1);
    tower.stop().await;
}

/// How long it takes until a call is answered with `status`.
async fn until(tower: &Tower, key: &str, asked: &Value, status: u16) -> Duration {
    let started = Instant::now();
    loop {
        if tower.http.call(&tower.gateway("/v1/chat/completions"), key, asked).await.status == status {
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no answer with {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
