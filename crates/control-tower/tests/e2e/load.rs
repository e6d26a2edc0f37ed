//! Clients that call the gateway at a steady rate, and know exactly which of their calls were answered in full.

use crate::tower::Tower;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

type Http = Client<HttpConnector, Full<Bytes>>;

/// No call of the simulated pool takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The last byte of a good answer arrived; the request's id.
    Completed(String),
    /// Something else happened, in words that can be counted.
    Failed(String),
}

impl Outcome {
    pub(crate) fn completed(&self) -> Option<&str> {
        match self {
            Self::Completed(id) => Some(id),
            Self::Failed(_) => None,
        }
    }
}

/// Clients at work.
pub(crate) struct Load {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<Outcome>>,
}

impl Load {
    /// Begins to call, so often a second whatever becomes of the calls.
    pub(crate) fn start(tower: &Tower, per_second: u32) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (url, key) = (tower.gateway("/v1/chat/completions"), tower.text("/tenant_key").to_owned());
        let task = tokio::spawn(async move {
            let mut tick = interval(Duration::from_secs(1) / per_second);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut calls = JoinSet::new();
            for number in 0_u64.. {
                tokio::select! {
                    _ = &mut stopped => break,
                    _ = tick.tick() => {}
                }
                calls.spawn(call(client.clone(), url.clone(), key.clone(), number));
            }
            calls.join_all().await
        });
        Self { stop, task }
    }

    /// Stops calling, waits for the calls under way, and returns what became of all.
    pub(crate) async fn finish(self) -> Vec<Outcome> {
        let _ = self.stop.send(());
        self.task.await.expect("the clients do not panic")
    }
}

async fn call(client: Http, url: String, key: String, number: u64) -> Outcome {
    match timeout(PATIENCE, try_call(client, url, key, number)).await {
        Ok(Ok(id)) => Outcome::Completed(id),
        Ok(Err(reason)) => Outcome::Failed(reason),
        Err(_) => Outcome::Failed("no answer in time".to_owned()),
    }
}

async fn try_call(client: Http, url: String, key: String, number: u64) -> Result<String, String> {
    let stream = number % 2 == 1;
    let model = if number % 4 < 2 { "sim-fast" } else { "sim-small" };
    let body = serde_json::json!({
        "model": model,
        "stream": stream,
        "messages": [{"role": "user", "content": format!("call number {number}")}],
    });
    let request = Request::post(url)
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let response = client.request(request).await.map_err(|_| "no answer".to_owned())?;
    let status = response.status().as_u16();
    let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = response.into_body().collect().await.map_err(|_| "an answer that broke off".to_owned())?;
    if status != 200 {
        return Err(format!("status {status}"));
    }
    let body = body.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| "an answer that is not text".to_owned())?;
    if stream && !text.trim_end().ends_with("data: [DONE]") {
        return Err("a stream without its end".to_owned());
    }
    id.ok_or_else(|| "an answer without x-request-id".to_owned())
}

/// Whether a GET is answered with success, now; nobody there is an answer too.
pub(crate) async fn is_ok(url: &str) -> bool {
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(url.parse().expect("a URL"));
    timeout(Duration::from_secs(1), answer)
        .await
        .is_ok_and(|answer| answer.is_ok_and(|a| a.status().is_success()))
}
