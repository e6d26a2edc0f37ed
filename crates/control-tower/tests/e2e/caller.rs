//! Clients that take the time of their calls, and say what became of each.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// No call takes as long, whatever is wrong with the pool.
const PATIENCE: Duration = Duration::from_mins(1);

/// Makes calls; a clone shares its connections.
#[derive(Clone)]
pub(crate) struct Caller(Client<HttpConnector, Full<Bytes>>);

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A good answer, whole.
    Answered(Answered),
    /// An error of the gateway's: its status, code and message.
    Refused(u16, String, String),
    /// No answer, or one that broke off.
    Broken(String),
}

/// A good answer.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// To the first byte of the body.
    pub(crate) first: Duration,
    /// To the last.
    pub(crate) took: Duration,
    /// Tokens of it, as it tells them; 0 where it does not.
    pub(crate) completion: u64,
}

impl Caller {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Calls `gateway` and reads all of the answer.
    pub(crate) async fn call(&self, gateway: &str, key: &str, body: &Value) -> Reply {
        let began = Instant::now();
        match timeout(PATIENCE, self.read(gateway, key, body, began)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(why)) => Reply::Broken(why.to_owned()),
            Err(_) => Reply::Broken("no answer in time".to_owned()),
        }
    }

    async fn read(
        &self,
        gateway: &str,
        key: &str,
        body: &Value,
        began: Instant,
    ) -> Result<Reply, &'static str> {
        let request = Request::post(format!("{gateway}/v1/chat/completions"))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let response = self.0.request(request).await.map_err(|_| "no answer")?;
        let status = response.status().as_u16();
        let (mut incoming, mut bytes, mut first) = (response.into_body(), Vec::new(), None);
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|_| "an answer that broke off")?;
            if let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) {
                first.get_or_insert_with(|| began.elapsed());
                bytes.extend_from_slice(data);
            }
        }
        let took = began.elapsed();
        let text = String::from_utf8(bytes).map_err(|_| "an answer that is not text")?;
        if status != 200 {
            let error: Value = serde_json::from_str(&text).unwrap_or_default();
            let field = |name: &str| error["error"][name].as_str().unwrap_or_default().to_owned();
            return Ok(Reply::Refused(status, field("code"), field("message")));
        }
        let is_stream = body["stream"] == true;
        let usage = if is_stream { of_stream(&text)? } else { of_whole(&text) };
        let completion = usage["completion_tokens"].as_u64().unwrap_or_default();
        Ok(Reply::Answered(Answered { first: first.unwrap_or(took), took, completion }))
    }
}

fn of_whole(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap_or_default()["usage"].take()
}

/// Usage of a stream that asked for it.
fn of_stream(text: &str) -> Result<Value, &'static str> {
    if !text.trim_end().ends_with("data: [DONE]") {
        return Err("a stream without its end");
    }
    let chunks = text.lines().rev().filter_map(|line| line.strip_prefix("data: {"));
    let mut usages = chunks.filter_map(|chunk| {
        let mut chunk: Value = serde_json::from_str(&format!("{{{chunk}")).ok()?;
        Some(chunk["usage"].take()).filter(Value::is_object)
    });
    Ok(usages.next().unwrap_or_default())
}

/// The time below which a share of `times` lies, by the nearest rank.
pub(crate) fn quantile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
