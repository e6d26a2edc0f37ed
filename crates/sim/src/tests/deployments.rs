//! Several deployments in one process: their paths, faults, slots, counters and metrics.

use super::{Pool, chat, with};
use crate::config::Config;
use crate::log::Outcome;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";

async fn set(pool: &Pool, body: &Value) -> Value {
    pool.json("/sim/behaviour", body).await
}

async fn counts(pool: &Pool, name: &str) -> Value {
    let (_, _, bytes) = pool.get("/sim/behaviour").await;
    let all: Value = serde_json::from_slice(&bytes).unwrap();
    all[name]["counts"].clone()
}

#[tokio::test]
async fn each_deployment_fails_by_itself_and_as_often_as_it_was_told() {
    let pool = Pool::new(Config::default());
    set(&pool, &json!({"deployment": "east", "fail_rate": 0.5, "fail_status": 503, "retry_after": 7})).await;
    let mut statuses = Vec::new();
    for number in 0..200 {
        let (status, headers, _) = pool
            .request(&format!("/d/east{CHAT}"), &[], &chat("sim-fast", &format!("Hi {number}")).to_string())
            .await;
        assert_eq!(headers.contains_key("retry-after"), status != StatusCode::OK);
        statuses.push(status.as_u16());
        assert_eq!(pool.post(&format!("/d/west{CHAT}"), &chat("sim-fast", "Hi")).await.0, StatusCode::OK);
    }
    let failed = statuses.iter().filter(|s| **s == 503).count();
    assert!((70..130).contains(&failed), "{failed} of 200");
    let east = counts(&pool, "east").await;
    assert_eq!((&east["requests"], &east["statuses"]["503"]), (&json!(200), &json!(failed)));
    assert_eq!(counts(&pool, "west").await["outcomes"], json!({"completed": 200}));
    set(&pool, &json!({"deployment": "east"})).await;
    assert_eq!(pool.post(&format!("/d/east{CHAT}"), &chat("sim-fast", "Hi")).await.0, StatusCode::OK);
    let records = pool.close();
    assert_eq!(
        records.iter().filter(|r| r.deployment == "east" && r.outcome == Outcome::Refused).count(),
        failed
    );
}

