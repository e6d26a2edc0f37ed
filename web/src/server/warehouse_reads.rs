//! The warehouse as a source of figures.

use super::reads::{ReadError, Reading, Reads};
use contracts::outcomes::{Attribution, OutcomeReport};
use contracts::price::PriceBook;
use contracts::reads::{
    CallCursor, CallDetail, CallFilter, CallPage, Facets, Overview, Signals, TenantScope, TimeRange,
};
use warehouse::{Failure, Warehouse, WarehouseError};

impl Reads for Warehouse {
    fn overview<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        bucket_seconds: u32,
        filter: &'a CallFilter,
    ) -> Reading<'a, Overview> {
        Box::pin(async move {
            Self::overview(self, scope, range, bucket_seconds, filter)
                .await
                .map_err(|error| read_error(&error))
        })
    }

    fn calls<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        filter: &'a CallFilter,
        cursor: Option<&'a CallCursor>,
        limit: u32,
    ) -> Reading<'a, CallPage> {
        Box::pin(async move {
            Self::calls(self, scope, range, filter, cursor, limit).await.map_err(|error| read_error(&error))
        })
    }

    fn call<'a>(
        &'a self,
        scope: &'a TenantScope,
        trace_id: &'a str,
        span_id: &'a str,
        near_ms: Option<i64>,
    ) -> Reading<'a, Option<CallDetail>> {
        Box::pin(async move {
            Self::call(self, scope, trace_id, Some(span_id), near_ms)
                .await
                .map_err(|error| read_error(&error))
        })
    }

    fn facets<'a>(&'a self, scope: &'a TenantScope, range: TimeRange) -> Reading<'a, Facets> {
        Box::pin(async move { Self::facets(self, scope, range).await.map_err(|error| read_error(&error)) })
    }

    fn outcomes<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        attribution: Attribution,
        prices: &'a PriceBook,
        skipped_keys: &'a [String],
    ) -> Reading<'a, OutcomeReport> {
        Box::pin(async move {
            Self::outcomes(self, scope, range, attribution, prices, skipped_keys)
                .await
                .map_err(|error| read_error(&error))
        })
    }

    fn golden_signals<'a>(
        &'a self,
        scope: &'a TenantScope,
        range: TimeRange,
        filter: &'a CallFilter,
        first_token: bool,
    ) -> Reading<'a, Signals> {
        Box::pin(async move {
            Self::golden_signals(self, scope, range, filter, first_token)
                .await
                .map_err(|error| read_error(&error))
        })
    }

    fn ping(&self) -> Reading<'_, ()> {
        Box::pin(async move { Self::ping(self).await.map_err(|error| read_error(&error)) })
    }
}

/// Viewers learn what they can do about it; what ClickHouse said exactly goes to the log.
fn read_error(error: &WarehouseError) -> ReadError {
    let WarehouseError::Failed { failure: what, .. } = error else {
        tracing::error!(error = error as &dyn std::error::Error, "a read is not possible");
        let message = "the store and this console do not fit together: see the console's log";
        return ReadError::Unavailable(message.to_owned());
    };
    tracing::warn!(error = error as &dyn std::error::Error, "the store did not answer a read");
    match what {
        Failure::TooLarge(_) | Failure::MemoryLimit(_) => ReadError::TooLarge(String::from(
            "range: the read is larger than allowed, expected a shorter range or more filters",
        )),
        Failure::TimedOut(_) | Failure::Overloaded(_) => {
            ReadError::Unavailable(String::from("the store is busy: try again shortly, or narrow the range"))
        }
        Failure::Unreachable(_) => {
            ReadError::Unavailable(String::from("the store cannot be reached right now: try again shortly"))
        }
        _ => ReadError::Unavailable(String::from("the store could not answer: see the console's log")),
    }
}
