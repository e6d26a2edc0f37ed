//! `control-tower plan|budget|pool|cascade|cache|guardrail|experiment …`: one implementation for every kind of policy document.

use super::output::{deleted, list, one, show};
use super::{Work, spec_file, when};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::policy::Kind;
use contracts::{PolicyName, TenantId};
use control::records::Document;
use std::path::PathBuf;

/// What to do with documents of a kind.
#[derive(Debug, Subcommand)]
pub(crate) enum DocumentCommand {
    /// List them, shared ones first.
    List {
        /// Only those that this tenant has of its own.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Show one.
    #[command(visible_alias = "show")]
    Get(Which),
    /// Write one, over what there is.
    Set {
        #[command(flatten)]
        which: Which,
        /// What it says: a TOML or JSON file, - for standard input.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Only if this revision is there; 0 for none.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
    /// Delete one that nothing refers to.
    Delete {
        #[command(flatten)]
        which: Which,
        /// Only if this revision is there.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
}

/// A document's name and owner.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its name; of a pool the model's.
    pub(super) name: PolicyName,
    /// Whose it is; shared by all tenants when absent.
    #[arg(long)]
    pub(super) tenant: Option<TenantId>,
}

pub(super) async fn run(kind: Kind, command: DocumentCommand, work: Work) -> anyhow::Result<()> {
    let documents = work.control.documents();
    match command {
        DocumentCommand::List { tenant } => {
            let found = documents.list(kind, tenant.as_ref()).await?;
            list(work.json, &found, ["tenant", "name", "revision", "changed"], cells)
        }
        DocumentCommand::Get(Which { name, tenant }) => {
            let found = documents.get(kind, tenant.as_ref(), &name).await?;
            show(work.json, &found.with_context(|| format!("{kind} {name:?} does not exist"))?)
        }
        DocumentCommand::Set { which: Which { name, tenant }, file, revision } => {
            let spec = spec_file::read(&file)?;
            let written = documents.put(kind, tenant.as_ref(), &name, &spec, revision, work.now).await?;
            one(work.json, &written, |d| format!("{kind} {} is at revision {}", d.name, d.revision))
        }
        DocumentCommand::Delete { which: Which { name, tenant }, revision } => {
            documents.delete(kind, tenant.as_ref(), &name, revision).await?;
            deleted(work.json, kind.as_str(), name.as_str())
        }
    }
}

fn cells(document: &Document) -> [String; 4] {
    [
        document.tenant.as_ref().map_or("(all)", TenantId::as_str).to_owned(),
        document.name.to_string(),
        document.revision.to_string(),
        when::shown(Some(document.updated_at)),
    ]
}
