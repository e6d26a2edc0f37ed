//! The steps of a call, each one round trip.
//!
//! Before a call is sent, Redis knows first and the books second; after it, the books first. So what Redis counts is at no moment
//! less than what the books say.

use super::wire::{Call, Connected, amount, text};
use super::{Inner, Link, WhenRedisIsAway, keys};
use crate::account::{Accounts, SoftPassed};
use crate::books::{Check, ExtendError, Group, Stake};
use crate::hold::{Hold, Holder, Live};
use crate::refused::{Exhausted, Refused, Unavailable};
use contracts::{Timestamp, Usd};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Tries of a step; each but the first follows a join or a sweep.
const TRIES: usize = 4;

/// What came of taking an amount.
enum Took {
    /// It was taken; so much is settled of each account.
    Yes(Vec<Usd>),
    /// The session is no longer good.
    Stale,
    /// Nothing is given out yet.
    Closed(Duration),
    /// An account stands in the way; and gateways whose lease has run out.
    Full(Box<Exhausted>, Vec<String>),
    /// No answer.
    Failed,
}

/// What is asked of Redis: of which accounts, and when they were charged.
#[derive(Debug, Clone, Copy)]
struct Ask<'a> {
    group: &'a Group,
    accounts: &'a Accounts,
    now: Timestamp,
}

impl Inner {
    pub(super) async fn reserve_now(
        self: &Arc<Self>,
        accounts: &Arc<Accounts>,
        amount: Usd,
        now: Timestamp,
    ) -> Result<Hold, Refused> {
        let group = self.books.group(accounts.group());
        group.page().told.idle = 0;
        let ask = Ask { group: &group, accounts, now };
        let refused = match self.take_somehow(ask, "u", amount).await {
            Ok((session, spent)) => {
                let admitted = self.books.admit(Arc::clone(&group), accounts, amount, now, Check::Nothing);
                let (mut stake, _) = admitted?;
                stake.session = session;
                return Ok(self.hold(stake, passed(ask, &spent, Usd::ZERO)));
            }
            Err(refused) => refused,
        };
        if self.may_spend_grant(&group) {
            let admitted = self.books.admit(Arc::clone(&group), accounts, amount, now, Check::Cover);
            if let Ok((stake, passed)) = admitted {
                self.metrics().from_grant.inc();
                return Ok(self.hold(stake, passed));
            }
        }
        Err(refused)
    }

    fn hold(self: &Arc<Self>, stake: Stake, passed: Vec<SoftPassed>) -> Hold {
        Hold { live: Some(Live { stake, keeper: Holder::Shared(Arc::clone(self)) }), lent: None, passed }
    }

    pub(super) async fn dispatch_now(&self, stake: &mut Stake) -> Result<(), Refused> {
        let group = Arc::clone(&stake.group);
        let accounts = Arc::clone(&stake.accounts);
        let ask = Ask { group: &group, accounts: &accounts, now: stake.now };
        for _ in 0..TRIES {
            let (session, outcome) = match self.session(&group).await {
                // Redis knows of it: it only changes its state.
                Ok((connected, session)) if session == stake.session => {
                    let call = self.shift(ask, session, ("u", stake.amount), ("d", stake.amount));
                    let reply = self.wire.call(&connected, &self.wire.scripts.shift, &call).await;
                    match reply.as_deref().map(|reply| reply.first().map(String::as_str)) {
                        Ok(Some("OK")) => (session, Ok(())),
                        Ok(_) => {
                            group.page().told.is_stale(session);
                            continue;
                        }
                        Err(_failed) => (session, Err(Unavailable::Redis.into())),
                    }
                }
                Ok(_) => match self.take_somehow(ask, "d", stake.amount).await {
                    Ok((session, _)) => (session, Ok(())),
                    Err(refused) => (0, Err(refused)),
                },
                Err(unavailable) => (0, Err(unavailable.into())),
            };
            let mut page = group.page();
            match outcome {
                // The books were read before Redis answered: what it answered is no longer so.
                Ok(()) if page.told.session != session => {}
                Ok(()) => {
                    if self.books.dispatch(&mut page, stake).is_err() {
                        page.told.is_ahead = true;
                        return Err(Unavailable::Journal.into());
                    }
                    stake.each(&mut page, |bucket| bucket.cover += stake.amount);
                    return Ok(());
                }
                Err(refused) => {
                    if !self.may_spend(&page.told) || !page.covers(stake) {
                        return Err(refused);
                    }
                    self.books.dispatch(&mut page, stake).map_err(|_not_written| Unavailable::Journal)?;
                    page.told.is_ahead = true;
                    return Ok(());
                }
            }
        }
        Err(Unavailable::Redis.into())
    }

