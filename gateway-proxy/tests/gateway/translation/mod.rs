//! Every protocol of clients over every protocol of providers, at a simulated pool that checks what it gets as strictly as the
//! providers do and writes its own log.

mod client;
mod counting;
mod failures;

use crate::support::{
    Answer, Collector, Gateway, Upstream, config, json as json_answer, snapshot, snapshot_at,
};
use client::{Client, Said};
use contracts::Timestamp;
use contracts::policy::{Model, Protocol, Provider, ProviderSettings, Secret, Snapshot, Speaks};
use futures_util::FutureExt;
use http::StatusCode;
use runtime::Shutdown;
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A simulated pool, a gateway before it, and what both wrote down.
struct Setup {
    gateway: Gateway,
    collector: Collector,
    log: PathBuf,
    shutdown: Shutdown,
    _dir: tempfile::TempDir,
}

/// What a model may be told to do otherwise, by its name at the gateway: `gemini-break`.
const MODIFIERS: [&str; 8] = ["", "preface", "filter", "break", "cut", "error-400", "error-429", "error-529"];

/// The model's name at the provider: it tells how a model is asked to think.
const fn upstream_model(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::OpenAi | Protocol::Azure => "sim-fast",
        Protocol::Anthropic | Protocol::Bedrock => "claude-sonnet-4-5",
        Protocol::Gemini => "gemini-3-pro",
    }
}

fn provider(protocol: Protocol, sim: &str) -> Provider {
    let below = match protocol {
        Protocol::OpenAi | Protocol::Anthropic => "/v1",
        Protocol::Gemini => "/v1beta",
        Protocol::Azure | Protocol::Bedrock => "",
    };
    let mut settings = ProviderSettings::default();
    let mut secret = "sk-sim";
    if protocol == Protocol::Bedrock {
        (settings.region, settings.access_key_id) = (Some("eu-central-1".into()), Some("AKIDSIM".into()));
        secret = "aws-secret";
    }
    settings.validate(protocol).unwrap();
    Provider {
        secret: Some(Secret::new(secret)),
        speaks: Ok(Speaks { protocol, settings }),
        ..Provider::new(format!("at-{protocol}").parse().unwrap(), format!("{sim}{below}"))
    }
}

/// Each protocol's provider, with a model for each modifier.
fn policy(sim: &str) -> Snapshot {
    let mut snapshot = snapshot_at(&format!("{sim}/v1"), true);
    for protocol in Protocol::ALL {
        let provider = Arc::new(provider(protocol, sim));
        snapshot.providers.insert(provider.id.clone(), provider.clone());
        for modifier in MODIFIERS {
            let suffix =
                |mark: &str| if modifier.is_empty() { String::new() } else { format!("{mark}{modifier}") };
            let model = Model {
                name: format!("{protocol}{}", suffix("-")).parse().unwrap(),
                upstream_model: format!("{}{}", upstream_model(protocol), suffix(":")),
                price_as: None,
                provider: provider.clone(),
                tier: "mid".into(),
                created_at: Timestamp::from_unix_seconds(1_700_000_000),
            };
            snapshot.models.insert(model.name.clone(), Arc::new(model));
        }
    }
    snapshot
}

fn sim_config(listen: std::net::SocketAddr, log: &std::path::Path) -> sim::Config {
    let model = |name: &str| sim::ModelConfig { name: name.into(), ..sim::ModelConfig::default() };
    sim::Config {
        listen,
        log: Some(log.to_owned()),
        api_key: Some("sk-sim".into()),
        aws: Some(sim::AwsKey {
            access_key_id: "AKIDSIM".into(),
            secret_access_key: "aws-secret".into(),
            region: "eu-central-1".into(),
        }),
        models: ["sim-fast", "claude-sonnet-4-5", "gemini-3-pro"].map(model).into(),
        ..sim::Config::default()
    }
}

