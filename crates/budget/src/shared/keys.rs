//! The names of what is kept in Redis. All of a group share the hash tag `{GROUP}`, and so a slot of a cluster.

use crate::books::page::Bucket;
use contracts::Timestamp;
use contracts::policy::budget::{Span, Window};
use std::sync::Arc;

/// A bucket is kept so long after its window, for calls that end late.
const KEPT_AFTER_MS: i64 = 3_600_000;

/// Names keys.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: Box<str>,
    /// This gateway.
    pub(super) me: Arc<str>,
}

impl Keys {
    pub(super) fn new(prefix: &str, me: &Arc<str>) -> Self {
        Self { prefix: prefix.into(), me: Arc::clone(me) }
    }

    /// The life of the server, and when it opens.
    pub(super) fn run(&self) -> String {
        format!("{}:run", self.prefix)
    }

    /// A group's sessions and leases.
    pub(super) fn meta(&self, group: &str) -> String {
        format!("{}:{{{group}}}:meta", self.prefix)
    }

    /// In which buckets a gateway has something.
    pub(super) fn of_gateway(&self, group: &str, gateway: &str) -> String {
        format!("{}:{{{group}}}:of:{gateway}", self.prefix)
    }

    /// A bucket.
    pub(super) fn bucket(&self, group: &str, account: &str, window: Window, span: Span) -> String {
        // The total begins at the beginning of time, which has no readable number.
        let start = span.end.map_or(0, |_| span.start.unix_seconds());
        format!("{}:{{{group}}}:{account}:{window}:{start}", self.prefix)
    }

    pub(super) fn bucket_of(&self, group: &str, bucket: &Bucket) -> String {
        self.bucket(group, &bucket.account, bucket.window, bucket.span)
    }
}

/// How long a bucket is kept from `now` on, milliseconds; 0 for ever. A length and not a time: clocks may differ, and a bucket
/// that is gone too early would be spent again.
pub(super) fn lasts(span: Span, now: Timestamp) -> String {
    let left = |end: Timestamp| end.unix_millis().saturating_sub(now.unix_millis()).max(0);
    span.end.map_or(0, |end| left(end).saturating_add(KEPT_AFTER_MS)).to_string()
}
