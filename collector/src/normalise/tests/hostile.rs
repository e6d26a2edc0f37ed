//! Spans that nobody should send.

use super::*;
use proptest::prelude::*;

#[test]
fn ids_of_a_wrong_length_or_all_zero_are_rejected() {
    for (trace_id, span_id, expected) in [
        (vec![], vec![2; 8], Rejected::TraceId),
        (vec![0; 16], vec![2; 8], Rejected::TraceId),
        (vec![1; 15], vec![2; 8], Rejected::TraceId),
        (vec![1; 16], vec![0; 8], Rejected::SpanId),
        (vec![1; 16], vec![2; 16], Rejected::SpanId),
    ] {
        assert_eq!(as_tenant(Span { trace_id, span_id, ..span([]) }).unwrap_err(), expected);
    }
    let (row, _) = as_tenant(Span { parent_span_id: vec![0; 8], ..span([]) }).unwrap();
    assert_eq!(row.parent_span_id, "");
}

#[test]
fn a_span_of_ten_megabytes_is_cut_down_to_metadata() {
    let big = "x".repeat(10 * 1024 * 1024);
    let mut span = span([
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.input.messages", text(&big)),
        ("gen_ai.usage.input_tokens", int(3)),
    ]);
    span.events = (0..1000).map(|n| event("e", n, [("k", text(&"y".repeat(2000)))])).collect();
    let (row, tally) = as_tenant(span).unwrap();
    assert_eq!((row.operation.as_str(), row.input_tokens, row.input_messages.as_str()), ("chat", 3, ""));
    assert_eq!(row.event_name.len(), 256);
    assert!(row.event_attributes.iter().all(Vec::is_empty));
    let cut: std::collections::HashMap<_, _> = row.span_attributes.into_iter().collect();
    assert_eq!(cut["control_tower.truncated"], r#"["744 events","gen_ai.input.messages","k"]"#);
    assert_eq!(tally.truncated_spans, 1);
    assert!(tally.truncated_bytes > 10 * 1024 * 1024);
    assert_eq!(cut["control_tower.content.truncated_bytes"], tally.truncated_bytes.to_string());
}

#[test]
fn a_large_resource_is_cut_because_each_span_carries_it() {
    use opentelemetry_proto::tonic::resource::v1::Resource;
    let resource = Resource {
        attributes: attributes([("service.name", text("app")), ("big", text(&"x".repeat(100_000)))]),
        ..Resource::default()
    };
    let mut tally = Tally::default();
    let source = Source::resource(Some(resource), LIMITS, &mut tally);
    let now = Timestamp::from_unix_seconds(NOW_S);
    let (row, _) = normalise(span([]), 100, &source, Origin::Tenant(&tenant()), LIMITS, now).unwrap();
    assert_eq!((row.service_name.as_str(), row.resource_attributes.len()), ("app", 0));
    assert!(tally.truncated_bytes >= 100_000);
}

#[test]
fn a_span_of_1970_keeps_what_it_claimed() {
    let (row, tally) =
        as_tenant(Span { start_time_unix_nano: 5, end_time_unix_nano: 12, ..span([]) }).unwrap();
    assert_eq!((row.start_time, row.duration_ns), (NOW_S * 1_000_000_000 - 7, 7));
    assert_eq!(
        row.span_attributes,
        [("control_tower.original_start_time_unix_nano".to_owned(), "5".to_owned())]
    );
    assert_eq!(tally.moved_spans, 1);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        ".{0,20}".prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        proptest::num::f64::ANY.prop_map(Value::DoubleValue),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::BytesValue),
        any::<i32>().prop_map(Value::StringValueStrindex),
        Just(Value::StringValue("[{\"role\":1,\"content\":[[]],\"tool_calls\":[1,{}]}]".into())),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(list),
            prop::collection::vec((".{0,6}", inner), 0..4).prop_map(|entries| {
                let entry = |(key, value): (String, Value)| KeyValue {
                    key,
                    value: Some(wrapped(value)),
                    ..KeyValue::default()
                };
                Value::KvlistValue(KeyValueList { values: entries.into_iter().map(entry).collect() })
            }),
        ]
    })
}

