//! Attribute names that Control Tower emits and reads: OpenTelemetry GenAI semantic conventions (main, 2026) and our own
//! namespace `control_tower.*`. Other dialects are translated by the collector and appear nowhere else.

/// OpenTelemetry GenAI.
pub mod gen_ai {
    /// `chat`, `text_completion`, `embeddings`, `retrieval`, `execute_tool`, …
    pub const OPERATION_NAME: &str = "gen_ai.operation.name";
    /// `openai`, `anthropic`, `gcp.gemini`, …
    pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
    /// The model the client asked for.
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    /// Whether the client asked for a stream.
    pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
    /// The model that answered, as the provider named it.
    pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
    /// The provider's id of the answer.
    pub const RESPONSE_ID: &str = "gen_ai.response.id";
    /// Why generation ended, one a choice.
    pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    /// Seconds from the request's last byte to the first content.
    pub const RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    /// All input tokens, cached ones included.
    pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// All output tokens, reasoning included.
    pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    /// Input tokens read from the provider's cache.
    pub const USAGE_CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
    /// Input tokens written to the provider's cache.
    pub const USAGE_CACHE_WRITE: &str = "gen_ai.usage.cache_write.input_tokens";
    /// Output tokens spent on reasoning.
    pub const USAGE_REASONING: &str = "gen_ai.usage.reasoning.output_tokens";
    /// Prompt template and its version.
    pub const PROMPT_NAME: &str = "gen_ai.prompt.name";
    /// Version of the prompt template.
    pub const PROMPT_VERSION: &str = "gen_ai.prompt.version";
    /// Conversation or session.
    pub const CONVERSATION_ID: &str = "gen_ai.conversation.id";
    /// JSON array of input messages.
    pub const INPUT_MESSAGES: &str = "gen_ai.input.messages";
    /// JSON array of output messages.
    pub const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
    /// System instructions given apart from the messages.
    pub const SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
    /// JSON array of tools offered to the model.
    pub const TOOL_DEFINITIONS: &str = "gen_ai.tool.definitions";
    /// Data source of a retrieval.
    pub const DATA_SOURCE_ID: &str = "gen_ai.data_source.id";
    /// How many documents were asked for.
    pub const RETRIEVAL_TOP_K: &str = "gen_ai.retrieval.top_k";
    /// The retrieval's query.
    pub const RETRIEVAL_QUERY_TEXT: &str = "gen_ai.retrieval.query.text";
    /// JSON array of `{id, score}`.
    pub const RETRIEVAL_DOCUMENTS: &str = "gen_ai.retrieval.documents";
    /// Tool name.
    pub const TOOL_NAME: &str = "gen_ai.tool.name";
    /// Tool call id.
    pub const TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
    /// Tool type.
    pub const TOOL_TYPE: &str = "gen_ai.tool.type";
    /// Arguments of a tool call, JSON.
    pub const TOOL_CALL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
    /// Result of a tool call.
    pub const TOOL_CALL_RESULT: &str = "gen_ai.tool.call.result";
}

/// General OpenTelemetry attributes.
pub mod otel {
    /// Name of an event, where the log record has no field for it.
    pub const EVENT_NAME: &str = "event.name";
    /// Class of an error; set only when there was one.
    pub const ERROR_TYPE: &str = "error.type";
    /// HTTP method.
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// Status returned.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// Matched route, such as `/v1/chat/completions`.
    pub const HTTP_ROUTE: &str = "http.route";
    /// Upstream host.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Upstream port.
    pub const SERVER_PORT: &str = "server.port";
    /// Resource: name of the service.
    pub const SERVICE_NAME: &str = "service.name";
    /// Resource: its instance.
    pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
    /// Resource: its version.
    pub const SERVICE_VERSION: &str = "service.version";
}

