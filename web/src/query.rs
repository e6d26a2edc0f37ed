//! What a page or an API read asks for, as it stands in the URL: time range, tenants, filters and cursor.
//!
//! `?range=24h` or `?from=…&to=…` (milliseconds since the epoch or RFC 3339), then any of `tenant`, `route`, `model`,
//! `key` (each may repeat), `status` (`ok` | `error`), `min_cost` (USD), `min_ms`, `q`, `cursor`, `limit`. An empty value
//! is no value, which is what a GET form sends for a field left blank. Anything else is refused by name.

use crate::when;
use contracts::reads::{CallCursor, CallFilter, Outcome, TimeRange};
use contracts::{TenantId, Usd};
use std::fmt::Write as _;

/// A question, as asked by a URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Which stretch of time.
    pub span: Span,
    /// Whose calls; empty for all that the viewer may see.
    pub tenants: Vec<TenantId>,
    /// Which calls.
    pub filter: CallFilter,
    /// Where to go on.
    pub cursor: Option<CallCursor>,
    /// Rows a page, 1 to [`MAX_LIMIT`].
    pub limit: Option<u16>,
}

/// A stretch of time: up to now, or fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The last so much.
    Last(Preset),
    /// From here to there.
    Fixed(TimeRange),
}

/// The stretches offered by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// As in the URL: `24h`.
    pub name: &'static str,
    /// In words: `24 hours`.
    pub words: &'static str,
    /// How long.
    pub seconds: u32,
}

/// All presets, shortest first.
pub const PRESETS: [Preset; 6] = [
    Preset { name: "15m", words: "15 minutes", seconds: 900 },
    Preset { name: "1h", words: "hour", seconds: 3_600 },
    Preset { name: "6h", words: "6 hours", seconds: 21_600 },
    Preset { name: "24h", words: "24 hours", seconds: 86_400 },
    Preset { name: "7d", words: "7 days", seconds: 604_800 },
    Preset { name: "30d", words: "30 days", seconds: 2_592_000 },
];

const DEFAULT_PRESET: Preset = PRESETS[3];
/// The longest stretch that may be asked for: two years.
const MAX_SPAN_MS: i64 = 2 * 366 * 86_400_000;
/// Rows a page at most.
pub const MAX_LIMIT: u16 = 500;
/// Rows a page unless asked otherwise.
pub const DEFAULT_LIMIT: u16 = 50;
const MAX_TEXT: usize = 500;

/// A parameter that cannot be understood: which, and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{param}: {message}")]
pub struct InvalidQuery {
    /// The parameter.
    pub param: String,
    /// The value and what is expected instead.
    pub message: String,
}

fn invalid(param: &str, value: &str, expected: &str) -> InvalidQuery {
    let value: String = value.chars().take(80).collect();
    let param = param.chars().take(40).collect();
    InvalidQuery { param, message: format!("{value:?} is not valid: expected {expected}") }
}

impl Default for Span {
    fn default() -> Self {
        Self::Last(DEFAULT_PRESET)
    }
}

impl Span {
    /// The range it stands for at `now_ms`. A fixed end lies where it lies, in the future too.
    pub fn resolve(self, now_ms: i64) -> TimeRange {
        match self {
            Self::Last(preset) => {
                TimeRange { from_ms: now_ms.saturating_sub(i64::from(preset.seconds) * 1_000), to_ms: now_ms }
            }
            Self::Fixed(range) => range,
        }
    }
}

/// Width of a chart's buckets, so that a range has at most 96 of them: at least a minute, as the rollups are by minute.
pub fn bucket_seconds(range: TimeRange) -> u32 {
    const WIDTHS: [u32; 12] = [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400];
    let seconds = range.to_ms.saturating_sub(range.from_ms) / 1_000;
    WIDTHS.into_iter().find(|width| seconds / i64::from(*width) <= 96).unwrap_or(604_800)
}

