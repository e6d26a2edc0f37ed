//! What a judge that asks models may spend a day.
//!
//! A call is let through only when what was spent and what calls on their way have put aside leave room for it. Evaluators write this into
//! the control database, so that a budget holds over all of them and over their restarts; an offline run, which has a cost ceiling of
//! its own, keeps it to itself.

use super::JudgeError;
use contracts::{Timestamp, Usd};
use control::Judging;
use std::sync::{Mutex, PoisonError};

/// Where it is written down what judges spend.
#[derive(Debug, Clone, Default)]
pub enum Ledger {
    /// In this process.
    #[default]
    Here,
    /// Where all evaluators do.
    Shared(Judging),
}

/// The budget of one judge.
#[derive(Debug)]
pub(super) struct Budget {
    judge: String,
    a_day: Usd,
    a_call: Usd,
    ledger: Ledger,
    here: Mutex<Spent>,
}

/// What was spent on the day that is counted, with what is put aside.
#[derive(Debug, Default)]
struct Spent {
    day: i64,
    amount: Usd,
}

/// Money put aside for one call. Dropped without being settled, it stays spent: what became of the call is not known.
#[derive(Debug)]
#[must_use]
pub(super) struct Reserved {
    day: i64,
}

impl Budget {
    /// Of `judge`: so much a day, so much a call at most.
    pub(super) fn new(judge: &str, a_day: Usd, a_call: Usd, ledger: Ledger) -> Self {
        Self { judge: judge.to_owned(), a_day, a_call, ledger, here: Mutex::default() }
    }

    /// What is put aside for a call.
    pub(super) const fn a_call(&self) -> Usd {
        self.a_call
    }

    /// Puts aside what a call at `now` may cost.
    pub(super) async fn reserve(&self, now: Timestamp) -> Result<Reserved, JudgeError> {
        let day = now.unix_seconds().div_euclid(86_400);
        let has_room = match &self.ledger {
            Ledger::Here => self.reserve_here(day),
            Ledger::Shared(judging) => {
                let reserved = judging.reserve(&self.judge, day, self.a_call, self.a_day).await;
                reserved.map_err(|error| JudgeError::Failed {
                    judge: self.judge.clone(),
                    reason: format!("its budget cannot be asked: {error}"),
                    retryable: true,
                })?
            }
        };
        if has_room {
            Ok(Reserved { day })
        } else {
            Err(JudgeError::Budget { judge: self.judge.clone(), budget: self.a_day.to_string() })
        }
    }

    /// The call cost `cost`.
    pub(super) async fn settle(&self, reserved: Reserved, cost: Usd) {
        match &self.ledger {
            Ledger::Here => {
                let mut spent = self.here.lock().unwrap_or_else(PoisonError::into_inner);
                if spent.day == reserved.day {
                    spent.amount += cost - self.a_call;
                }
            }
            Ledger::Shared(judging) => {
                if let Err(error) = judging.settle(&self.judge, reserved.day, self.a_call, cost).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        judge = self.judge,
                        "what a judge's call cost was not written down; all that was put aside for it counts as spent"
                    );
                }
            }
        }
    }

    fn reserve_here(&self, day: i64) -> bool {
        let mut spent = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.day < day {
            *spent = Spent { day, amount: Usd::ZERO };
        }
        let fits = spent.amount + self.a_call <= self.a_day;
        if fits {
            spent.amount += self.a_call;
        }
        fits
    }
}
