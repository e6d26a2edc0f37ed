//! The rows that others fill: a span, an event, every column by its name in `queries/schema/`.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

/// One span as it is inserted. The columns that `calls`, `attempts` and the rollups need are typed; whatever else the span
/// carried is in the maps. Texts that do not apply are empty, numbers zero.
///
/// `start_time` and `event_time_ns` are nanoseconds since the epoch, costs are picodollars (`Decimal(38,12)`), durations
/// nanoseconds. The nested columns (`event_*`, `link_*`) have equal lengths within their group; the engine refuses the
/// whole insert otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Row, Serialize, Deserialize)]
pub struct SpanRow {
    /// Whose span.
    pub tenant_id: String,
    /// Nanoseconds since the epoch.
    pub start_time: i64,
    /// Nanoseconds.
    pub duration_ns: u64,
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// 16 lower-case hex digits.
    pub span_id: String,
    /// 16 lower-case hex digits, empty for a root.
    pub parent_span_id: String,
    /// W3C trace state.
    pub trace_state: String,
    /// `call`, `attempt` or empty.
    pub record: String,
    /// Name.
    pub name: String,
    /// `server`, `client`, `internal`, `producer`, `consumer` or `unspecified`.
    pub kind: String,
    /// `unset`, `ok` or `error`.
    pub status: String,
    /// Message of the status.
    pub status_message: String,
    /// Emitting service.
    pub service_name: String,
    /// Instrumentation scope.
    pub scope_name: String,
    /// Version of the scope.
    pub scope_version: String,
    /// `chat`, `embeddings`, `retrieval`, `execute_tool`, …
    pub operation: String,
    /// Provider that was called.
    pub provider: String,
    /// Model asked for.
    pub request_model: String,
    /// Model that answered.
    pub response_model: String,
    /// The provider's id of the answer.
    pub response_id: String,
    /// Conversation or session.
    pub conversation_id: String,
    /// Prompt template.
    pub prompt_name: String,
    /// Its version.
    pub prompt_version: String,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// All input tokens.
    pub input_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// Of the input: read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Of the input: written to the provider's cache for the default time.
    pub cache_write_tokens: u64,
    /// Of the input: written for an hour.
    pub cache_write_1h_tokens: u64,
    /// Of the output: reasoning.
    pub reasoning_tokens: u64,
    /// Of the input: audio.
    pub audio_input_tokens: u64,
    /// Of the output: audio.
    pub audio_output_tokens: u64,
    /// Nanoseconds to the first content; 0 when there was none.
    pub ttft_ns: u64,
    /// Why generation ended, one a choice.
    pub finish_reasons: Vec<String>,
    /// JSON array.
    pub input_messages: String,
    /// JSON array.
    pub output_messages: String,
    /// JSON or text.
    pub system_instructions: String,
    /// JSON array.
    pub tool_definitions: String,
    /// Data source of a retrieval.
    pub data_source_id: String,
    /// Documents asked for.
    pub retrieval_top_k: u32,
    /// Query of a retrieval.
    pub retrieval_query: String,
    /// JSON array of `{id, score}`.
    pub retrieval_documents: String,
    /// Tool that ran.
    pub tool_name: String,
    /// Id of the tool call.
    pub tool_call_id: String,
    /// Type of the tool.
    pub tool_type: String,
    /// JSON.
    pub tool_arguments: String,
    /// JSON or text.
    pub tool_result: String,
    /// Class of the error, empty when there was none.
    pub error_type: String,
    /// HTTP status returned; 0 when unknown.
    pub http_status: u16,
    /// As returned in `x-request-id`.
    pub request_id: String,
    /// Public id of the API key.
    pub key_id: String,
    /// Route that was taken.
    pub route: String,
    /// Tier of the pool that answered.
    pub tier: String,
    /// On an attempt: its number, from 1. On a call: how many attempts were made.
    pub attempt: u16,
    /// What the cascade decided.
    pub cascade_decision: String,
    /// Picodollars for input.
    pub cost_input: i128,
    /// Picodollars for output.
    pub cost_output: i128,
    /// Picodollars for cache reads and writes.
    pub cost_cache: i128,
    /// Picodollars in total.
    pub cost_total: i128,
    /// Version of the price book.
    pub price_book_version: String,
    /// `reported`, `estimated`, `partial` or empty.
    pub usage_source: String,
    /// `hit`, `miss`, `bypass` or empty.
    pub cache_status: String,
    /// Nanoseconds waited for admission.
    pub queue_ns: u64,
    /// Experiment.
    pub experiment_name: String,
    /// Its arm.
    pub experiment_variant: String,
    /// Whether the client left before the end.
    pub client_disconnected: bool,
    /// Every attribute that is in no typed column.
    pub span_attributes: Vec<(String, String)>,
    /// Attributes of the resource.
    pub resource_attributes: Vec<(String, String)>,
    /// Events: when.
    #[serde(rename = "events.time_ns")]
    pub event_time_ns: Vec<i64>,
    /// Events: name.
    #[serde(rename = "events.name")]
    pub event_name: Vec<String>,
    /// Events: attributes.
    #[serde(rename = "events.attributes")]
    pub event_attributes: Vec<Vec<(String, String)>>,
    /// Links: trace, 32 hex digits.
    #[serde(rename = "links.trace_id")]
    pub link_trace_id: Vec<String>,
    /// Links: span, 16 hex digits.
    #[serde(rename = "links.span_id")]
    pub link_span_id: Vec<String>,
    /// Days that the tenant keeps its telemetry.
    pub retention_days: u16,
}

