//! The ledger of one machine: these books are all there is, and every step is done when it returns.

use crate::account::{Accounts, SoftPassed};
use crate::books::{Books, Check, ExtendError, Stake};
use crate::hold::{Hold, Holder, Live};
use crate::refused::{Refused, Unavailable};
use contracts::{Timestamp, Usd};
use std::sync::Arc;

pub(crate) fn reserve(
    books: &Arc<Books>,
    accounts: &Arc<Accounts>,
    amount: Usd,
    now: Timestamp,
) -> Result<Hold, Refused> {
    let group = books.group(accounts.group());
    let (stake, passed) = books
        .admit(group, accounts, amount, now, Check::Limits)
        .inspect_err(|_| books.metrics.exhausted.inc())?;
    books.metrics.reserved.inc();
    Ok(Hold { live: Some(Live { stake, keeper: Holder::Local(Arc::clone(books)) }), lent: None, passed })
}

pub(crate) fn dispatch(books: &Books, stake: &mut Stake) -> Result<(), Unavailable> {
    let group = Arc::clone(&stake.group);
    let outcome = books.dispatch(&mut group.page(), stake);
    outcome.map_err(|_not_written| {
        books.metrics.unavailable.inc();
        Unavailable::Journal
    })?;
    books.metrics.dispatched.inc();
    Ok(())
}

pub(crate) fn extend(books: &Books, stake: &mut Stake, more: Usd) -> Result<(), Refused> {
    let group = Arc::clone(&stake.group);
    let outcome = books.extend(&mut group.page(), stake, more, Check::Limits);
    outcome.map_err(|error| match error {
        ExtendError::Exhausted(exhausted) => {
            books.metrics.exhausted.inc();
            exhausted.into()
        }
        ExtendError::NotWritten(_) => {
            books.metrics.unavailable.inc();
            Unavailable::Journal.into()
        }
    })
}

pub(crate) fn settle(books: &Books, stake: Stake, actual: Usd) -> Vec<SoftPassed> {
    let group = Arc::clone(&stake.group);
    let passed = books.settle(&mut group.page(), &stake, actual);
    drop(stake);
    passed
}
