//! The Overview page: sums and quantiles over a range, the same before it, by bucket, model, tenant and error class.
//!
//! Four reads make it, side by side: sums, latencies in total and by time, latencies by model, shares. When the filters allow, they take
//! the whole units of the range (days, hours, five minutes) from the rollups and only its ragged ends from single calls; other filters
//! read single calls throughout.

use super::{Bind, DAY_MS, HOUR_MS, check_range, searched_text};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use clickhouse::query::Query;
use contracts::reads::{Bucket, CallFilter, Group, Overview, Shares, TenantScope, TimeRange, Totals};
use contracts::{TokenUsage, Usd};
use std::collections::HashMap;

/// Units of the rollups by time, seconds, coarsest first.
const UNITS_S: [i64; 2] = [3600, 300];
/// Buckets of a series at most.
const MAX_BUCKETS: i64 = 2000;
/// Groups of each kind at most.
const MAX_GROUPS: usize = 100;

#[derive(clickhouse::Row, serde::Deserialize)]
struct UsageColumns {
    kind: String,
    previous: u8,
    bucket_s: i64,
    name: String,
    calls: u64,
    estimated: u64,
    unpriced: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    cache_write_1h_tokens: u64,
    reasoning_tokens: u64,
    audio_input_tokens: u64,
    audio_output_tokens: u64,
    cost_total: i128,
    errors: u64,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct LatencyColumns {
    kind: String,
    previous: u8,
    bucket_s: i64,
    name: String,
    duration_ms: Vec<f64>,
    ttft_ms: Vec<f64>,
}

/// Which group a row of an answer belongs to: kind, previous range or not, start of the bucket, name.
type Key = (String, bool, i64, String);

/// What the reads are about.
#[derive(Clone, Copy)]
struct Question<'a> {
    scope: &'a TenantScope,
    range: TimeRange,
    bucket_s: i64,
    filter: &'a CallFilter,
}

impl Question<'_> {
    fn previous_ms(&self) -> i64 {
        (self.range.from_ms - (self.range.to_ms - self.range.from_ms)).max(0)
    }

    /// The seconds of the coarsest rollup that can answer, if one can: each bucket must be whole units of it, and each of the two ranges
    /// must have at least one whole unit inside.
    fn unit(&self) -> Option<i64> {
        let filter = self.filter;
        let by_call = !filter.keys.is_empty()
            || filter.outcome.is_some()
            || filter.min_cost.is_some()
            || filter.min_duration_ms.is_some()
            || searched_text(filter).is_some();
        let fits =
            |unit: &i64| self.bucket_s % unit == 0 && self.range.to_ms - self.range.from_ms >= 2000 * unit;
        if by_call { None } else { UNITS_S.into_iter().find(fits) }
    }

    /// Whether single models or routes are asked for: the sketches of five minutes cannot tell them apart.
    fn names_models(&self) -> bool {
        !self.filter.models.is_empty() || !self.filter.routes.is_empty()
    }

    fn bind(&self, query: Query) -> Query {
        let both = TimeRange { from_ms: self.previous_ms(), to_ms: self.range.to_ms };
        let query = query
            .tenants(self.scope)
            .range(self.range)
            .picked(both, self.filter, true)
            .param("bucket_s", self.bucket_s)
            .param("previous_ms", self.previous_ms());
        let Some(unit) = self.unit() else { return query };
        let (down, up) =
            (|ms: i64| ms / 1000 / unit * unit, |ms: i64| (ms + 1000 * unit - 1) / 1000 / unit * unit);
        let grain = if unit == 3600 { "hour" } else { "5min" };
        let per = if self.names_models() { "model" } else { "tenant" };
        let hours = whole(self.range, HOUR_MS);
        let days = whole(hours, DAY_MS);
        query
            .param("per", per)
            .param("hours_from_ms", hours.from_ms)
            .param("days_from_ms", days.from_ms)
            .param("days_to_ms", days.to_ms)
            .param("hours_to_ms", hours.to_ms)
            .param("usage", format!("usage_{grain}"))
            .param("latency", format!("latency_{grain}"))
            .param("previous_up", up(self.previous_ms()))
            .param("from_down", down(self.range.from_ms))
            .param("from_up", up(self.range.from_ms))
            .param("to_down", down(self.range.to_ms))
    }

    /// Starts of all buckets, seconds since the epoch, oldest first.
    fn buckets(&self) -> impl Iterator<Item = i64> + use<> {
        let (step, first) = (self.bucket_s, self.range.from_ms / 1000 / self.bucket_s);
        let last = (self.range.to_ms - 1) / 1000 / step;
        (first..=last).map(move |index| index * step)
    }
}

