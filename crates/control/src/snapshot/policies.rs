//! From documents and prompts to what a snapshot holds of them.

use super::kept::{Kept, Stored};
use super::{Effect, Problem};
use crate::repositories::{DocumentRow, MeasuredRow, Noted, PromptRow};
use contracts::policy::experiment::Measured;
use contracts::policy::{
    ByReach, Document, Held, Kind, Library, Named, Prompts, Reach, Reaching, Unreadable, spec,
};
use contracts::{ModelName, PolicyName, TenantId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Versions of a prompt that can be asked for by their number, the latest first, beside those that a label or a policy stands on.
const LATEST_VERSIONS: usize = 20;

/// Everything of this part of a snapshot.
#[derive(Default)]
pub(super) struct Policies {
    pub(super) plans: Library<spec::Plan>,
    pub(super) budgets: ByReach<spec::Budget>,
    pub(super) pools: HashMap<ModelName, Held<spec::Pool>>,
    pub(super) cascades: Library<spec::Cascade>,
    pub(super) caches: Library<spec::Cache>,
    pub(super) guardrails: Library<spec::Guardrail>,
    pub(super) experiments: Library<spec::Experiment>,
    pub(super) prompts: Prompts<spec::Prompt>,
}

/// Builds it. What cannot be read becomes a problem, and stands as unreadable where it belongs.
pub(super) fn build(
    documents: &[DocumentRow],
    prompts: &[PromptRow],
    references: &[Noted],
    kept: &Kept,
    problems: &mut Vec<Problem>,
) -> Policies {
    let mut turn = kept.turn();
    let mut built = Policies::default();
    for row in documents {
        let stored = Stored {
            tenant: row.tenant.as_ref(),
            name: &row.name,
            revision: row.revision,
            version: 0,
            spec: &row.spec,
        };
        /// Reads a row and notes when it cannot be read.
        macro_rules! held {
            ($kind:ty) => {
                noted(turn.document::<$kind>(&stored), problems)
            };
        }
        let (tenant, name) = (row.tenant.as_ref(), row.name.clone());
        match row.kind.parse::<Kind>() {
            Ok(Kind::Plan) => built.plans.insert(tenant, name, held!(spec::Plan)),
            Ok(Kind::Budget) => {
                let budget = held!(spec::Budget);
                let reach = reach(&budget, row, references);
                built.budgets.insert(tenant, reach, budget);
            }
            Ok(Kind::Pool) => {
                let pool = held!(spec::Pool);
                if let Ok(model) = name.as_str().parse() {
                    built.pools.insert(model, pool);
                }
            }
            Ok(Kind::Cascade) => built.cascades.insert(tenant, name, held!(spec::Cascade)),
            Ok(Kind::Cache) => built.caches.insert(tenant, name, held!(spec::Cache)),
            Ok(Kind::Guardrail) => built.guardrails.insert(tenant, name, held!(spec::Guardrail)),
            Ok(Kind::Experiment) => built.experiments.insert(tenant, name, held!(spec::Experiment)),
            Ok(Kind::Prompt) | Err(_) => problems.push(Problem {
                kind: row.kind.clone(),
                tenant: row.tenant.clone(),
                name: row.name.to_string(),
                reason: String::from("this version does not know the kind"),
                effect: Effect::Closed,
            }),
        }
    }
    for (row, stored) in in_reach(prompts, references) {
        let (tenant, name) = (row.tenant.as_ref(), &row.name);
        let prompt = noted(turn.document::<spec::Prompt>(&stored), problems);
        built.prompts.insert(tenant, name, row.version, prompt);
        for label in &row.labels {
            built.prompts.label(tenant, name, label.clone(), row.version);
        }
    }
    turn.end();
    built
}

/// What was measured of experiments. What this version cannot read is left out: the weights that were written hold.
pub(super) fn measured(
    rows: Vec<MeasuredRow>,
) -> HashMap<(Option<TenantId>, PolicyName), Arc<Named<Measured>>> {
    let read = |row: MeasuredRow| {
        let spec = serde_json::from_str(&row.measured).ok()?;
        let (tenant, name) = (row.tenant.clone(), row.name.clone());
        let measured = Named { tenant, name, revision: row.revision, spec };
        Some(((row.tenant, row.name), Arc::new(measured)))
    };
    rows.into_iter().filter_map(read).collect()
}

fn noted<D: Document>(held: Held<D>, problems: &mut Vec<Problem>) -> Held<D> {
    if let Err(unreadable) = &held {
        problems.push(Problem::closed(unreadable));
    }
    held
}

impl Problem {
    /// A policy that closes what it governs, since nobody can read it.
    pub(super) fn closed(unreadable: &Unreadable) -> Self {
        Self {
            kind: unreadable.kind.to_owned(),
            tenant: unreadable.tenant.clone(),
            name: unreadable.name.clone(),
            reason: unreadable.reason.clone(),
            effect: Effect::Closed,
        }
    }
}

/// What a budget applies to. One that cannot be read applies to what it was noted to name when it was written.
fn reach<D: Reaching>(budget: &Held<D>, row: &DocumentRow, references: &[Noted]) -> Reach {
    match budget {
        Ok(budget) => budget.reach(),
        Err(_) => Reach::of_references(
            references
                .iter()
                .filter(|noted| {
                    (noted.from_kind.as_str(), noted.from_name.as_str(), noted.from_tenant.as_ref())
                        == (row.kind.as_str(), row.name.as_str(), row.tenant.as_ref())
                })
                .filter_map(Noted::reference),
        ),
    }
}

/// The versions of prompts that a snapshot holds. Rows come by prompt, oldest version first.
fn in_reach<'a>(prompts: &'a [PromptRow], references: &[Noted]) -> Vec<(&'a PromptRow, Stored<'a>)> {
    let pinned: HashSet<(&str, u64)> = references.iter().filter_map(Noted::pinned_version).collect();
    let mut seen: HashMap<(Option<&TenantId>, &PolicyName), usize> = HashMap::new();
    let mut found = Vec::new();
    for row in prompts.iter().rev() {
        let newer = seen.entry((row.tenant.as_ref(), &row.name)).or_default();
        *newer += 1;
        if *newer <= LATEST_VERSIONS
            || !row.labels.is_empty()
            || pinned.contains(&(row.name.as_str(), row.version))
        {
            let (tenant, name, version) = (row.tenant.as_ref(), &row.name, row.version);
            found.push((row, Stored { tenant, name, revision: version, version, spec: &row.spec }));
        }
    }
    found
}