    pub(super) async fn extend_now(&self, stake: &mut Stake, more: Usd) -> Result<(), Refused> {
        let group = Arc::clone(&stake.group);
        let accounts = Arc::clone(&stake.accounts);
        let ask = Ask { group: &group, accounts: &accounts, now: stake.now };
        let to = if stake.is_dispatched { "d" } else { "u" };
        for _ in 0..TRIES {
            let taken = self.take_somehow(ask, to, more).await;
            let mut page = group.page();
            let (check, refused) = match taken {
                // As in `dispatch_now`. What was only reserved is reserved again before it is sent.
                Ok((session, _)) if page.told.session != session && stake.is_dispatched => continue,
                Ok(_) => (Check::Nothing, None),
                Err(refused) if self.may_spend(&page.told) => (Check::Cover, Some(refused)),
                Err(refused) => return Err(refused),
            };
            match self.books.extend(&mut page, stake, more, check) {
                Ok(()) if refused.is_some() => page.told.is_ahead = true,
                Ok(()) if stake.is_dispatched => stake.each(&mut page, |bucket| bucket.cover += more),
                Ok(()) => {}
                Err(ExtendError::Exhausted(exhausted)) => return Err(refused.unwrap_or(exhausted.into())),
                Err(ExtendError::NotWritten(_)) => {
                    page.told.is_ahead = true;
                    return Err(Unavailable::Journal.into());
                }
            }
            return Ok(());
        }
        Err(Unavailable::Redis.into())
    }

    /// Changes the books at once; the future is the answer of Redis, and need not be waited for.
    pub(crate) fn settle(
        inner: &Arc<Self>,
        stake: Stake,
        actual: Usd,
    ) -> impl Future<Output = Vec<SoftPassed>> + use<> {
        let group = Arc::clone(&stake.group);
        let (here, tell) = {
            let mut page = group.page();
            let here = inner.books.settle(&mut page, &stake, actual);
            let generation = inner.wire.get().map(|connected| connected.generation);
            if generation != Some(page.told.generation) {
                page.told.session = 0;
            }
            let told = &page.told;
            let from = match () {
                // The next join tells it.
                () if told.is_ahead || (told.session == 0 && !told.is_joining) => None,
                () if stake.is_dispatched => Some("d"),
                () if stake.session != 0 && stake.session == told.session => Some("u"),
                () if actual > Usd::ZERO => Some("-"),
                // Redis has forgotten what was reserved in an earlier session.
                () => None,
            };
            let tell = from.map(|from| (from, told.session, told.joins));
            if stake.is_dispatched && tell.is_some() {
                stake.each(&mut page, |bucket| bucket.cover = bucket.cover - stake.amount + actual);
            }
            (here, tell)
        };
        let task = tell.map(|(from, session, joins)| {
            let inner = Arc::clone(inner);
            inner.runtime.clone().spawn(async move {
                let ask = Ask { group: &stake.group, accounts: &stake.accounts, now: stake.now };
                inner.tell(ask, (session, joins), (from, stake.amount), actual).await
            })
        });
        async move {
            let told = match task {
                Some(task) => task.await.ok().flatten(),
                None => None,
            };
            told.unwrap_or(here)
        }
    }

    /// Tells what a call cost, unless it was told since with all the books, or will be.
    async fn tell(
        &self,
        ask: Ask<'_>,
        (session, joins): (u64, u64),
        from: (&str, Usd),
        actual: Usd,
    ) -> Option<Vec<SoftPassed>> {
        let session = if session == 0 {
            let Link { joining } = &ask.group.link;
            let _joined = joining.lock().await;
            let told = &ask.group.page().told;
            Some(told.session).filter(|session| *session != 0 && told.joins == joins)?
        } else {
            session
        };
        let connected = self.wire.get()?;
        let to = if actual > Usd::ZERO { "s" } else { "-" };
        let call = self.shift(ask, session, from, (to, actual));
        let reply = self.wire.call(&connected, &self.wire.scripts.shift, &call).await.ok()?;
        if reply.first().is_none_or(|said| said != "OK") {
            ask.group.page().told.is_stale(session);
            return None;
        }
        let spent: Vec<Usd> = (1..reply.len()).map(|i| amount(reply.get(i))).collect();
        Some(passed(ask, &spent, actual))
    }