impl Warehouse {
    /// The Overview page: totals, series and groups over a range. Buckets start at multiples of `bucket_seconds` since the
    /// epoch (UTC), so the first and the last may reach beyond the range; they count only what is inside it. At most 2,000
    /// buckets.
    ///
    /// Quantiles are right to 1 % of their value; error classes carry none. The shares of tools and retrievals follow the range
    /// and the tenants, not the other filters.
    pub async fn overview(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        bucket_seconds: u32,
        filter: &CallFilter,
    ) -> Result<Overview, WarehouseError> {
        let range = check_range(range)?;
        let bucket_s = i64::from(bucket_seconds);
        if bucket_s == 0 || (range.to_ms - range.from_ms) / 1000 / bucket_s >= MAX_BUCKETS {
            return Err(WarehouseError::Invalid {
                field: "bucket_seconds",
                value: bucket_seconds.to_string(),
                expected: "a width that cuts the range into at most 2000 buckets",
            });
        }
        let question = Question { scope, range, bucket_s, filter };
        let (usage, latency) = tokio::try_join!(self.usage(question), self.latency(question))?;
        Ok(answer(question, usage, latency))
    }

    async fn usage(&self, question: Question<'_>) -> Result<Vec<UsageColumns>, WarehouseError> {
        let sql = question.unit().map_or(read::OVERVIEW_USAGE_FILTERED, |_| read::OVERVIEW_USAGE);
        let query = question.bind(self.read(sql, question.limits()));
        within(query.fetch_all()).await.map_err(failed("sum up calls"))
    }

    async fn latency(&self, question: Question<'_>) -> Result<Vec<LatencyColumns>, WarehouseError> {
        let read = async |sql| {
            let query = question.bind(self.read(sql, question.limits()));
            within(query.fetch_all()).await.map_err(failed("read the latency of calls"))
        };
        match question.unit() {
            Some(unit) if unit == HOUR_MS / 1000 || !question.names_models() => {
                let (mut rows, models): (Vec<_>, Vec<_>) =
                    tokio::try_join!(read(read::OVERVIEW_LATENCY), read(read::OVERVIEW_LATENCY_MODELS))?;
                rows.extend(models);
                Ok(rows)
            }
            _ => read(read::OVERVIEW_LATENCY_FILTERED).await,
        }
    }
}

/// The part of a range that is whole units of `unit_ms`; the empty range at its end when there is none.
fn whole(range: TimeRange, unit_ms: i64) -> TimeRange {
    let from_ms = (range.from_ms + unit_ms - 1) / unit_ms * unit_ms;
    let to_ms = range.to_ms / unit_ms * unit_ms;
    if from_ms < to_ms {
        TimeRange { from_ms, to_ms }
    } else {
        TimeRange { from_ms: range.to_ms, to_ms: range.to_ms }
    }
}

impl Question<'_> {
    fn limits(&self) -> Limits {
        if searched_text(self.filter).is_some() { Limits::TEXT } else { Limits::NARROW }
    }
}

