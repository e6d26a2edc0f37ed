//! A small HTTP client for judges that ask somebody: JSON out, JSON in, bounded in time and size.

use super::JudgeError;
use crate::https::{self, HttpsClient};
use contracts::Usd;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde_json::Value;
use std::time::Duration;

/// The client. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct Wire(HttpsClient);

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No answer in time.
    #[error("no answer within {0} ms")]
    TimedOut(u128),
    /// There is no connection to the other side: nothing was asked.
    #[error("{0}")]
    Unreachable(String),
    /// It broke off.
    #[error("{0}")]
    Broken(String),
    /// It answered, but said no.
    #[error("status {status}: {body}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it says that it cost.
        cost: Option<Usd>,
        /// The beginning of what it said.
        body: String,
    },
    /// Larger than allowed, or no JSON.
    #[error("{reason}")]
    Nonsense {
        /// Why it cannot be used.
        reason: String,
        /// What it says that it cost.
        cost: Option<Usd>,
    },
}

/// What comes back.
#[derive(Debug)]
pub struct Answer {
    /// Its JSON.
    pub value: Value,
    /// What it says that it cost.
    pub cost: Option<Usd>,
}

/// What the gateway says in a header that an answer cost.
fn cost(headers: &HeaderMap) -> Option<Usd> {
    headers.get("x-control-tower-cost-usd")?.to_str().ok()?.parse().ok()
}

impl WireError {
    /// Whether asking again may help.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::Unreachable(_) | Self::Broken(_) => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            Self::Nonsense { .. } => false,
        }
    }

    /// Whether it would have failed whatever was asked, for now: the other side is away, or has no room.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) => true,
            Self::Refused { status, .. } => matches!(*status, 429 | 503),
            Self::TimedOut(_) | Self::Nonsense { .. } => false,
        }
    }

    /// What it means for `judge`.
    pub fn of(self, judge: &str) -> JudgeError {
        let (judge, reason) = (judge.to_owned(), self.to_string());
        match self {
            Self::TimedOut(millis) => JudgeError::Deadline { judge, millis },
            passing if passing.is_passing() => JudgeError::Unavailable { judge, reason },
            error => JudgeError::Failed { judge, reason, retryable: error.is_retryable() },
        }
    }
}

impl Wire {
    /// A client; nothing is sent yet.
    pub fn new() -> Result<Self, rustls::Error> {
        https::client().map(Self)
    }

    /// Posts JSON. `max` bounds the answer's bytes.
    pub async fn post(
        &self,
        uri: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        body: &Value,
        within: Duration,
        max: usize,
    ) -> Result<Answer, WireError> {
        let answer = tokio::time::timeout(within, self.exchange(uri, headers, body, max));
        answer.await.map_err(|_| WireError::TimedOut(within.as_millis()))?
    }

    async fn exchange(
        &self,
        uri: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        body: &Value,
        max: usize,
    ) -> Result<Answer, WireError> {
        let broken = |error: &dyn std::fmt::Display| WireError::Broken(error.to_string());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request =
            request.body(Full::new(bytes::Bytes::from(body.to_string()))).map_err(|error| broken(&error))?;
        let answer = self.0.request(request).await.map_err(|error| {
            if error.is_connect() { WireError::Unreachable(error.to_string()) } else { broken(&error) }
        })?;
        let (head, body) = answer.into_parts();
        let cost = cost(&head.headers);
        let body = Limited::new(body, max).collect().await;
        let body = body
            .map_err(|error| {
                let reason = format!("the answer cannot be read: {error}");
                let is_large = error.downcast_ref::<LengthLimitError>().is_some();
                if is_large { WireError::Nonsense { reason, cost } } else { WireError::Broken(reason) }
            })?
            .to_bytes();
        if !head.status.is_success() {
            let body = String::from_utf8_lossy(&body).chars().take(300).collect();
            return Err(WireError::Refused { status: head.status.as_u16(), cost, body });
        }
        let value = serde_json::from_slice(&body).map_err(|error| {
            let reason = format!("the answer is not JSON: {error}");
            WireError::Nonsense { reason, cost }
        })?;
        Ok(Answer { value, cost })
    }
}
