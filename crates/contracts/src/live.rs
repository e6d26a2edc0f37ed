//! What gateways say of themselves at this moment: `GET /admin/v1/live`.
//!
//! A gateway answers with a [`GatewayLive`]: all of it comes from its memory, the use of budgets that several gateways share from
//! Redis. Whoever asks several of them puts their answers together in a [`Live`], in which what they share counts once.
//!
//! Times of day are milliseconds since the epoch (`…_ms` of type `i64`), durations milliseconds (`…_ms` of type `u64` or `f64`), sizes
//! bytes, money decimal US dollars as text. Counters begin at 0 with the process.

mod budget;
mod merge;
mod pool;
mod queue;
#[cfg(test)]
mod tests;

pub use budget::{BudgetKind, BudgetLive, Counted, Spending};
pub use pool::{DeploymentState, DeploymentView, LoadSample, PoolView};
pub use queue::{BandView, QueueView, Refusals, TenantView};

use crate::{KeyId, ModelName, PolicyName, TenantId, Usd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{Add, Sub};

/// Where it is read, at a gateway and at the admin API.
pub const PATH: &str = "/admin/v1/live";

/// Several gateways at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// When they were asked.
    pub at_ms: i64,
    /// Each of them, in the order in which they are configured.
    pub gateways: Vec<GatewayAnswer>,
    /// What went through all that answered.
    pub traffic: Traffic,
    /// The budgets of all that answered; what they share counts once. Plans that a gateway left out are not counted for it.
    pub budgets: Vec<BudgetLive>,
    /// The caches of all that answered together.
    pub cache: CacheLive,
}

/// What one gateway said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayAnswer {
    /// Where it was asked.
    pub url: String,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Box<GatewayLive>>,
}

/// A budget's use: `GET /admin/v1/budgets/{name}/use`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUse {
    /// The budget; absent when no gateway that knows it answers.
    pub budget: Option<BudgetLive>,
    /// Gateways that do not answer. What they have of their own is not counted.
    pub silent: Vec<Silent>,
}

/// A gateway that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// Where it was asked.
    pub url: String,
    /// Why it did not answer.
    pub error: String,
}

/// A pool at each gateway: `GET /admin/v1/pools/{name}/health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolHealth {
    /// Each of them, in the order in which they are configured.
    pub gateways: Vec<GatewayPool>,
}

/// A pool at one gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayPool {
    /// Where it was asked.
    pub url: String,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The pool; absent also when the gateway has not read its policy yet, or cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolLive>,
}

/// A gateway at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayLive {
    /// `service.instance.id` of its spans.
    pub instance: String,
    /// Its software's version.
    pub version: String,
    /// When it was asked.
    pub at_ms: i64,
    /// Since its start.
    pub up_ms: u64,
    /// The policy that it goes by.
    pub policy: PolicyLive,
    /// What went through it.
    pub traffic: Traffic,
    /// The models that have a pool, by name.
    pub pools: Vec<PoolLive>,
    /// Budgets, and dollars of plans that have been used, each in its current window; of plans, where there are very many, those with
    /// the most dollars spent and held.
    pub budgets: Vec<BudgetLive>,
    /// Rate plans of tenants and keys that called lately, those with most calls running first.
    pub rates: Vec<RateLive>,
    /// How many of them are left out, where there are very many.
    pub rates_omitted: u64,
    /// Answers that may be given again.
    pub cache: CacheLive,
    /// Streams that clients may come back to.
    pub streams: StreamsLive,
    /// Addresses that fail to authenticate.
    pub flood: FloodLive,
    /// Records that wait for the collector.
    pub spool: SpoolLive,
}

/// The policy in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLive {
    /// The version of the control database that it was read at.
    pub version: u64,
    /// Since that was last seen to have nothing newer.
    pub age_ms: u64,
    /// Why it could not be asked the last time.
    pub error: Option<String>,
    /// Routes.
    pub routes: u64,
    /// Prompts that requests and routes may name.
    pub prompts: Vec<PromptLive>,
    /// Experiments.
    pub experiments: Vec<NamedLive>,
    /// Policies that cannot be read, and why: what they govern is refused.
    pub unreadable: Vec<String>,
}

/// A policy by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamedLive {
    /// Whose it is; absent when shared by all tenants.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: PolicyName,
    /// Grows with each change.
    pub revision: u64,
}

/// A prompt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PromptLive {
    /// Whose it is; absent when shared by all tenants.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: PolicyName,
    /// The versions that its labels stand on.
    pub labels: BTreeMap<String, u64>,
}

/// What went through a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Calls under way: authenticated and not recorded yet.
    pub in_flight: u64,
    /// Since the start of the process.
    pub since_start: Totals,
    /// In the last ten seconds, or since the start.
    pub last_10_s: Lately,
    /// In the last minute, or since the start.
    pub last_minute: Lately,
    /// Since midnight UTC, or since the start when that was later.
    pub today: Lately,
}

