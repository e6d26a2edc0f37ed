//! The first start: a tenant with a key, an admin, prices, and models to talk to. Later starts find what is there.

use super::bootstrap::ClickHouse;
use super::plan::Plan;
use super::{Bootstrap, Pool};
use crate::config::TowerConfig;
use anyhow::Context;
use contracts::price::ModelPrice;
use contracts::{ModelName, ProviderId, TenantId, Timestamp};
use control::records::{
    NewApiKey, NewModel, NewProvider, NewTenant, NewUser, ProviderChange, Role, UserChange,
};
use control::{Actor, Control};
use runtime::Clock;

/// Id of the first tenant.
const TENANT: &str = "default";
/// Name of the first user.
const USER: &str = "admin";
/// Name of the embedded engine's user that may only read.
const READER: &str = "control_tower_reader";
/// Id of the simulated provider.
const SIM: &str = "sim";

/// Finds or makes everything that a tower needs before its roles start.
pub(crate) async fn prepare(
    plan: &Plan,
    config: &TowerConfig,
    clock: &Clock,
) -> anyhow::Result<(Bootstrap, Pool)> {
    let control =
        Control::open(&plan.control_url).await.context("control.url: cannot open the control database")?;
    let control = control.as_actor(Actor::up());
    let now = clock.now();
    let mut bootstrap = match Bootstrap::read(&plan.dir)? {
        Some(bootstrap) => bootstrap,
        None => credentials(&control, now).await?,
    };
    // A tower that was made before there were judges gets their key now.
    if bootstrap.evaluator_key.is_empty() {
        let tenant: TenantId = bootstrap.tenant_id.parse()?;
        bootstrap.evaluator_key = control.keys().create(NewApiKey::new(tenant, "judges"), now).await?.secret;
    }
    prices(&control).await?;
    let pool = pool(&control, plan, config, now).await?;
    control.close().await;
    Ok((addressed(bootstrap, plan, config)?, pool))
}

/// The same credentials at this start's addresses.
fn addressed(bootstrap: Bootstrap, plan: &Plan, config: &TowerConfig) -> anyhow::Result<Bootstrap> {
    // Of the embedded engine a password is made once; a server of somebody else's has those of the configuration.
    let password = |configured: &str, kept: &str| match (&plan.clickhouse_url, configured, kept) {
        (None, "", "") => control::secrets::random_hex::<24>(),
        (None, "", kept) => Ok(kept.to_owned()),
        (_, configured, _) => Ok(configured.to_owned()),
    };
    let (kept, store) = (&bootstrap.clickhouse, &config.store);
    let reader_user = match (&plan.clickhouse_url, &store.reader_user) {
        (_, Some(user)) => user.clone(),
        (None, None) => READER.to_owned(),
        (Some(_), None) => String::new(),
    };
    let (password, reader_password) = (
        password(&store.password, &kept.password)?,
        password(&store.reader_password, &kept.reader_password)?,
    );
    let embedded = || format!("http://127.0.0.1:{}", plan.clickhouse_http);
    Ok(Bootstrap {
        gateway_url: Plan::url(plan.gateway),
        console_url: Plan::url(plan.console),
        otlp_grpc_url: Plan::url(plan.otlp_grpc),
        otlp_http_url: Plan::url(plan.otlp_http),
        evaluator_url: Plan::url(plan.evaluator),
        clickhouse: ClickHouse {
            url: plan.clickhouse_url.clone().unwrap_or_else(embedded),
            user: store.user.clone(),
            password,
            reader_user,
            reader_password,
            database: store.database.clone(),
        },
        ..bootstrap
    })
}

/// A tenant with a key, an admin key, and a user for the console. Repeats what a start that broke off has left undone.
async fn credentials(control: &Control, now: Timestamp) -> anyhow::Result<Bootstrap> {
    let tenant: TenantId = TENANT.parse()?;
    if control.tenants().get(&tenant).await?.is_none() {
        control.tenants().create(NewTenant::new(tenant.clone()), now).await?;
    }
    let key = control.keys().create(NewApiKey::new(tenant, "first key"), now).await?;
    let admin = control.admin_keys().create("first admin key", now).await?;
    let password = control::secrets::random_hex::<12>()?;
    match control.users().find_by_username(USER).await? {
        None => {
            let user = NewUser {
                username: USER.to_owned(),
                password: password.clone(),
                role: Role::Admin,
                tenants: None,
            };
            control.users().create(user, now).await?;
        }
        // Its password is in no file any more.
        Some(user) => {
            let change = UserChange { password: Some(password.clone()), ..UserChange::default() };
            control.users().update(&user.id, change).await?;
        }
    }
    let nowhere = String::new;
    Ok(Bootstrap {
        gateway_url: nowhere(),
        console_url: nowhere(),
        otlp_grpc_url: nowhere(),
        otlp_http_url: nowhere(),
        evaluator_url: nowhere(),
        evaluator_key: nowhere(),
        clickhouse: ClickHouse::default(),
        admin_key: admin.secret,
        tenant_id: TENANT.to_owned(),
        tenant_key: key.secret,
        console_user: USER.to_owned(),
        console_password: password,
    })
}

/// Seeds the price book when it is empty.
async fn prices(control: &Control) -> anyhow::Result<()> {
    if control.prices().list().await?.is_empty() {
        let mut entries = control::prices::seed_entries()?;
        entries.extend(simulated_prices()?);
        control.prices().put(entries).await?;
    }
    Ok(())
}

/// What the simulated models cost.
fn simulated_prices() -> anyhow::Result<Vec<ModelPrice>> {
    serde_json::from_str(include_str!("sim_prices.json")).context("sim_prices.json")
}

/// Whether the simulated pool runs: when no provider is configured, and from then on as long as it is one of them.
async fn pool(control: &Control, plan: &Plan, config: &TowerConfig, now: Timestamp) -> anyhow::Result<Pool> {
    let providers = control.providers().list().await?;
    let sim: ProviderId = SIM.parse()?;
    let base_url = plan.sim_base_url();
    match providers.iter().find(|provider| provider.id == sim) {
        Some(provider) => {
            if provider.base_url != base_url {
                let change = ProviderChange { base_url: Some(base_url), ..ProviderChange::default() };
                control.providers().update(&sim, change).await?;
            }
        }
        None if !providers.is_empty() => return Ok(Pool::Real),
        None => {
            let new = NewProvider::new(sim.clone(), base_url);
            control.providers().create(new, now).await?;
        }
    }
    for model in sim::advertised(&config.sim)? {
        let name: ModelName = model.name.parse()?;
        if control.models().get(&name).await?.is_none() {
            let new = NewModel {
                name,
                provider: sim.clone(),
                upstream_model: None,
                price_as: None,
                tier: Some(model.tier),
            };
            control.models().create(new, now).await?;
        }
    }
    Ok(Pool::Simulated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::price::{PriceBook, ServiceTier};
    use contracts::{TokenUsage, Usd};

    #[test]
    fn every_simulated_model_has_a_price() {
        let book = PriceBook::new("test", simulated_prices().unwrap()).unwrap();
        let usage = TokenUsage { input: 1000, output: 100, ..TokenUsage::default() };
        for model in sim::advertised(&sim::Config::default()).unwrap() {
            let cost = book.cost(SIM, &model.name, ServiceTier::Standard, &usage, Timestamp::default());
            assert!(cost.is_some_and(|c| c.total > Usd::ZERO), "{} has no price", model.name);
        }
    }
}
