//! `GET /v1/models` and `GET /v1/models/{id}`.

use crate::support::{Gateway, Upstream, config, json, snapshot};

#[tokio::test]
async fn a_key_sees_the_names_that_it_may_ask_for() {
    let upstream = Upstream::always(json(200, "{}")).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, true));
    let list = gateway.get("/v1/models").await.json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!((list["object"].as_str(), ids), (Some("list"), vec!["fast", "gpt-4o-mini", "pro"]));

    let one = gateway.get("/v1/models/pro").await.json();
    let expected =
        serde_json::json!({"id": "pro", "object": "model", "created": 1_700_000_000, "owned_by": "sim"});
    assert_eq!(one, expected);

    let unknown = gateway.get("/v1/models/nope").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["code"], "model_not_found");
}
