//! The end of a gateway: nothing that was cut goes unrecorded.

use super::*;
use crate::call::{Attempt, Call, Ending, Facts, Used};
use crate::endpoints::CHAT_COMPLETIONS;
use crate::govern::Governed;
use crate::meter::Answer;
use crate::request::parse;
use bytes::Bytes;
use contracts::policy::{KeyPolicy, Model, Provider, Resolved, TenantPolicy};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

const BODY: &[u8] =
    br#"{"model":"m","messages":[{"role":"user","content":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}]}"#;

/// A call whose upstream is in the midst of its answer, of which 400 bytes came.
fn call(app: &Arc<App>) -> Call {
    let provider = Arc::new(Provider::new("sim".parse().unwrap(), "http://127.0.0.1:1".into()));
    let model = Arc::new(Model {
        name: "m".parse().unwrap(),
        upstream_model: "m".into(),
        price_as: None,
        provider,
        tier: "mid".into(),
        created_at: app.clock.now(),
    });
    let tenant = TenantPolicy { capture_content: false, ..TenantPolicy::new("acme".parse().unwrap()) };
    let key = KeyPolicy::new("key-1".parse().unwrap(), Arc::new(tenant));
    let mut answer = Answer::default();
    answer.output.choice(0).content = "b".repeat(400);
    let identity = app.ids.identify(&http::HeaderMap::new(), [127, 0, 0, 1].into(), app.clock.now());
    let facts = Facts {
        ask: Some(parse(&CHAT_COMPLETIONS, Bytes::from_static(BODY), 64).unwrap()),
        resolved: Some(Resolved { model: model.clone(), route: None }),
        attempts: vec![Attempt::new(&app.ids, app.clock.now(), model, "127.0.0.1", 1)],
        answer,
        status: Some(200),
        prompt_sent: true,
        answer_started: true,
        ..Facts::new(Arc::new(identity), &CHAT_COMPLETIONS, Arc::default(), Arc::new(key))
    };
    Call::new(app.clone(), facts)
}

/// A gateway whose spool and books are in `dir`.
async fn app_in(dir: &std::path::Path) -> (Arc<App>, spool::Writer, spool::Reader) {
    let (writer, reader) = Spool::open(spool::Options::new(dir.join("spool"))).unwrap();
    let metrics = Metrics::new().with_registry(GatewayMetrics::register);
    let tls = runtime::tls::client_config("gateway.ca_file", None).unwrap();
    let mut config = Config::default();
    config.budgets.dir = dir.join("budgets");
    let governor = governor(&config, None, &Clock::system()).await.unwrap();
    let meaning = Arc::new(Meaning::new(None));
    let checks = Arc::new(Checks::new(&config.cascade, meaning.clone(), tls.clone()));
    let (answers, _keeper) = Answers::new(&config.cache, None, meaning).unwrap();
    let deciders = Deciders { governor, checks, answers };
    let app = app(&config, tls, Policy::default(), writer.clone(), metrics, Clock::system(), deciders);
    (Arc::new(app), writer, reader)
}

#[tokio::test]
async fn what_was_sent_and_cannot_be_counted_is_charged_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let (app, _writer, _reader) = app_in(dir.path()).await;
    let account = budget::Account {
        id: "tenant".into(),
        subject: "tenant acme".into(),
        origin: budget::Origin::Budget,
        limit: "1".parse().unwrap(),
        soft: None,
        window: contracts::policy::budget::Window::Total,
    };
    let accounts = Arc::new(budget::Accounts::new("acme", [account]));
    let ledger = app.governor.ledger();
    let mut hold = ledger.reserve(&accounts, "0.5".parse().unwrap(), app.clock.now()).await.unwrap();
    hold.dispatch().await.unwrap();
    let mut call = call(&app);
    call.facts().unwrap().governed = Governed::holding(hold);
    let never = tokio::spawn(std::future::pending());
    never.abort();
    let _recorded = call.record(Ending::ok(200), Used::of_count(never.await, Ending::ok(200)));
    let standing = ledger.read(&accounts, app.clock.now()).await.unwrap().remove(0);
    assert_eq!((standing.spent, standing.held), ("0.5".parse().unwrap(), contracts::Usd::ZERO));
}

#[tokio::test]
async fn calls_that_cannot_be_counted_in_time_are_estimated_by_their_length_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (app, writer, mut reader) = app_in(dir.path()).await;
    // Every processor is busy counting.
    let all = u32::try_from(app.counters.available_permits()).unwrap();
    let busy = app.counters.clone().acquire_many_owned(all).await.unwrap();
    for _ in 0..20 {
        drop(call(&app));
    }
    let done = async {
        while !app.hurry.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(writer.stats().records, 0);
        drop(busy);
    };
    tokio::join!(record_last(&app, Duration::from_millis(50)), done);
    assert_eq!(writer.stats().records, 20);
    assert_eq!(app.metrics.records_lost.get(), 0);
    let batch = reader.next_batch(1, 1 << 20, Duration::ZERO).await;
    let record = ExportTraceServiceRequest::decode(batch.records[0].clone()).unwrap();
    let span = record.resource_spans[0].scope_spans[0].spans[0].clone();
    let get = |key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key == key).unwrap();
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(get("control_tower.usage.source"), Value::StringValue("partial".into()));
    assert_eq!(get("gen_ai.usage.output_tokens"), Value::IntValue(100));
    let input = i64::try_from(BODY.len().div_ceil(4)).unwrap();
    assert_eq!(get("gen_ai.usage.input_tokens"), Value::IntValue(input));
}