impl Query {
    /// Reads the part of a URL after `?`.
    pub fn parse(search: &str) -> Result<Self, InvalidQuery> {
        let search = search.strip_prefix('?').unwrap_or(search);
        let mut query = Self::default();
        let (mut from, mut to) = (None, None);
        for (name, value) in form_urlencoded::parse(search.as_bytes()) {
            let (name, value) = (name.as_ref(), value.trim());
            if value.is_empty() {
                continue;
            }
            let time = || {
                when::parse(value).ok_or_else(|| {
                    invalid(name, value, "a time such as 2026-01-31T12:00Z, or milliseconds since the epoch")
                })
            };
            match name {
                "range" => query.span = Span::Last(preset(value)?),
                "from" => from = Some(time()?),
                "to" => to = Some(time()?),
                "tenant" => query.tenants.push(value.parse().map_err(|_| {
                    invalid(name, value, "a tenant id: 1 to 128 characters of A-Z a-z 0-9 . _ : / -")
                })?),
                "route" => query.filter.routes.push(text(name, value)?),
                "model" => query.filter.models.push(text(name, value)?),
                "key" => query.filter.keys.push(text(name, value)?),
                "status" => {
                    query.filter.outcome = Some(match value {
                        "ok" => Outcome::Ok,
                        "error" => Outcome::Error,
                        _ => return Err(invalid(name, value, "ok or error")),
                    });
                }
                "min_cost" => query.filter.min_cost = Some(cost(name, value)?),
                "min_ms" => {
                    query.filter.min_duration_ms = Some(
                        value
                            .parse()
                            .map_err(|_| invalid(name, value, "whole milliseconds, such as 1500"))?,
                    );
                }
                "q" => query.filter.text = Some(text(name, value)?),
                "cursor" => {
                    query.cursor = Some(
                        parse_cursor(value)
                            .ok_or_else(|| invalid(name, value, "the cursor of a page, as it was given"))?,
                    );
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
                    query.limit =
                        Some(limit.ok_or_else(|| invalid(name, value, "a number of rows from 1 to 500"))?);
                }
                _ => {
                    return Err(InvalidQuery {
                        param: name.chars().take(40).collect(),
                        message: String::from(
                            "there is no such parameter: expected range, from, to, tenant, route, model, key, status, \
                             min_cost, min_ms, q, cursor or limit",
                        ),
                    });
                }
            }
        }
        query.span = fixed(from, to)?.unwrap_or(query.span);
        Ok(query)
    }

    /// The URL part that [`Self::parse`] reads, with its `?`; empty when nothing is asked.
    pub fn to_search(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        match self.span {
            Span::Last(preset) if preset == DEFAULT_PRESET => {}
            Span::Last(preset) => {
                out.append_pair("range", preset.name);
            }
            Span::Fixed(range) => {
                out.append_pair("from", &when::rfc3339(range.from_ms));
                out.append_pair("to", &when::rfc3339(range.to_ms));
            }
        }
        for (name, value) in self.filter_pairs() {
            out.append_pair(name, &value);
        }
        if let Some(cursor) = &self.cursor {
            out.append_pair("cursor", &cursor_text(cursor));
        }
        if let Some(limit) = self.limit {
            out.append_pair("limit", &limit.to_string());
        }
        let text = out.finish();
        if text.is_empty() { text } else { format!("?{text}") }
    }

