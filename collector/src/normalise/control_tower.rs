//! Our own namespace, understood only from services that hold the service key: from anyone else `control_tower.*` is just
//! another attribute.

use super::draft::{Column, Draft};
use super::{Dialect, values};
use contracts::attributes::control_tower as names;
use contracts::{UsageSource, Usd};
use opentelemetry_proto::tonic::common::v1::any_value::Value;

const TEXTS: &[(&str, Column<String>)] = &[
    (names::KEY_ID, |row| &mut row.key_id),
    (names::REQUEST_ID, |row| &mut row.request_id),
    (names::ROUTE, |row| &mut row.route),
    (names::TIER, |row| &mut row.tier),
    (names::CASCADE_DECISION, |row| &mut row.cascade_decision),
    (names::PRICE_BOOK_VERSION, |row| &mut row.price_book_version),
    (names::CACHE_STATUS, |row| &mut row.cache_status),
    (names::EXPERIMENT_NAME, |row| &mut row.experiment_name),
    (names::EXPERIMENT_VARIANT, |row| &mut row.experiment_variant),
];

const COUNTS: &[(&str, Column<u64>)] = &[
    (names::USAGE_CACHE_WRITE_1H, |row| &mut row.cache_write_1h_tokens),
    (names::USAGE_AUDIO_INPUT, |row| &mut row.audio_input_tokens),
    (names::USAGE_AUDIO_OUTPUT, |row| &mut row.audio_output_tokens),
];

const COSTS: &[(&str, Column<i128>)] = &[
    (names::COST_INPUT, |row| &mut row.cost_input),
    (names::COST_OUTPUT, |row| &mut row.cost_output),
    (names::COST_CACHE, |row| &mut row.cost_cache),
    (names::COST_TOTAL, |row| &mut row.cost_total),
];

/// Fills the columns that only our own services may fill.
pub(super) fn apply(draft: &mut Draft) {
    let dialect = Dialect::ControlTower;
    draft.texts(dialect, TEXTS);
    draft.counts(dialect, COUNTS);
    for (key, column) in COSTS {
        draft.fill(dialect, key, *column, picodollars);
    }
    draft.fill(
        dialect,
        names::RECORD,
        |row| &mut row.record,
        |value| {
            let record = values::text(value);
            [names::RECORD_CALL, names::RECORD_ATTEMPT].contains(&record.as_str()).then_some(record)
        },
    );
    draft.fill(
        dialect,
        names::USAGE_SOURCE,
        |row| &mut row.usage_source,
        |value| values::text(value).parse::<UsageSource>().ok().map(|source| source.as_str().to_owned()),
    );
    draft.fill(dialect, names::ATTEMPT, |row| &mut row.attempt, small);
    draft.fill(dialect, names::RETENTION_DAYS, |row| &mut row.retention_days, small);
    draft.fill(dialect, names::QUEUE_DURATION, |row| &mut row.queue_ns, |value| values::nanos(value, 1e9));
    draft.fill(dialect, names::CLIENT_DISCONNECTED, |row| &mut row.client_disconnected, values::truth);
}

pub(super) fn small(value: &Value) -> Option<u16> {
    values::count(value).and_then(|count| u16::try_from(count).ok())
}

/// Decimal dollars in a text, or whole dollars; never a double, which could not be exact.
fn picodollars(value: &Value) -> Option<i128> {
    match value {
        Value::StringValue(text) => text.parse::<Usd>().ok().map(Usd::picos),
        Value::IntValue(dollars) => dollars.to_string().parse::<Usd>().ok().map(Usd::picos),
        _ => None,
    }
}
