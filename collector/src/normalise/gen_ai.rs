//! OpenTelemetry's GenAI conventions: the main ones, and after them the names that they replaced.

use super::draft::{Column, Draft};
use super::{Dialect, provider, values};
use contracts::attributes::{gen_ai, otel};
use opentelemetry_proto::tonic::common::v1::any_value::Value;

const MAIN_TEXTS: &[(&str, Column<String>)] = &[
    (gen_ai::OPERATION_NAME, |row| &mut row.operation),
    (gen_ai::REQUEST_MODEL, |row| &mut row.request_model),
    (gen_ai::RESPONSE_MODEL, |row| &mut row.response_model),
    (gen_ai::RESPONSE_ID, |row| &mut row.response_id),
    (gen_ai::CONVERSATION_ID, |row| &mut row.conversation_id),
    (gen_ai::PROMPT_NAME, |row| &mut row.prompt_name),
    (gen_ai::PROMPT_VERSION, |row| &mut row.prompt_version),
    (gen_ai::INPUT_MESSAGES, |row| &mut row.input_messages),
    (gen_ai::OUTPUT_MESSAGES, |row| &mut row.output_messages),
    (gen_ai::SYSTEM_INSTRUCTIONS, |row| &mut row.system_instructions),
    (gen_ai::TOOL_DEFINITIONS, |row| &mut row.tool_definitions),
    (gen_ai::DATA_SOURCE_ID, |row| &mut row.data_source_id),
    (gen_ai::RETRIEVAL_QUERY_TEXT, |row| &mut row.retrieval_query),
    (gen_ai::RETRIEVAL_DOCUMENTS, |row| &mut row.retrieval_documents),
    (gen_ai::TOOL_NAME, |row| &mut row.tool_name),
    (gen_ai::TOOL_CALL_ID, |row| &mut row.tool_call_id),
    (gen_ai::TOOL_TYPE, |row| &mut row.tool_type),
    (gen_ai::TOOL_CALL_ARGUMENTS, |row| &mut row.tool_arguments),
    (gen_ai::TOOL_CALL_RESULT, |row| &mut row.tool_result),
];

const MAIN_COUNTS: &[(&str, Column<u64>)] = &[
    (gen_ai::USAGE_INPUT_TOKENS, |row| &mut row.input_tokens),
    (gen_ai::USAGE_OUTPUT_TOKENS, |row| &mut row.output_tokens),
    (gen_ai::USAGE_CACHE_READ, |row| &mut row.cache_read_tokens),
    (gen_ai::USAGE_CACHE_WRITE, |row| &mut row.cache_write_tokens),
    (gen_ai::USAGE_REASONING, |row| &mut row.reasoning_tokens),
];

/// Names of earlier versions of the conventions, and spellings that instrumentations of that time shipped.
const OLDER_COUNTS: &[(&str, Column<u64>)] = &[
    ("gen_ai.usage.prompt_tokens", |row| &mut row.input_tokens),
    ("gen_ai.usage.completion_tokens", |row| &mut row.output_tokens),
    ("gen_ai.usage.cache_creation.input_tokens", |row| &mut row.cache_write_tokens),
    ("gen_ai.usage.cache_read_input_tokens", |row| &mut row.cache_read_tokens),
    ("gen_ai.usage.cache_creation_input_tokens", |row| &mut row.cache_write_tokens),
    ("gen_ai.usage.reasoning_tokens", |row| &mut row.reasoning_tokens),
];

/// The main conventions.
pub(super) fn main(draft: &mut Draft) {
    let dialect = Dialect::Main;
    draft.texts(dialect, MAIN_TEXTS);
    draft.counts(dialect, MAIN_COUNTS);
    draft.fill(dialect, gen_ai::PROVIDER_NAME, |row| &mut row.provider, provider::parse);
    draft.fill(dialect, gen_ai::REQUEST_STREAM, |row| &mut row.stream, values::truth);
    draft.fill(
        dialect,
        gen_ai::RESPONSE_FINISH_REASONS,
        |row| &mut row.finish_reasons,
        |value| Some(values::texts(value)),
    );
    draft.fill(
        dialect,
        gen_ai::RESPONSE_TIME_TO_FIRST_CHUNK,
        |row| &mut row.ttft_ns,
        |value| values::nanos(value, 1e9),
    );
    draft.fill(
        dialect,
        gen_ai::RETRIEVAL_TOP_K,
        |row| &mut row.retrieval_top_k,
        |value| values::count(value).and_then(|count| u32::try_from(count).ok()),
    );
}

/// What the main conventions replaced.
pub(super) fn older(draft: &mut Draft) {
    let dialect = Dialect::OlderGenAi;
    draft.counts(dialect, OLDER_COUNTS);
    draft.fill(dialect, "gen_ai.system", |row| &mut row.provider, provider::parse);
    draft.fill(
        dialect,
        "gen_ai.server.time_to_first_token",
        |row| &mut row.ttft_ns,
        |value| values::nanos(value, 1e9),
    );
}

/// General attributes that have a column of their own.
pub(super) fn general(draft: &mut Draft) {
    let status = |value: &Value| values::count(value).and_then(|code| u16::try_from(code).ok());
    draft.fill(Dialect::General, otel::HTTP_RESPONSE_STATUS_CODE, |row| &mut row.http_status, status);
    draft.fill(Dialect::General, "http.status_code", |row| &mut row.http_status, status);
    draft.fill(
        Dialect::General,
        otel::ERROR_TYPE,
        |row| &mut row.error_type,
        |value| Some(values::text(value)),
    );
    draft.fill(
        Dialect::General,
        "session.id",
        |row| &mut row.conversation_id,
        |value| Some(values::text(value)),
    );
}
