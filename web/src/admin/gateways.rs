//! The gateways that are asked what goes on in them, on behalf of whoever asks here: each gets the caller's own key.

use super::Failure;
use crate::server::Config;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use contracts::Timestamp;
use contracts::live::{GatewayAnswer, GatewayLive, Live, PATH};
use runtime::RoleClient;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a gateway may take. One that hangs is named, and does not keep the others' answers back for longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// All gateways that are configured. Cloning is a reference count.
#[derive(Debug, Clone)]
pub struct Gateways {
    client: RoleClient,
    urls: Arc<[String]>,
}

impl Gateways {
    /// Those of the configuration.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let tls = runtime::tls::client_config("web.ca_file", config.ca_file.as_deref())?;
        let urls = config.gateways.iter().map(|url| url.trim_end_matches('/').to_owned());
        Ok(Self { client: RoleClient::new(tls), urls: urls.collect() })
    }

    /// What all of them say to the key in `headers`, at once. One that does not answer is named with the reason.
    pub(super) async fn ask(&self, headers: &HeaderMap, now: Timestamp) -> Result<Live, Failure> {
        let key = headers.get(AUTHORIZATION).ok_or_else(|| Failure::unauthorized("no admin key"))?;
        let asked: Vec<_> = self
            .urls
            .iter()
            .map(|url| tokio::spawn(one(self.client.clone(), url.clone(), key.clone())))
            .collect();
        let mut gateways = Vec::with_capacity(asked.len());
        for (answer, url) in asked.into_iter().zip(&*self.urls) {
            let answer = answer.await.unwrap_or_else(|_ended| Err("it could not be asked".to_owned()));
            let url = url.clone();
            gateways.push(match answer {
                Ok(live) => GatewayAnswer { url, error: None, live: Some(live) },
                Err(error) => GatewayAnswer { url, error: Some(error), live: None },
            });
        }
        Ok(Live::of(now.unix_millis(), gateways))
    }
}

async fn one(client: RoleClient, url: String, key: HeaderValue) -> Result<Box<GatewayLive>, String> {
    let answer = client.get(&format!("{url}{PATH}"), Some(&key), PATIENCE).await;
    let (status, body) = answer.map_err(|silence| silence.to_string())?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"));
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or("without saying why");
    Err(format!("it answers {}: {message}", status.as_u16()))
}
