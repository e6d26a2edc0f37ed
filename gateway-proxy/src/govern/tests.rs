//! What is held for a call while tries follow each other and run beside each other.

use super::*;
use budget::{Account, Accounts, JournalOptions, Origin, WhenGatewayDies};
use contracts::policy::budget::Window;
use contracts::{Timestamp, TokenUsage};
use proptest::prelude::*;

/// The most that the dearest try can cost.
const MOST: i128 = 10;

/// How a try ended: nothing of it was used, it cost so much of what it could, or nobody knows.
#[derive(Debug, Clone, Copy)]
enum Left {
    Unused,
    Reported(u8),
    Unknown,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Another try follows.
    Again(Left),
    /// A try that costs at most so much runs beside the current one; the one that is left is the current one or that.
    Beside { held: i128, left: Left, is_first: bool },
    /// It was not sent after all.
    Unsent { held: i128 },
}

fn step() -> impl Strategy<Value = Step> {
    let left = || prop_oneof![Just(Left::Unused), (0..=100_u8).prop_map(Left::Reported), Just(Left::Unknown)];
    prop_oneof![
        left().prop_map(Step::Again),
        (1..=MOST, left(), any::<bool>()).prop_map(|(held, left, is_first)| Step::Beside {
            held,
            left,
            is_first
        }),
        (1..=MOST).prop_map(|held| Step::Unsent { held }),
    ]
}

const fn usd(picos: i128) -> Usd {
    Usd::from_picos(picos)
}

/// What a try that may cost `most` used and cost, and what it may be charged.
fn used(left: Left, most: i128) -> (Used, Option<Cost>, i128) {
    let usage = TokenUsage { input: 1, ..TokenUsage::default() };
    match left {
        Left::Unused => (Used::NOTHING, None, 0),
        Left::Reported(percent) => {
            let picos = most * i128::from(percent) / 100;
            let cost = Cost { total: usd(picos), ..Cost::default() };
            (Used { usage, source: Some(UsageSource::Reported), is_unknown: false }, Some(cost), picos)
        }
        Left::Unknown => (Used { usage, source: Some(UsageSource::Partial), is_unknown: false }, None, most),
    }
}

proptest! {
    /// What is held is never less than what all tries so far may be charged and those that run may come to; and not a picodollar is held
    /// that no try was given.
    #[test]
    fn enough_is_held_for_every_try(steps in prop::collection::vec(step(), 1..24), limit in 10..200_i128) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::local(JournalOptions::new(dir.path()), WhenGatewayDies::Charge).unwrap();
        let account = Account { id: "a".into(), subject: "a".into(), origin: Origin::Budget, limit: usd(limit), soft: None, window: Window::Total };
        let accounts = Arc::new(Accounts::new("g", [account]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let hold = runtime.block_on(ledger.reserve(&accounts, usd(MOST), Timestamp::default())).unwrap();
        let mut governed = Governed { hold, most: usd(MOST), ..Governed::default() };
        runtime.block_on(governed.dispatch()).unwrap();
        // What was charged so far, and what the current try may come to.
        let (mut charged, mut current) = (0, MOST);
        for step in steps {
            match step {
                Step::Again(left) => {
                    let (used, cost, more) = used(left, current);
                    // Of one that nobody knows of, all that any try may cost is taken.
                    let more = if matches!(left, Left::Unknown) { MOST } else { more };
                    if runtime.block_on(governed.try_again(used, cost)).is_ok() {
                        (charged, current) = (charged + more, MOST);
                    }
                }
                Step::Beside { held, left, is_first } => {
                    if runtime.block_on(governed.hold_more(usd(held))).is_err() {
                        continue;
                    }
                    prop_assert!(governed.hold.amount() >= usd(charged + current + held));
                    let most = if is_first { MOST } else { held };
                    let (used, cost, more) = used(left, if is_first { current } else { held });
                    let more = if matches!(left, Left::Unknown) { most } else { more };
                    governed.ended_beside(usd(held), used, cost, usd(most));
                    charged += more;
                    current = if is_first { held } else { current };
                }
                Step::Unsent { held } => {
                    if runtime.block_on(governed.hold_more(usd(held))).is_ok() {
                        governed.hold_less(usd(held));
                    }
                }
            }
            let amount = governed.hold.amount();
            prop_assert!(amount >= usd(charged + current), "{amount} {charged} {current}");
            prop_assert_eq!(amount, usd(charged + MOST) + governed.spare);
            prop_assert!(amount <= usd(limit));
        }
    }
}
