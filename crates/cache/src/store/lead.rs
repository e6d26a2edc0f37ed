//! A request on its way: what the cache found out about it, for the moment when its answer is there.

use super::{Control, Found, Hit, Inner, Joined, Mode, Ordering, Seat, Status, Turn};
use crate::answer::Keepable;
use crate::entry::{Answer, Entry, Generations};
use crate::question::Question;
use crate::shelf::{Bearing, Shelf};
use bytes::Bytes;
use contracts::Timestamp;
use contracts::policy::cache::Cache;
use std::sync::Arc;
use std::time::Duration;

/// A request whose model has to be called. Dropped without an answer, it lets who waits for the same call in its place.
#[derive(Debug)]
pub struct Lead {
    pub(super) inner: Arc<Inner>,
    pub(super) question: Question,
    pub(super) shelf: Arc<Shelf>,
    pub(super) seat: Option<Seat>,
    pub(super) bearing: Option<Bearing>,
    /// As Redis had them before the call, so that what is called invalid meanwhile is not read again.
    pub(super) generations: Option<Generations>,
    pub(super) shares: bool,
    keeps: bool,
    ttl: Duration,
    max_bytes: usize,
    max_entry_bytes: usize,
}

impl Lead {
    pub(super) fn new(
        inner: Arc<Inner>,
        question: Question,
        shelf: Arc<Shelf>,
        policy: &Cache,
        control: &Control,
    ) -> Self {
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let ttl = Duration::from_secs(policy.ttl_seconds);
        Self {
            inner,
            question,
            shelf,
            seat: None,
            bearing: None,
            generations: None,
            shares: policy.shared,
            keeps: true,
            ttl: control.ttl.map_or(ttl, |wished| wished.min(ttl)),
            max_bytes: bytes(policy.max_bytes),
            max_entry_bytes: bytes(policy.max_entry_bytes),
        }
    }

    pub(super) fn keeping_nothing(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// Keeps the answer as far as it may be given again, and gives it to who waits for it. Returns whether it was kept.
    /// Sharing it with other gateways goes on beside.
    pub fn keep(mut self, answer: Answer, keepable: Keepable, now: Timestamp) -> bool {
        let fits = answer.body.len() <= self.max_entry_bytes && !self.ttl.is_zero();
        if keepable == Keepable::No || !self.keeps || !fits {
            self.release();
            return false;
        }
        let expires_at = after(now, self.ttl);
        // A copy: the body is a piece of the buffer that a connection reads into, all of which it would hold.
        let answer = Answer { body: Bytes::copy_from_slice(&answer.body), ..answer };
        let entry = Arc::new(Entry {
            tenant: self.question.tenant.clone(),
            key: self.question.exact,
            answer,
            created_at: now,
            expires_at,
            by_meaning: keepable == Keepable::Both,
        });
        let bearing = self.bearing.take().filter(|_| keepable == Keepable::Both);
        match (&bearing, keepable) {
            // The way to the answer that it had by meaning leads to this one.
            (None, Keepable::Both) => self.shelf.fill(entry.clone(), self.max_bytes),
            _ => {
                self.shelf.insert(
                    entry.key,
                    Some(entry.clone()),
                    expires_at,
                    bearing.as_ref(),
                    self.max_bytes,
                );
            }
        }
        // After it is kept, so that who comes now finds it.
        if let Some(seat) = self.seat.take() {
            seat.land(&Hit::new(entry.clone(), Status::HitExact, None, now));
        }
        self.inner.relieve();
        if let (true, Some(shared), Some(generations)) = (self.shares, &self.inner.shared, self.generations)
            && !shared.share(&self.question, &entry, bearing.as_ref(), generations, self.ttl, self.max_bytes)
        {
            self.inner.counters.not_shared.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// There will be no answer that may be given again: who waits goes on by itself.
    pub fn release(mut self) {
        if let Some(seat) = self.seat.take() {
            seat.release();
        }
    }

    /// The question, for the trace.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// An answer that is kept here under the request's own key.
    pub(super) fn exact_here(&self, control: &Control, now: Timestamp) -> Option<Hit> {
        match self.shelf.get(&self.question.exact, now)? {
            Found::Entry(entry) => self.judge(entry, Status::HitExact, None, control, now),
            Found::Elsewhere => None,
        }
    }

    /// Joins the flight of this request: as who leads it, or waits for its turn, `None` where that takes too long.
    pub(super) async fn join(&mut self, most: Duration) -> Option<Turn> {
        match self.shelf.flights.join(self.question.exact) {
            Joined::Lead(seat) => Some(Turn::Lead(seat)),
            Joined::Wait(turn) => tokio::time::timeout(most, turn).await.ok()?.ok(),
        }
    }

    /// Looks further: again here, where another may just have landed, in Redis, and for the same meaning.
    pub(super) async fn look(&mut self, policy: &Cache, control: &Control, now: Timestamp) -> Option<Hit> {
        if policy.exact
            && let Some(hit) = self.exact_here(control, now)
        {
            return Some(hit);
        }
        if let (true, Some(shared)) = (self.shares, &self.inner.shared)
            && let Ok((generations, entry)) = shared.get(&self.question, self.question.exact).await
        {
            self.generations = Some(generations);
            let live = entry.filter(|entry| policy.exact && entry.is_live(now)).map(Arc::new);
            if let Some(entry) = live {
                self.shelf.fill(entry.clone(), self.max_bytes);
                self.inner.relieve();
                if let Some(hit) = self.judge(entry, Status::HitExact, None, control, now) {
                    return Some(hit);
                }
            }
        }
        self.nearest(policy, control, now).await
    }

    /// Finds out what an answer will be kept with, and looks for none.
    pub(super) async fn prepare(&mut self, policy: &Cache, control: &Control, now: Timestamp) {
        if let (true, Some(shared)) = (self.shares, &self.inner.shared) {
            let known = shared.get(&self.question, self.question.exact).await;
            self.generations = known.ok().map(|(generations, _)| generations);
        }
        self.embed(policy, control, now).await;
    }

    /// A hit, if the entry is this tenant's and young enough. The first is so by where it was found; it is looked at all the same.
    pub(super) fn judge(
        &self,
        entry: Arc<Entry>,
        status: Status,
        similarity: Option<f32>,
        control: &Control,
        now: Timestamp,
    ) -> Option<Hit> {
        let hit = Hit::new(entry, status, similarity, now);
        let meant = similarity.is_none() || hit.entry.by_meaning;
        let young = control.max_age.is_none_or(|most| hit.age <= most);
        (young && meant && hit.entry.tenant == self.question.tenant).then_some(hit)
    }

    pub(super) fn compares(&self, policy: &Cache, control: &Control) -> bool {
        control.mode == Mode::Semantic && policy.semantic.is_some() && self.question.meaning.is_some()
    }

    pub(super) fn most_bytes(&self) -> usize {
        self.max_bytes
    }
}

fn after(now: Timestamp, span: Duration) -> Timestamp {
    let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_unix_nanos(now.unix_nanos().saturating_add(nanos))
}
