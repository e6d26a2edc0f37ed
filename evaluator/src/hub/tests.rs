//! Against a server that speaks as the Hub does: small files behind a redirect of its own, large ones behind one to another server, with the
//! tag and the size of what is there.

use super::*;
use axum::Router;
use axum::extract::{Path as Segments, State};
use axum::response::IntoResponse;
use axum::routing::get as route;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const COMMIT: &str = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf";
const WEIGHTS: &[u8] = b"weights, as many as they are";

/// What the hub has, what it promises of the weights, and what it was asked for.
#[derive(Debug, Clone)]
struct Hub {
    weights: Option<&'static [u8]>,
    etag: String,
    size: usize,
    status: StatusCode,
    pooling: bool,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Default for Hub {
    fn default() -> Self {
        let etag = hex::encode(Sha256::digest(WEIGHTS));
        let (weights, size, status) = (Some(WEIGHTS), WEIGHTS.len(), StatusCode::OK);
        Self { weights, etag, size, status, pooling: true, asked: Arc::default() }
    }
}

async fn resolve(
    State(hub): State<Hub>,
    Segments((owner, name, revision, file)): Segments<(String, String, String, String)>,
) -> axum::response::Response {
    hub.asked.lock().unwrap().push(format!("{owner}/{name}@{revision}:{file}"));
    if hub.status != StatusCode::OK {
        return (hub.status, "no").into_response();
    }
    match file.as_str() {
        "model.safetensors" => {
            let headers = [
                ("location", "/storage/weights?signature=1".to_owned()),
                ("x-repo-commit", COMMIT.to_owned()),
                ("x-linked-size", hub.size.to_string()),
                ("x-linked-etag", format!("\"{}\"", hub.etag)),
            ];
            (StatusCode::FOUND, headers).into_response()
        }
        "1_Pooling/config.json" if !hub.pooling => StatusCode::NOT_FOUND.into_response(),
        file => {
            let to = format!("/api/resolve-cache/{file}");
            let headers = [("location", to), ("x-repo-commit", COMMIT.to_owned())];
            (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
        }
    }
}

/// Its URL; it is gone when the second is dropped.
async fn serve(hub: Hub) -> (String, tokio_util::task::AbortOnDropHandle<()>) {
    let weights = hub.weights;
    let app = Router::new()
        .route("/{owner}/{name}/resolve/{revision}/{*file}", route(resolve))
        .route(
            "/api/resolve-cache/{*file}",
            route(async |Segments(file): Segments<String>| format!("{{\"is\": {file:?}}}")),
        )
        .route("/storage/weights", route(async move || weights.ok_or(StatusCode::SERVICE_UNAVAILABLE)))
        .with_state(hub);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, tokio_util::task::AbortOnDropHandle::new(task))
}

fn id(text: &str) -> HubId {
    text.parse().unwrap()
}

/// Names of what lies in the folder of models.
fn left(data: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(data.path().join("models")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_model_is_fetched_once_and_then_read_without_a_request() {
    let (hub, data) = (Hub::default(), TempDir::new().unwrap());
    let (url, server) = serve(hub.clone()).await;
    let named = id("sentence-transformers/all-MiniLM-L6-v2");
    // Two processes that start at the same time.
    let (dir, same) = tokio::join!(model(&named, &url, data.path()), model(&named, &url, data.path()));
    let dir = dir.unwrap();
    assert_eq!(same.unwrap(), dir);
    assert_eq!(dir, data.path().join("models/sentence-transformers--all-MiniLM-L6-v2@main"));
    assert_eq!(left(&data), ["sentence-transformers--all-MiniLM-L6-v2@main"]);
    assert_eq!(std::fs::read(dir.join("model.safetensors")).unwrap(), WEIGHTS);
    for file in ["config.json", "tokenizer.json", "1_Pooling/config.json"] {
        assert_eq!(std::fs::read_to_string(dir.join(file)).unwrap(), format!("{{\"is\": {file:?}}}"));
    }
    // All files are of the commit that the first was of.
    let mut asked = hub.asked.lock().unwrap().clone();
    asked.sort();
    asked.dedup();
    let of = |revision: &str, file: &str| format!("sentence-transformers/all-MiniLM-L6-v2@{revision}:{file}");
    let expected = [
        of(COMMIT, "1_Pooling/config.json"),
        of(COMMIT, "model.safetensors"),
        of(COMMIT, "tokenizer.json"),
        of("main", "config.json"),
    ];
    assert_eq!(asked, expected);
    drop(server);
    let asked = hub.asked.lock().unwrap().len();
    assert_eq!(model(&named, &url, data.path()).await.unwrap(), dir);
    assert_eq!(hub.asked.lock().unwrap().len(), asked);
    // Another revision is another model, and not there.
    let error = format!(
        "{:#}",
        model(&id("sentence-transformers/all-MiniLM-L6-v2@v2"), &url, data.path()).await.unwrap_err()
    );
    assert!(error.contains("all-MiniLM-L6-v2@v2") && error.contains("cannot be reached"), "{error}");
    assert!(error.contains("config.json") && error.contains("inference.model_dir"), "{error}");
}

#[tokio::test]
async fn a_model_without_a_pooling_of_its_own_is_whole() {
    let (data, hub) = (TempDir::new().unwrap(), Hub { pooling: false, ..Hub::default() });
    let (url, _server) = serve(hub).await;
    let dir = model(&id("a/b@v1.0"), &url, data.path()).await.unwrap();
    assert!(dir.ends_with("models/a--b@v1.0") && !dir.join("1_Pooling/config.json").exists());
}

#[tokio::test]
async fn what_is_not_what_was_promised_is_not_kept() {
    let of_others = "0".repeat(64);
    for (hub, expected) in [
        (Hub { etag: of_others.clone(), ..Hub::default() }, of_others.as_str()),
        (Hub { size: WEIGHTS.len() + 1, ..Hub::default() }, "28 bytes came, expected 29"),
        (Hub { size: usize::MAX, ..Hub::default() }, "at most"),
        (Hub { weights: None, ..Hub::default() }, "status 503"),
        (Hub { status: StatusCode::NOT_FOUND, ..Hub::default() }, "status 404: there is no such model"),
        (Hub { status: StatusCode::UNAUTHORIZED, ..Hub::default() }, "status 401"),
        (Hub { status: StatusCode::FOUND, ..Hub::default() }, "redirect"),
    ] {
        let data = TempDir::new().unwrap();
        let file = if hub.status == StatusCode::OK { "model.safetensors" } else { "config.json" };
        let (url, _server) = serve(hub).await;
        let error = format!("{:#}", model(&id("a/b"), &url, data.path()).await.unwrap_err());
        assert!(error.contains(expected), "{error}");
        let place = data.path().join("models/a--b@main");
        for named in
            ["a/b@main", file, &url, &place.display().to_string(), "inference.model_dir", "HF_ENDPOINT"]
        {
            assert!(error.contains(named), "{named}: {error}");
        }
        assert_eq!(left(&data), Vec::<String>::new());
    }
}

#[test]
fn a_redirect_stays_with_tls() {
    let from: Uri = "https://hub.example/a/b?c=1".parse().unwrap();
    assert_eq!(redirected(&from, "/d?e=2").unwrap(), "https://hub.example/d?e=2");
    assert_eq!(redirected(&from, "https://other.example/d").unwrap(), "https://other.example/d");
    for to in ["http://other.example/d", "", "d", "ftp://x/"] {
        assert!(redirected(&from, to).is_err(), "{to}");
    }
}

#[test]
fn ids_are_those_of_the_hub() {
    assert_eq!(id("a/b").to_string(), "a/b@main");
    assert_eq!(id("BAAI/bge-small-en-v1.5@5c38ec7c").directory(), "BAAI--bge-small-en-v1.5@5c38ec7c");
    for wrong in [
        "",
        "a",
        "a/",
        "/b",
        "a/b/c",
        "../b",
        "a/..",
        "a/b@",
        "a/b@../c",
        "a/b@c/d",
        "/models/a",
        "a b/c",
        "a/-b",
    ] {
        let error = wrong.parse::<HubId>().unwrap_err().to_string();
        assert!(error.contains(&format!("{wrong:?}")) && error.contains("owner/name@revision"), "{error}");
    }
}