    /// Takes an amount, through joins and sweeps where they are needed. Returns the session in which it was taken.
    async fn take_somehow(&self, ask: Ask<'_>, to: &str, amount: Usd) -> Result<(u64, Vec<Usd>), Refused> {
        for _ in 0..TRIES {
            let (connected, session) = self.session(ask.group).await?;
            match self.take(&connected, ask, session, to, amount).await {
                Took::Yes(spent) => return Ok((session, spent)),
                Took::Stale => ask.group.page().told.is_stale(session),
                Took::Closed(wait) => return Err(Unavailable::Closed(wait).into()),
                Took::Failed => return Err(Unavailable::Redis.into()),
                Took::Full(exhausted, lapsed) => {
                    let mut swept = false;
                    for gateway in lapsed.iter().filter(|gateway| **gateway != *self.keys.me) {
                        swept |= self.sweep(&connected, ask.group, gateway).await.unwrap_or(false);
                    }
                    if !swept {
                        return Err(exhausted.into());
                    }
                }
            }
        }
        Err(Unavailable::Redis.into())
    }

    async fn take(&self, connected: &Connected, ask: Ask<'_>, session: u64, to: &str, more: Usd) -> Took {
        let mut call = self.call(ask, session);
        call.args.extend([to.to_owned(), text(more)]);
        for account in ask.accounts.list() {
            call.args.extend([
                text(account.limit),
                keys::lasts(account.window.span(ask.now), self.books.now().max(ask.now)),
            ]);
        }
        let Ok(reply) = self.wire.call(connected, &self.wire.scripts.take, &call).await else {
            return Took::Failed;
        };
        let number =
            |i: usize| reply.get(i).and_then(|number| number.parse::<u64>().ok()).unwrap_or_default();
        match reply.first().map(String::as_str) {
            Some("OK") => Took::Yes((1..reply.len()).map(|i| amount(reply.get(i))).collect()),
            Some("CLOSED") => Took::Closed(Duration::from_millis(number(1))),
            Some("FULL") => {
                let which = usize::try_from(number(1)).unwrap_or_default();
                let Some(account) = ask.accounts.list().get(which) else { return Took::Failed };
                let exhausted = Exhausted {
                    account: account.clone(),
                    spent: amount(reply.get(2)),
                    held: amount(reply.get(3)),
                    asked: more,
                    now: ask.now,
                    ends: account.window.span(ask.now).end,
                };
                Took::Full(Box::new(exhausted), reply.into_iter().skip(4).collect())
            }
            _ => Took::Stale,
        }
    }

    /// What the calls of all steps begin with.
    fn call(&self, ask: Ask<'_>, session: u64) -> Call {
        let name = &ask.group.name;
        let mut keys = vec![self.keys.meta(name), self.keys.of_gateway(name, &self.keys.me)];
        keys.extend(ask.accounts.list().iter().map(|account| {
            self.keys.bucket(name, &account.id, account.window, account.window.span(ask.now))
        }));
        Call { keys, args: vec![self.keys.me.to_string(), session.to_string()] }
    }

    fn shift(&self, ask: Ask<'_>, session: u64, from: (&str, Usd), to: (&str, Usd)) -> Call {
        let mut call = self.call(ask, session);
        call.args.extend([from.0.to_owned(), text(from.1), to.0.to_owned(), text(to.1)]);
        let spans = ask.accounts.list().iter().map(|account| account.window.span(ask.now));
        let now = self.books.now();
        call.args.extend(spans.map(|span| keys::lasts(span, now)));
        call
    }

    fn may_spend_grant(&self, group: &Group) -> bool {
        self.may_spend(&group.page().told)
    }

    /// Whether what was granted may still be spent: for three quarters of a lease after Redis was asked to renew it, so that it
    /// is over before a Redis without its state would open.
    fn may_spend(&self, told: &super::Told) -> bool {
        matches!(self.options.when_redis_is_away, WhenRedisIsAway::SpendGrant { .. })
            && told.renewed.is_some_and(|renewed| Instant::now() < renewed + self.options.lease / 4 * 3)
    }
}

/// The accounts whose soft limit is passed, where so much is settled of each after `added` was added.
fn passed(ask: Ask<'_>, spent: &[Usd], added: Usd) -> Vec<SoftPassed> {
    let accounts = ask.accounts.list().iter().zip(spent);
    accounts
        .filter_map(|(account, spent)| {
            SoftPassed::judge(account, account.window.span(ask.now), *spent, added)
        })
        .collect()
}