/// Sums over calls that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Calls.
    pub calls: u64,
    /// Those of them that did not end well: refused, failed, or left by their client.
    pub failed: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// What they cost.
    pub cost: Usd,
}

/// What ended in a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lately {
    /// How long the time is.
    pub over_ms: u64,
    /// What ended in it.
    #[serde(flatten)]
    pub totals: Totals,
}

/// A model's pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolLive {
    /// The model.
    pub model: ModelName,
    /// The pool's revision.
    pub revision: u64,
    /// How its deployments do.
    pub health: PoolView,
    /// What waits before it.
    pub queue: QueueView,
}

/// Where a tenant or a key stands under its rate plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLive {
    /// The tenant, or the key's tenant.
    pub tenant: Option<TenantId>,
    /// The key; absent when all keys of the tenant together are meant.
    pub key: Option<KeyId>,
    /// The plan.
    pub plan: PolicyName,
    /// Calls that run.
    pub running: u32,
    /// Requests, where they are limited: the tighter of second and minute.
    pub requests: Option<LevelLive>,
    /// Tokens, where they are limited.
    pub tokens: Option<LevelLive>,
}

/// How full a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelLive {
    /// Its size.
    pub limit: u64,
    /// What may be used at once.
    pub remaining: u64,
    /// Until all of it may be used at once, if nothing is until then.
    pub reset_ms: u64,
}

/// Answers that may be given again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheLive {
    /// Calls answered by what the same call brought before.
    pub hits_exact: u64,
    /// By what one of the same meaning brought.
    pub hits_semantic: u64,
    /// Calls that were looked up in vain.
    pub misses: u64,
    /// Of the hits those that waited for the same call under way.
    pub waited: u64,
    /// Similar questions that were held apart.
    pub vetoed: u64,
    /// Answers that had to go for others.
    pub evicted: u64,
    /// Answers held, those known from other gateways included.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Most bytes that may be held.
    pub max_bytes: u64,
    /// What hits would have cost.
    pub saved: Usd,
    /// What is held for whom, those with the most bytes first.
    pub shelves: Vec<ShelfLive>,
    /// How many of these are left out, where there are very many.
    pub shelves_omitted: u64,
}

/// A tenant's answers on a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShelfLive {
    /// Whose.
    pub tenant: TenantId,
    /// The name in `model`.
    pub route: String,
    /// Answers.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Streams that clients may come back to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsLive {
    /// Streams kept.
    pub kept: u64,
    /// Those of them that still go on.
    pub running: u64,
    /// Bytes kept.
    pub bytes: u64,
    /// Most bytes that may be kept.
    pub max_bytes: u64,
}

/// Addresses that fail to authenticate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloodLive {
    /// Addresses with failures that are not forgotten yet; of IPv6 networks of 64 bits.
    pub addresses: u64,
    /// Those of them that have to wait.
    pub held_up: u64,
    /// Most addresses that can be remembered.
    pub capacity: u64,
}

/// Records that wait for the collector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolLive {
    /// Bytes of records that the collector has not accepted.
    pub pending_bytes: u64,
    /// How long the oldest of them has waited, to within seconds.
    pub oldest_ms: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Most of them.
    pub max_bytes: u64,
    /// Records dropped because there was no room.
    pub dropped: u64,
}

impl Totals {
    /// Tokens in and out.
    pub const fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            failed: self.failed + other.failed,
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            cost: self.cost + other.cost,
        }
    }
}

impl Sub for Totals {
    type Output = Self;

    /// What came since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            failed: self.failed.saturating_sub(earlier.failed),
            input_tokens: self.input_tokens.saturating_sub(earlier.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(earlier.output_tokens),
            cost: self.cost - earlier.cost,
        }
    }
}

impl Lately {
    /// `count` a second, for people to look at.
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    pub fn a_second(&self, count: u64) -> f64 {
        if self.over_ms == 0 { 0.0 } else { count as f64 * 1_000.0 / self.over_ms as f64 }
    }

    /// What is spent in a minute at this pace.
    pub fn cost_a_minute(&self) -> Usd {
        match i128::from(self.over_ms) {
            0 => Usd::ZERO,
            over => Usd::from_picos(self.totals.cost.picos() * 60_000 / over),
        }
    }
}

impl CacheLive {
    /// Calls answered from it.
    pub const fn hits(&self) -> u64 {
        self.hits_exact + self.hits_semantic
    }

    /// The share of calls that were looked up and answered from it, 0 to 1; `None` when none was looked up.
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    pub fn hit_rate(&self) -> Option<f64> {
        let all = self.hits() + self.misses;
        (all > 0).then(|| self.hits() as f64 / all as f64)
    }
}
