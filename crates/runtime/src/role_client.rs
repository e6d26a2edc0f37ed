//! Small requests to our own roles, over HTTP or HTTPS: an address, a key, and a bound on time and size.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// The largest answer that is read.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Asks roles. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct RoleClient(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// No connection: the role is not there yet, or has closed its port to drain.
    Nobody,
    /// There is one, but no answer on it in time.
    Mute(Duration),
    /// Anything else.
    Broken(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nothing listens there"),
            Self::Mute(patience) => write!(f, "no answer within {} s", patience.as_secs_f64()),
            Self::Broken(reason) => f.write_str(reason),
        }
    }
}

impl RoleClient {
    /// A client that trusts whom `tls` does.
    pub fn new(tls: ClientConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Self(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
    }

    /// Status and body of `GET url`, which carries `authorization` if it is given; an error says why there is none.
    pub async fn get(
        &self,
        url: &str,
        authorization: Option<&HeaderValue>,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), Silence> {
        let request = Request::get(url);
        let request = authorization.into_iter().fold(request, |r, value| r.header(AUTHORIZATION, value));
        let request = request.body(Empty::new());
        let request = request.map_err(|error| Silence::Broken(format!("{url} is not a URL: {error}")))?;
        let exchange = async {
            let response = self.0.request(request).await.map_err(|error| {
                // A certificate that is not trusted is a failure to connect, too, but somebody listens.
                if error.is_connect() && is_refused(&error) { Silence::Nobody } else { broken(&error) }
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            Ok((status, body.map_err(|error| broken(&*error))?.to_bytes()))
        };
        match tokio::time::timeout(patience, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Silence::Mute(patience)),
        }
    }
}

/// Hyper's errors name the last step alone; the causes are in their sources.
fn broken(error: &(dyn Error + 'static)) -> Silence {
    Silence::Broken(causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::client_config;
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::routing::get;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn it_shows_its_key_and_says_why_there_is_no_answer() {
        let key = |headers: HeaderMap| async move {
            headers.get("authorization").cloned().map_or(String::new(), |v| v.to_str().unwrap().to_owned())
        };
        let router = Router::new()
            .route("/key", get(key))
            .route("/mute", get(std::future::pending::<()>))
            .route("/endless", get(|| async { "x".repeat(MOST_BYTES + 1) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });

        let client = RoleClient::new(client_config("", None).unwrap());
        let shown = HeaderValue::from_static("Bearer k");
        let answer = client.get(&format!("{base}/key"), Some(&shown), PATIENCE).await.unwrap();
        assert_eq!(answer, (StatusCode::OK, Bytes::from_static(b"Bearer k")));
        let answer = client.get(&format!("{base}/key"), None, PATIENCE).await.unwrap();
        assert_eq!(answer.1, Bytes::new());

        let short = Duration::from_millis(50);
        assert_eq!(client.get(&format!("{base}/mute"), None, short).await, Err(Silence::Mute(short)));
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(client.get(&format!("http://{gone}/"), None, PATIENCE).await, Err(Silence::Nobody));
        for (url, says) in [(format!("{base}/endless"), "length limit"), ("not a url".into(), "is not a URL")]
        {
            let silence = client.get(&url, None, PATIENCE).await.unwrap_err().to_string();
            assert!(silence.contains(says), "{silence}");
        }
    }
}
