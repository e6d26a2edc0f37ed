//! Soft limits, which refuse nothing. Who is beyond one is told with every answer, in a header and on the call's trace; an event is
//! written when a budget's is passed, once in its window, and of a plan's once a minute for as long as calls go beyond it.

use crate::app::App;
use crate::call::Facts;
use crate::emit::{Event, Recorder};
use crate::identity::Identity;
use crate::metrics::GatewayMetrics;
use admission::rates::{LimitKind, SoftLimit, Subject};
use budget::{Settled, SoftPassed};
use contracts::attributes::control_tower as ct;
use contracts::policy::KeyPolicy;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often a plan's limit is told of in an event.
const EVERY: Duration = Duration::from_mins(1);

/// When which plan's limit was told of last.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<(Subject, LimitKind), Instant>>);

impl Told {
    /// Writes an event of each limit that was not told of lately.
    pub(super) fn tell(&self, app: &App, facts: &Facts, over: &[SoftLimit]) {
        if over.is_empty() {
            return;
        }
        let teller = Teller::of(app, facts);
        for soft in over.iter().filter(|soft| self.is_due(soft)) {
            let limit = soft.limit.as_str().to_owned();
            let picture = [
                (ct::LIMIT_SUBJECT, soft.subject.to_string()),
                (ct::LIMIT_NAME, limit),
                (ct::LIMIT_SOFT, soft.size.to_string()),
            ];
            teller.tell(picture);
        }
    }

    fn is_due(&self, soft: &SoftLimit) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match told.entry((soft.subject.clone(), soft.limit)) {
            Entry::Occupied(last) if now.duration_since(*last.get()) < EVERY => false,
            entry => {
                entry.insert_entry(now);
                true
            }
        }
    }

    /// Forgets those that are due anyway.
    pub(super) fn sweep(&self) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, last| last.elapsed() < EVERY);
    }
}

/// Writes events of one call.
pub(super) struct Teller {
    recorder: Arc<Recorder>,
    metrics: GatewayMetrics,
    identity: Arc<Identity>,
    key: Arc<KeyPolicy>,
}

impl Teller {
    pub(super) fn of(app: &App, facts: &Facts) -> Self {
        Self {
            recorder: app.recorder.clone(),
            metrics: app.metrics.clone(),
            identity: facts.identity.clone(),
            key: facts.key.clone(),
        }
    }

    /// Of budgets whose soft limit this call passed.
    pub(super) fn crossed(&self, settled: &Settled) {
        for soft in settled.passed.iter().filter(|soft| soft.crossed) {
            let size = soft.account.soft.unwrap_or_default();
            tracing::warn!(
                budget.account = &*soft.account.id,
                budget.soft = %size,
                budget.spent = %soft.spent,
                "a budget has passed its soft limit"
            );
            let picture = [
                (ct::LIMIT_SUBJECT, soft.account.subject.to_string()),
                (ct::LIMIT_NAME, soft.account.limit_name().to_owned()),
                (ct::LIMIT_SOFT, size.to_string()),
                (ct::LIMIT_HARD, soft.account.limit.to_string()),
                (ct::LIMIT_USED, soft.spent.to_string()),
            ];
            self.tell(picture);
        }
    }

    fn tell<const N: usize>(&self, picture: [(&str, String); N]) {
        let subject = picture.first().map_or("", |(_, subject)| subject);
        let id = format!("{} {subject} {}", self.identity.request_id, picture[1].1);
        let mut event = Event::new(ct::EVENT_SOFT_LIMIT, &self.identity, &self.key, id);
        event.trace = self.identity.trace_id().to_string();
        event.span = self.identity.span.span_id().to_string();
        for (name, value) in picture {
            event.text(name, value);
        }
        // That it could not be written is counted and logged; the call is not to blame.
        let _counted = self.recorder.record_event(&event.encode(), &self.metrics);
    }
}

/// Soft limits that a call is beyond, as header and trace say it.
pub(super) fn texts(rates: &[SoftLimit], budgets: &[SoftPassed]) -> Vec<String> {
    let rates = rates.iter().map(|soft| format!("{} {} {}", soft.subject, soft.limit.as_str(), soft.size));
    let budgets = budgets.iter().map(|SoftPassed { account, .. }| {
        let limit = account.limit_name();
        if account.is_of_organisation() {
            return format!("your organisation {limit}");
        }
        format!("{} {limit} {}", account.subject, account.soft.unwrap_or_default())
    });
    rates.chain(budgets).collect()
}
