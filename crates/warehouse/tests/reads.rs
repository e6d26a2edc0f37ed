//! The reads on the real engine, over rows whose sums can be checked by eye.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be had must end it")]

mod common;

use common::{T0_MS, attempt, call, scope, tenant};
use contracts::Usd;
use contracts::reads::{CallFilter, Outcome, TenantScope, TimeRange};
use warehouse::testing::Engine;
use warehouse::{SpanRow, Warehouse};

const HOUR: i64 = 3_600_000;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

/// The two hours from `T0_MS`.
fn two_hours() -> TimeRange {
    TimeRange { from_ms: T0_MS, to_ms: T0_MS + 2 * HOUR }
}

async fn insert(warehouse: &Warehouse, spans: &[SpanRow]) {
    let token = format!("{}-{}", spans[0].trace_id, spans.len());
    warehouse.insert_spans(spans, &token).await.unwrap();
}

/// Acme: four calls in the first hour (one of them failed, one of another model, key and route), one in the second, two in the hours before.
/// Globex: one call that nobody else may see.
async fn filled(engine: &Engine) -> Warehouse {
    let warehouse = engine.warehouse("control_tower").await;
    let failed = SpanRow {
        error_type: "rate_limited".to_owned(),
        http_status: 429,
        status: "error".to_owned(),
        ttft_ns: 0,
        cost_input: 0,
        cost_output: 0,
        cost_total: 0,
        ..call("acme", 3, 20_000)
    };
    let other = SpanRow {
        request_model: "claude-big".to_owned(),
        provider: "anthropic".to_owned(),
        key_id: "key-b".to_owned(),
        route: "expensive".to_owned(),
        duration_ns: 9_000_000_000,
        cost_total: 1_000_000_000_001,
        usage_source: "estimated".to_owned(),
        attempt: 2,
        ..call("acme", 4, 30_000)
    };
    let mut spans =
        vec![call("acme", 1, 0), call("acme", 2, 10_000), failed, other, call("acme", 5, HOUR + 5)];
    spans.extend([call("acme", 6, -1), call("acme", 7, -HOUR)]);
    spans.push(call("globex", 8, 15_000));
    spans.extend(spans.clone().iter().map(attempt));
    insert(&warehouse, &spans).await;
    warehouse
}

#[tokio::test]
async fn the_overview_sums_what_is_in_the_range() {
    let engine = Engine::start().await;
    let warehouse = filled(&engine).await;
    let any = CallFilter::default();
    let overview = warehouse.overview(&scope("acme"), two_hours(), 3600, &any).await.unwrap();

    let totals = &overview.totals;
    assert_eq!((totals.calls, totals.errors, totals.estimated), (5, 1, 1));
    assert_eq!((totals.usage.input, totals.usage.output, totals.usage.cache_read), (500, 100, 200));
    assert_eq!(totals.cost, usd("1.009000000001"));
    assert!((totals.duration_p50_ms.unwrap() / 500.0 - 1.0).abs() < 0.01);
    assert!((overview.by_model[0].totals.duration_p99_ms.unwrap() / 9000.0 - 1.0).abs() < 0.01);
    assert!((totals.ttft_p50_ms.unwrap() / 100.0 - 1.0).abs() < 0.01);
    assert_eq!((overview.previous.calls, overview.previous.cost), (2, usd("0.006")));

    let series: Vec<(i64, u64)> = overview.series.iter().map(|b| (b.start_ms, b.totals.calls)).collect();
    assert_eq!(series, [(T0_MS, 4), (T0_MS + HOUR, 1)]);
    let models: Vec<_> = overview.by_model.iter().map(|g| (g.name.as_str(), g.totals.calls)).collect();
    assert_eq!(models, [("claude-big", 1), ("gpt-small", 4)]);
    let tenants: Vec<_> = overview.by_tenant.iter().map(|g| (g.name.as_str(), g.totals.calls)).collect();
    assert_eq!(tenants, [("acme", 5)]);
    let errors: Vec<_> = overview.by_error.iter().map(|g| (g.name.as_str(), g.totals.errors)).collect();
    assert_eq!(errors, [("rate_limited", 1)]);
    assert_eq!(overview.shares.error_rate, Some(0.2));
    assert_eq!(overview.shares.cache_read_share, Some(0.4));
}

