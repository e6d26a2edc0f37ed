//! How busy deployments say they are: their servers' metrics, and those of the exporters of their GPUs.

use crate::live::live_when;
use crate::pools::pooled;
use crate::support::{Gateway, Received, Step, Upstream, chat, config, json};
use contracts::live::LoadSample;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ADMIN: &str = "ct-admin-0123456789abcdef";

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// Calls in each round.
const CALLS: usize = 40;

fn asks_metrics(received: &Received) -> bool {
    received.head.starts_with("GET /metrics HTTP/1.1")
}

fn calls(upstream: &Upstream) -> usize {
    upstream.received().iter().filter(|received| !asks_metrics(received)).count()
}

/// A vLLM that has much to do while `is_busy`, and whose answers take the same time nonetheless.
async fn vllm(is_busy: impl Fn() -> bool + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |received| {
        if asks_metrics(received) {
            let (waiting, cache) = if is_busy() { (64, 0.97) } else { (0, 0.1) };
            let label = "{engine=\"0\",model_name=\"gpt-4o-mini\"}";
            return json(
                200,
                &format!(
                    "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{label} 8\n\
                     vllm:num_requests_waiting{label} {waiting}\nvllm:kv_cache_usage_perc{label} {cache}\n"
                ),
            );
        }
        // Long enough that chance makes none of them much slower than the other.
        let mut steps = vec![Step::Wait(Duration::from_millis(20))];
        steps.extend(json(200, ANSWER));
        steps
    })
    .await
}

fn deployment(n: usize, upstream: &Upstream, more: &serde_json::Value) -> serde_json::Value {
    let mut json = serde_json::json!({"id": format!("d{n}"), "provider": format!("p{n}"), "upstream_model": "gpt-4o-mini"});
    let url = format!("http://{}/metrics", upstream.addr);
    for (field, source) in more.as_object().unwrap() {
        json[field] = source.clone();
        json[field]["url"] = url.clone().into();
        json[field]["every_ms"] = 100.into();
    }
    json
}

#[tokio::test]
async fn calls_go_where_less_is_to_do() {
    let first_is_busy = Arc::new(AtomicBool::new(true));
    let (first, second) = (first_is_busy.clone(), first_is_busy.clone());
    let upstreams = [
        vllm(move || first.load(Ordering::SeqCst)).await,
        vllm(move || !second.load(Ordering::SeqCst)).await,
    ];
    let load = serde_json::json!({"load": {"kind": "vllm"}});
    let deployments: Vec<_> = upstreams.iter().enumerate().map(|(n, at)| deployment(n, at, &load)).collect();
    let policy = serde_json::json!({"deployments": deployments});
    let mut snapshot = pooled(&[&upstreams[0], &upstreams[1]], &policy);
    snapshot.admin_keys.insert(control::secrets::hash(ADMIN));
    let gateway = Gateway::start(config(None), snapshot);
    for (busy, idle) in [(0, 1), (1, 0)] {
        first_is_busy.store(busy == 0, Ordering::SeqCst);
        live_when(&gateway, ADMIN, |live| {
            let [pool] = &live.pools[..] else { return false };
            let waiting = |n: usize| pool.health.deployments[n].load.and_then(|load| load.waiting);
            (waiting(busy), waiting(idle)) == (Some(64.0), Some(0.0))
        })
        .await;
        let before = [calls(&upstreams[0]), calls(&upstreams[1])];
        for _ in 0..CALLS {
            assert_eq!(gateway.post("/v1/chat/completions", chat(false)).await.status, StatusCode::OK);
        }
        let [loaded, free] = [busy, idle].map(|n| calls(&upstreams[n]) - before[n]);
        assert!(
            loaded * 4 < free,
            "{loaded} of {CALLS} calls went to the one with 64 in its queue, {free} to the other"
        );
    }
}

#[tokio::test]
async fn what_an_exporter_tells_of_a_deployments_gpus_is_shown() {
    let exporter = Upstream::start(|received| {
        if !asks_metrics(received) {
            return json(200, ANSWER);
        }
        let of = |name: &str, values: [u32; 2]| {
            let line = |(gpu, value)| format!("{name}{{gpu=\"{gpu}\",UUID=\"GPU-{gpu}\"}} {value}\n");
            values.into_iter().enumerate().map(line).collect::<String>()
        };
        let text = [
            of("DCGM_FI_DEV_GPU_UTIL", [90, 10]),
            of("DCGM_FI_DEV_FB_USED", [60_000, 1_000]),
            of("DCGM_FI_DEV_FB_FREE", [20_000, 79_000]),
        ];
        json(200, &text.concat())
    })
    .await;
    let gpu = serde_json::json!({"gpu": {"kind": "dcgm", "devices": ["0"]}});
    let policy = serde_json::json!({"deployments": [deployment(0, &exporter, &gpu)]});
    let mut snapshot = pooled(&[&exporter], &policy);
    snapshot.admin_keys.insert(control::secrets::hash(ADMIN));
    let gateway = Gateway::start(config(None), snapshot);
    let live = live_when(&gateway, ADMIN, |live| {
        live.pools.first().is_some_and(|pool| pool.health.deployments[0].load.is_some())
    })
    .await;
    let shown = &live.pools[0].health.deployments[0];
    let told = LoadSample { gpu_busy: Some(0.9), gpu_memory: Some(0.75), ..LoadSample::default() };
    assert_eq!(shown.load, Some(told));
    // A GPU that is busy counts little: it is as soon as a single call runs.
    assert!(shown.pressure > 0.0 && shown.pressure < 0.5, "{shown:#?}");
}
