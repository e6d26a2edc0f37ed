//! What goes on beside calls: connecting, renewing leases, sweeping gateways that died, topping up grants.

use super::wire::{Call, Connected, Failed, amount, millis, text};
use super::{Inner, keys};
use crate::books::Group;
use crate::journal::WhenGatewayDies;
use contracts::Usd;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Leases are renewed so many times before they run out.
const RENEWALS: u32 = 4;

/// Whether there is a connection is looked at more often, so many times for each renewal.
const LOOKS: u32 = 5;

/// So many groups join and renew at the same time.
const AT_A_TIME: usize = 64;

/// A group that was not used for so many renewals is left to lapse: with its next call it joins again.
const IDLE: u32 = 4 * RENEWALS;

/// Runs until the ledger is gone.
pub(super) async fn run(inner: Weak<Inner>, lease: Duration) {
    let mut looks = tokio::time::interval((lease / RENEWALS / LOOKS).max(Duration::from_millis(1)));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 0_u64.. {
        looks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let is_new = inner.wire.get().is_none() && inner.connect().await;
        if is_new || look % u64::from(LOOKS) == 0 {
            inner.beat_all().await;
        }
    }
}

impl Inner {
    /// Whether there is a connection now.
    pub(super) async fn connect(&self) -> bool {
        let connected = self.wire.connect(&self.keys.run(), self.options.lease).await;
        if let Err(error) = &connected {
            self.metrics().redis_errors.inc();
            tracing::debug!(%error, "the shared budget ledger cannot be reached");
        }
        connected.is_ok()
    }

