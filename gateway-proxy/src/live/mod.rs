//! `GET /admin/v1/live`: what goes on in this gateway, for whoever holds an admin key.
//!
//! It is read from memory when somebody asks; on the way of a call nothing is done for it but to count. Who asks takes turns, so that
//! many who watch cost no more than one at a time. Only what other gateways have spent of a shared budget comes from Redis.

mod budgets;
mod history;

pub(crate) use history::tick;

use crate::app::App;
use crate::errors::Failure;
use crate::identity::Identity;
use crate::respond::{self, Body};
use admission::rates::{Standing, Subject, Window};
use contracts::live::{
    CacheLive, FloodLive, GatewayLive, LevelLive, NamedLive, PolicyLive, PoolLive, PromptLive, RateLive,
    ShelfLive, SpoolLive, StreamsLive,
};
use contracts::policy::{Held, KeyPolicy, Library, Snapshot, TenantPolicy};
use contracts::{KeyId, TenantId};
use history::History;
use http::{Response, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) use contracts::live::PATH;

/// Most rows of a list that grows with tenants and routes.
const MOST_ROWS: usize = 500;

/// What is kept to answer.
#[derive(Debug)]
pub(crate) struct Live {
    instance: String,
    history: Mutex<History>,
    turn: tokio::sync::Mutex<()>,
}

impl Live {
    /// Of the gateway named `instance`, which has done nothing yet.
    pub(crate) fn new(instance: &str, now: Instant, at: contracts::Timestamp) -> Self {
        let history = Mutex::new(History::new(now, at));
        Self { instance: instance.to_owned(), history, turn: tokio::sync::Mutex::default() }
    }
}

/// The tenants and keys of a snapshot by their ids.
struct People<'a> {
    tenants: HashMap<&'a TenantId, &'a Arc<TenantPolicy>>,
    keys: HashMap<&'a KeyId, &'a Arc<KeyPolicy>>,
}

impl<'a> People<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let keys = snapshot.keys.values();
        Self {
            tenants: keys.clone().map(|key| (&key.tenant.id, &key.tenant)).collect(),
            keys: keys.map(|key| (&key.id, key)).collect(),
        }
    }
}

/// Everything, as JSON.
pub(crate) async fn answer(
    app: &App,
    snapshot: &Arc<Snapshot>,
    identity: &Identity,
) -> Result<Response<Body>, Failure> {
    let _turn = app.live.turn.lock().await;
    let live = read(app, snapshot, identity).await;
    // Numbers and strings always serialise.
    let json = serde_json::to_vec(&live).map_err(|error| Failure::BadProvider(error.to_string()))?;
    Ok(respond::json(StatusCode::OK, json, identity))
}

async fn read(app: &App, snapshot: &Arc<Snapshot>, identity: &Identity) -> GatewayLive {
    let (now, at) = (Instant::now(), identity.started);
    let budgets = budgets::read(app.governor.ledger(), snapshot, at).await;
    let (traffic, up) = history::traffic(app, now, at);
    let people = People::of(snapshot);
    let (rates, rates_omitted) = rates(app, &people, now);
    GatewayLive {
        instance: app.live.instance.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms: at.unix_millis(),
        up_ms: ms(up),
        policy: policy(app, snapshot),
        traffic,
        pools: pools(app, snapshot, now),
        budgets,
        rates,
        rates_omitted,
        cache: cache(app),
        streams: streams(app),
        flood: flood(app),
        spool: spool(app),
    }
}

fn pools(app: &App, snapshot: &Arc<Snapshot>, now: Instant) -> Vec<PoolLive> {
    let known = app.pools.known(&app.policy, snapshot);
    let pools = known.all().map(|(model, pool)| PoolLive {
        model: model.clone(),
        revision: pool.policy.revision,
        health: pool.pool.view(now.into_std()),
        queue: pool.queue.view(),
    });
    let mut pools: Vec<PoolLive> = pools.collect();
    pools.sort_by(|one, other| one.model.cmp(&other.model));
    pools
}

