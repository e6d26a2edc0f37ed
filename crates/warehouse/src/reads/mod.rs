//! The typed reads behind the console and the JSON API. Each takes whose data it may see as its first argument, binds every
//! value as a server-side parameter, and is bounded in memory, rows and time.

mod annotated;
mod call;
mod calls;
pub(crate) mod consistency;
pub(crate) mod evaluations;
pub(crate) mod experiments;
mod facets;
pub(crate) mod outcomes;
mod overview;
pub(crate) mod runs;
mod signals;
pub(crate) mod vitals;

use crate::error::WarehouseError;
use clickhouse::query::Query;
use contracts::reads::{CallFilter, Outcome, TenantScope, TimeRange};
use contracts::{TokenUsage, Usd};
use std::collections::BTreeMap;

/// An hour, milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// A day, milliseconds.
const DAY_MS: i64 = 24 * HOUR_MS;

/// Filters as parameters of their names in `queries/read/`.
trait Bind {
    fn tenants(self, scope: &TenantScope) -> Self;
    fn range(self, range: TimeRange) -> Self;
    /// The filter of `parts/picked_calls.sql` over calls that started in `range`; `wanted` is false where nobody asks for them.
    fn picked(self, range: TimeRange, filter: &CallFilter, wanted: bool) -> Self;
}

impl Bind for Query {
    fn tenants(self, scope: &TenantScope) -> Self {
        let tenants: Vec<&str> = scope.tenants().iter().map(contracts::TenantId::as_str).collect();
        self.param("tenants", tenants)
    }

    fn range(self, range: TimeRange) -> Self {
        self.param("from_ms", range.from_ms).param("to_ms", range.to_ms)
    }

    fn picked(self, range: TimeRange, filter: &CallFilter, wanted: bool) -> Self {
        let outcome = match filter.outcome {
            None => "",
            Some(Outcome::Ok) => "ok",
            Some(Outcome::Error) => "error",
        };
        self.param("filtered", wanted)
            .param("picked_from_ms", range.from_ms)
            .param("picked_to_ms", range.to_ms)
            .param("routes", &filter.routes)
            .param("models", &filter.models)
            .param("keys", &filter.keys)
            .param("outcome", outcome)
            .param("min_cost", filter.min_cost.unwrap_or(Usd::ZERO).to_string())
            .param("min_duration_ns", filter.min_duration_ms.unwrap_or(0).saturating_mul(1_000_000))
            .param("text", searched_text(filter).unwrap_or_default())
    }
}

/// The text as it stands inside a JSON string, for messages are stored as JSON; `None` when nothing is searched for.
fn searched_text(filter: &CallFilter) -> Option<String> {
    let text = filter.text.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
    let quoted = serde_json::Value::from(text).to_string();
    Some(quoted[1..quoted.len() - 1].to_owned())
}

/// The years that `DateTime` can hold: 1970 to 2106.
const LATEST_MS: i64 = 4_294_967_295_000;

/// A range that the reads can work with: not empty, clipped to the years that the engine's types hold.
fn check_range(range: TimeRange) -> Result<TimeRange, WarehouseError> {
    let clipped =
        TimeRange { from_ms: range.from_ms.clamp(0, LATEST_MS), to_ms: range.to_ms.clamp(0, LATEST_MS) };
    if clipped.from_ms < clipped.to_ms {
        return Ok(clipped);
    }
    Err(WarehouseError::Invalid {
        field: "range",
        value: format!("{} to {}", range.from_ms, range.to_ms),
        expected: "milliseconds since the epoch, the end after the start",
    })
}

fn check_hex(field: &'static str, value: &str, digits: usize) -> Result<(), WarehouseError> {
    if value.len() == digits && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    let expected = if digits == 32 { "32 lower-case hex digits" } else { "16 lower-case hex digits" };
    Err(WarehouseError::Invalid { field, value: value.chars().take(80).collect(), expected })
}

