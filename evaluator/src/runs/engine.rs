//! Many rows in flight, journaled as they come, within a cost ceiling.

use super::{Asker, Journal, RunError, RunResult};
use crate::datasets::Row;
use contracts::Usd;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Bounds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows in flight.
    pub concurrency: usize,
    /// What calls and judges may cost. No row is started when what was spent, and what those in flight may come to, reaches it.
    pub cost_ceiling: Option<Usd>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Results so far.
    pub done: u64,
    /// Of them without an answer.
    pub errors: u64,
    /// Results wanted.
    pub planned: u64,
    /// Spent so far, judges included.
    pub spent: Usd,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every row has its results.
    Finished,
    /// The cost ceiling was reached.
    AtCeiling,
    /// Somebody asked it to.
    Stopped,
}

/// Asks every row that has no result yet. What is in flight when `stop` is told is waited for.
pub async fn execute(
    asker: &Asker,
    rows: &[Row],
    mut journal: Journal,
    limits: Limits,
    stop: &CancellationToken,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(Journal, Ended), RunError> {
    let (asker, rows) = (Arc::new(asker.clone()), Arc::new(rows.to_vec()));
    let repeat = journal.header().repeat;
    let wanted: Vec<(usize, u32)> = (1..=repeat)
        .flat_map(|turn| (0..rows.len()).map(move |row| (row, turn)))
        .filter(|(row, turn)| !journal.has(&rows[*row].id, *turn))
        .collect();
    let mut wanted = wanted.into_iter().peekable();
    let mut purse = Purse::new(limits.cost_ceiling, journal.results());
    let mut in_flight: JoinSet<RunResult> = JoinSet::new();
    let mut at_ceiling = false;
    progress(purse.progress(&journal));
    loop {
        while wanted.peek().is_some() && in_flight.len() < limits.concurrency.max(1) && !stop.is_cancelled() {
            match purse.decide(in_flight.len()) {
                Decision::Start => {
                    let Some((row, turn)) = wanted.next() else { break };
                    let (asker, rows) = (asker.clone(), rows.clone());
                    in_flight.spawn(async move { asker.ask(&rows[row], turn).await });
                }
                Decision::Wait => break,
                Decision::Stop => {
                    at_ceiling = true;
                    break;
                }
            }
        }
        let Some(first) = in_flight.join_next().await else { break };
        let mut results = vec![first.map_err(|error| RunError::Broken(error.to_string()))?];
        while let Some(next) = in_flight.try_join_next() {
            results.push(next.map_err(|error| RunError::Broken(error.to_string()))?);
        }
        for result in &results {
            purse.pay(result);
        }
        journal = tokio::task::spawn_blocking(move || journal.append(results).map(|()| journal))
            .await
            .map_err(|error| RunError::Broken(error.to_string()))??;
        progress(purse.progress(&journal));
    }
    let ended = match (wanted.peek().is_some(), at_ceiling) {
        (false, _) => Ended::Finished,
        (true, true) => Ended::AtCeiling,
        (true, false) => Ended::Stopped,
    };
    Ok((journal, ended))
}

/// What a run has spent and may spend.
struct Purse {
    ceiling: Option<Usd>,
    spent: Usd,
    dearest: Usd,
    errors: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Start,
    /// Until one in flight says what it cost.
    Wait,
    Stop,
}

impl Purse {
    fn new(ceiling: Option<Usd>, results: &[RunResult]) -> Self {
        let mut purse = Self { ceiling, spent: Usd::ZERO, dearest: Usd::ZERO, errors: 0 };
        for result in results {
            purse.pay(result);
        }
        purse
    }

    fn pay(&mut self, result: &RunResult) {
        let cost = result.cost() + result.cost_judges();
        self.spent += cost;
        self.dearest = self.dearest.max(cost);
        self.errors += u64::from(!result.error.is_empty());
    }

    /// Whether one more row fits, were it and those in flight as dear as the dearest so far.
    fn decide(&self, in_flight: usize) -> Decision {
        let Some(ceiling) = self.ceiling else { return Decision::Start };
        let ahead = self.dearest.times(in_flight as u64 + 1);
        if self.spent < ceiling && self.spent + ahead <= ceiling {
            // Of the first row nothing is known: it goes alone.
            let unknown = self.dearest == Usd::ZERO && in_flight > 0;
            return if unknown { Decision::Wait } else { Decision::Start };
        }
        if in_flight > 0 { Decision::Wait } else { Decision::Stop }
    }

    fn progress(&self, journal: &Journal) -> Progress {
        Progress {
            done: journal.results().len() as u64,
            errors: self.errors,
            planned: journal.header().planned,
            spent: self.spent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_is_held_by_the_dearest_row_so_far() {
        let purse = |spent: i128, dearest: i128| Purse {
            ceiling: Some(Usd::from_picos(100)),
            spent: Usd::from_picos(spent),
            dearest: Usd::from_picos(dearest),
            errors: 0,
        };
        assert_eq!(purse(0, 0).decide(0), Decision::Start);
        assert_eq!(purse(0, 0).decide(1), Decision::Wait, "nothing is known of the cost yet");
        assert_eq!(purse(70, 10).decide(2), Decision::Start, "70 + 3 · 10 is not over 100");
        assert_eq!(purse(71, 10).decide(2), Decision::Wait);
        assert_eq!(purse(91, 10).decide(0), Decision::Stop);
        assert_eq!(purse(100, 0).decide(0), Decision::Stop);
        assert_eq!(Purse { ceiling: None, ..purse(500, 10) }.decide(9), Decision::Start);
    }
}
