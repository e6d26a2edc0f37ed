//! `control-tower route …`.

use super::Work;
use super::output::{deleted, list, one};
use clap::{Args, Subcommand};
use contracts::{ModelName, TenantId};
use control::records::NewRoute;

/// What to do with routes.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// List routes, shared ones first.
    List,
    /// Create a route.
    Create(Route),
    /// Lead a route to another model.
    Update(Route),
    /// Delete a route.
    Delete {
        /// Its name.
        name: ModelName,
        /// Whose route it is; the shared one when absent.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

/// A route and where it leads.
#[derive(Debug, Args)]
pub(crate) struct Route {
    /// The name in the request's `model` field.
    name: ModelName,
    /// The model that answers.
    #[arg(long)]
    model: ModelName,
    /// Whose route it is; shared by all tenants when absent.
    #[arg(long)]
    tenant: Option<TenantId>,
}

pub(super) async fn run(command: RouteCommand, work: Work) -> anyhow::Result<()> {
    let routes = work.control.routes();
    match command {
        RouteCommand::List => list(work.json, &routes.list().await?, ["tenant", "name", "model"], |route| {
            let tenant = route.tenant.as_ref().map_or("(all)", TenantId::as_str);
            [tenant.to_owned(), route.name.to_string(), route.model.to_string()]
        }),
        RouteCommand::Create(args) => {
            let new = NewRoute { tenant: args.tenant, name: args.name, model: args.model };
            let route = routes.create(new, work.now).await?;
            one(work.json, &route, |route| format!("created route {} to {}", route.name, route.model))
        }
        RouteCommand::Update(args) => {
            let route = routes.update(args.tenant.as_ref(), &args.name, args.model).await?;
            one(work.json, &route, |route| format!("route {} leads to {} now", route.name, route.model))
        }
        RouteCommand::Delete { name, tenant } => {
            routes.delete(tenant.as_ref(), &name).await?;
            deleted(work.json, "route", name.as_str())
        }
    }
}
