//! Random schedules against a model that is nothing but sums.

use super::{account, at, killed, usd};
use crate::*;
use contracts::policy::budget::{Span, Window};
use contracts::{Timestamp, Usd};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// One step of a schedule. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Reserve {
        accounts: u8,
        amount: i128,
    },
    Extend {
        hold: usize,
        amount: i128,
    },
    Dispatch {
        hold: usize,
    },
    /// For so many 256ths of what is held, or a little more than all of it.
    Settle {
        hold: usize,
        part: i128,
    },
    Release {
        hold: usize,
    },
    Drop {
        hold: usize,
    },
    Wait {
        seconds: i64,
    },
    Limit {
        account: usize,
        picos: i128,
    },
    Kill,
}

/// `unit` is the size of amounts, picodollars.
pub(crate) fn step(unit: i128) -> impl Strategy<Value = Step> {
    let hold = 0_usize..16;
    prop_oneof![
        6 => (1_u8..16, 0..unit).prop_map(|(accounts, amount)| Step::Reserve { accounts, amount }),
        1 => (hold.clone(), 0..unit).prop_map(|(hold, amount)| Step::Extend { hold, amount }),
        4 => hold.clone().prop_map(|hold| Step::Dispatch { hold }),
        4 => (hold.clone(), 0_i128..=257).prop_map(|(hold, part)| Step::Settle { hold, part }),
        1 => hold.clone().prop_map(|hold| Step::Release { hold }),
        1 => hold.prop_map(|hold| Step::Drop { hold }),
        1 => (1_i64..50).prop_map(|seconds| Step::Wait { seconds }),
        1 => (0_usize..4, 0..unit * 8).prop_map(|(account, picos)| Step::Limit { account, picos }),
        1 => Just(Step::Kill),
    ]
}

type Bucket = (usize, Span);

/// What there should be.
#[derive(Debug, Default)]
pub(crate) struct Model {
    spent: HashMap<Bucket, Usd>,
    pub(crate) holds: Vec<ModelHold>,
}

#[derive(Debug)]
pub(crate) struct ModelHold {
    buckets: Vec<Bucket>,
    pub(crate) amount: Usd,
    pub(crate) is_dispatched: bool,
}

impl Model {
    pub(crate) fn spent(&self, bucket: Bucket) -> Usd {
        self.spent.get(&bucket).copied().unwrap_or_default()
    }

    pub(crate) fn held(&self, bucket: Bucket) -> Usd {
        self.holds.iter().filter(|hold| hold.buckets.contains(&bucket)).map(|hold| hold.amount).sum()
    }

    /// Whether each bucket has room.
    fn admits(&self, buckets: &[Bucket], accounts: &[Account], amount: Usd) -> bool {
        buckets.iter().all(|b| self.spent(*b) + self.held(*b) + amount <= accounts[b.0].limit)
    }

    pub(crate) fn reserve(&mut self, chosen: &[usize], all: &[Account], amount: Usd, now: Timestamp) -> bool {
        let buckets: Vec<Bucket> = chosen.iter().map(|i| (*i, all[*i].window.span(now))).collect();
        let admits = self.admits(&buckets, all, amount);
        if admits {
            self.holds.push(ModelHold { buckets, amount, is_dispatched: false });
        }
        admits
    }

    /// `limits` are those that the hold was reserved with.
    pub(crate) fn extend(&mut self, hold: usize, limits: &[Account], amount: Usd) -> bool {
        let admits = amount == Usd::ZERO || self.admits(&self.holds[hold].buckets, limits, amount);
        if admits {
            self.holds[hold].amount += amount;
        }
        admits
    }

    pub(crate) fn end(&mut self, hold: usize, actual: Usd) {
        for bucket in self.holds.remove(hold).buckets {
            *self.spent.entry(bucket).or_default() += actual;
        }
    }

