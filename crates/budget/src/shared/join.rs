//! Telling Redis all that is in a group's books, in place of all that it knows.

use super::wire::{Call, Connected, Failed, millis, text};
use super::{Inner, Told, keys};
use crate::books::Group;
use crate::refused::Unavailable;
use contracts::Usd;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// Tries to join before it is given up; each but the first follows a number that was too low.
const TRIES: usize = 3;

impl Told {
    /// The session, if it is good on this connection.
    fn session(&self, connected: &Connected) -> Option<u64> {
        let is_good = self.session != 0 && self.generation == connected.generation && !self.is_ahead;
        is_good.then_some(self.session)
    }

    /// The session turned out not to be good.
    pub(super) fn is_stale(&mut self, session: u64) {
        if self.session == session {
            self.session = 0;
        }
    }
}

impl Inner {
    /// A connection and a session that is good on it; begins one where there is none.
    pub(super) async fn session(&self, group: &Group) -> Result<(Arc<Connected>, u64), Unavailable> {
        let good = || {
            let connected = self.wire.get().ok_or(Unavailable::Redis)?;
            let session = group.page().told.session(&connected);
            Ok((connected, session))
        };
        if let (connected, Some(session)) = good()? {
            return Ok((connected, session));
        }
        let _joining = group.link.joining.lock().await;
        for _ in 0..TRIES {
            let (connected, session) = good()?;
            if let Some(session) = session {
                return Ok((connected, session));
            }
            self.join(group, &connected).await.map_err(|_failed| Unavailable::Redis)?;
        }
        Err(Unavailable::Redis)
    }

    async fn join(&self, group: &Group, connected: &Connected) -> Result<(), Failed> {
        let mine = self.keys.of_gateway(&group.name, &self.keys.me);
        // Also where an earlier life of this gateway had something of which the books know nothing: what was reserved only.
        let known = self.wire.members(connected, &mine).await?;
        let session = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = Instant::now();
        let call = self.all_of(group, connected, session, mine, known);
        let outcome = self.wire.call(connected, &self.wire.scripts.join, &call).await;
        let told = &mut group.page().told;
        told.is_joining = false;
        let reply = outcome?;
        let said = |i: usize| reply.get(i).map(String::as_str);
        match (said(0), said(1).and_then(|number| number.parse().ok())) {
            (Some("OK"), _) => {
                told.session = session;
                told.generation = connected.generation;
                told.renewed = Some(asked);
                self.metrics().joins.inc();
            }
            (_, Some(last)) => drop(self.sessions.fetch_max(last, Ordering::Relaxed)),
            (_, None) => {}
        }
        Ok(())
    }

    /// Reads the books. What changes from here on is told in the new session.
    fn all_of(
        &self,
        group: &Group,
        connected: &Connected,
        session: u64,
        mine: String,
        known: Vec<String>,
    ) -> Call {
        let (at, now) = (self.books.moment(), self.books.now());
        let mut page = group.page();
        let told = &mut page.told;
        told.session = 0;
        told.joins += 1;
        told.is_joining = true;
        told.is_ahead = false;
        let mut call = Call { keys: vec![self.keys.meta(&group.name), mine], args: Vec::new() };
        call.args.extend([
            self.keys.me.to_string(),
            session.to_string(),
            connected.run.clone(),
            connected.open.clone(),
            millis(self.options.lease),
        ]);
        let mut told = HashSet::new();
        for bucket in page.buckets().filter(|bucket| !bucket.is_past(at)) {
            let firm = bucket.spent + bucket.dispatched;
            // What calls under way gave back may have made it more than a grant is.
            let granted = (bucket.cover - firm).min(self.grant()).max(Usd::ZERO);
            bucket.cover = firm + granted;
            let key = self.keys.bucket_of(&group.name, bucket);
            told.insert(key.clone());
            call.keys.push(key);
            call.args.extend([text(bucket.spent), text(bucket.dispatched), text(granted)]);
            call.args.extend([keys::lasts(bucket.span, now), bucket.peers.len().to_string()]);
            for (peer, firm) in &bucket.peers {
                call.args.extend([peer.to_string(), text(*firm)]);
            }
        }
        for key in known.into_iter().filter(|key| !told.contains(key)) {
            call.keys.push(key);
            call.args.extend([
                text(Usd::ZERO),
                text(Usd::ZERO),
                text(Usd::ZERO),
                String::new(),
                "0".to_owned(),
            ]);
        }
        call
    }
}
