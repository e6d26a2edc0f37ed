//! A provider that states what streams used unasked, and refuses to be asked: a simulated Mistral.

use crate::support::{Collector, Gateway, chat, config, snapshot_at};
use contracts::policy::{Provider, ProviderSettings, Speaks, StreamUsage};
use http::StatusCode;
use runtime::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// A gateway before a simulated Mistral, whose settings these are.
async fn before_mistral(settings: ProviderSettings) -> (Gateway, Collector, Shutdown) {
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let conduct = sim::Conduct { engine: sim::Engine::Mistral, ..sim::Conduct::default() };
    let mistral = sim::DeploymentConfig { name: "mistral".into(), listen: None, conduct };
    let model = sim::ModelConfig { name: "gpt-4o-mini".into(), ..sim::ModelConfig::default() };
    let sim =
        sim::Config { listen, deployments: vec![mistral], models: vec![model], ..sim::Config::default() };
    let shutdown = Shutdown::manual();
    tokio::spawn(sim::run(sim, shutdown.clone()));
    while tokio::net::TcpStream::connect(listen).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut policy = snapshot_at(&format!("http://{listen}/d/mistral/v1"), false);
    let name = "gpt-4o-mini".parse().unwrap();
    let mut model = policy.models[&name].as_ref().clone();
    let speaks = Ok(Speaks { settings, ..Speaks::default() });
    model.provider = Arc::new(Provider { speaks, ..Provider::clone(&model.provider) });
    policy.models.insert(name, Arc::new(model));
    let collector = Collector::start().await;
    let gateway = Gateway::start(config(Some(&collector)), policy);
    (gateway, collector, shutdown)
}

fn always() -> ProviderSettings {
    ProviderSettings { stream_usage: Some(StreamUsage::Always), ..ProviderSettings::default() }
}

/// What the collector heard of the call: it was answered, and its usage is the provider's own.
async fn is_metered(collector: &Collector) {
    let call = collector.call().await;
    assert_eq!((call.get("error.type"), call.get("control_tower.usage.source")), ("", "reported"));
    for field in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        assert!(call.get(field).parse::<u64>().unwrap() > 0, "{field}: {}", call.get(field));
    }
}

#[tokio::test]
async fn a_stream_whose_usage_comes_unasked_is_metered_by_it() {
    // Also where the client asks for it as it would ask anybody.
    for options in ["", r#""stream_options":{"include_usage":true},"#] {
        let (gateway, collector, shutdown) = before_mistral(always()).await;
        let asked = chat(true).replacen('{', &format!("{{{options}"), 1);
        let answer = gateway.post("/v1/chat/completions", asked).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        is_metered(&collector).await;
        shutdown.trigger();
    }
}

#[tokio::test]
async fn so_is_one_for_a_client_of_another_protocol() {
    let (gateway, collector, shutdown) = before_mistral(always()).await;
    let asked = r#"{"model":"gpt-4o-mini","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Say hi"}]}"#;
    let answer = gateway.post("/v1/messages", asked).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(answer.text().contains("event: message_stop"), "{}", answer.text());
    is_metered(&collector).await;
    shutdown.trigger();
}

#[tokio::test]
async fn a_provider_that_is_asked_without_need_says_so() {
    let (gateway, _collector, shutdown) = before_mistral(ProviderSettings::default()).await;
    let answer = gateway.post("/v1/chat/completions", chat(true)).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text());
    assert!(answer.text().contains("stream_options"), "{}", answer.text());
    shutdown.trigger();
}
