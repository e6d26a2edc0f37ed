//! The report of dollars per useful action, from what the reads of actions, spend and feedback bring. Arithmetic on integers
//! alone, but for the interval.

mod attribute;
mod interval;
mod report;
#[cfg(test)]
mod tests;

pub use interval::ratio_interval;
pub use report::Figures;

use crate::client::Warehouse;
use crate::error::WarehouseError;
use contracts::outcomes::{Attribution, OutcomeReport};
use contracts::price::PriceBook;
use contracts::reads::{TenantScope, TimeRange};

impl Warehouse {
    /// Dollars per useful action over a range: actions that happened in it, and calls that started in it as overhead. `skipped_keys`
    /// are the keys of our own judges, whose calls are in the cost of judging. Corrections of an action, and the calls that served it,
    /// are found up to 31 days around the range. A call that served actions of two ranges counts in both.
    pub async fn outcomes(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        attribution: Attribution,
        prices: &PriceBook,
        skipped_keys: &[String],
    ) -> Result<OutcomeReport, WarehouseError> {
        let (actions, spend, feedback, pools) = tokio::try_join!(
            self.outcome_actions(scope, range),
            self.outcome_spend(scope, range, skipped_keys),
            self.outcome_feedback(scope, range),
            self.outcome_pools(scope, range),
        )?;
        let gpus = report::gpus(prices, range, &pools);
        let figures = Figures { actions, spend, feedback, range };
        Ok(OutcomeReport { gpus, ..figures.report(attribution) })
    }
}