    /// Gives back what was granted: this gateway takes no more calls. Its lease is left to run out.
    pub(crate) async fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        for group in self.books.groups() {
            group.page().told.is_ahead = true;
            // Where Redis is away, the lease runs out and the grant is charged.
            if let Err(error) = self.session(&group).await {
                tracing::warn!(%error, group = %group.name, "a grant was not given back");
                return;
            }
        }
    }

    /// Many at a time, so that all groups have joined within a lease also where there are thousands.
    async fn beat_all(&self) {
        self.books.forget_groups();
        let beat = async |group: Arc<Group>| {
            if self.wire.get().is_none() {
                return;
            }
            // Whatever fails here is tried again with the next beat, or with the next call.
            if let Err(Failed) = self.beat(&group).await {
                tracing::debug!(group = %group.name, "a lease was not renewed");
            }
        };
        futures_util::stream::iter(self.books.groups()).for_each_concurrent(AT_A_TIME, beat).await;
    }

    async fn beat(&self, group: &Group) -> Result<(), Failed> {
        let generation = self.wire.get().map(|connected| connected.generation);
        {
            let mut page = group.page();
            page.told.idle = page.told.idle.saturating_add(1);
            // On a new connection every group says what is in its books, also one that is idle.
            let is_idle = page.told.idle > IDLE && !page.is_pinned();
            let has_told = Some(page.told.generation) == generation && !page.told.is_ahead;
            let at = self.books.moment();
            if is_idle && (has_told || page.buckets().all(|bucket| bucket.is_past(at))) {
                return Ok(());
            }
        }
        let (connected, session) = self.session(group).await.map_err(|_unavailable| Failed)?;
        let asked = tokio::time::Instant::now();
        let call = self.all_buckets(group, session, vec![millis(self.options.lease)]);
        let reply = self.wire.call(&connected, &self.wire.scripts.beat, &call).await?;
        if reply.first().is_none_or(|said| said != "OK") {
            group.page().told.is_stale(session);
            return self.session(group).await.map(drop).map_err(|_unavailable| Failed);
        }
        group.page().told.renewed = Some(asked);
        let mut rest = reply.into_iter().skip(1);
        for gateway in counted(&mut rest) {
            self.sweep(&connected, group, &gateway).await?;
        }
        self.look_at_peers(group, &call.keys, &mut rest);
        self.top_up(&connected, group, session).await
    }

    /// All buckets that may still be charged.
    fn all_buckets(&self, group: &Group, session: u64, args: Vec<String>) -> Call {
        let now = self.books.now();
        let mut call = Call {
            keys: vec![self.keys.meta(&group.name), self.keys.of_gateway(&group.name, &self.keys.me)],
            args: vec![self.keys.me.to_string(), session.to_string()],
        };
        call.args.extend(args);
        let mut page = group.page();
        let open = page.buckets().filter(|bucket| !bucket.span.is_over(now));
        call.keys.extend(open.map(|bucket| self.keys.bucket_of(&group.name, bucket)));
        call
    }

    /// Remembers what others have, in case that Redis forgets it.
    fn look_at_peers(&self, group: &Group, keys: &[String], reply: &mut impl Iterator<Item = String>) {
        let mut seen: BTreeMap<&str, Vec<(Arc<str>, Usd)>> = BTreeMap::new();
        for key in keys.iter().skip(2) {
            let fields = counted(reply);
            let mut firm: BTreeMap<&str, Usd> = BTreeMap::new();
            for pair in fields.chunks_exact(2) {
                if let Some(("s" | "d" | "g", gateway)) = pair[0].split_once(':')
                    && *gateway != *self.keys.me
                {
                    *firm.entry(gateway).or_default() += amount(pair.get(1));
                }
            }
            seen.insert(key, firm.into_iter().map(|(gateway, firm)| (gateway.into(), firm)).collect());
        }
        for bucket in group.page().buckets() {
            let key = self.keys.bucket_of(&group.name, bucket);
            if let Some(peers) = seen.remove(key.as_str()) {
                bucket.peers = peers;
            }
        }
    }

    /// Closes the accounts of a gateway whose lease has run out. Says whether it was this one that did.
    pub(super) async fn sweep(
        &self,
        connected: &Connected,
        group: &Group,
        gateway: &str,
    ) -> Result<bool, Failed> {
        let its = self.keys.of_gateway(&group.name, gateway);
        let buckets = self.wire.members(connected, &its).await?;
        let mut call = Call { keys: vec![self.keys.meta(&group.name), its], args: Vec::new() };
        call.keys.extend(buckets);
        let when = match self.when_gateway_dies {
            WhenGatewayDies::Charge => "charge",
            WhenGatewayDies::Release => "release",
        };
        call.args.extend([gateway.to_owned(), when.to_owned()]);
        let reply = self.wire.call(connected, &self.wire.scripts.sweep, &call).await?;
        let is_done = reply.first().is_some_and(|said| said == "OK");
        if is_done {
            self.metrics().swept.inc();
            tracing::warn!(gateway, group = %group.name, "a gateway's lease has run out: its holds are closed");
        }
        Ok(is_done)
    }

    /// Has the grants topped up to what they may be.
    async fn top_up(&self, connected: &Connected, group: &Group, session: u64) -> Result<(), Failed> {
        let per_account = self.grant();
        if per_account == Usd::ZERO {
            return Ok(());
        }
        let mut call = self.all_buckets(group, session, vec![text(per_account)]);
        let (keys, now) = (call.keys.split_off(2), self.books.now());
        for bucket in group.page().buckets() {
            let key = self.keys.bucket_of(&group.name, bucket);
            if keys.contains(&key) {
                call.keys.push(key);
                call.args.extend([text(bucket.limit), keys::lasts(bucket.span, now)]);
            }
        }
        let reply = self.wire.call(connected, &self.wire.scripts.grant, &call).await?;
        if reply.first().is_none_or(|said| said != "OK") {
            // Closed, or told anew meanwhile: with the next beat.
            return Ok(());
        }
        let mut page = group.page();
        if page.told.session == session {
            for bucket in page.buckets() {
                let key = self.keys.bucket_of(&group.name, bucket);
                if let Some(i) = call.keys.iter().skip(2).position(|known| *known == key) {
                    bucket.cover += amount(reply.get(i + 1));
                }
            }
        }
        Ok(())
    }
}

/// Takes a number, and so many texts after it.
fn counted(reply: &mut impl Iterator<Item = String>) -> Vec<String> {
    let count = reply.next().and_then(|count| count.parse().ok()).unwrap_or_default();
    reply.take(count).collect()
}
