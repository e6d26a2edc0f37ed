//! `control-tower tenant …`.

use super::keys::patch;
use super::output::{deleted, list, one, show, yes_no};
use super::{Work, when};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::{OrganisationId, PolicyName, TenantId};
use control::records::{NewTenant, Tenant, TenantChange};

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// List tenants.
    List,
    /// Show one tenant.
    Show {
        /// Its id.
        id: TenantId,
    },
    /// Create a tenant.
    Create(Create),
    /// Change a tenant; what is not named stays.
    Update(Update),
    /// Delete a tenant that has no keys, routes or users.
    Delete {
        /// Its id.
        id: TenantId,
    },
}

/// `control-tower tenant create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its id, such as acme.
    id: TenantId,
    /// Name for people; the id when absent.
    #[arg(long)]
    name: Option<String>,
    /// Days that its telemetry is kept, 1 to 3650.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    retention_days: u16,
    /// Record metadata only, no prompts and answers.
    #[arg(long)]
    no_content: bool,
    /// The organisation that it belongs to.
    #[arg(long)]
    organisation: Option<OrganisationId>,
    /// The plan of all its keys together; no limit when absent.
    #[arg(long)]
    plan: Option<PolicyName>,
}

/// `control-tower tenant update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its id.
    id: TenantId,
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// Days that its telemetry is kept, 1 to 3650.
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u16>,
    /// Whether prompts and answers are recorded.
    #[arg(long, value_name = "BOOL")]
    capture_content: Option<bool>,
    /// True stops all its keys, false lets them work again.
    #[arg(long, value_name = "BOOL")]
    disabled: Option<bool>,
    /// The organisation that it belongs to.
    #[arg(long, conflicts_with = "no_organisation")]
    organisation: Option<OrganisationId>,
    /// Let it belong to none.
    #[arg(long)]
    no_organisation: bool,
    /// The plan of all its keys together.
    #[arg(long, conflicts_with = "no_plan")]
    plan: Option<PolicyName>,
    /// Set no limit.
    #[arg(long)]
    no_plan: bool,
}

pub(super) async fn run(command: TenantCommand, work: Work) -> anyhow::Result<()> {
    let tenants = work.control.tenants();
    match command {
        TenantCommand::List => {
            let heading =
                ["id", "name", "organisation", "plan", "retention", "content", "disabled", "created"];
            list(work.json, &tenants.list().await?, heading, cells)
        }
        TenantCommand::Show { id } => {
            let tenant = tenants.get(&id).await?.with_context(|| format!("tenant {id:?} does not exist"))?;
            show(work.json, &tenant)
        }
        TenantCommand::Create(args) => {
            let new = NewTenant {
                id: args.id,
                name: args.name,
                retention_days: args.retention_days,
                capture_content: !args.no_content,
                organisation: args.organisation,
                plan: args.plan,
            };
            let tenant = tenants.create(new, work.now).await?;
            one(work.json, &tenant, |t| format!("created tenant {}", t.id))
        }
        TenantCommand::Update(args) => {
            let change = TenantChange {
                name: args.name,
                retention_days: args.retention_days,
                capture_content: args.capture_content,
                disabled: args.disabled,
                organisation: patch(args.no_organisation, args.organisation),
                plan: patch(args.no_plan, args.plan),
            };
            let tenant = tenants.update(&args.id, change, work.now).await?;
            one(work.json, &tenant, |t| format!("changed tenant {}", t.id))
        }
        TenantCommand::Delete { id } => {
            tenants.delete(&id).await?;
            deleted(work.json, "tenant", id.as_str())
        }
    }
}

fn cells(tenant: &Tenant) -> [String; 8] {
    [
        tenant.id.to_string(),
        tenant.name.clone(),
        tenant.organisation.as_ref().map(ToString::to_string).unwrap_or_default(),
        tenant.plan.as_ref().map(ToString::to_string).unwrap_or_default(),
        format!("{} d", tenant.retention_days),
        yes_no(tenant.capture_content),
        when::shown(tenant.disabled_at),
        when::shown(Some(tenant.created_at)),
    ]
}
