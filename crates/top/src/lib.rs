//! What goes on in the gateways, in a terminal: pools, queues, budgets, caches and what is spent.
//!
//! - [`Top`]: what was heard last and how it is looked at. It knows no terminal: keys go in by name, and [`draw`] draws it anywhere.
//! - `panes`: what is shown of what was heard, as rows of text.
//! - `screen`: where on the screen, from 80 columns by 24 lines on. What fits beside each other is shown at once, of the rest one pane.
//! - [`run`]: the terminal, until somebody quits. [`plain`]: the same as text, once.
//!
//! No colour says anything that is not said in words, too.

mod figures;
mod panes;
mod plain;
mod run;
mod screen;
mod sheet;
#[cfg(test)]
mod tests;
mod view;

pub use plain::plain;
pub use run::{News, run};
pub use screen::draw;
pub use view::{Key, Pane, Top};
