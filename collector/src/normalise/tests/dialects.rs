//! What each dialect says, and the columns it lands in.

use super::*;
use crate::normalise::Dialect;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use serde_json::{Value as Json, json};

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_main_conventions_fill_every_column_they_name() {
    let row = understood([
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.provider.name", text("openai")),
        ("gen_ai.request.model", text("gpt-4o-mini")),
        ("gen_ai.request.stream", Value::BoolValue(true)),
        ("gen_ai.response.model", text("gpt-4o-mini-2024-07-18")),
        ("gen_ai.response.id", text("chatcmpl-1")),
        ("gen_ai.response.finish_reasons", list([text("stop"), text("length")])),
        ("gen_ai.response.time_to_first_chunk", Value::DoubleValue(0.125)),
        ("gen_ai.usage.input_tokens", int(100)),
        ("gen_ai.usage.output_tokens", int(20)),
        ("gen_ai.usage.cache_read.input_tokens", int(60)),
        ("gen_ai.usage.cache_write.input_tokens", int(10)),
        ("gen_ai.usage.reasoning.output_tokens", int(5)),
        ("gen_ai.prompt.name", text("greeting")),
        ("gen_ai.prompt.version", text("3")),
        ("gen_ai.conversation.id", text("c-1")),
        ("gen_ai.input.messages", text(r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#)),
        ("gen_ai.output.messages", list([object([("role", text("assistant")), ("parts", list([]))])])),
        ("gen_ai.system_instructions", text("Be brief.")),
        ("gen_ai.tool.definitions", text("[]")),
        ("gen_ai.data_source.id", text("kb")),
        ("gen_ai.retrieval.top_k", int(5)),
        ("gen_ai.retrieval.query.text", text("who?")),
        ("gen_ai.retrieval.documents", text(r#"[{"id":"d1","score":0.5}]"#)),
        ("gen_ai.tool.name", text("search")),
        ("gen_ai.tool.call.id", text("call-1")),
        ("gen_ai.tool.type", text("function")),
        ("gen_ai.tool.call.arguments", object([("q", text("x"))])),
        ("gen_ai.tool.call.result", text("42")),
        ("error.type", text("timeout")),
        ("http.response.status_code", int(504)),
    ]);
    let expected = SpanRow {
        tenant_id: "acme".into(),
        start_time: i64::try_from(START_NS).unwrap(),
        duration_ns: 2_000_000_000,
        trace_id: "01".repeat(16),
        span_id: "02".repeat(8),
        name: "a span".into(),
        kind: "unspecified".into(),
        status: "unset".into(),
        operation: "chat".into(),
        provider: "openai".into(),
        request_model: "gpt-4o-mini".into(),
        stream: true,
        response_model: "gpt-4o-mini-2024-07-18".into(),
        response_id: "chatcmpl-1".into(),
        finish_reasons: vec!["stop".into(), "length".into()],
        ttft_ns: 125_000_000,
        input_tokens: 100,
        output_tokens: 20,
        cache_read_tokens: 60,
        cache_write_tokens: 10,
        reasoning_tokens: 5,
        prompt_name: "greeting".into(),
        prompt_version: "3".into(),
        conversation_id: "c-1".into(),
        input_messages: r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#.into(),
        output_messages: r#"[{"parts":[],"role":"assistant"}]"#.into(),
        system_instructions: "Be brief.".into(),
        tool_definitions: "[]".into(),
        data_source_id: "kb".into(),
        retrieval_top_k: 5,
        retrieval_query: "who?".into(),
        retrieval_documents: r#"[{"id":"d1","score":0.5}]"#.into(),
        tool_name: "search".into(),
        tool_call_id: "call-1".into(),
        tool_type: "function".into(),
        tool_arguments: r#"{"q":"x"}"#.into(),
        tool_result: "42".into(),
        error_type: "timeout".into(),
        http_status: 504,
        retention_days: 14,
        ..SpanRow::default()
    };
    assert_eq!(row, expected);
}

#[test]
fn older_gen_ai_names_fill_the_same_columns() {
    let row = understood([
        ("gen_ai.system", text("az.ai.openai")),
        ("gen_ai.usage.prompt_tokens", text("7")),
        ("gen_ai.usage.completion_tokens", Value::DoubleValue(8.0)),
        ("gen_ai.usage.cache_creation.input_tokens", int(3)),
        ("gen_ai.usage.cache_read_input_tokens", int(2)),
        ("http.status_code", int(200)),
        ("session.id", text("s-1")),
    ]);
    assert_eq!(row.provider, "azure.ai.openai");
    assert_eq!((row.input_tokens, row.output_tokens), (7, 8));
    assert_eq!((row.cache_write_tokens, row.cache_read_tokens, row.http_status), (3, 2, 200));
    assert_eq!(row.conversation_id, "s-1");
}

#[test]
fn of_two_dialects_that_differ_the_main_one_wins_and_the_other_stays_visible() {
    let (row, tally) = as_tenant(span([
        ("gen_ai.usage.input_tokens", int(7)),
        ("gen_ai.usage.prompt_tokens", int(9)),
        ("llm.token_count.prompt", int(7)),
        ("gen_ai.provider.name", text("anthropic")),
        ("gen_ai.system", text("Anthropic")),
    ]))
    .unwrap();
    assert_eq!((row.input_tokens, row.provider.as_str()), (7, "anthropic"));
    assert_eq!(row.span_attributes, [("gen_ai.usage.prompt_tokens".to_owned(), "9".to_owned())]);
    assert_eq!(tally.conflicts, 1);
    assert_eq!(tally.dialects[&Dialect::Main], 1);
    assert_eq!(tally.unknown_attributes["gen_ai"], 1);
}

#[test]
fn openinference_messages_keep_tool_calls_contents_and_what_is_unknown() {
    let row = understood([
        ("openinference.span.kind", text("LLM")),
        ("llm.model_name", text("gpt-4o")),
        ("llm.provider", text("azure")),
        ("llm.token_count.prompt", int(11)),
        ("llm.token_count.completion", int(5)),
        ("llm.token_count.total", int(16)),
        ("llm.token_count.prompt_details.cache_read", int(4)),
        ("llm.token_count.completion_details.reasoning", int(2)),
        ("llm.input_messages.0.message.role", text("system")),
        ("llm.input_messages.0.message.content", text("Be brief.")),
        ("llm.input_messages.1.message.role", text("user")),
        ("llm.input_messages.1.message.contents.0.message_content.type", text("text")),
        ("llm.input_messages.1.message.contents.0.message_content.text", text("Look")),
        ("llm.input_messages.1.message.contents.1.message_content.type", text("image")),
        ("llm.input_messages.1.message.contents.1.message_content.image.image.url", text("u")),
        ("llm.input_messages.2.message.role", text("tool")),
        ("llm.input_messages.2.message.tool_call_id", text("c0")),
        ("llm.input_messages.2.message.content", text("42")),
        ("llm.input_messages.10.message.role", text("user")),
        ("llm.input_messages.10.message.mood", text("sunny")),
        ("llm.output_messages.0.message.role", text("assistant")),
        ("llm.output_messages.0.message.tool_calls.0.tool_call.id", text("c1")),
        ("llm.output_messages.0.message.tool_calls.0.tool_call.function.name", text("f")),
        ("llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments", text(r#"{"a":1}"#)),
        ("llm.tools.0.tool.json_schema", text(r#"{"type":"function","function":{"name":"f"}}"#)),
    ]);
    assert_eq!((row.operation.as_str(), row.provider.as_str()), ("chat", "azure.ai.openai"));
    assert_eq!((row.request_model.as_str(), row.response_model.as_str()), ("gpt-4o", "gpt-4o"));
    assert_eq!(
        (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.reasoning_tokens),
        (11, 5, 4, 2)
    );
    let input = json!([
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Look"}, {"type": "image", "image.image.url": "u"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c0", "response": "42"}]},
        {"role": "user", "parts": [], "mood": "sunny"},
    ]);
    assert_eq!(parsed(&row.input_messages), input);
    let output = json!([{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}]}]);
    assert_eq!(parsed(&row.output_messages), output);
    assert_eq!(parsed(&row.tool_definitions), json!([{"type": "function", "function": {"name": "f"}}]));
}

#[test]
fn openinference_retrieval_tool_and_chain_spans_have_their_own_in_and_out() {
    let retriever = understood([
        ("openinference.span.kind", text("RETRIEVER")),
        ("input.value", text("who?")),
        ("input.mime_type", text("text/plain")),
        ("retrieval.documents.0.document.id", text("d1")),
        ("retrieval.documents.0.document.score", Value::DoubleValue(0.9)),
        ("retrieval.documents.0.document.content", text("me")),
        ("retrieval.documents.0.document.metadata", text(r#"{"page":1}"#)),
    ]);
    assert_eq!((retriever.operation.as_str(), retriever.retrieval_query.as_str()), ("retrieval", "who?"));
    let documents = json!([{"id": "d1", "score": 0.9, "content": "me", "metadata": {"page": 1}}]);
    assert_eq!(parsed(&retriever.retrieval_documents), documents);

    let tool = understood([
        ("openinference.span.kind", text("TOOL")),
        ("tool.name", text("search")),
        ("tool.parameters", text(r#"{"q":"x"}"#)),
        ("output.value", text("found")),
    ]);
    assert_eq!((tool.operation.as_str(), tool.tool_name.as_str()), ("execute_tool", "search"));
    assert_eq!((tool.tool_arguments.as_str(), tool.tool_result.as_str()), (r#"{"q":"x"}"#, "found"));

    let chain = understood([
        ("openinference.span.kind", text("CHAIN")),
        ("input.value", text("in")),
        ("output.value", text("out")),
    ]);
    assert_eq!(chain.operation, "invoke_workflow");
    assert_eq!(
        parsed(&chain.input_messages),
        json!([{"role": "user", "parts": [{"type": "text", "content": "in"}]}])
    );

    let (guardrail, _) = as_tenant(span([("openinference.span.kind", text("GUARDRAIL"))])).unwrap();
    assert_eq!(guardrail.operation, "");
    assert_eq!(guardrail.span_attributes.len(), 1, "a kind without an operation stays an attribute");
}

#[test]
fn openllmetry_prompts_completions_and_functions() {
    let row = understood([
        ("gen_ai.system", text("OpenAI")),
        ("llm.request.type", text("chat")),
        ("gen_ai.request.model", text("gpt-4o")),
        ("gen_ai.prompt.0.role", text("user")),
        ("gen_ai.prompt.0.content", text("hi")),
        ("gen_ai.prompt.1.role", text("assistant")),
        ("gen_ai.prompt.1.tool_calls.0.id", text("c1")),
        ("gen_ai.prompt.1.tool_calls.0.name", text("f")),
        ("gen_ai.prompt.1.tool_calls.0.arguments", text("{}")),
        ("gen_ai.completion.0.role", text("assistant")),
        ("gen_ai.completion.0.content", text("hello")),
        ("gen_ai.completion.0.finish_reason", text("stop")),
        ("llm.usage.prompt_tokens", int(3)),
        ("llm.usage.completion_tokens", int(4)),
        ("llm.usage.total_tokens", int(7)),
        ("llm.is_streaming", Value::BoolValue(true)),
        ("llm.request.functions.0.name", text("f")),
        ("llm.request.functions.0.parameters", text(r#"{"type":"object"}"#)),
    ]);
    assert_eq!((row.operation.as_str(), row.provider.as_str(), row.stream), ("chat", "openai", true));
    assert_eq!((row.input_tokens, row.output_tokens), (3, 4));
    assert_eq!(row.finish_reasons, ["stop"]);
    let input = json!([
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {}}]},
    ]);
    assert_eq!(parsed(&row.input_messages), input);
    let output = json!([{"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": "hello"}]}]);
    assert_eq!(parsed(&row.output_messages), output);
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    assert_eq!(parsed(&row.tool_definitions), tools);
}

#[test]
fn openllmetry_entities_are_tools_or_steps() {
    let tool = understood([
        ("traceloop.span.kind", text("tool")),
        ("traceloop.entity.name", text("search")),
        ("traceloop.entity.input", text("{\"q\":1}")),
        ("traceloop.entity.output", text("found")),
    ]);
    assert_eq!((tool.operation.as_str(), tool.tool_name.as_str()), ("execute_tool", "search"));
    assert_eq!((tool.tool_arguments.as_str(), tool.tool_result.as_str()), ("{\"q\":1}", "found"));
    let (workflow, _) = as_tenant(span([
        ("traceloop.span.kind", text("workflow")),
        ("traceloop.entity.name", text("answer")),
        ("traceloop.entity.input", text("in")),
    ]))
    .unwrap();
    assert_eq!(workflow.operation, "invoke_workflow");
    assert!(workflow.input_messages.contains("in"));
    assert_eq!(workflow.span_attributes[0].0, "traceloop.entity.name");
}

#[test]
fn vercel_spans_bring_prompt_answer_and_time_to_first_chunk() {
    let row = understood([
        ("ai.operationId", text("ai.streamText.doStream")),
        ("ai.model.id", text("gpt-4o")),
        ("ai.model.provider", text("openai.chat")),
        ("ai.prompt.messages", text(r#"[{"role":"user","content":[{"type":"text","text":"hi"}]}]"#)),
        ("ai.response.text", text("hello")),
        ("ai.response.toolCalls", text(r#"[{"toolCallId":"c1","toolName":"f","args":"{\"a\":1}"}]"#)),
        ("ai.response.finishReason", text("stop")),
        ("ai.response.msToFirstChunk", Value::DoubleValue(120.5)),
        ("ai.usage.promptTokens", int(3)),
        ("ai.usage.completionTokens", int(4)),
    ]);
    assert_eq!((row.operation.as_str(), row.provider.as_str(), row.stream), ("chat", "openai", true));
    assert_eq!((row.input_tokens, row.output_tokens, row.ttft_ns), (3, 4, 120_500_000));
    assert_eq!(
        parsed(&row.input_messages),
        json!([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}])
    );
    let output = json!([{"role": "assistant", "finish_reason": "stop", "parts": [
        {"type": "text", "content": "hello"}, {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}]}]);
    assert_eq!(parsed(&row.output_messages), output);
}

#[test]
fn messages_may_be_events_one_by_one() {
    let mut span = span([("gen_ai.operation.name", text("chat"))]);
    span.events = vec![
        event(
            "gen_ai.system.message",
            0,
            [("gen_ai.system", text("openai")), ("content", text("Be brief."))],
        ),
        event("gen_ai.user.message", 0, [("content", text("hi"))]),
        event(
            "gen_ai.assistant.message",
            0,
            [("tool_calls", text(r#"[{"id":"c1","function":{"name":"f","arguments":"{}"}}]"#))],
        ),
        event("gen_ai.tool.message", 0, [("id", text("c1")), ("content", text("42"))]),
        event(
            "gen_ai.choice",
            9,
            [("finish_reason", text("stop")), ("message", text(r#"{"content":"hello"}"#)), ("index", int(0))],
        ),
        event("mine", 10, [("k", int(1))]),
    ];
    let (row, _) = as_tenant(span).unwrap();
    let input = json!([
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "f", "arguments": {}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
    ]);
    assert_eq!(parsed(&row.input_messages), input);
    let output = json!([{"role": "assistant", "finish_reason": "stop", "index": 0, "parts": [{"type": "text", "content": "hello"}]}]);
    assert_eq!(parsed(&row.output_messages), output);
    assert_eq!(
        (row.event_name, row.event_attributes),
        (vec!["mine".to_owned()], vec![vec![("k".to_owned(), "1".to_owned())]])
    );
}

#[test]
fn messages_may_be_one_event_with_the_spans_own_names() {
    let mut span = span([]);
    let details =
        [("gen_ai.input.messages", text("[1]")), ("gen_ai.output.messages", text("[2]")), ("other", int(1))];
    span.events = vec![event("gen_ai.client.inference.operation.details", 5, details)];
    let (row, _) = as_tenant(span).unwrap();
    assert_eq!((row.input_messages.as_str(), row.output_messages.as_str()), ("[1]", "[2]"));
    assert_eq!(row.event_attributes, [[("other".to_owned(), "1".to_owned())]]);
}

#[test]
fn the_first_chunk_may_be_an_event() {
    let mut span = span([]);
    span.events =
        vec![event("First Token Stream Event", 300, []), event("llm.content.completion.chunk", 900, [])];
    let (row, _) = as_tenant(span).unwrap();
    assert_eq!(row.ttft_ns, 300);
    assert_eq!(row.event_time_ns.len(), 2);
}

#[test]
fn a_failed_span_has_an_error_type_from_its_exception_or_the_conventions_other() {
    let mut failed = span([]);
    failed.status = Some(Status { code: 2, message: "boom".into() });
    let (row, _) = as_tenant(failed.clone()).unwrap();
    assert_eq!(
        (row.status.as_str(), row.status_message.as_str(), row.error_type.as_str()),
        ("error", "boom", "_OTHER")
    );
    failed.events = vec![event("exception", 1, [("exception.type", text("ValueError"))])];
    assert_eq!(as_tenant(failed).unwrap().0.error_type, "ValueError");
}

#[test]
fn resource_scope_links_and_what_a_sender_dropped_are_kept() {
    let resource = Resource {
        attributes: attributes([("service.name", text("app")), ("host.name", text("h"))]),
        dropped_attributes_count: 2,
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "lib".into(),
        version: "1".into(),
        attributes: attributes([("a", int(1))]),
        ..InstrumentationScope::default()
    };
    let mut tally = Tally::default();
    let source =
        Source::resource(Some(resource), LIMITS, &mut tally).with_scope(Some(scope), LIMITS, &mut tally);
    let mut span = span([]);
    span.parent_span_id = vec![3; 8];
    span.kind = 3;
    span.dropped_events_count = 4;
    span.links = vec![Link {
        trace_id: vec![4; 16],
        span_id: vec![5; 8],
        trace_state: "s=1".into(),
        attributes: attributes([("why", text("batch"))]),
        ..Link::default()
    }];
    let now = Timestamp::from_unix_seconds(NOW_S);
    let (row, _) = normalise(span, 100, &source, Origin::Tenant(&tenant()), LIMITS, now).unwrap();
    assert_eq!(
        (row.service_name.as_str(), row.scope_name.as_str(), row.scope_version.as_str()),
        ("app", "lib", "1")
    );
    assert_eq!((row.kind.as_str(), row.parent_span_id.as_str()), ("client", "0303030303030303"));
    assert_eq!(row.link_trace_id, ["04".repeat(16)]);
    assert_eq!(row.link_span_id, ["05".repeat(8)]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(row.resource_attributes, [pair("host.name", "h"), pair("otel.dropped_attributes_count", "2")]);
    let expected = [
        pair("otel.links.0.attributes", r#"{"why":"batch"}"#),
        pair("otel.links.0.trace_state", "s=1"),
        pair("otel.scope.a", "1"),
        pair("otel.dropped_events_count", "4"),
    ];
    assert_eq!(row.span_attributes, expected);
}

#[test]
fn our_own_namespace_counts_only_from_our_services() {
    let ours = || {
        span([
            ("control_tower.tenant.id", text("globex")),
            ("control_tower.record", text("call")),
            ("control_tower.key.id", text("k1")),
            ("control_tower.request.id", text("r1")),
            ("control_tower.route", text("support")),
            ("control_tower.tier", text("mid")),
            ("control_tower.attempt", int(2)),
            ("control_tower.cascade.decision", text("accept")),
            ("control_tower.cost.input", text("0.000000000001")),
            ("control_tower.cost.output", text("1.5")),
            ("control_tower.cost.cache", text("0")),
            ("control_tower.cost.total", text("1.500000000001")),
            ("control_tower.price_book.version", text("v7")),
            ("control_tower.usage.source", text("reported")),
            ("control_tower.usage.audio.input_tokens", int(9)),
            ("control_tower.cache.status", text("miss")),
            ("control_tower.queue.duration", Value::DoubleValue(0.002)),
            ("control_tower.client.disconnected", Value::BoolValue(true)),
            ("control_tower.retention.days", int(90)),
        ])
    };
    let (row, tally) = as_service(ours()).unwrap();
    assert_eq!(row.span_attributes, []);
    assert_eq!(tally.invalid_values, 0);
    assert_eq!((row.tenant_id.as_str(), row.record.as_str(), row.key_id.as_str()), ("globex", "call", "k1"));
    assert_eq!(
        (row.request_id.as_str(), row.route.as_str(), row.tier.as_str(), row.attempt),
        ("r1", "support", "mid", 2)
    );
    assert_eq!((row.cost_input, row.cost_output, row.cost_total), (1, 1_500_000_000_000, 1_500_000_000_001));
    assert_eq!((row.queue_ns, row.client_disconnected, row.retention_days), (2_000_000, true, 90));
    assert_eq!((row.audio_input_tokens, row.usage_source.as_str()), (9, "reported"));

    let (row, tally) = as_tenant(ours()).unwrap();
    assert_eq!((row.tenant_id.as_str(), row.record.as_str(), row.cost_total), ("acme", "", 0));
    assert_eq!((row.retention_days, row.span_attributes.len()), (14, 19));
    assert_eq!(tally.unknown_attributes["control_tower"], 19);
}

#[test]
fn money_in_a_double_and_unknown_records_are_not_believed() {
    let (row, tally) = as_service(span([
        ("control_tower.tenant.id", text("globex")),
        ("control_tower.record", text("invoice")),
        ("control_tower.cost.total", Value::DoubleValue(0.1)),
        ("control_tower.usage.source", text("guessed")),
    ]))
    .unwrap();
    assert_eq!((row.record.as_str(), row.cost_total, row.usage_source.as_str()), ("", 0, ""));
    assert_eq!((tally.invalid_values, row.span_attributes.len(), row.retention_days), (3, 3, 30));
}

#[test]
fn a_services_span_must_name_its_tenant() {
    assert_eq!(as_service(span([])).unwrap_err(), Rejected::Tenant);
    assert_eq!(
        as_service(span([("control_tower.tenant.id", text("not a tenant"))])).unwrap_err(),
        Rejected::Tenant
    );
}