fn policy(app: &App, snapshot: &Snapshot) -> PolicyLive {
    let status = app.policy.status();
    let of_tenants: usize = snapshot.tenant_routes.values().map(HashMap::len).sum();
    let mut prompts: Vec<PromptLive> = snapshot
        .prompts
        .iter()
        .map(|(tenant, name, prompt)| {
            let labels = prompt.labels().map(|(label, version)| (label.to_owned(), version)).collect();
            PromptLive { tenant: tenant.cloned(), name: name.clone(), labels }
        })
        .collect();
    prompts.sort();
    let experiments = snapshot.experiments.iter().filter_map(|held| held.as_ref().ok());
    let mut experiments: Vec<NamedLive> = experiments
        .map(|experiment| NamedLive {
            tenant: experiment.tenant.clone(),
            name: experiment.name.clone(),
            revision: experiment.revision,
        })
        .collect();
    experiments.sort();
    let mut unreadable = Vec::new();
    unreadable_of(&snapshot.plans, &mut unreadable);
    unreadable_of(&snapshot.cascades, &mut unreadable);
    unreadable_of(&snapshot.caches, &mut unreadable);
    unreadable_of(&snapshot.guardrails, &mut unreadable);
    unreadable_of(&snapshot.experiments, &mut unreadable);
    unreadable.extend(snapshot.pools.values().filter_map(why_unreadable));
    unreadable.extend(snapshot.budgets.iter().filter_map(why_unreadable));
    unreadable.sort();
    PolicyLive {
        version: snapshot.version,
        age_ms: status.as_ref().map_or(0, |status| ms(status.age)),
        error: status.and_then(|status| status.last_error),
        routes: (snapshot.shared_routes.len() + of_tenants) as u64,
        prompts,
        experiments,
        unreadable,
    }
}

fn unreadable_of<D>(library: &Library<D>, to: &mut Vec<String>) {
    to.extend(library.iter().filter_map(why_unreadable));
}

fn why_unreadable<D>(held: &Held<D>) -> Option<String> {
    held.as_ref().err().map(ToString::to_string)
}

/// Where everybody stands who called lately, and how many more there are.
fn rates(app: &App, people: &People<'_>, now: Instant) -> (Vec<RateLive>, u64) {
    let mut rates: Vec<RateLive> = Vec::new();
    for (subject, plan, standing, running) in app.governor.rates().all(now) {
        let Standing { requests, tokens } = standing;
        let (tenant, key) = match subject {
            Subject::Tenant(tenant) => (Some(tenant), None),
            Subject::Key(key) => (people.keys.get(&key).map(|key| key.tenant.id.clone()), Some(key)),
        };
        rates.push(RateLive {
            tenant,
            key,
            plan: plan.name.clone(),
            running,
            requests: requests.map(level),
            tokens: tokens.map(level),
        });
    }
    rates.sort_by(|one, other| {
        let by_name = || (&one.tenant, &one.key).cmp(&(&other.tenant, &other.key));
        other.running.cmp(&one.running).then_with(by_name)
    });
    let omitted = cut(&mut rates);
    (rates, omitted)
}

fn level(window: Window) -> LevelLive {
    LevelLive { limit: window.limit, remaining: window.remaining, reset_ms: ms(window.reset) }
}

fn cache(app: &App) -> CacheLive {
    let usage = app.answers.cache.usage();
    let shelves = app.answers.cache.shelves().into_iter().map(|shelf| ShelfLive {
        tenant: shelf.tenant,
        route: shelf.route,
        entries: shelf.entries,
        bytes: shelf.bytes,
    });
    let mut shelves: Vec<ShelfLive> = shelves.collect();
    shelves.sort_by(|one, other| {
        let by_name = || (&one.tenant, &one.route).cmp(&(&other.tenant, &other.route));
        other.bytes.cmp(&one.bytes).then_with(by_name)
    });
    let shelves_omitted = cut(&mut shelves);
    CacheLive {
        hits_exact: usage.hits_exact,
        hits_semantic: usage.hits_semantic,
        misses: usage.misses,
        waited: usage.waited,
        vetoed: usage.vetoed,
        evicted: usage.evicted,
        entries: usage.entries,
        bytes: usage.bytes,
        max_bytes: app.answers.cache.max_bytes() as u64,
        saved: usage.saved,
        shelves,
        shelves_omitted,
    }
}

/// Leaves as many rows as may be shown; says how many it took away.
fn cut<T>(rows: &mut Vec<T>) -> u64 {
    let omitted = rows.len().saturating_sub(MOST_ROWS);
    rows.truncate(MOST_ROWS);
    omitted as u64
}

fn streams(app: &App) -> StreamsLive {
    let (kept, running, bytes) = app.streams.count();
    let max_bytes = app.streams.max_bytes() as u64;
    StreamsLive { kept: kept as u64, running: running as u64, bytes: bytes as u64, max_bytes }
}

fn flood(app: &App) -> FloodLive {
    let view = app.governor.flood.view();
    FloodLive {
        addresses: view.addresses as u64,
        held_up: view.held_up as u64,
        capacity: view.capacity as u64,
    }
}

fn spool(app: &App) -> SpoolLive {
    let stats = app.recorder.stats();
    SpoolLive {
        pending_bytes: stats.pending_bytes,
        oldest_ms: ms(stats.oldest),
        bytes: stats.bytes,
        max_bytes: stats.max_bytes,
        dropped: stats.dropped,
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
