//! `control-tower prompt …`.

use super::output::{deleted, list, one, show};
use super::{Work, spec_file};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::policy::Selector;
use contracts::{PolicyName, TenantId};
use control::records::Prompt;
use std::path::PathBuf;

/// What to do with prompts.
#[derive(Debug, Subcommand)]
pub(crate) enum PromptCommand {
    /// List prompts, their versions and labels, shared ones first.
    List {
        /// Only those that this tenant has of its own.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Show a prompt, or one of its versions.
    #[command(disable_version_flag = true)]
    Show {
        #[command(flatten)]
        which: Which,
        /// The version.
        #[arg(long, value_name = "N", conflicts_with = "label")]
        version: Option<u64>,
        /// The version that this label stands on.
        #[arg(long)]
        label: Option<String>,
    },
    /// Add a version; the first one makes the prompt.
    Create {
        #[command(flatten)]
        which: Which,
        /// What it says: a TOML or JSON file, - for standard input.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Put this label on it at once.
        #[arg(long)]
        label: Option<String>,
    },
    /// Put a label on a version, wherever it stood before.
    #[command(disable_version_flag = true)]
    Label {
        #[command(flatten)]
        which: Which,
        /// The label, such as production or staging.
        label: String,
        /// The version.
        #[arg(long, value_name = "N")]
        version: u64,
    },
    /// Take a label away that nothing refers to.
    Unlabel {
        #[command(flatten)]
        which: Which,
        /// The label.
        label: String,
    },
    /// Delete a version that no label stands on and nothing refers to.
    #[command(disable_version_flag = true)]
    Delete {
        #[command(flatten)]
        which: Which,
        /// The version.
        #[arg(long, value_name = "N")]
        version: u64,
    },
}

/// A prompt's name and owner.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its name.
    name: PolicyName,
    /// Whose it is; shared by all tenants when absent.
    #[arg(long)]
    tenant: Option<TenantId>,
}

pub(super) async fn run(command: PromptCommand, work: Work) -> anyhow::Result<()> {
    let prompts = work.control.prompts();
    match command {
        PromptCommand::List { tenant } => {
            let found = prompts.list(tenant.as_ref()).await?;
            list(work.json, &found, ["tenant", "name", "versions", "labels"], cells)
        }
        PromptCommand::Show { which: Which { name, tenant }, version, label } => {
            let selector = version.map(Selector::Version).or(label.as_deref().map(Selector::Label));
            let missing = || format!("prompt {name:?} does not exist");
            match selector {
                None => show(work.json, &prompts.get(tenant.as_ref(), &name).await?.with_context(missing)?),
                Some(selector) => {
                    let found = prompts.version(tenant.as_ref(), &name, selector).await?;
                    show(work.json, &found.with_context(|| format!("{}, or not in that version", missing()))?)
                }
            }
        }
        PromptCommand::Create { which: Which { name, tenant }, file, label } => {
            let spec = spec_file::read(&file)?;
            let label = label.as_deref();
            let created = prompts.create_labelled(tenant.as_ref(), &name, spec, label, work.now).await?;
            one(work.json, &created, |v| format!("created version {} of prompt {}", v.version, v.name))
        }
        PromptCommand::Label { which: Which { name, tenant }, label, version } => {
            let prompt = prompts.set_label(tenant.as_ref(), &name, &label, version).await?;
            one(work.json, &prompt, |p| {
                format!("{label} stands on version {version} of prompt {} now", p.name)
            })
        }
        PromptCommand::Unlabel { which: Which { name, tenant }, label } => {
            prompts.delete_label(tenant.as_ref(), &name, &label).await?;
            deleted(work.json, "label", &label)
        }
        PromptCommand::Delete { which: Which { name, tenant }, version } => {
            prompts.delete_version(tenant.as_ref(), &name, version, work.now).await?;
            deleted(work.json, "prompt", &format!("{name}@{version}"))
        }
    }
}

fn cells(prompt: &Prompt) -> [String; 4] {
    let labels: Vec<String> =
        prompt.labels.iter().map(|(label, version)| format!("{label}={version}")).collect();
    let versions = match (prompt.versions.first(), prompt.versions.last()) {
        (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
        (Some(only), _) => only.to_string(),
        (None, _) => String::new(),
    };
    [
        prompt.tenant.as_ref().map_or("(all)", TenantId::as_str).to_owned(),
        prompt.name.to_string(),
        versions,
        labels.join(","),
    ]
}
