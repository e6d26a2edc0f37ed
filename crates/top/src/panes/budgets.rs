//! Budgets with their use. What several gateways share is here once.

use super::{BAD, DIM, WARN};
use crate::figures;
use crate::sheet::{Cell, Column, Row, Sheet};
use contracts::live::{BudgetKind, BudgetLive, Counted, Live};
use ratatui::style::Style;
use std::cmp::Reverse;

/// Places of the bar.
const BAR: u16 = 10;
/// From here on a budget is soon used up.
const SOON: f64 = 0.9;

pub(super) fn sheet(live: &Live, order: &str) -> Sheet {
    let mut budgets: Vec<&BudgetLive> = live.budgets.iter().collect();
    let used = |budget: &BudgetLive| budget.used_share().unwrap_or(-1.0);
    match order {
        "used" => budgets.sort_by(|a, b| used(b).total_cmp(&used(a))),
        "spent" => budgets.sort_by_key(|budget| Reverse(budget.spent)),
        _ => {}
    }
    Sheet {
        columns: vec![
            Column::text("BUDGET", 24),
            Column::text("WINDOW", 6),
            Column::figures("SPENT"),
            Column::figures("HELD"),
            Column::figures("LEFT"),
            Column::text("USED", usize::from(BAR) + 5),
        ],
        rows: budgets.into_iter().map(row).collect(),
        nothing: "there is no budget",
        ..Sheet::default()
    }
}

fn row(budget: &BudgetLive) -> Row {
    let share = budget.used_share();
    let style = match share {
        Some(share) if share >= 1.0 => BAD,
        Some(share) if share >= SOON => WARN,
        _ if budget.soft.is_some_and(|soft| soft <= budget.spent) => WARN,
        _ => Style::new(),
    };
    let used = share.map_or_else(
        || "no hard limit".to_owned(),
        |share| format!("{} {:>4}", figures::bar(share, BAR), figures::percent(share)),
    );
    let name = match budget.kind {
        BudgetKind::Budget => budget.name.to_string(),
        BudgetKind::Plan => format!("plan {}", budget.name),
    };
    let cells = vec![
        name.into(),
        budget.window.as_str().into(),
        figures::dollars(budget.spent).into(),
        figures::dollars(budget.held).into(),
        budget.left.map_or_else(|| "-".to_owned(), figures::dollars).into(),
        Cell::from(used).in_style(style),
    ];
    Row { cells, note: Cell::from(account(budget)).in_style(DIM) }
}

/// What is charged, and whose use is shown.
fn account(budget: &BudgetLive) -> String {
    let account =
        budget.account.rsplit_once('|').map_or(budget.account.as_str(), |(account, _window)| account);
    let account = account.replace('|', " ");
    let over_soft = budget.soft.is_some_and(|soft| soft <= budget.spent);
    let soft = if over_soft { ", over its soft limit" } else { "" };
    match &budget.counted {
        Counted::Gateway => format!("{account}{soft}"),
        Counted::Shared { .. } => format!("{account}, shared{soft}"),
        Counted::Away { reason } => format!("{account}, only what is known here: {reason}"),
    }
}
