//! What real SDKs sent (`tests/fixtures/make.py` recorded it): each makes the same five calls.

use super::*;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Value as Json, json};

/// The rows of a recorded request, in order.
fn rows(recorded: &[u8]) -> Vec<SpanRow> {
    let request = ExportTraceServiceRequest::decode(recorded).unwrap();
    let mut rows = Vec::new();
    for resource_spans in request.resource_spans {
        let mut tally = Tally::default();
        let source = Source::resource(resource_spans.resource, LIMITS, &mut tally);
        for scope_spans in resource_spans.scope_spans {
            let source = source.with_scope(scope_spans.scope, LIMITS, &mut tally);
            for span in scope_spans.spans {
                let size = span.encoded_len();
                let end = Timestamp::from_unix_nanos(i64::try_from(span.end_time_unix_nano).unwrap());
                let (row, tally) =
                    normalise(span, size, &source, Origin::Tenant(&tenant()), LIMITS, end).unwrap();
                assert_eq!((tally.conflicts, tally.invalid_values, tally.moved_spans), (0, 0, 0), "{row:?}");
                assert_eq!(row.service_name, "fixture");
                assert!(row.scope_name.contains("openai"));
                rows.push(row);
            }
        }
    }
    rows
}

fn keys(row: &SpanRow) -> Vec<&str> {
    row.span_attributes.iter().map(|(key, _)| key.as_str()).collect()
}

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn asked() -> Json {
    json!([
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hi!"}]},
    ])
}

fn call() -> Json {
    json!({"type": "tool_call", "id": "call_1", "name": "weather", "arguments": {"city": "Oslo"}})
}

/// What every instrumentation tells of the first call, however it spells it.
fn assert_first_chat(row: &SpanRow) {
    assert_eq!((row.operation.as_str(), row.provider.as_str()), ("chat", "openai"));
    assert_eq!(
        (row.request_model.as_str(), row.response_model.as_str()),
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    );
    assert_eq!((row.input_tokens, row.output_tokens), (20, 5));
    assert_eq!(row.finish_reasons, ["stop"]);
    assert!(!row.stream);
}

/// What those that record messages tell of all five.
fn assert_messages(rows: &[SpanRow]) {
    assert_eq!(parsed(&rows[0].input_messages), asked());
    let answer = parsed(&rows[0].output_messages);
    assert_eq!(
        (&answer[0]["role"], &answer[0]["parts"]),
        (&json!("assistant"), &json!([{"type": "text", "content": "Hello there."}]))
    );
    assert!(rows[1].stream && rows[1].ttft_ns > 0 && rows[1].ttft_ns <= rows[1].duration_ns, "{:?}", rows[1]);
    assert_eq!(parsed(&rows[1].output_messages)[0]["parts"][0]["content"], "Hello.");
    let after_tool = parsed(&rows[2].input_messages);
    assert_eq!(after_tool[2]["parts"], json!([call()]));
    assert_eq!(
        after_tool[3]["parts"],
        json!([{"type": "tool_call_response", "id": "call_1", "response": "12 degrees"}])
    );
    assert_eq!(parsed(&rows[2].output_messages)[0]["parts"], json!([call()]));
    assert!(rows[2].tool_definitions.contains("weather"));
    assert_eq!(
        (rows[3].operation.as_str(), rows[3].request_model.as_str()),
        ("embeddings", "text-embedding-3-small")
    );
    assert_eq!((rows[3].input_tokens, rows[3].output_tokens), (4, 0));
    assert_eq!(parsed(&rows[3].input_messages)[0]["parts"][0]["content"], "some text");
}

fn assert_error(row: &SpanRow, error_type: &str) {
    assert_eq!(
        (row.status.as_str(), row.error_type.as_str(), row.request_model.as_str()),
        ("error", error_type, "missing")
    );
}

#[test]
fn openinference() {
    let rows = rows(include_bytes!("../../../tests/fixtures/sdk-openinference.pb"));
    assert_eq!(rows.len(), 5);
    assert_first_chat(&rows[0]);
    assert_eq!((rows[0].cache_read_tokens, rows[0].reasoning_tokens), (8, 2));
    assert_messages(&rows);
    assert_error(&rows[4], "openai.NotFoundError");
    let left =
        ["input.mime_type", "input.value", "llm.invocation_parameters", "output.mime_type", "output.value"];
    assert_eq!(keys(&rows[0]), left);
}

#[test]
fn openllmetry_of_2026() {
    let rows = rows(include_bytes!("../../../tests/fixtures/sdk-openllmetry.pb"));
    assert_eq!(rows.len(), 5);
    assert_first_chat(&rows[0]);
    assert_eq!((rows[0].cache_read_tokens, rows[0].reasoning_tokens), (8, 2));
    assert_messages(&rows);
    assert_error(&rows[4], "NotFoundError");
    assert_eq!(keys(&rows[0]), ["gen_ai.openai.api_base"]);
}

#[test]
fn openllmetry_of_2024() {
    // That version made no span of a call that failed.
    let rows = rows(include_bytes!("../../../tests/fixtures/sdk-openllmetry_2024.pb"));
    assert_eq!(rows.len(), 4);
    assert_first_chat(&rows[0]);
    assert_messages(&rows);
    assert_eq!(keys(&rows[0]), ["gen_ai.openai.api_base", "llm.headers"]);
}

#[test]
fn opentelemetry_of_2024() {
    // Messages were log records then, embeddings were not traced.
    let rows = rows(include_bytes!("../../../tests/fixtures/sdk-otel_2024.pb"));
    assert_eq!(rows.len(), 4);
    assert_first_chat(&rows[0]);
    assert_eq!(rows[0].response_id, "chatcmpl-1");
    assert_eq!(rows[2].finish_reasons, ["tool_calls"]);
    assert_error(&rows[3], "NotFoundError");
    assert_eq!(keys(&rows[0]), ["server.address", "server.port"]);
}
