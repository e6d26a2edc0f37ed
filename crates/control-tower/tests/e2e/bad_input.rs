//! Bad input at the real boundaries: the right status, the protocol's own error shape, a message that names the field; and
//! the neighbours' data stays whole.

use crate::tower::Tower;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

const JSON: (&str, &str) = ("content-type", "application/json");

/// What it is, its headers, its body, the status it gets, and what the message names.
type Request<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16, &'a str);
/// What it is, its headers, its body, and the statuses it may get.
type Batch<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, &'a [u16]);

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
}

#[tokio::test]
async fn the_gateway_refuses_bad_requests_in_openais_shape() {
    let tower = Tower::start().await;
    let url = tower.gateway("/v1/chat/completions");
    let bearer = format!("Bearer {}", tower.text("/tenant_key"));
    let good = ("authorization", bearer.as_str());
    let deep =
        format!("{{\"model\": \"sim-small\", \"messages\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
    let huge = format!("{{\"model\": \"sim-small\", \"user\": \"{}\"}}", "x".repeat(33 << 20));
    let mut invalid_utf8 = chat("sim-small").to_string().into_bytes();
    let at = invalid_utf8.windows(2).position(|pair| pair == b"Hi").unwrap();
    invalid_utf8[at] = 0xff;
    let typed = |field: &str, value: Value| {
        let mut body = chat("sim-small");
        body[field] = value;
        body.to_string().into_bytes()
    };
    let valid = chat("sim-small").to_string().into_bytes();
    let cases: Vec<Request<'_>> = vec![
        ("no key", vec![JSON], valid.clone(), 401, "authorization"),
        ("wrong key", vec![JSON, ("authorization", "Bearer ct-wrong")], valid.clone(), 401, "authorization"),
        ("not a bearer", vec![JSON, ("authorization", "Basic Zm9v")], valid.clone(), 401, "authorization"),
        ("unknown model", vec![JSON, good], chat("gpt-nope").to_string().into_bytes(), 404, "model"),
        ("not JSON", vec![JSON, good], b"{\"model\": ".to_vec(), 400, "body"),
        ("no model", vec![JSON, good], b"{\"messages\": []}".to_vec(), 400, "model"),
        ("model of a wrong type", vec![JSON, good], typed("model", json!(7)), 400, "model"),
        ("messages of a wrong type", vec![JSON, good], typed("messages", json!("Hi")), 400, "messages"),
        ("stream of a wrong type", vec![JSON, good], typed("stream", json!("yes")), 400, "stream"),
        ("deep nesting", vec![JSON, good], deep.into_bytes(), 400, "body"),
        ("invalid UTF-8", vec![JSON, good], invalid_utf8, 400, "body"),
        ("too large", vec![JSON, good], huge.into_bytes(), 413, "body"),
        ("content type", vec![("content-type", "text/plain"), good], valid.clone(), 415, "content-type"),
        ("upstream 400", vec![JSON, good], chat("sim-error-400").to_string().into_bytes(), 400, ""),
        ("upstream 429", vec![JSON, good], chat("sim-error-429").to_string().into_bytes(), 429, ""),
        ("upstream 500", vec![JSON, good], chat("sim-error-500").to_string().into_bytes(), 500, ""),
        ("upstream garbage", vec![JSON, good], chat("sim-garbage").to_string().into_bytes(), 502, ""),
        ("upstream breaks off", vec![JSON, good], chat("sim-cut").to_string().into_bytes(), 502, ""),
    ];
    for (name, headers, body, status, named) in cases {
        let answer = tower.http.post(&url, &headers, body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        let error = &answer.json()["error"];
        let message = error["message"].as_str().unwrap_or_else(|| panic!("{name}: {error}"));
        assert!(message.contains(named), "{name}: {message}");
        assert!(error["type"].is_string(), "{name}: {error}");
        assert!(!answer.header("x-request-id").is_empty(), "{name}");
    }
    for model in ["sim-cut", "sim-garbage"] {
        let mut body = chat(model);
        body["stream"] = json!(true);
        let answer = tower.http.post(&url, &[JSON, good], body.to_string()).await;
        assert!(!answer.text().trim_end().ends_with("[DONE]"), "{model} looks complete: {}", answer.text());
        assert!(answer.text().contains("\"error\""), "{model}: {}", answer.text());
    }
    // After all that, a good call is served and recorded as ever.
    assert_eq!(tower.http.post(&url, &[JSON, good], valid).await.status, 200);
    let recorded = "SELECT count() AS n FROM calls WHERE http_status = 200 AND error_type = ''";
    tower.wait_for(recorded, 1, Duration::from_secs(30)).await;
    tower.stop().await;
}

fn span(name: &str, start: u64, filler: usize) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": format!("{:032x}", start + 1), "spanId": "53995c3f42cd8ad8", "name": name, "kind": 1,
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1000).to_string(),
        "attributes": [{"key": "filler", "value": {"stringValue": "x".repeat(filler)}}],
    }]}]}]})
}

#[tokio::test]
async fn the_collector_refuses_bad_batches_and_keeps_the_neighbours() {
    let tower = Tower::start().await;
    let url = format!("{}/v1/traces", tower.text("/otlp_http_url"));
    let bearer = format!("Bearer {}", tower.text("/tenant_key"));
    let good = ("authorization", bearer.as_str());
    let protobuf = ("content-type", "application/x-protobuf");
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..512 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
    let neighbour = span("neighbour", now, 10).to_string();
    let cases: Vec<Batch<'_>> = vec![
        ("no key", vec![JSON], neighbour.clone().into_bytes(), &[401]),
        (
            "wrong key",
            vec![JSON, ("authorization", "Bearer ct-wrong")],
            neighbour.clone().into_bytes(),
            &[401],
        ),
        ("broken protobuf", vec![protobuf, good], vec![0x0a, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3], &[400]),
        ("broken JSON", vec![JSON, good], b"{\"resourceSpans\": [".to_vec(), &[400]),
        ("content type", vec![("content-type", "text/plain"), good], neighbour.clone().into_bytes(), &[415]),
        ("zip bomb", vec![protobuf, ("content-encoding", "gzip"), good], bomb, &[400, 413]),
        ("not gzip", vec![protobuf, ("content-encoding", "gzip"), good], b"plain".to_vec(), &[400]),
        ("1970", vec![JSON, good], span("1970", 1000, 10).to_string().into_bytes(), &[200]),
        (
            "2100",
            vec![JSON, good],
            span("2100", 4_102_444_800_000_000_000, 10).to_string().into_bytes(),
            &[200],
        ),
        ("10 MB", vec![JSON, good], span("large", now + 7, 10 << 20).to_string().into_bytes(), &[200]),
        ("a good neighbour", vec![JSON, good], neighbour.into_bytes(), &[200]),
    ];
    for (name, headers, body, statuses) in cases {
        let answer = tower.http.post(&url, &headers, body).await;
        let shown: String = answer.text().chars().take(500).collect();
        assert!(statuses.contains(&answer.status), "{name}: {} {shown}", answer.status);
    }
    tower
        .wait_for("SELECT count() AS n FROM spans WHERE name = 'neighbour'", 1, Duration::from_secs(30))
        .await;
    tower.wait_for("SELECT count() AS n FROM spans WHERE name = 'large'", 1, Duration::from_secs(30)).await;
    let health = tower.http.get(&format!("{}/healthz", tower.text("/otlp_http_url")), &[]).await;
    assert_eq!(health.status, 200);
    tower.stop().await;
}