    fn kill(&mut self) {
        while let Some(hold) = self.holds.last() {
            let actual = if hold.is_dispatched { hold.amount } else { Usd::ZERO };
            self.end(self.holds.len() - 1, actual);
        }
    }
}

pub(crate) fn accounts() -> Vec<Account> {
    vec![
        account("organisation", "4", Window::Total),
        account("tenant", "3", Window::Hour),
        account("key", "1.5", Window::Minute),
        account("tag", "2", Window::Minute),
    ]
}

pub(crate) fn chosen(bits: u8) -> Vec<usize> {
    (0..4).filter(|i| bits >> i & 1 == 1).collect()
}

async fn run(steps: Vec<Step>) {
    let mut dir = tempfile::tempdir().unwrap();
    let options = |dir: &tempfile::TempDir| JournalOptions {
        compact_bytes: 500,
        fsync_interval: std::time::Duration::ZERO,
        ..JournalOptions::new(dir.path())
    };
    let open = |dir: &tempfile::TempDir| Ledger::local(options(dir), WhenGatewayDies::Charge).unwrap();
    let mut ledger = open(&dir);
    let (mut model, mut holds, mut limits) =
        (Model::default(), Vec::<(Hold, Vec<Account>)>::new(), accounts());
    let mut seconds = 0;
    for step in steps {
        let now = at(seconds);
        let pick = |hold: usize| (!holds.is_empty()).then(|| hold % holds.len().max(1));
        match step {
            Step::Reserve { accounts, amount } => {
                let chosen = chosen(accounts);
                let amount = Usd::from_picos(amount);
                let list = Accounts::new("acme", chosen.iter().map(|i| limits[*i].clone()));
                let outcome = ledger.reserve(&Arc::new(list), amount, now).await;
                assert_eq!(outcome.is_ok(), model.reserve(&chosen, &limits, amount, now), "{outcome:?}");
                holds.extend(outcome.ok().map(|hold| (hold, limits.clone())));
            }
            Step::Extend { hold, amount } => {
                if let Some(i) = pick(hold) {
                    let (hold, limits) = &mut holds[i];
                    let amount = Usd::from_picos(amount);
                    let outcome = hold.extend(amount).await;
                    assert_eq!(outcome.is_ok(), model.extend(i, limits, amount), "{outcome:?}");
                }
            }
            Step::Dispatch { hold } => {
                if let Some(i) = pick(hold) {
                    holds[i].0.dispatch().await.unwrap();
                    model.holds[i].is_dispatched = true;
                }
            }
            Step::Settle { hold, part } => {
                if let Some(i) = pick(hold) {
                    let (hold, _) = holds.remove(i);
                    let actual = Usd::from_picos(hold.amount().picos() * part / 256);
                    hold.settle(actual).await;
                    model.end(i, actual);
                }
            }
            Step::Release { hold } => {
                if let Some(i) = pick(hold) {
                    holds.remove(i).0.release();
                    model.end(i, Usd::ZERO);
                }
            }
            Step::Drop { hold } => {
                if let Some(i) = pick(hold) {
                    let (hold, _) = holds.remove(i);
                    model.end(i, if hold.is_dispatched() { hold.amount() } else { Usd::ZERO });
                }
            }
            Step::Wait { seconds: more } => seconds += more,
            Step::Limit { account, picos } => limits[account].limit = Usd::from_picos(picos),
            Step::Kill => {
                let left = killed(dir.path());
                let after = open(&left);
                // Those of the dead process: what they say goes into the journal that it no longer has.
                holds.clear();
                (ledger, dir) = (after, left);
                model.kill();
            }
        }
        let standings = ledger.read(&Accounts::new("acme", limits.clone()), at(seconds)).await.unwrap();
        for (i, standing) in standings.iter().enumerate() {
            let bucket = (i, standing.span);
            assert_eq!(
                (standing.spent, standing.held),
                (model.spent(bucket), model.held(bucket)),
                "{standing:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_ledger_does_what_the_model_does(steps in prop::collection::vec(step(usd("1").picos()), 1..120)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
