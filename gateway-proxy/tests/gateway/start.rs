//! What must not be there when the gateway starts.

use crate::support::config;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use runtime::Shutdown;
use std::time::Duration;

#[tokio::test]
async fn a_gateway_starts_without_its_control_database_and_is_ready_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    // Where the directory of the database should be, there is a file.
    let place = dir.path().join("control");
    std::fs::write(&place, "in the way").unwrap();
    let url = format!("sqlite://{}", place.join("control.db").display());
    let mut config = config(None);
    config.listen = free_address();
    config.spool.dir = dir.path().join("spool");
    config.budgets.dir = dir.path().join("budgets");
    let addr = config.listen;
    let shutdown = Shutdown::manual();
    let stop = shutdown.clone();
    let task = tokio::spawn(async move { gateway_proxy::run(config, &url, shutdown).await });
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let status = async |path: &str| {
        let request = Request::get(format!("http://{addr}{path}")).body(Full::default()).unwrap();
        client.request(request).await.map(|answer| answer.status()).ok()
    };
    let becomes = async |path: &str, expected: StatusCode| {
        for _ in 0..400 {
            if status(path).await == Some(expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{path} does not become {expected}, it is {:?}", status(path).await);
    };
    becomes("/healthz", StatusCode::OK).await;
    assert_eq!(status("/readyz").await, Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(status("/v1/models").await, Some(StatusCode::SERVICE_UNAVAILABLE), "no policy is no policy");

    std::fs::remove_file(&place).unwrap();
    becomes("/readyz", StatusCode::OK).await;
    assert_eq!(status("/v1/models").await, Some(StatusCode::UNAUTHORIZED));
    stop.trigger();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_url_that_leads_nowhere_ends_the_start() {
    let error = gateway_proxy::run(config(None), "mysql://there", Shutdown::manual()).await.unwrap_err();
    assert!(error.to_string().contains("mysql"), "{error}");
}

fn free_address() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