#[expect(clippy::cast_precision_loss, reason = "a duration in milliseconds is for display")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// The columns of `calls` that every list reads.
#[derive(clickhouse::Row, serde::Deserialize)]
struct CallColumns {
    tenant_id: String,
    start_ns: i64,
    trace_id: String,
    span_id: String,
    request_id: String,
    operation: String,
    key_id: String,
    route: String,
    request_model: String,
    response_model: String,
    provider: String,
    tier: String,
    stream: bool,
    http_status: u16,
    error_type: String,
    finish_reason: String,
    duration_ns: u64,
    ttft_ns: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    cache_write_1h_tokens: u64,
    reasoning_tokens: u64,
    audio_input_tokens: u64,
    audio_output_tokens: u64,
    usage_source: String,
    cost_input: i128,
    cost_output: i128,
    cost_cache: i128,
    cost_total: i128,
    price_book_version: String,
    cache_status: String,
    cache_saved: i128,
    attempts: u16,
    cascade_score: Option<f64>,
}

impl From<CallColumns> for contracts::reads::CallRow {
    fn from(row: CallColumns) -> Self {
        Self {
            tenant_id: row.tenant_id,
            start_ms: row.start_ns.div_euclid(1_000_000),
            trace_id: row.trace_id,
            span_id: row.span_id,
            request_id: row.request_id,
            operation: row.operation,
            key_id: row.key_id,
            route: row.route,
            request_model: row.request_model,
            response_model: row.response_model,
            provider: row.provider,
            tier: row.tier,
            stream: row.stream,
            http_status: row.http_status,
            error_type: row.error_type,
            finish_reason: row.finish_reason,
            duration_ms: millis(row.duration_ns),
            ttft_ms: (row.ttft_ns > 0).then(|| millis(row.ttft_ns)),
            usage: TokenUsage {
                input: row.input_tokens,
                output: row.output_tokens,
                cache_read: row.cache_read_tokens,
                cache_write: row.cache_write_tokens,
                cache_write_1h: row.cache_write_1h_tokens,
                reasoning: row.reasoning_tokens,
                audio_input: row.audio_input_tokens,
                audio_output: row.audio_output_tokens,
            },
            priced: row.usage_source.is_empty() || !row.price_book_version.is_empty(),
            usage_source: row.usage_source,
            cost: Usd::from_picos(row.cost_total),
            cache_status: row.cache_status,
            cache_saved: Usd::from_picos(row.cache_saved),
            attempts: row.attempts,
            cascade_score: row.cascade_score,
        }
    }
}

/// A map column, as it comes.
type Pairs = Vec<(String, String)>;

fn map(pairs: Pairs) -> BTreeMap<String, String> {
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_searched_text_is_escaped_as_in_json() {
        let filter = |text: &str| CallFilter { text: Some(text.to_owned()), ..CallFilter::default() };
        assert_eq!(searched_text(&filter(" say \"hi\"\n ")).unwrap(), "say \\\"hi\\\"");
        assert_eq!(searched_text(&filter("naïve 東京")).unwrap(), "naïve 東京");
        assert_eq!(searched_text(&filter("  ")), None);
    }

    #[test]
    fn an_empty_range_names_itself() {
        let error = check_range(TimeRange { from_ms: 5, to_ms: 5 }).unwrap_err().to_string();
        assert!(error.contains("range \"5 to 5\""), "{error}");
        let all = check_range(TimeRange { from_ms: i64::MIN, to_ms: i64::MAX }).unwrap();
        assert_eq!(all, TimeRange { from_ms: 0, to_ms: LATEST_MS });
    }

    #[test]
    fn ids_are_checked() {
        assert!(check_hex("trace_id", &"a".repeat(32), 32).is_ok());
        assert!(check_hex("trace_id", &"A".repeat(32), 32).is_err());
        assert!(check_hex("span_id", "abc", 16).is_err());
    }
}
