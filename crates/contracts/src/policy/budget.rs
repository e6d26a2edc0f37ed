//! Budgets: how much may be spent, by whom, in what time.
//!
//! A call is charged to every budget that applies to it (its organisation's, tenant's, key's and route's, and those of its
//! tags), and goes only if all of them admit it.
//!
//! Windows are calendar windows in UTC: a budget of a month begins anew at midnight of the first day. A call belongs to the
//! window in which it was admitted, also when it ends in the next.

use super::InvalidPolicy;
use crate::{KeyId, ModelName, TenantId, Timestamp, Usd};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much may be spent by a scope in each window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Whose calls count.
    pub scope: Scope,
    /// Most that may be spent in a window: what would lead beyond it is refused. Zero refuses everything.
    pub limit: Usd,
    /// From here on callers are told; nothing is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<Usd>,
    /// When spending begins anew.
    #[serde(default)]
    pub window: Window,
}

/// Whose calls a budget counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// All tenants of an organisation.
    Organisation {
        /// Its name: what an id may be made of.
        organisation: String,
    },
    /// A tenant.
    Tenant {
        /// Which.
        tenant: TenantId,
    },
    /// A key.
    Key {
        /// Which.
        key: KeyId,
    },
    /// A tenant's calls over a route.
    Route {
        /// Whose.
        tenant: TenantId,
        /// The name that clients put in `model`.
        route: ModelName,
    },
    /// A tenant's calls that carry a tag.
    Tag {
        /// Whose.
        tenant: TenantId,
        /// The tag: what an id may be made of.
        tag: String,
    },
}

/// A span of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    #[default]
    Month,
    /// For ever.
    Total,
}

/// One window in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it; `None` when it never ends.
    pub end: Option<Timestamp>,
}

const SECOND: i64 = 1_000_000_000;

impl Window {
    /// The window of this kind that holds `at`.
    pub fn span(self, at: Timestamp) -> Span {
        match self {
            Self::Minute => even(at, 60),
            Self::Hour => even(at, 3_600),
            // UTC as computers count it: a day has 86,400 seconds.
            Self::Day => even(at, 86_400),
            Self::Month => month(at),
            Self::Total => Span { start: Timestamp::from_unix_nanos(i64::MIN), end: None },
        }
    }

    /// As it is written in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Span {
    /// Whether `at` lies in it.
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }

    /// Whether it is over at `at`.
    pub fn is_over(self, at: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= at)
    }
}

/// The window of `seconds` that holds `at`, when windows of this length follow each other from the epoch on.
fn even(at: Timestamp, seconds: i64) -> Span {
    let start = at.unix_seconds().div_euclid(seconds) * seconds;
    Span {
        start: Timestamp::from_unix_seconds(start),
        end: Some(Timestamp::from_unix_seconds(start + seconds)),
    }
}

fn month(at: Timestamp) -> Span {
    // Every timestamp lies between the years 1677 and 2262, which jiff knows: the fallback is never taken.
    let date =
        jiff::Timestamp::from_second(at.unix_seconds()).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    let first = date.first_of_month();
    let next = first.last_of_month().tomorrow().unwrap_or(first);
    Span { start: midnight(first), end: Some(midnight(next)) }
}

fn midnight(date: Date) -> Timestamp {
    let days = jiff::civil::date(1970, 1, 1).until(date).map_or(0, |span| i64::from(span.get_days()));
    Timestamp::from_unix_nanos(days.saturating_mul(86_400).saturating_mul(SECOND))
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organisation { organisation } => write!(f, "organisation {organisation}"),
            Self::Tenant { tenant } => write!(f, "tenant {tenant}"),
            Self::Key { key } => write!(f, "key {key}"),
            Self::Route { tenant, route } => write!(f, "route {route} of tenant {tenant}"),
            Self::Tag { tenant, tag } => write!(f, "tag {tag} of tenant {tenant}"),
        }
    }
}