fn answer(question: Question<'_>, usage: Vec<UsageColumns>, latency: Vec<LatencyColumns>) -> Overview {
    let mut groups: HashMap<Key, Totals> = HashMap::new();
    for row in usage {
        let key = (row.kind.clone(), row.previous == 1, row.bucket_s, row.name.clone());
        groups.insert(key, row.into());
    }
    for row in latency {
        // A group without calls has no latency either; the other way round cannot be.
        if let Some(totals) = groups.get_mut(&(row.kind, row.previous == 1, row.bucket_s, row.name)) {
            [totals.duration_p50_ms, totals.duration_p95_ms, totals.duration_p99_ms] =
                [0, 1, 2].map(|at| number(&row.duration_ms, at));
            [totals.ttft_p50_ms, totals.ttft_p95_ms] = [0, 1].map(|at| number(&row.ttft_ms, at));
        }
    }
    let mut take = |kind: &str, previous, bucket| {
        groups.remove(&(kind.to_owned(), previous, bucket, String::new())).unwrap_or_default()
    };
    let totals = take("total", false, 0);
    let previous = take("total", true, 0);
    let series = question
        .buckets()
        .map(|start| Bucket { start_ms: start * 1000, totals: take("bucket", false, start) })
        .collect();
    let mut of_kind = |kind: &str| -> Vec<Group> {
        groups
            .extract_if(|key, _| key.0 == kind)
            .map(|((_, _, _, name), totals)| Group { name, totals })
            .collect()
    };
    let (mut by_model, mut by_tenant, mut by_error) = (of_kind("model"), of_kind("tenant"), of_kind("error"));
    for groups in [&mut by_model, &mut by_tenant] {
        groups.sort_by(|a, b| {
            (b.totals.cost, b.totals.calls, &a.name).cmp(&(a.totals.cost, a.totals.calls, &b.name))
        });
        groups.truncate(MAX_GROUPS);
    }
    by_error.sort_by(|a, b| (b.totals.calls, &a.name).cmp(&(a.totals.calls, &b.name)));
    by_error.truncate(MAX_GROUPS);
    Overview {
        shares: Shares {
            error_rate: share(totals.errors, totals.calls),
            cache_read_share: share(totals.usage.cache_read, totals.usage.input),
        },
        totals,
        previous,
        bucket_seconds: u32::try_from(question.bucket_s).unwrap_or(u32::MAX),
        series,
        by_model,
        by_tenant,
        by_error,
    }
}

impl From<UsageColumns> for Totals {
    fn from(row: UsageColumns) -> Self {
        Self {
            calls: row.calls,
            errors: row.errors,
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
            cost: Usd::from_picos(row.cost_total),
            estimated: row.estimated,
            unpriced: row.unpriced,
            ..Self::default()
        }
    }
}

/// A quantile; the engine says `NaN` where nothing was measured.
fn number(quantiles: &[f64], at: usize) -> Option<f64> {
    quantiles.get(at).copied().filter(|value| value.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "a share is for display")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(
        range: TimeRange,
        bucket_s: i64,
        filter: &CallFilter,
        see: impl FnOnce(Question<'_>) -> T,
    ) -> T {
        let scope = TenantScope::one("acme".parse().unwrap());
        see(Question { scope: &scope, range, bucket_s, filter })
    }

    #[test]
    fn the_coarsest_rollup_that_can_answer_is_taken() {
        let any = CallFilter::default();
        let day = TimeRange { from_ms: 123, to_ms: 86_400_123 };
        assert_eq!(with(day, 3600, &any, |q| q.unit()), Some(3600));
        assert_eq!(with(day, 900, &any, |q| q.unit()), Some(300));
        assert_eq!(with(day, 60, &any, |q| q.unit()), None);
        assert_eq!(with(TimeRange { from_ms: 0, to_ms: 5_400_000 }, 3600, &any, |q| q.unit()), Some(300));
        assert_eq!(with(TimeRange { from_ms: 0, to_ms: 500_000 }, 300, &any, |q| q.unit()), None);
        let cost = CallFilter { min_cost: Some(Usd::from_picos(1)), ..CallFilter::default() };
        assert_eq!(with(day, 3600, &cost, |q| q.unit()), None);
        let model = CallFilter { models: vec!["m".to_owned()], ..CallFilter::default() };
        assert_eq!(with(day, 3600, &model, |q| q.unit()), Some(3600));
    }

    #[test]
    fn whole_units_lie_inside_the_range() {
        let of = |from_ms, to_ms| {
            let whole = whole(TimeRange { from_ms, to_ms }, 10);
            (whole.from_ms, whole.to_ms)
        };
        assert_eq!(of(0, 30), (0, 30));
        assert_eq!(of(1, 39), (10, 30));
        assert_eq!(of(1, 20), (10, 20));
        assert_eq!(of(1, 19), (19, 19));
        assert_eq!(of(11, 12), (12, 12));
    }

    #[test]
    fn buckets_cover_the_range_and_nothing_else() {
        let any = CallFilter::default();
        let of = |from_ms, to_ms| {
            with(TimeRange { from_ms, to_ms }, 60, &any, |q| q.buckets().collect::<Vec<_>>())
        };
        assert_eq!(of(60_000, 180_000), [60, 120]);
        assert_eq!(of(59_999, 180_001), [0, 60, 120, 180]);
        assert_eq!(of(61_000, 61_001), [60]);
    }
}
