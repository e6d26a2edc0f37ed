//! `control-tower audit …`.

use super::output::{list, one};
use super::when::When;
use super::{Work, when};
use crate::output::say;
use clap::{Args, Subcommand};
use contracts::TenantId;
use control::records::{AuditEntry, AuditFilter};
use std::fmt::Write as _;

/// What to read of the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List changes, the latest first.
    List(List),
}

/// `control-tower audit list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those that this actor made: cli, up, system, or the id of an admin key or a user.
    #[arg(long)]
    actor: Option<String>,
    /// Only those of this action, such as delete.
    #[arg(long)]
    action: Option<String>,
    /// Only those of this kind of thing, such as plan.
    #[arg(long)]
    kind: Option<String>,
    /// Only those of things of this tenant.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Only those of the thing of this name.
    #[arg(long)]
    name: Option<String>,
    /// Not before this time: 2026-01-31 or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Only before this time.
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Only those with a lesser number: the last one of the page before.
    #[arg(long, value_name = "N")]
    cursor: Option<u64>,
    /// At most so many, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u16,
}

pub(super) async fn run(command: AuditCommand, work: Work) -> anyhow::Result<()> {
    let AuditCommand::List(args) = command;
    let filter = AuditFilter {
        actor: args.actor,
        action: args.action,
        kind: args.kind,
        tenant: args.tenant,
        name: args.name,
        since: args.since.map(|when| when.resolve(work.now)),
        until: args.until.map(|when| when.resolve(work.now)),
        cursor: args.cursor,
        limit: Some(args.limit),
    };
    let page = work.control.audit().list(&filter).await?;
    if work.json {
        return one(true, &page, |_| String::new());
    }
    list(false, &page.data, ["n", "when", "who", "did", "to", "of", "changed"], cells)?;
    if let Some(next) = page.next {
        say(&format!("more: --cursor {next}"));
    }
    Ok(())
}

fn cells(entry: &AuditEntry) -> [String; 7] {
    [
        entry.id.to_string(),
        when::shown(Some(entry.at)),
        entry.actor.clone(),
        entry.action.clone(),
        format!("{} {}", entry.kind, entry.name),
        entry.tenant.clone().unwrap_or_default(),
        changed(entry),
    ]
}

/// The fields that are not the same on both sides.
fn changed(entry: &AuditEntry) -> String {
    let (Some(before), Some(after)) = (&entry.before, &entry.after) else { return String::new() };
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return String::new() };
    let mut text = String::new();
    for (field, value) in after.iter().filter(|(field, value)| before.get(*field) != Some(*value)) {
        let old = before.get(field).map(ToString::to_string).unwrap_or_default();
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{field}: {} -> {}", cut(&old), cut(&value.to_string()));
    }
    text
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}