#[tokio::test(start_paused = true)]
async fn beyond_its_slots_calls_wait_in_order_and_beyond_its_queue_they_are_refused() {
    let pool = Pool::new(Config::default());
    set(
        &pool,
        &json!({"deployment": "one", "slots": 1, "queue": 2, "first_token_ms": 1000, "kv_tokens": 1000}),
    )
    .await;
    let path = format!("/d/one{CHAT}");
    let asked = chat("sim-fast", "Hi");
    let call = || pool.post(&path, &asked);
    let watch = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let metrics = pool.get("/d/one/metrics").await.2;
        String::from_utf8(metrics).unwrap()
    };
    let start = tokio::time::Instant::now();
    let (first, second, third, fourth, metrics) = tokio::join!(call(), call(), call(), call(), watch);
    let statuses = [&first, &second, &third, &fourth].map(|(status, _)| status.as_u16());
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(start.elapsed().as_secs(), 3);
    assert!(
        metrics.contains("vllm:num_requests_running{engine=\"0\",model_name=\"one\"} 1.0\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("vllm:num_requests_waiting{engine=\"0\",model_name=\"one\"} 2.0\n"),
        "{metrics}"
    );
    let usage = metrics
        .lines()
        .find_map(|l| l.strip_prefix("vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"one\"} "));
    assert!(usage.unwrap().parse::<f64>().unwrap() > 0.0, "{metrics}");
    let after = counts(&pool, "one").await;
    assert_eq!(
        (&after["running"], &after["waiting"], &after["most_waiting"]),
        (&json!(0), &json!(0), &json!(2))
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_takes_no_slot_and_one_that_is_slow_sends_nothing_at_first() {
    let pool = Pool::new(Config::default());
    set(&pool, &json!({"deployment": "hung", "hang_rate": 1.0, "slots": 1})).await;
    let asked = with(chat("sim-fast", "Hi"), &json!({"stream": true}));
    for _ in 0..2 {
        let path = format!("/d/hung{CHAT}");
        let hung = pool.post(&path, &asked);
        assert!(tokio::time::timeout(Duration::from_hours(1), hung).await.is_err());
    }
    assert_eq!(counts(&pool, "hung").await["outcomes"], json!({"disconnected": 2}));
    set(&pool, &json!({"deployment": "slow", "delay_ms": 5000})).await;
    let start = tokio::time::Instant::now();
    assert_eq!(pool.post(&format!("/d/slow{CHAT}"), &asked).await.0, StatusCode::OK);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn every_protocol_is_served_by_every_deployment() {
    let pool = Pool::new(Config::default());
    for (path, body) in [
        ("/v1/responses", json!({"model": "sim-fast", "input": "Hi"})),
        (
            "/v1/messages",
            json!({"model": "sim-fast", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}),
        ),
        ("/v1beta/models/sim-fast:generateContent", json!({"contents": [{"parts": [{"text": "Hi"}]}]})),
        (
            "/openai/deployments/sim-fast/chat/completions?api-version=2024-10-21",
            json!({"messages": [{"role": "user", "content": "Hi"}]}),
        ),
        ("/openai/v1/chat/completions", chat("sim-fast", "Hi")),
    ] {
        for at in ["", "/d/default", "/d/other"] {
            pool.json(&format!("{at}{path}"), &body).await;
        }
    }
    let names: Vec<String> = pool.close().into_iter().map(|r| r.deployment).collect();
    assert_eq!(names[..3], ["default", "default", "other"]);
}

#[tokio::test]
async fn what_is_not_valid_is_named() {
    let pool = Pool::new(Config::default());
    for (body, part) in [
        (json!({"deployment": "a/b"}), "deployment"),
        (json!({"cut_rate": 2}), "cut_rate"),
        (json!({"cut_rat": 1}), "unknown field `cut_rat`"),
    ] {
        let (status, bytes) = pool.post("/sim/behaviour", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(String::from_utf8(bytes).unwrap().contains(part), "{part}");
    }
    assert_eq!(pool.post("/d/a%2Fb/v1/responses", &json!({})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn azure_wants_a_version_and_annotates() {
    let pool = Pool::new(Config { api_key: Some("key".into()), ..Config::default() });
    let path = "/openai/deployments/sim-fast/chat/completions";
    let body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(pool.post(path, &body).await.0, StatusCode::NOT_FOUND);
    let path = format!("{path}?api-version=2024-10-21");
    let (status, _, bytes) = pool.request(&path, &[("api-key", "key")], &body.to_string()).await;
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["choices"][0]["content_filter_results"]["hate"]["filtered"], false);
    assert_eq!(
        pool.request(&path, &[("api-key", "no")], &body.to_string()).await.0,
        StatusCode::UNAUTHORIZED
    );
    let events = pool.events(&path, &with(body, &json!({"stream": true}))).await;
    assert_eq!(events[0]["choices"], json!([]));
    assert!(
        events[0]["prompt_filter_results"].is_array()
            && events[1]["choices"][0]["delta"]["role"] == "assistant"
    );
}

#[tokio::test]
async fn engines_differ_where_real_ones_do() {
    let pool = Pool::new(Config::default());
    let asked = chat("sim-fast:reasoning-9", "get_weather");
    let tools = json!({"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]});
    let broken = json!({"model": "sim-fast", "messages": []});
    for (engine, thoughts, id, code) in [
        ("openai", None, 29, "/error/type"),
        ("mistral", None, 9, "/message"),
        ("vllm", Some("reasoning"), 46, "/error/code"),
        ("sglang", Some("reasoning_content"), 29, "/code"),
        ("llamacpp", Some("reasoning_content"), 29, "/error/code"),
        ("ollama", Some("reasoning"), 29, "/error/message"),
        ("tgi", None, 29, "/error_type"),
    ] {
        set(&pool, &json!({"deployment": "e", "engine": engine})).await;
        let path = format!("/d/e{CHAT}");
        let answer = pool.json(&path, &with(asked.clone(), &tools)).await;
        let message = &answer["choices"][0]["message"];
        assert_eq!(message["tool_calls"][0]["id"].as_str().unwrap().len(), id, "{engine}");
        for field in ["reasoning", "reasoning_content"] {
            assert_eq!(message.get(field).is_some(), thoughts == Some(field), "{engine} {field}");
        }
        let events = pool.events(&path, &with(asked.clone(), &json!({"stream": true}))).await;
        let deltas = events.iter().filter_map(|e| e["choices"][0]["delta"][thoughts?].as_str());
        let joined: String = deltas.collect();
        assert_eq!(joined.is_empty(), thoughts.is_none(), "{engine}");
        assert_eq!(events.iter().any(|e| e["usage"].is_object()), engine == "mistral");
        let asking = json!({"stream": true, "stream_options": {"include_usage": true}});
        let (status, _) = pool.post(&path, &with(asked.clone(), &asking)).await;
        assert_eq!(status.as_u16(), if engine == "mistral" { 422 } else { 200 }, "{engine}");
        let (status, bytes) = pool.post(&path, &broken).await;
        let error: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(
            status == StatusCode::BAD_REQUEST && !error.pointer(code).unwrap().is_null(),
            "{engine} {error}"
        );
    }
    let records = pool.close();
    assert!(records.iter().filter(|r| r.status == 200).all(|r| r.tokens_sent == r.usage.completion));
}
