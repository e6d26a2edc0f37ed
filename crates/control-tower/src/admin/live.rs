//! `control-tower budget use` and `control-tower pool health`: what running gateways say, through the console or from one of them.

use super::output::print_json;
use crate::output::{fail, say};
use crate::watch::{DEFAULT_DIR, WIDTH, Whom};
use anyhow::ensure;
use clap::Args;
use contracts::PolicyName;
use contracts::live::{BudgetKind, BudgetLive, GatewayPool, Live};
use std::path::Path;
use top::Pane;

/// What to show, and who is asked.
#[derive(Debug, Args)]
pub(crate) struct LiveArgs {
    /// Only the one of this name; of a pool the model's.
    name: Option<PolicyName>,
    #[command(flatten)]
    whom: Whom,
}

/// Prints budgets with their use. What several gateways share is there once.
pub(super) async fn budgets(args: &LiveArgs, data_dir: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let mut live = ask(args, data_dir).await?;
    let is_meant = |budget: &BudgetLive| {
        args.name.as_ref().is_none_or(|name| budget.kind == BudgetKind::Budget && budget.name == *name)
    };
    live.budgets.retain(is_meant);
    if let Some(name) = &args.name {
        ensure!(!live.budgets.is_empty(), "budget {name:?} is known to no gateway that answers");
    }
    if json {
        return print_json(&live.budgets);
    }
    for line in top::plain(&live, Pane::Budgets, WIDTH) {
        say(&line);
    }
    Ok(())
}

/// Prints deployments and queues. Breakers and queues are each gateway's own, so each gateway's are there.
pub(super) async fn pools(args: &LiveArgs, data_dir: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let mut live = ask(args, data_dir).await?;
    for gateway in live.gateways.iter_mut().filter_map(|answer| answer.live.as_deref_mut()) {
        gateway
            .pools
            .retain(|pool| args.name.as_ref().is_none_or(|name| pool.model.as_str() == name.as_str()));
    }
    if let Some(name) = &args.name {
        let is_known = live.answered().any(|gateway| !gateway.pools.is_empty());
        ensure!(is_known, "pool {name:?} is known to no gateway that answers");
    }
    if json {
        let mut pools: Vec<GatewayPool> = Vec::new();
        for answer in live.gateways {
            let (url, of_gateway) = (answer.url, answer.live.map(|live| live.pools).unwrap_or_default());
            pools.extend(of_gateway.into_iter().map(|pool| GatewayPool {
                url: url.clone(),
                error: None,
                pool: Some(pool),
            }));
            pools.extend(answer.error.map(|error| GatewayPool { url, error: Some(error), pool: None }));
        }
        return print_json(&pools);
    }
    for pane in [Pane::Pools, Pane::Queues] {
        for line in top::plain(&live, pane, WIDTH) {
            say(&line);
        }
    }
    Ok(())
}

/// Asks; who does not answer is named beside.
async fn ask(args: &LiveArgs, data_dir: Option<&Path>) -> anyhow::Result<Live> {
    let watcher = args.whom.watcher(data_dir.unwrap_or(Path::new(DEFAULT_DIR)))?;
    let live = watcher.look().await.map_err(|error| anyhow::anyhow!("{}: {error}", watcher.source()))?;
    for answer in &live.gateways {
        if let Some(error) = &answer.error {
            fail(&format!("gateway {} does not answer: {error}", answer.url));
        }
    }
    ensure!(live.answered().next().is_some(), "no gateway answers");
    Ok(live)
}