impl Budget {
    /// Says which field cannot be taken.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        if self.limit < Usd::ZERO {
            return Err(InvalidPolicy::new(
                "limit",
                self.limit.to_string(),
                "an amount of 0 or more dollars",
            ));
        }
        if let Some(soft) = self.soft
            && !(Usd::ZERO..=self.limit).contains(&soft)
        {
            return Err(InvalidPolicy::new(
                "soft",
                soft.to_string(),
                format!("an amount from 0 to the limit of {} dollars", self.limit),
            ));
        }
        let (field, name) = match &self.scope {
            Scope::Organisation { organisation } => ("scope.organisation", organisation),
            Scope::Tag { tag, .. } => ("scope.tag", tag),
            Scope::Tenant { .. } | Scope::Key { .. } | Scope::Route { .. } => return Ok(()),
        };
        let is_name: Result<TenantId, _> = name.parse();
        is_name
            .map(drop)
            .map_err(|_| InvalidPolicy::new(field, name, "1 to 128 characters of A-Z a-z 0-9 . _ : / -"))
    }

    /// The name of the account that the budget is kept in: one for each scope and window, in characters that no id has
    /// between the parts, so that no two scopes can share one.
    pub fn account_id(&self) -> String {
        let window = self.window;
        match &self.scope {
            Scope::Organisation { organisation } => format!("organisation|{organisation}|{window}"),
            Scope::Tenant { tenant } => format!("tenant|{tenant}|{window}"),
            Scope::Key { key } => format!("key|{key}|{window}"),
            Scope::Route { tenant, route } => format!("route|{tenant}|{route}|{window}"),
            Scope::Tag { tenant, tag } => format!("tag|{tenant}|{tag}|{window}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_unix_seconds(time.as_second())
    }

    #[test]
    fn windows_follow_the_calendar_in_utc() {
        for (window, moment, start, end) in [
            (Window::Minute, "2026-03-31T23:59:59Z", "2026-03-31T23:59:00Z", "2026-04-01T00:00:00Z"),
            (Window::Hour, "2026-03-31T23:59:59Z", "2026-03-31T23:00:00Z", "2026-04-01T00:00:00Z"),
            (Window::Day, "2026-03-31T23:59:59Z", "2026-03-31T00:00:00Z", "2026-04-01T00:00:00Z"),
            (Window::Month, "2026-03-31T23:59:59Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
            (Window::Month, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Window::Month, "2025-12-31T23:59:59Z", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            (Window::Month, "1969-12-31T23:59:59Z", "1969-12-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            let span = window.span(at(moment));
            assert_eq!((span.start, span.end), (at(start), Some(at(end))), "{window} of {moment}");
        }
        assert_eq!(Window::Total.span(at("2026-01-01T00:00:00Z")).end, None);
    }

    #[test]
    fn a_budget_reads_as_it_is_written() {
        let text = r#"{"scope":{"kind":"route","tenant":"acme","route":"support"},"limit":"12.5","soft":"10","window":"day"}"#;
        let budget: Budget = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&budget).unwrap(), text);
        assert_eq!(budget.account_id(), "route|acme|support|day");
        budget.validate().unwrap();
        assert!(serde_json::from_str::<Budget>(&text.replace("soft", "sotf")).is_err());
    }

    #[test]
    fn a_bad_budget_names_the_field_the_value_and_what_is_expected() {
        let good = Budget {
            scope: Scope::Organisation { organisation: "acme".into() },
            limit: "5".parse().unwrap(),
            soft: None,
            window: Window::Month,
        };
        let bad = [
            (Budget { limit: "-1".parse().unwrap(), ..good.clone() }, "limit", "-1"),
            (Budget { soft: Some("6".parse().unwrap()), ..good.clone() }, "soft", "6"),
            (
                Budget { scope: Scope::Organisation { organisation: "a b".into() }, ..good.clone() },
                "scope.organisation",
                "a b",
            ),
        ];
        for (budget, field, value) in bad {
            let error = budget.validate().unwrap_err();
            assert!(error.field == field && error.value.contains(value), "{error}");
        }
        good.validate().unwrap();
    }

    proptest! {
        #[test]
        fn each_moment_lies_in_one_window_and_windows_touch(seconds in -5_000_000_000i64..9_000_000_000) {
            let at = Timestamp::from_unix_seconds(seconds);
            for window in [Window::Minute, Window::Hour, Window::Day, Window::Month] {
                let span = window.span(at);
                prop_assert!(span.contains(at));
                let end = span.end.unwrap();
                prop_assert_eq!(window.span(end).start, end);
                prop_assert_eq!(window.span(Timestamp::from_unix_nanos(end.unix_nanos() - 1)), span);
            }
        }
    }
}