#[tokio::test]
async fn what_a_cache_saved_and_how_sure_a_cascade_was_belong_to_the_call() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let with = |name: &str, value: &str, row: SpanRow| SpanRow {
        span_attributes: vec![(format!("control_tower.{name}"), value.to_owned())],
        ..row
    };
    let free = SpanRow { cost_input: 0, cost_output: 0, cost_total: 0, ..call("acme", 1, 0) };
    let hit = SpanRow { cache_status: "hit_exact".to_owned(), ..with("cache.saved", "0.003000000001", free) };
    let judged = with("cascade.score", "0.8125", call("acme", 2, 1_000));
    let first = with("cascade.score", "0", attempt(&call("acme", 2, 1_000)));
    // What others say under our names is no call of ours.
    let foreign = SpanRow { record: String::new(), ..with("cache.saved", "1000", call("acme", 4, 3_000)) };
    insert(&warehouse, &[hit, judged, first, call("acme", 3, 2_000), foreign]).await;

    let any = CallFilter::default();
    let calls = warehouse.calls(&scope("acme"), two_hours(), &any, None, 10).await.unwrap().calls;
    let of: Vec<_> = calls.iter().map(|call| (call.cache_saved, call.cascade_score)).collect();
    assert_eq!(of, [(Usd::ZERO, None), (Usd::ZERO, Some(0.8125)), (usd("0.003000000001"), None)]);
    let config = engine.client_config("control_tower");
    let client = clickhouse::Client::default().with_url(config.url).with_user(config.user);
    let client = client.with_password(config.password).with_database(config.database);
    let scores = client.query("SELECT cascade_score FROM attempts").fetch_all::<Option<f64>>().await.unwrap();
    assert_eq!(scores, [Some(0.0)], "judged to be worth nothing is not the same as not judged");
    let spend = warehouse.outcome_spend(&scope("acme"), two_hours(), &[]).await.unwrap();
    let saved: Vec<_> = spend.iter().map(|group| (group.calls, Usd::from_picos(group.saved))).collect();
    assert_eq!(saved, [(3, usd("0.003000000001"))]);
}

#[tokio::test]
async fn a_call_whose_price_is_not_known_is_told_from_a_free_one() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let unpriced = |number, at| SpanRow {
        price_book_version: String::new(),
        cost_input: 0,
        cost_output: 0,
        cost_total: 0,
        ..call("acme", number, at)
    };
    // A refused call has no usage: that it cost nothing is known.
    let refused = SpanRow { usage_source: String::new(), ..unpriced(3, 2_000) };
    let spans = [call("acme", 1, 0), unpriced(2, 1_000), refused, unpriced(4, HOUR), unpriced(5, -1)];
    insert(&warehouse, &spans).await;
    let any = CallFilter::default();
    let raw = CallFilter { min_duration_ms: Some(1), ..CallFilter::default() };
    for filter in [&any, &raw] {
        // From within the first hour on, so that rollups and single calls both count.
        for (from, unpriced) in [(0, 2), (500, 2), (1_500, 1)] {
            let range = TimeRange { from_ms: T0_MS + from, to_ms: T0_MS + 3 * HOUR };
            let overview = warehouse.overview(&scope("acme"), range, 3600, filter).await.unwrap();
            assert_eq!(overview.totals.unpriced, unpriced, "{from} {filter:?}");
        }
    }
    let calls = warehouse.calls(&scope("acme"), two_hours(), &any, None, 10).await.unwrap().calls;
    let priced: Vec<bool> = calls.iter().map(|call| call.priced).collect();
    assert_eq!(priced, [false, true, false, true]);
}