/// What makes a span one span; `start_time` (nanoseconds since the epoch) is only there to find it fast.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpanKey {
    /// Whose span.
    pub tenant_id: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Nanoseconds since the epoch.
    pub start_time: i64,
}

impl From<&SpanRow> for SpanKey {
    fn from(row: &SpanRow) -> Self {
        Self {
            tenant_id: row.tenant_id.clone(),
            trace_id: row.trace_id.clone(),
            span_id: row.span_id.clone(),
            start_time: row.start_time,
        }
    }
}

/// One OTLP log record as it is inserted. What feedback, actions and evaluations need is read from `attributes` by the tables that are fed
/// from this one. Texts that do not apply are empty, numbers zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Row, Serialize, Deserialize)]
pub struct EventRow {
    /// Whose event.
    pub tenant_id: String,
    /// When it happened, nanoseconds since the epoch.
    pub time: i64,
    /// When it was recorded, nanoseconds since the epoch.
    pub observed_time: i64,
    /// What makes it one event of the tenant, together with `time`.
    pub event_id: String,
    /// `control_tower.action`, `gen_ai.evaluation.result`, …
    pub event_name: String,
    /// 32 lower-case hex digits, or empty.
    pub trace_id: String,
    /// 16 lower-case hex digits, or empty.
    pub span_id: String,
    /// `gen_ai.response.id`: the answer that it is about, or empty.
    pub response_id: String,
    /// `INFO`, `ERROR`, …, as the sender wrote it.
    pub severity: String,
    /// OTLP's number, 1 to 24; 0 when unknown.
    pub severity_number: u8,
    /// Text, or JSON.
    pub body: String,
    /// Emitting service.
    pub service_name: String,
    /// Instrumentation scope.
    pub scope_name: String,
    /// Version of the scope.
    pub scope_version: String,
    /// Public id of the API key that sent it, where a key did.
    pub key_id: String,
    /// Every attribute that is in no typed column.
    pub attributes: Vec<(String, String)>,
    /// Attributes of the resource.
    pub resource_attributes: Vec<(String, String)>,
    /// Days that the tenant keeps its telemetry.
    pub retention_days: u16,
}

/// The `key_id` of events that our own evaluator writes. The collector gives an event the id of the key that our gateway vouches for, or none, so
/// nobody else's has it.
pub const EVALUATOR_KEY: &str = "control-tower-evaluator";

/// What makes an event one event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventKey {
    /// Whose event.
    pub tenant_id: String,
    /// Its id.
    pub event_id: String,
    /// Nanoseconds since the epoch.
    pub time: i64,
}

impl From<&EventRow> for EventKey {
    fn from(row: &EventRow) -> Self {
        Self { tenant_id: row.tenant_id.clone(), event_id: row.event_id.clone(), time: row.time }
    }
}