    /// The filters in force, as name and value.
    pub fn filter_pairs(&self) -> Vec<(&'static str, String)> {
        let filter = &self.filter;
        let mut pairs: Vec<(&'static str, String)> = Vec::new();
        pairs.extend(self.tenants.iter().map(|t| ("tenant", t.to_string())));
        pairs.extend(filter.routes.iter().map(|v| ("route", v.clone())));
        pairs.extend(filter.models.iter().map(|v| ("model", v.clone())));
        pairs.extend(filter.keys.iter().map(|v| ("key", v.clone())));
        pairs.extend(
            filter.outcome.map(|o| ("status", String::from(if o == Outcome::Ok { "ok" } else { "error" }))),
        );
        pairs.extend(filter.min_cost.map(|v| ("min_cost", v.to_string())));
        pairs.extend(filter.min_duration_ms.map(|v| ("min_ms", v.to_string())));
        pairs.extend(filter.text.clone().map(|v| ("q", v)));
        pairs
    }

    /// The same question about another stretch of time, from the first page.
    #[must_use]
    pub fn with_span(&self, span: Span) -> Self {
        Self { span, cursor: None, ..self.clone() }
    }

    /// The same question, from `cursor` on.
    #[must_use]
    pub fn with_cursor(&self, cursor: Option<CallCursor>) -> Self {
        Self { cursor, ..self.clone() }
    }

    /// The same stretch of time with one filter only.
    #[must_use]
    pub fn only(&self, name: &str, value: &str) -> Self {
        let mut search = Self { span: self.span, ..Self::default() }.to_search();
        let mark = if search.is_empty() { '?' } else { '&' };
        let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        // Writing to a `String` cannot fail.
        let _ = write!(search, "{mark}{name}={value}");
        Self::parse(&search).unwrap_or_else(|_| self.with_cursor(None))
    }

    /// The same question without the filter `name` of that value.
    #[must_use]
    pub fn without(&self, name: &str, value: &str) -> Self {
        let mut rest = self.with_cursor(None);
        match name {
            "tenant" => rest.tenants.retain(|t| t.as_str() != value),
            "route" => rest.filter.routes.retain(|v| v != value),
            "model" => rest.filter.models.retain(|v| v != value),
            "key" => rest.filter.keys.retain(|v| v != value),
            "status" => rest.filter.outcome = None,
            "min_cost" => rest.filter.min_cost = None,
            "min_ms" => rest.filter.min_duration_ms = None,
            "q" => rest.filter.text = None,
            _ => {}
        }
        rest
    }
}

/// `{start_ns}-{trace_id}-{span_id}`.
pub fn cursor_text(cursor: &CallCursor) -> String {
    format!("{}-{}-{}", cursor.start_ns, cursor.trace_id, cursor.span_id)
}

fn parse_cursor(text: &str) -> Option<CallCursor> {
    let mut parts = text.rsplitn(3, '-');
    let (span_id, trace_id, start) = (parts.next()?, parts.next()?, parts.next()?);
    (is_hex(trace_id, 32) && is_hex(span_id, 16)).then_some(())?;
    Some(CallCursor {
        start_ns: start.parse().ok()?,
        trace_id: trace_id.to_ascii_lowercase(),
        span_id: span_id.to_ascii_lowercase(),
    })
}

/// Whether `text` is `digits` hex digits: 32 for a trace id, 16 for a span id.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `?at=` of a call's URL: about when it started, milliseconds since the epoch. It only makes the read faster.
pub fn near_ms(search: &str) -> Result<Option<i64>, InvalidQuery> {
    let search = search.strip_prefix('?').unwrap_or(search);
    let at =
        form_urlencoded::parse(search.as_bytes()).find(|(name, value)| name == "at" && !value.is_empty());
    at.map(|(_, value)| value.parse().map_err(|_| invalid("at", &value, "milliseconds since the epoch")))
        .transpose()
}

fn preset(value: &str) -> Result<Preset, InvalidQuery> {
    PRESETS
        .into_iter()
        .find(|preset| preset.name == value)
        .ok_or_else(|| invalid("range", value, "15m, 1h, 6h, 24h, 7d or 30d; or use from and to"))
}

fn text(name: &str, value: &str) -> Result<String, InvalidQuery> {
    if value.len() > MAX_TEXT {
        return Err(invalid(name, value, "at most 500 bytes"));
    }
    Ok(value.to_owned())
}

fn cost(name: &str, value: &str) -> Result<Usd, InvalidQuery> {
    let amount: Option<Usd> = value.strip_prefix('$').unwrap_or(value).parse().ok();
    amount
        .filter(|usd| *usd >= Usd::ZERO)
        .ok_or_else(|| invalid(name, value, "US dollars with at most 12 decimals, such as 0.05"))
}

fn fixed(from: Option<i64>, to: Option<i64>) -> Result<Option<Span>, InvalidQuery> {
    let (from_ms, to_ms) = match (from, to) {
        (None, None) => return Ok(None),
        (Some(from_ms), Some(to_ms)) => (from_ms, to_ms),
        (Some(_), None) => {
            return Err(InvalidQuery {
                param: "to".into(),
                message: "missing: expected both from and to".into(),
            });
        }
        (None, Some(_)) => {
            return Err(InvalidQuery {
                param: "from".into(),
                message: "missing: expected both from and to".into(),
            });
        }
    };
    // Within what a `DateTime64(9)` can hold.
    let sane = 0..=9_000_000_000_000;
    if !sane.contains(&from_ms) || !sane.contains(&to_ms) {
        return Err(invalid("from", &from_ms.to_string(), "times between 1970 and 2255"));
    }
    if from_ms >= to_ms {
        return Err(invalid("from", &when::rfc3339(from_ms), "a time before `to`"));
    }
    if to_ms - from_ms > MAX_SPAN_MS {
        return Err(invalid("from", &when::rfc3339(from_ms), "a range of at most two years"));
    }
    Ok(Some(Span::Fixed(TimeRange { from_ms, to_ms })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_question_round_trips() {
        let search = "?range=7d&tenant=acme&tenant=b&route=support&model=gpt-4o&key=key_1&status=error&min_cost=0.05\
                      &min_ms=1500&q=hello+w%C3%B6rld%26&cursor=17-0123456789abcdef0123456789abcdef-0123456789abcdef\
                      &limit=100";
        let query = Query::parse(search).unwrap();
        assert_eq!(query.filter.text.as_deref(), Some("hello wörld&"));
        assert_eq!(query.to_search(), search);
    }

    #[test]
    fn blank_fields_of_a_form_ask_nothing() {
        assert_eq!(Query::parse("?range=&tenant=&q=+&min_cost=").unwrap(), Query::default());
        assert_eq!(Query::default().to_search(), "");
    }

    #[test]
    fn a_fixed_range_round_trips() {
        let query = Query::parse("from=2026-01-01T00:00&to=2026-01-02T00:00").unwrap();
        let range = query.span.resolve(0);
        assert_eq!(range.to_ms - range.from_ms, 86_400_000);
        assert_eq!(Query::parse(&query.to_search()).unwrap(), query);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (search, param) in [
            ("range=2y", "range"),
            ("from=1&to=0", "from"),
            ("from=1", "to"),
            ("from=0&to=99999999999999", "from"),
            ("from=0&to=8000000000000", "from"),
            ("tenant=a%20b", "tenant"),
            ("status=maybe", "status"),
            ("min_cost=-1", "min_cost"),
            ("min_cost=abc", "min_cost"),
            ("min_ms=1.5", "min_ms"),
            ("cursor=x", "cursor"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("modle=x", "modle"),
        ] {
            assert_eq!(Query::parse(search).unwrap_err().param, param, "{search}");
        }
    }

    #[test]
    fn buckets_are_few_and_whole_minutes() {
        for preset in PRESETS {
            let range = Span::Last(preset).resolve(1_795_356_449_120);
            let width = bucket_seconds(range);
            assert!(width.is_multiple_of(60) && preset.seconds / width <= 96);
        }
    }

    #[test]
    fn one_filter_can_be_taken_away() {
        let query = Query::parse("model=a&model=b&status=ok").unwrap();
        assert_eq!(query.without("model", "a").to_search(), "?model=b&status=ok");
        assert_eq!(query.without("status", "ok").to_search(), "?model=a&model=b");
        assert_eq!(query.only("tenant", "acme").to_search(), "?tenant=acme");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(search in "[a-z_]{1,9}=.{0,40}") {
            if let Ok(query) = Query::parse(&search) {
                prop_assert_eq!(Query::parse(&query.to_search()).unwrap(), query);
            }
        }
    }
}