impl Setup {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("sim.jsonl");
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shutdown = Shutdown::manual();
        tokio::spawn(sim::run(sim_config(listen, &log), shutdown.clone()));
        while tokio::net::TcpStream::connect(listen).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let collector = Collector::start().await;
        let gateway = Gateway::start(config(Some(&collector)), policy(&format!("http://{listen}")));
        Self { gateway, collector, log, shutdown, _dir: dir }
    }

    async fn post(&self, client: Client, request: &Value) -> Answer {
        self.gateway.post(client.path(), request.to_string()).await
    }

    /// The whole answer to a request, streamed or not.
    async fn answer(&self, client: Client, request: &Value, stream: bool) -> Value {
        let mut request = request.clone();
        if stream {
            request["stream"] = json!(true);
            if client == Client::Chat {
                request["stream_options"] = json!({"include_usage": true});
            }
        }
        let answer = self.post(client, &request).await;
        assert_eq!(answer.status, StatusCode::OK, "{client:?}: {request}\n{}", answer.text());
        assert_eq!(answer.header("content-type").starts_with("text/event-stream"), stream);
        if !stream {
            return answer.json();
        }
        client.add_up(answer.text()).unwrap_or_else(|error| panic!("{client:?}: {request}\n{error}"))
    }

    /// The same, read.
    async fn said(&self, client: Client, request: &Value, stream: bool) -> Said {
        client.read(&self.answer(client, request, stream).await)
    }

    /// Lines of the pool's own log, once there are so many.
    async fn log(&self, count: usize) -> Vec<sim::Record> {
        for _ in 0..1_000 {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let records: Vec<sim::Record> =
                text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
            if records.len() >= count {
                return records;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} lines were expected");
    }

    /// The records of all calls agree with the pool's own log, and with what clients were `told`.
    async fn agree(&self, told: &[(Protocol, Said)]) {
        let log = self.log(told.len()).await;
        let calls = self.collector.calls(told.len()).await;
        assert_eq!((log.len(), calls.len()), (told.len(), told.len()));
        let mut wrong = Vec::new();
        for (((protocol, said), call), line) in told.iter().zip(&calls).zip(&log) {
            let number = |name: &str| call.get(name).parse().unwrap_or(0_u64);
            let recorded = [
                number("gen_ai.usage.input_tokens"),
                number("gen_ai.usage.output_tokens"),
                number("gen_ai.usage.cache_read.input_tokens"),
                number("gen_ai.usage.reasoning.output_tokens"),
            ];
            let usage = line.usage;
            // Bedrock counts thoughts among the answer, and tells no more.
            let reasoning = if *protocol == Protocol::Bedrock { 0 } else { usage.reasoning };
            let is_right = recorded == [usage.prompt, usage.completion, usage.cached, reasoning]
                && said.usage == (usage.prompt, usage.completion)
                && call.get("control_tower.usage.source") == "reported"
                && !call.get("gen_ai.response.finish_reasons").is_empty()
                && !call.get("gen_ai.output.messages").contains(r#""id":"""#);
            if !is_right {
                wrong.push(format!(
                    "{protocol}: {line:?}\n  said {said:?}\n  recorded {recorded:?}, {call:?}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), told.len(), wrong.join("\n"));
    }

    async fn agrees(self, told: &[(Protocol, Said)]) {
        self.agree(told).await;
        self.stop().await;
    }

    async fn stop(self) {
        self.gateway.stop().await;
        self.shutdown.trigger();
    }
}

/// Does `check` for every client over every provider, whole and streamed, one after the other; all that fail are shown.
async fn everywhere<T>(mut check: impl AsyncFnMut(Client, Protocol, bool) -> T) -> Vec<T> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for client in Client::ALL {
        for protocol in Protocol::ALL {
            for stream in [false, true] {
                match AssertUnwindSafe(check(client, protocol, stream)).catch_unwind().await {
                    Ok(value) => done.push(value),
                    Err(_panic) => failed.push(format!("{client:?} over {protocol}, streamed: {stream}")),
                }
            }
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
    done
}

const CALLS: [&str; 2] = ["get_weather", "get_time"];

fn oslo() -> Vec<(String, Value)> {
    CALLS.map(|name| (name.to_owned(), json!({"city": "Oslo"}))).into()
}

#[tokio::test]
async fn text_and_pictures_pass() {
    let setup = Setup::start().await;
    let told = everywhere(async |client, protocol, stream| {
        let mut request = client.ask(protocol.as_str(), "echo Grüße, 漢字 \"and\" 🗼");
        let said = setup.said(client, &request, stream).await;
        assert_eq!((said.text.as_str(), said.finish.as_str()), ("Grüße, 漢字 \"and\" 🗼", "stop"));
        client.show(&mut request);
        let shown = setup.said(client, &request, stream).await;
        assert_eq!(shown.text, said.text);
        // A picture costs tokens, where the pool counts them: it has arrived.
        let counts = !matches!(protocol, Protocol::OpenAi | Protocol::Azure);
        assert!(!counts || shown.usage.0 > said.usage.0 + 50, "{shown:?}");
        [(protocol, said), (protocol, shown)]
    });
    let told = told.await;
    setup.agrees(&told.concat()).await;
}

#[tokio::test]
async fn parallel_calls_and_their_results_pass() {
    let setup = Setup::start().await;
    let told = everywhere(async |client, protocol, stream| {
        let mut request = client.ask(&format!("{protocol}-preface"), "get_weather and get_time in Oslo");
        client.offer(&mut request, &CALLS);
        let answer = setup.answer(client, &request, stream).await;
        let said = client.read(&answer);
        assert_eq!((&said.calls, said.finish.as_str()), (&oslo(), "tool_calls"));
        assert_eq!(said.text, "Let me look that up.");
        client.follow(&mut request, &answer, "rain");
        let after = setup.said(client, &request, stream).await;
        assert!(after.text.contains("rain") && after.finish == "stop", "{after:?}");
        [(protocol, said), (protocol, after)]
    });
    let told = told.await;
    setup.agrees(&told.concat()).await;
}

#[tokio::test]
async fn answers_have_the_form_that_was_asked_for() {
    let setup = Setup::start().await;
    let told = everywhere(async |client, protocol, stream| {
        let mut request = client.ask(protocol.as_str(), "Where?");
        client.shape(&mut request);
        let said = setup.said(client, &request, stream).await;
        assert_eq!(said.text, r#"{"city":"Oslo"}"#);
        (protocol, said)
    });
    let told = told.await;
    setup.agrees(&told).await;
}

/// Spoils the first signature that is found; a mark that there is none is no signature.
fn spoil(request: &mut Value) -> bool {
    match request {
        Value::Object(fields) => fields.iter_mut().any(|(name, value)| match value {
            Value::String(text)
                if text.strip_suffix(".none").is_none()
                    && matches!(name.as_str(), "signature" | "encrypted_content" | "thought_signature") =>
            {
                let at = text.len() - 6;
                let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
                text.replace_range(at..=at, other);
                true
            }
            other => spoil(other),
        }),
        Value::Array(items) => items.iter_mut().any(spoil),
        _ => false,
    }
}

#[tokio::test]
async fn thoughts_come_back_as_they_were_signed() {
    let setup = Setup::start().await;
    let told = everywhere(async |client, protocol, stream| {
        let mut request = client.ask(protocol.as_str(), "get_weather and get_time in Oslo");
        client.offer(&mut request, &CALLS);
        client.think(&mut request);
        let answer = setup.answer(client, &request, stream).await;
        let said = client.read(&answer);
        assert_eq!(said.calls, oslo());
        let shows = !matches!(protocol, Protocol::OpenAi | Protocol::Azure);
        assert_eq!(said.thought, shows, "{answer}");
        client.follow(&mut request, &answer, "rain");
        let after = setup.said(client, &request, stream).await;
        assert!(after.text.contains("rain"), "{after:?}");
        ([(protocol, said), (protocol, after)], shows.then_some((client, request)))
    });
    let (told, spoiled): (Vec<_>, Vec<_>) = told.await.into_iter().unzip();
    setup.agree(&told.concat()).await;
    for (client, mut request) in spoiled.into_iter().flatten() {
        assert!(spoil(&mut request), "{request}");
        let answer = setup.post(client, &request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{request}\n{}", answer.text());
        assert!(client.error(&answer.json()).1.contains("signature"), "{}", answer.text());
    }
    setup.stop().await;
}

#[tokio::test]
async fn a_conversation_moves_from_provider_to_provider() {
    let setup = Setup::start().await;
    everywhere(async |client, first, stream| {
        let mut request = client.ask(first.as_str(), "get_weather and get_time in Oslo");
        client.offer(&mut request, &CALLS);
        client.think(&mut request);
        let answer = setup.answer(client, &request, stream).await;
        client.follow(&mut request, &answer, "rain");
        let silent = matches!(first, Protocol::OpenAi | Protocol::Azure);
        for next in Protocol::ALL {
            // What Anthropic's own client asks of it passes as it is: a call without the thought before it is refused there.
            if client == Client::Messages && silent && next == Protocol::Anthropic {
                continue;
            }
            request["model"] = json!(next);
            let after = setup.said(client, &request, false).await;
            assert!(after.text.contains("rain"), "{next}: {after:?}");
        }
    })
    .await;
    setup.stop().await;
}

/// What an upstream of OpenAI's protocol gets of an answer that another provider gave.
#[tokio::test]
async fn openais_servers_see_no_thoughts_of_others() {
    let setup = Setup::start().await;
    let upstream = Upstream::always(json_answer(400, r#"{"error":{"message":"enough"}}"#)).await;
    let gateway = Gateway::start(config(None), snapshot(upstream.addr, false));
    for client in Client::ALL {
        for first in [Protocol::Anthropic, Protocol::Gemini, Protocol::Bedrock] {
            let mut request = client.ask(first.as_str(), "get_weather and get_time in Oslo");
            client.offer(&mut request, &CALLS);
            client.think(&mut request);
            let answer = setup.answer(client, &request, false).await;
            client.follow(&mut request, &answer, "rain");
            request["model"] = json!("gpt-4o-mini");
            gateway.post(client.path(), request.to_string()).await;
            let seen = String::from_utf8(upstream.received().last().unwrap().body.clone()).unwrap();
            assert!(seen.contains("rain") && seen.contains("Oslo"), "{seen}");
            for word in ["thinking_blocks", "ct1."] {
                assert!(!seen.contains(word), "{client:?} {first}: {word}: {seen}");
            }
        }
    }
    setup.stop().await;
}

#[tokio::test]
async fn answers_end_for_their_reason() {
    let setup = Setup::start().await;
    let told = everywhere(async |client, protocol, stream| {
        let text = "echo one two three four five six";
        let mut short = client.ask(protocol.as_str(), text);
        let field = if client == Client::Responses { "max_output_tokens" } else { "max_tokens" };
        short[field] = json!(2);
        let short = setup.said(client, &short, stream).await;
        assert_eq!(short.finish, "length");
        let filtered = client.ask(&format!("{protocol}-filter"), text);
        let filtered = setup.said(client, &filtered, stream).await;
        assert_eq!(filtered.finish, "content_filter");
        [(protocol, short), (protocol, filtered)]
    });
    let told = told.await;
    setup.agrees(&told.concat()).await;
}