/// Ours.
pub mod control_tower {
    /// What a span is to us: [`RECORD_CALL`] or [`RECORD_ATTEMPT`]. Only the gateway sets it.
    pub const RECORD: &str = "control_tower.record";
    /// The SERVER span of one client request: becomes a row of `calls`.
    pub const RECORD_CALL: &str = "call";
    /// The CLIENT span of one try at one upstream: becomes a row of `attempts`.
    pub const RECORD_ATTEMPT: &str = "attempt";
    /// Tenant. On input from clients it is ignored: the tenant follows from the key that authenticated.
    pub const TENANT_ID: &str = "control_tower.tenant.id";
    /// API key's public id.
    pub const KEY_ID: &str = "control_tower.key.id";
    /// The id returned to the client in `x-request-id`.
    pub const REQUEST_ID: &str = "control_tower.request.id";
    /// Route that was taken.
    pub const ROUTE: &str = "control_tower.route";
    /// Tier of the pool that answered.
    pub const TIER: &str = "control_tower.tier";
    /// On an attempt: its number within the request, from 1. On a call: how many attempts were made.
    pub const ATTEMPT: &str = "control_tower.attempt";
    /// On an attempt: it was sent beside another that took long.
    pub const HEDGE: &str = "control_tower.hedge";
    /// What the cascade decided about an answer.
    pub const CASCADE_DECISION: &str = "control_tower.cascade.decision";
    /// Probability that an attempt's answer is acceptable, as a cascade judged it. On a call: that of the answer it was given.
    pub const CASCADE_SCORE: &str = "control_tower.cascade.score";
    /// What a cascade judged an attempt's answer by: a JSON object of numbers from 0 to 1.
    pub const CASCADE_SIGNALS: &str = "control_tower.cascade.signals";
    /// The severest of what guardrails found: `flag`, `mask`, `escalate` or `block`; absent when they found nothing.
    pub const GUARDRAIL_DECISION: &str = "control_tower.guardrail.decision";
    /// The guardrails of the rules that were breached. One entry a breach, as in the following.
    pub const GUARDRAIL_NAME: &str = "control_tower.guardrail.name";
    /// Rules that were breached; `tools` for the list of tools, `unreadable` where a request has no text to judge.
    pub const GUARDRAIL_RULE: &str = "control_tower.guardrail.rule";
    /// What each demands: `flag`, `mask`, `escalate` or `block`.
    pub const GUARDRAIL_ACTION: &str = "control_tower.guardrail.action";
    /// Where it was breached: `input`, `output` or `tool`.
    pub const GUARDRAIL_PLACE: &str = "control_tower.guardrail.place";
    /// Decimal USD for input tokens that were not cached.
    pub const COST_INPUT: &str = "control_tower.cost.input";
    /// Decimal USD for output tokens, reasoning included.
    pub const COST_OUTPUT: &str = "control_tower.cost.output";
    /// Decimal USD for cache reads and writes.
    pub const COST_CACHE: &str = "control_tower.cost.cache";
    /// Decimal USD in total.
    pub const COST_TOTAL: &str = "control_tower.cost.total";
    /// Version of the price book that priced the row; empty when the model has no price.
    pub const PRICE_BOOK_VERSION: &str = "control_tower.price_book.version";
    /// `reported`, `estimated` or `partial`.
    pub const USAGE_SOURCE: &str = "control_tower.usage.source";
    /// Cache-write tokens kept for an hour (a subset that the conventions do not name).
    pub const USAGE_CACHE_WRITE_1H: &str = "control_tower.usage.cache_write_1h.input_tokens";
    /// Audio input tokens.
    pub const USAGE_AUDIO_INPUT: &str = "control_tower.usage.audio.input_tokens";
    /// Audio output tokens.
    pub const USAGE_AUDIO_OUTPUT: &str = "control_tower.usage.audio.output_tokens";
    /// `hit_exact`, `hit_semantic`, `miss` or `bypass`.
    pub const CACHE_STATUS: &str = "control_tower.cache.status";
    /// Cosine of the question and the one whose answer was given again.
    pub const CACHE_SIMILARITY: &str = "control_tower.cache.similarity";
    /// Decimal USD that the call would have cost.
    pub const CACHE_SAVED: &str = "control_tower.cache.saved";
    /// Seconds spent waiting for admission.
    pub const QUEUE_DURATION: &str = "control_tower.queue.duration";
    /// Soft limits that the call was beyond, a list of `SUBJECT LIMIT SIZE`.
    pub const SOFT_LIMITS: &str = "control_tower.soft_limits";
    /// Name of the event of a soft limit that was passed.
    pub const EVENT_SOFT_LIMIT: &str = "control_tower.soft_limit";
    /// Whose limit: a tenant, a key, or a budget's account.
    pub const LIMIT_SUBJECT: &str = "control_tower.limit.subject";
    /// Which limit: `budget`, or the name of a plan's.
    pub const LIMIT_NAME: &str = "control_tower.limit.name";
    /// The soft limit: decimal USD of budgets, else what the plan counts.
    pub const LIMIT_SOFT: &str = "control_tower.limit.soft";
    /// Where calls are refused, decimal USD.
    pub const LIMIT_HARD: &str = "control_tower.limit.hard";
    /// What is settled in the budget's window, decimal USD.
    pub const LIMIT_USED: &str = "control_tower.limit.used";
    /// Experiment that the request took part in.
    pub const EXPERIMENT_NAME: &str = "control_tower.experiment.name";
    /// Arm of the experiment.
    pub const EXPERIMENT_VARIANT: &str = "control_tower.experiment.variant";
    /// Whose the experiment is: `tenant` for one of the tenant's own, `shared` for one that all tenants share. Both may have the same name.
    pub const EXPERIMENT_OWNER: &str = "control_tower.experiment.owner";
    /// What the arm was dealt to: `user`, `conversation`, `key` or `request`.
    pub const EXPERIMENT_UNIT: &str = "control_tower.experiment.unit";
    /// Whether the client left before the answer was complete.
    pub const CLIENT_DISCONNECTED: &str = "control_tower.client.disconnected";
    /// Bytes of captured content that were cut off because of the capture limit.
    pub const CONTENT_TRUNCATED_BYTES: &str = "control_tower.content.truncated_bytes";
    /// The form that the answer had to have, JSON as the request said it; where content is captured.
    pub const RESPONSE_FORMAT: &str = "control_tower.response_format";
    /// Natural logarithms of the probabilities of the first choice's tokens, a JSON array of numbers; where content is captured.
    pub const LOGPROBS: &str = "control_tower.logprobs";
    /// What makes a log record one event of its tenant: sent again, it is known by it.
    pub const EVENT_ID: &str = "control_tower.event.id";
    /// What makes several statements of a client one outcome; the one that came last counts.
    pub const IDEMPOTENCY_KEY: &str = "control_tower.idempotency.key";
    /// `park` or `refuse`: what becomes of an outcome whose call was not there when it came.
    pub const OUTCOME_UNKNOWN: &str = "control_tower.outcome.unknown";
    /// Name of the event of feedback on an answer.
    pub const EVENT_FEEDBACK: &str = "control_tower.feedback";
    /// A number; what it means is the sender's.
    pub const FEEDBACK_SCORE: &str = "control_tower.feedback.score";
    /// A short text, such as `thumbs_up`.
    pub const FEEDBACK_LABEL: &str = "control_tower.feedback.label";
    /// What somebody wrote; content.
    pub const FEEDBACK_COMMENT: &str = "control_tower.feedback.comment";
    /// Name of the event of an action that answers served.
    pub const EVENT_ACTION: &str = "control_tower.action";
    /// What was done.
    pub const ACTION_NAME: &str = "control_tower.action.name";
    /// `useful`, `not_useful` or `value`.
    pub const ACTION_OUTCOME: &str = "control_tower.action.outcome";
    /// Decimal USD, where the outcome is a value.
    pub const ACTION_VALUE: &str = "control_tower.action.value";
    /// JSON array of `{id, weight}`: answers that served it.
    pub const ACTION_RESPONSES: &str = "control_tower.action.responses";
    /// JSON array of `{id, weight}`: traces that served it.
    pub const ACTION_TRACES: &str = "control_tower.action.traces";
    /// Days that the tenant keeps its telemetry.
    pub const RETENTION_DAYS: &str = "control_tower.retention.days";
}
