//! A plain HTTP client, which hides nothing.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::time::Duration;

/// Longer than anything that a test waits for on purpose.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Full<Bytes>>);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}

impl Http {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends a request; returns once the head of its answer is there.
    pub(crate) async fn open(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.0.request(request)).await;
        answer
            .unwrap_or_else(|_| panic!("{url}: no answer"))
            .unwrap_or_else(|error| panic!("{url}: {error:?}"))
    }

    /// Whether `GET url` answers 200 within a second.
    pub(crate) async fn is_ok(&self, url: &str) -> bool {
        self.answers(url, &[]).await
    }

    /// The same with headers.
    pub(crate) async fn answers(&self, url: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default()).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(1), self.0.request(request)).await;
        matches!(answer, Ok(Ok(answer)) if answer.status() == 200)
    }

    pub(crate) async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        collect(self.open(Method::GET, url, headers, Bytes::new()).await).await
    }

    pub(crate) async fn post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        collect(self.open(Method::POST, url, headers, body.into()).await).await
    }

    /// Posts JSON with a key.
    pub(crate) async fn call(&self, url: &str, key: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.post(url, &headers, body.to_string()).await
    }
}

/// The whole answer; of one that breaks off, what came.
async fn collect(answer: Response<Incoming>) -> Answer {
    let (head, mut incoming) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(frame)) =
        tokio::time::timeout(PATIENCE, incoming.frame()).await.expect("the answer goes on")
    {
        body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
    }
    Answer { status: head.status.as_u16(), headers: head.headers, body: Bytes::from(body) }
}