/// Quantiles included, for sketches merge exactly.
#[tokio::test]
async fn rollups_and_single_calls_agree_whatever_the_range() {
    let engine = Engine::start().await;
    let warehouse = filled(&engine).await;
    // Six days around, so that whole days count too.
    let around: Vec<SpanRow> = (100..400_u32)
        .map(|n| SpanRow {
            duration_ns: u64::from(n) * 7_654_321,
            request_model: format!("model-{}", n % 5),
            route: format!("route-{}", n % 2),
            ..call(if n % 3 == 0 { "globex" } else { "acme" }, u64::from(n), (i64::from(n) - 250) * 1_728_123)
        })
        .collect();
    insert(&warehouse, &around).await;
    let both = TenantScope::many(vec![tenant("acme"), tenant("globex")]).unwrap();
    let some = |models: &[&str], routes: &[&str]| CallFilter {
        models: models.iter().map(ToString::to_string).collect(),
        routes: routes.iter().map(ToString::to_string).collect(),
        ..CallFilter::default()
    };
    let filters = [some(&[], &[]), some(&["model-1", "gpt-small"], &[]), some(&["model-2"], &["route-1"])];
    for (from, to, bucket) in [
        (-71 * HOUR, 70 * HOUR, 28_800),
        (-71 * HOUR - 1, 70 * HOUR + 1_234_567, 3600),
        (-14 * HOUR, 38 * HOUR, 86_400),
        (-3 * HOUR, 11 * HOUR + 17, 3600),
        (-30 * HOUR + 1, 20 * HOUR, 900),
        (-20 * HOUR, 300_000, 300),
        (0, 2 * HOUR, 3600),
        (-1, 2 * HOUR, 3600),
        (-HOUR - 1, 3 * HOUR + 1, 3600),
        (1, 3 * HOUR, 60),
        (10_000, 10_001, 60),
        (10_001, 4 * HOUR - 5, 600),
        (-3 * HOUR, 7_777_777, 7200),
    ] {
        let range = TimeRange { from_ms: T0_MS + from, to_ms: T0_MS + to };
        for (scope, filter) in
            [&scope("acme"), &both].into_iter().flat_map(|s| filters.iter().map(move |f| (s, f)))
        {
            // Shorter than any call, but enough to make the read go over single calls.
            let raw = CallFilter { min_duration_ms: Some(1), ..filter.clone() };
            let rolled = warehouse.overview(scope, range, bucket, filter).await.unwrap();
            let single = warehouse.overview(scope, range, bucket, &raw).await.unwrap();
            let sum: u64 = rolled.series.iter().map(|bucket| bucket.totals.calls).sum();
            assert_eq!(sum, rolled.totals.calls, "{from} {to} {bucket} {filter:?}");
            assert_eq!(rolled, single, "{from} {to} {bucket} {filter:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_database_answers_with_empty_buckets() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let overview =
        warehouse.overview(&scope("acme"), two_hours(), 600, &CallFilter::default()).await.unwrap();
    assert_eq!(overview.series.len(), 12);
    assert_eq!(overview.totals, contracts::reads::Totals::default());
    assert!(overview.by_model.is_empty() && overview.shares.error_rate.is_none());
    let page = warehouse.calls(&scope("acme"), two_hours(), &CallFilter::default(), None, 10).await.unwrap();
    assert!(page.calls.is_empty() && page.next.is_none());
    assert_eq!(
        warehouse.facets(&scope("acme"), two_hours()).await.unwrap(),
        contracts::reads::Facets::default()
    );
    assert_eq!(warehouse.call(&scope("acme"), &"a".repeat(32), None, None).await.unwrap(), None);
}

#[tokio::test]
async fn filters_narrow_the_calls_and_the_overview_alike() {
    let engine = Engine::start().await;
    let warehouse = filled(&engine).await;
    let filter = CallFilter::default;
    let only = |text: &str| vec![text.to_owned()];
    for (filter, expected) in [
        (filter(), vec!["req-5", "req-4", "req-3", "req-2", "req-1"]),
        (CallFilter { models: only("claude-big"), ..filter() }, vec!["req-4"]),
        (CallFilter { routes: only("main"), ..filter() }, vec!["req-5", "req-3", "req-2", "req-1"]),
        (CallFilter { keys: vec!["key-b".to_owned(), "key-c".to_owned()], ..filter() }, vec!["req-4"]),
        (CallFilter { outcome: Some(Outcome::Error), ..filter() }, vec!["req-3"]),
        (CallFilter { outcome: Some(Outcome::Ok), ..filter() }, vec!["req-5", "req-4", "req-2", "req-1"]),
        (CallFilter { min_cost: Some(usd("1.000000000001")), ..filter() }, vec!["req-4"]),
        (CallFilter { min_cost: Some(usd("1.000000000002")), ..filter() }, vec![]),
        (CallFilter { min_duration_ms: Some(501), ..filter() }, vec!["req-4"]),
        (CallFilter { text: Some("req-2".to_owned()), ..filter() }, vec!["req-2"]),
        (CallFilter { text: Some("resp-1".to_owned()), ..filter() }, vec!["req-1"]),
        (CallFilter { text: Some(format!("{:032x}", 5)), ..filter() }, vec!["req-5"]),
        (CallFilter { models: only("x' OR 1=1 --"), ..filter() }, vec![]),
    ] {
        let page = warehouse.calls(&scope("acme"), two_hours(), &filter, None, 10).await.unwrap();
        let found: Vec<&str> = page.calls.iter().map(|call| call.request_id.as_str()).collect();
        assert_eq!(found, expected, "{filter:?}");
        let overview = warehouse.overview(&scope("acme"), two_hours(), 3600, &filter).await.unwrap();
        assert_eq!(overview.totals.calls, expected.len() as u64, "{filter:?}");
    }
    let facets = warehouse.facets(&scope("acme"), two_hours()).await.unwrap();
    assert_eq!(facets.models, ["gpt-small", "claude-big"]);
    assert_eq!((facets.routes.len(), facets.keys.len()), (2, 2));
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_overlap() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    // Several calls share each instant, so that the order within it matters.
    let spans: Vec<SpanRow> =
        (0..500).map(|n| call("acme", n, i64::try_from(n / 7).unwrap() * 100)).collect();
    insert(&warehouse, &spans).await;
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = warehouse
            .calls(&scope("acme"), two_hours(), &CallFilter::default(), cursor.as_ref(), 33)
            .await
            .unwrap();
        seen.extend(page.calls.iter().map(|call| call.trace_id.clone()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..500).rev().map(|n| format!("{n:032x}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_tenant_sees_its_own_rows_only() {
    let engine = Engine::start().await;
    let warehouse = filled(&engine).await;
    let (acme, globex) = (scope("acme"), scope("globex"));
    let both = TenantScope::many(vec![tenant("acme"), tenant("globex")]).unwrap();
    let trace = format!("{:032x}", 8);
    assert_eq!(warehouse.call(&acme, &trace, None, None).await.unwrap(), None);
    assert!(warehouse.call(&globex, &trace, None, None).await.unwrap().is_some());
    assert!(warehouse.call(&both, &trace, None, Some(T0_MS)).await.unwrap().is_some());
    let any = CallFilter::default();
    for (scope, calls) in [(&acme, 5), (&globex, 1), (&both, 6)] {
        assert_eq!(warehouse.overview(scope, two_hours(), 3600, &any).await.unwrap().totals.calls, calls);
        let page = warehouse.calls(scope, two_hours(), &any, None, 10).await.unwrap();
        assert_eq!(page.calls.len() as u64, calls);
    }
    let text = CallFilter { text: Some(trace), ..CallFilter::default() };
    assert!(warehouse.calls(&acme, two_hours(), &text, None, 10).await.unwrap().calls.is_empty());
}

#[tokio::test]
async fn a_call_comes_with_its_trace_and_its_text_is_found() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let server = SpanRow {
        input_messages: r#"[{"role":"user","content":"Wo liegt „Straße\" 東京? 🗼"}]"#.to_owned(),
        span_attributes: pairs(&[("app.tag", "ünïcode"), ("empty", "")]),
        resource_attributes: pairs(&[("service.name", "control-tower")]),
        event_time_ns: vec![T0_MS * 1_000_000],
        event_name: vec!["first chunk".to_owned()],
        event_attributes: vec![pairs(&[("n", "1")])],
        link_trace_id: vec!["b".repeat(32)],
        link_span_id: vec!["c".repeat(16)],
        ..call("acme", 1, 0)
    };
    // Ten megabytes in the answer of the attempt: stored whole, and found.
    let client =
        SpanRow { output_messages: format!("{}needle at the end", "x".repeat(10 << 20)), ..attempt(&server) };
    let tool = SpanRow {
        trace_id: server.trace_id.clone(),
        span_id: "d".repeat(16),
        operation: "execute_tool".to_owned(),
        tool_name: "search".to_owned(),
        status: "error".to_owned(),
        start_time: server.start_time + 5,
        retention_days: 3650,
        tenant_id: "acme".to_owned(),
        ..SpanRow::default()
    };
    let retrieval = |n: u64, documents: &str| SpanRow {
        operation: "retrieval".to_owned(),
        retrieval_documents: documents.to_owned(),
        record: String::new(),
        ..call("acme", n, 50)
    };
    let spans =
        vec![server, client, tool, retrieval(20, r#"[{"id":"1"}]"#), retrieval(21, "[]"), call("acme", 2, 1)];
    insert(&warehouse, &spans).await;

    let detail = warehouse.call(&scope("acme"), &spans[0].trace_id, None, None).await.unwrap().unwrap();
    assert_eq!((detail.call.request_id.as_str(), detail.call.attempts), ("req-1", 1));
    assert_eq!((detail.cost_input, detail.cost_output), (usd("0.002"), usd("0.001")));
    assert_eq!(detail.spans.len(), 3);
    let view = &detail.spans[0];
    assert_eq!(view.input_messages, spans[0].input_messages);
    assert_eq!(view.attributes["app.tag"], "ünïcode");
    assert_eq!(view.attributes["gen_ai.usage.input_tokens"], "100");
    assert_eq!(view.attributes["control_tower.cost.total"], "0.003");
    assert_eq!((view.events[0].name.as_str(), view.events[0].attributes["n"].as_str()), ("first chunk", "1"));
    assert_eq!(detail.spans[2].output_messages.len(), (10 << 20) + 17);

    for (text, expected) in
        [("LIEGT", 1), ("straße\" 東京", 1), ("Needle at", 1), ("🗼", 1), ("nowhere", 0), ("%", 0)]
    {
        let filter = CallFilter { text: Some(text.to_owned()), ..CallFilter::default() };
        let page = warehouse.calls(&scope("acme"), two_hours(), &filter, None, 10).await.unwrap();
        assert_eq!(page.calls.len(), expected, "{text}");
        assert!(page.calls.iter().all(|call| call.request_id == "req-1"));
    }
    let signals =
        warehouse.golden_signals(&scope("acme"), two_hours(), &CallFilter::default(), true).await.unwrap();
    assert_eq!((signals.tool_error_rate, signals.tools), (Some(1.0), 1));
    // That documents came back does not say that they were used.
    assert_eq!((signals.retrievals, signals.retrievals_known), (2, 0));
    assert_eq!(signals.retrieval_hit_rate, Some(0.0));
}
