//! `control-tower model …`.

use super::Work;
use super::keys::patch;
use super::output::{deleted, list, one, show};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::{ModelName, ProviderId};
use control::records::{ModelChange, NewModel};

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// List models.
    List,
    /// Show one model.
    Show {
        /// Its name.
        name: ModelName,
    },
    /// Create a model.
    Create(Create),
    /// Change a model; what is not named stays.
    Update(Update),
    /// Delete a model that no route leads to.
    Delete {
        /// Its name.
        name: ModelName,
    },
}

/// `control-tower model create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The name that clients ask for, such as gpt-4o-mini.
    name: ModelName,
    /// Where it is served.
    #[arg(long)]
    provider: ProviderId,
    /// The name that the provider knows it by; the same when absent.
    #[arg(long, value_name = "NAME")]
    upstream_model: Option<String>,
    /// Its name in the price book; what the provider knows it by when absent.
    #[arg(long, value_name = "NAME")]
    price_as: Option<String>,
    /// Its place in the pool: local, mid or premium by convention; premium when absent.
    #[arg(long)]
    tier: Option<String>,
}

/// `control-tower model update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its name.
    name: ModelName,
    /// Where it is served.
    #[arg(long)]
    provider: Option<ProviderId>,
    /// The name that the provider knows it by.
    #[arg(long, value_name = "NAME")]
    upstream_model: Option<String>,
    /// Its name in the price book.
    #[arg(long, value_name = "NAME", conflicts_with = "no_price_as")]
    price_as: Option<String>,
    /// Price it by the name that the provider knows it by.
    #[arg(long)]
    no_price_as: bool,
    /// Its place in the pool.
    #[arg(long)]
    tier: Option<String>,
}

pub(super) async fn run(command: ModelCommand, work: Work) -> anyhow::Result<()> {
    let models = work.control.models();
    match command {
        ModelCommand::List => {
            let heading = ["name", "provider", "upstream model", "priced as", "tier"];
            list(work.json, &models.list().await?, heading, |m| {
                let priced = m.price_as.as_ref().unwrap_or(&m.upstream_model).clone();
                [m.name.to_string(), m.provider.to_string(), m.upstream_model.clone(), priced, m.tier.clone()]
            })
        }
        ModelCommand::Show { name } => {
            let model = models.get(&name).await?.with_context(|| format!("model {name:?} does not exist"))?;
            show(work.json, &model)
        }
        ModelCommand::Create(args) => {
            let new = NewModel {
                name: args.name,
                provider: args.provider,
                upstream_model: args.upstream_model,
                price_as: args.price_as,
                tier: args.tier,
            };
            let model = models.create(new, work.now).await?;
            one(work.json, &model, |m| format!("created model {} at {}", m.name, m.provider))
        }
        ModelCommand::Update(args) => {
            let change = ModelChange {
                provider: args.provider,
                upstream_model: args.upstream_model,
                price_as: patch(args.no_price_as, args.price_as),
                tier: args.tier,
            };
            let model = models.update(&args.name, change).await?;
            one(work.json, &model, |m| format!("changed model {}", m.name))
        }
        ModelCommand::Delete { name } => {
            models.delete(&name).await?;
            deleted(work.json, "model", name.as_str())
        }
    }
}