/// Keys that some dialect knows, in part or whole, and others.
fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "gen_ai.operation.name",
        "gen_ai.usage.input_tokens",
        "gen_ai.input.messages",
        "gen_ai.response.finish_reasons",
        "gen_ai.prompt",
        "gen_ai.prompt.0.content",
        "gen_ai.prompt.0.tool_calls.0.name",
        "gen_ai.completion.1.role",
        "llm.input_messages.0.message.role",
        "llm.input_messages.0.message.contents.0.message_content.text",
        "llm.input_messages.0.message.tool_call_id",
        "llm.output_messages.0",
        "llm.output_messages.0.message.tool_calls.0",
        "llm.model_name",
        "llm.tools.0.tool.json_schema",
        "llm.token_count.prompt",
        "llm.usage.total_tokens",
        "openinference.span.kind",
        "input.value",
        "output.value",
        "retrieval.documents.0.document.metadata",
        "traceloop.span.kind",
        "traceloop.entity.input",
        "ai.operationId",
        "ai.prompt",
        "ai.prompt.tools",
        "ai.response.toolCalls",
        "ai.usage.tokens",
        "control_tower.tenant.id",
        "control_tower.cost.total",
        "control_tower.record",
        "http.status_code",
        "error.type",
    ])
    .prop_map(str::to_owned);
    prop_oneof![4 => known, 1 => "[a-z.]{0,20}", 1 => r"(gen_ai|llm)\.[a-z_]{1,8}\.[0-9]{1,22}\.[a-z.]{0,12}"]
}

fn entries() -> impl Strategy<Value = Vec<KeyValue>> {
    let entry = (key(), value()).prop_map(|(key, value)| KeyValue {
        key,
        value: Some(wrapped(value)),
        ..KeyValue::default()
    });
    prop::collection::vec(entry, 0..16)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let name = prop::sample::select(vec![
        "gen_ai.user.message",
        "gen_ai.choice",
        "gen_ai.content.prompt",
        "gen_ai.client.inference.operation.details",
        "First Token Stream Event",
        "exception",
        "other",
    ]);
    let event_key = prop_oneof![
        prop::sample::select(vec![
            "content",
            "message",
            "tool_calls",
            "id",
            "gen_ai.event.content",
            "gen_ai.prompt"
        ])
        .prop_map(str::to_owned),
        key(),
    ];
    let attributes = prop::collection::vec((event_key, value()), 0..5);
    let event = (any::<u64>(), name, attributes).prop_map(|(time_unix_nano, name, attributes)| Event {
        time_unix_nano,
        name: name.to_owned(),
        attributes: attributes
            .into_iter()
            .map(|(key, value)| KeyValue { key, value: Some(wrapped(value)), ..KeyValue::default() })
            .collect(),
        dropped_attributes_count: 0,
    });
    prop::collection::vec(event, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_span_becomes_a_row_that_survives_the_spool(
        attributes in entries(), events in events(), start: u64, end: u64, kind: i32, trusted: bool, small: bool,
    ) {
        let mut span = Span { start_time_unix_nano: start, end_time_unix_nano: end, kind, attributes, events, ..span([]) };
        if trusted {
            span.attributes.push(super::attributes([("control_tower.tenant.id", text("t"))]).remove(0));
        }
        let size = span.encoded_len();
        let limits = Limits { max_span: if small { 64 } else { LIMITS.max_span } };
        let tenant = tenant();
        let origin = if trusted { Origin::Service { default_retention_days: 1 } } else { Origin::Tenant(&tenant) };
        let (row, tally) = normalise(span, size, &Source::default(), origin, limits, Timestamp::from_unix_seconds(NOW_S)).unwrap();
        prop_assert!(row.retention_days > 0 && !row.tenant_id.is_empty());
        prop_assert_eq!(row.event_name.len(), row.event_attributes.len());
        prop_assert_eq!(row.event_name.len(), row.event_time_ns.len());
        prop_assert_eq!(tally.unknown_attributes.values().sum::<u64>(), row.span_attributes.len() as u64);
        let row = crate::row::Row::from(row);
        let record = crate::record::encode(&row, crate::record::Sender::Tenant).unwrap();
        prop_assert_eq!(crate::record::decode(&record).unwrap().0, row);
    }
}
