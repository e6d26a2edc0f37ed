//! Actions with the calls that served them, feedback, and what calls cost: what dollars per useful action are made of.

use super::{Bind, check_range};
use crate::client::{Limits, Warehouse, within};
use crate::error::{WarehouseError, failed};
use crate::queries::read;
use contracts::reads::{TenantScope, TimeRange};
use serde::Deserialize;

/// Most pairs of action and call of one read: a month of a large tenant. More is refused, not cut.
const MOST_PAIRS: u64 = 5_000_000;

/// An action and one call that served it; without a call, `span_id` is empty and all that is of the call is empty or zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, clickhouse::Row, Deserialize)]
pub struct ActionCall {
    /// Whose.
    pub tenant_id: String,
    /// What makes it one action of the tenant.
    pub outcome_id: String,
    /// When it happened, nanoseconds since the epoch.
    pub time_ns: i64,
    /// What was done.
    pub name: String,
    /// `useful`, `not_useful` or `value`.
    pub outcome: String,
    /// Picodollars, where the outcome is a value.
    pub value: i128,
    /// Calls that were not there when it was said do not count.
    pub refuses: bool,
    /// The call's trace.
    pub trace_id: String,
    /// The call's span.
    pub span_id: String,
    /// The call's start, nanoseconds since the epoch.
    pub start_ns: i64,
    /// When the action was said, nanoseconds since the epoch.
    pub received_ns: i64,
    /// The action names the call or its trace.
    pub direct: bool,
    /// Millionths of the call that the action claims.
    pub weight: u32,
    /// `chat`, `embeddings`, …
    pub operation: String,
    /// Route.
    pub route: String,
    /// Model asked for.
    pub model: String,
    /// Prompt template.
    pub prompt_name: String,
    /// Its version.
    pub prompt_version: String,
    /// Experiment.
    pub experiment: String,
    /// Its arm.
    pub variant: String,
    /// Picodollars of the call, all attempts.
    pub calls_cost: i128,
    /// Of these, for the provider's cache.
    pub cache_cost: i128,
    /// Of these, for attempts before the last one.
    pub retries_cost: i128,
    /// Picodollars of judging the call, on top.
    pub judges_cost: i128,
}

/// What all calls of one group cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, clickhouse::Row, Deserialize)]
pub struct Spend {
    /// Whose.
    pub tenant_id: String,
    /// Route.
    pub route: String,
    /// Model asked for.
    pub model: String,
    /// Prompt template.
    pub prompt_name: String,
    /// Its version.
    pub prompt_version: String,
    /// Experiment.
    pub experiment: String,
    /// Its arm.
    pub variant: String,
    /// How many.
    pub calls: u64,
    /// Picodollars.
    pub calls_cost: i128,
    /// Picodollars of judging them.
    pub judges_cost: i128,
    /// Picodollars that those would have cost whose answers were given before.
    pub saved: i128,
}

/// Feedback on calls of one group.
#[derive(Debug, Clone, PartialEq, Default, clickhouse::Row, Deserialize)]
pub struct FeedbackSum {
    /// Whose.
    pub tenant_id: String,
    /// Route.
    pub route: String,
    /// Model asked for.
    pub model: String,
    /// Prompt template.
    pub prompt_name: String,
    /// Its version.
    pub prompt_version: String,
    /// Experiment.
    pub experiment: String,
    /// Its arm.
    pub variant: String,
    /// Whether the call is known.
    pub known: bool,
    /// How many.
    pub feedback: u64,
    /// Of these, with a score.
    pub scored: u64,
    /// Sum of the scores.
    pub score_sum: f64,
}

/// What calls cost by who answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, clickhouse::Row, Deserialize)]
pub struct PoolCost {
    /// Provider.
    pub provider: String,
    /// Model that answered.
    pub model: String,
    /// Picodollars.
    pub cost: i128,
}

impl Warehouse {
    /// The actions of a range with the calls that served them, in the order of tenant, action and the call's start.
    pub async fn outcome_actions(
        &self,
        scope: &TenantScope,
        range: TimeRange,
    ) -> Result<Vec<ActionCall>, WarehouseError> {
        let limits = Limits { result_rows: MOST_PAIRS, ..Limits::LONG };
        let query = self.read(read::OUTCOME_ACTIONS, limits).tenants(scope).range(check_range(range)?);
        self.in_turn(query.fetch_all()).await.map_err(failed("join actions to calls"))
    }

    /// What the calls of a range cost, but for those with `skipped_keys`.
    pub async fn outcome_spend(
        &self,
        scope: &TenantScope,
        range: TimeRange,
        skipped_keys: &[String],
    ) -> Result<Vec<Spend>, WarehouseError> {
        let query = self.read(read::OUTCOME_SPEND, Limits::LONG).tenants(scope).range(check_range(range)?);
        let query = query.param("skipped_keys", skipped_keys);
        self.in_turn(query.fetch_all()).await.map_err(failed("sum up what calls cost"))
    }

    /// What calls of a range cost by who answered.
    pub(crate) async fn outcome_pools(
        &self,
        scope: &TenantScope,
        range: TimeRange,
    ) -> Result<Vec<PoolCost>, WarehouseError> {
        let query = self.read(read::OUTCOME_POOLS, Limits::NARROW).tenants(scope).range(check_range(range)?);
        within(query.fetch_all()).await.map_err(failed("sum up what servers cost"))
    }

    /// The feedback of a range.
    pub async fn outcome_feedback(
        &self,
        scope: &TenantScope,
        range: TimeRange,
    ) -> Result<Vec<FeedbackSum>, WarehouseError> {
        let query =
            self.read(read::OUTCOME_FEEDBACK, Limits::NARROW).tenants(scope).range(check_range(range)?);
        within(query.fetch_all()).await.map_err(failed("sum up feedback"))
    }
}
