//! `control-tower route …`.

use super::output::{deleted, list, one, show};
use super::{Work, spec_file};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::{ModelName, TenantId};
use control::records::{NewRoute, Patch, RouteChange};
use std::path::PathBuf;

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// List routes, shared ones first.
    List,
    /// Show one route.
    Show {
        /// Its name.
        name: ModelName,
        /// Whose route it is; the shared one when absent.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Create a route.
    Create(Create),
    /// Lead a route to another model, or change what else it does. What is not named stays.
    Update(Update),
    /// Delete a route.
    Delete {
        /// Its name.
        name: ModelName,
        /// Whose route it is; the shared one when absent.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

/// `control-tower route create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The name in the request's `model` field.
    name: ModelName,
    /// The model that answers.
    #[arg(long)]
    model: ModelName,
    /// Whose route it is; shared by all tenants when absent.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// What else it does (cascade, cache, guardrails, experiment, prompt, tags): a TOML or JSON file, - for standard input.
    #[arg(long, value_name = "FILE")]
    spec_file: Option<PathBuf>,
}

/// `control-tower route update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The name in the request's `model` field.
    name: ModelName,
    /// The model that answers.
    #[arg(long)]
    model: Option<ModelName>,
    /// Whose route it is; the shared one when absent.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// What else it does, in place of all that it did: a TOML or JSON file, - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "no_spec")]
    spec_file: Option<PathBuf>,
    /// Let it do nothing else.
    #[arg(long)]
    no_spec: bool,
}

pub(super) async fn run(command: RouteCommand, work: Work) -> anyhow::Result<()> {
    let routes = work.control.routes();
    match command {
        RouteCommand::List => list(work.json, &routes.list().await?, ["tenant", "name", "model"], |route| {
            let tenant = route.tenant.as_ref().map_or("(all)", TenantId::as_str);
            [tenant.to_owned(), route.name.to_string(), route.model.to_string()]
        }),
        RouteCommand::Show { name, tenant } => {
            let route = routes.get(tenant.as_ref(), &name).await?;
            show(work.json, &route.with_context(|| format!("route {name:?} does not exist"))?)
        }
        RouteCommand::Create(args) => {
            let spec = args.spec_file.as_deref().map(spec_file::parse).transpose()?;
            let new = NewRoute { tenant: args.tenant, spec, ..NewRoute::new(args.name, args.model) };
            let route = routes.create(new, work.now).await?;
            one(work.json, &route, |route| format!("created route {} to {}", route.name, route.model))
        }
        RouteCommand::Update(args) => {
            let spec = match &args.spec_file {
                Some(file) => Patch::Set(spec_file::parse(file)?),
                None if args.no_spec => Patch::Clear,
                None => Patch::Keep,
            };
            let change = RouteChange { model: args.model, spec };
            let route = routes.update(args.tenant.as_ref(), &args.name, change).await?;
            one(work.json, &route, |route| format!("route {} leads to {} now", route.name, route.model))
        }
        RouteCommand::Delete { name, tenant } => {
            routes.delete(tenant.as_ref(), &name).await?;
            deleted(work.json, "route", name.as_str())
        }
    }
}
