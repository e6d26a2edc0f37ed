//! `GET /d/{name}/metrics`: a deployment's load as vLLM reports it.

use crate::sim::Sim;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use std::fmt::Write;

/// The metrics in the Prometheus text format.
pub(crate) async fn metrics(State(sim): State<Sim>) -> Response {
    let deployment = sim.deployment();
    let counts = deployment.counts();
    let (running, waiting) = (counts.running, counts.waiting);
    let finished = counts.outcomes.get("completed").copied().unwrap_or_default();
    let rows = [
        (
            "num_requests_running",
            "gauge",
            "Number of requests in model execution batches.",
            running.to_string(),
        ),
        ("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", waiting.to_string()),
        (
            "kv_cache_usage_perc",
            "gauge",
            "KV-cache usage. 1 means 100 percent usage.",
            deployment.kv_usage().to_string(),
        ),
        (
            "prompt_tokens_total",
            "counter",
            "Number of prefill tokens processed.",
            counts.prompt_tokens.to_string(),
        ),
        (
            "generation_tokens_total",
            "counter",
            "Number of generation tokens processed.",
            counts.completion_tokens.to_string(),
        ),
        (
            "request_success_total",
            "counter",
            "Count of successfully processed requests.",
            finished.to_string(),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        let point = if value.contains('.') { "" } else { ".0" };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}\n\
             vllm:{name}{{engine=\"0\",model_name=\"{}\"}} {value}{point}\n",
            deployment.name
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
