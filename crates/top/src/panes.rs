//! What is shown of what was heard, pane by pane.

mod budgets;
mod caches;
mod gateways;
mod pools;
mod queues;

use crate::sheet::Sheet;
use crate::view::Pane;
use contracts::live::Live;
use ratatui::style::{Color, Modifier, Style};

/// What needs somebody.
pub(crate) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
/// What may come to need somebody.
pub(crate) const WARN: Style = Style::new().fg(Color::Yellow);
/// What stands behind.
pub(crate) const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// What `pane` shows of `live`, sorted by `order`.
pub(crate) fn sheet(pane: Pane, live: &Live, order: &str) -> Sheet {
    match pane {
        Pane::Pools => pools::sheet(live, order),
        Pane::Queues => queues::sheet(live, order),
        Pane::Budgets => budgets::sheet(live, order),
        Pane::Caches => caches::sheet(live, order),
        Pane::Gateways => gateways::sheet(live, order),
    }
}

/// Whether there is more than one gateway to tell apart.
fn are_several(live: &Live) -> bool {
    live.answered().count() > 1
}
