//! Small HTTP requests to our own roles: are they there, are they ready?

use bytes::Bytes;
use http::StatusCode;
use runtime::tls::{TlsError, client_config};
use runtime::{RoleClient, Silence};
use std::time::Duration;

/// Asks roles how they are, for which no key is needed.
#[derive(Debug, Clone)]
pub(crate) struct Probe(RoleClient);

impl Probe {
    pub(crate) fn new() -> Result<Self, TlsError> {
        Ok(Self(RoleClient::new(client_config("", None)?)))
    }

    /// Status and body of `GET url`; an error says why there is none.
    pub(crate) async fn get(&self, url: &str, patience: Duration) -> Result<(StatusCode, Bytes), Silence> {
        self.0.get(url, None, patience).await
    }

    /// Whether `GET url` answers 200.
    pub(crate) async fn is_ok(&self, url: &str) -> bool {
        matches!(self.get(url, Duration::from_secs(2)).await, Ok((StatusCode::OK, _)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_there_only_where_a_connection_is_refused() {
        let probe = Probe::new().unwrap();
        let get = async |url: String| probe.get(&url, Duration::from_secs(5)).await.unwrap_err();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(get(format!("http://{gone}/")).await, Silence::Nobody);
        // No connection leads to a group of machines, whoever listens.
        let silence = get("http://224.0.0.1:1/".to_owned()).await;
        assert!(matches!(silence, Silence::Broken(_)), "{silence}");
    }
}
