//! What goes on as text, for who does not want to keep looking.

use crate::panes;
use crate::view::Pane;
use contracts::live::Live;
use ratatui::text::Line;

/// What `pane` shows of `live`, in its first order, in lines of at most `width` characters.
pub fn plain(live: &Live, pane: Pane, width: usize) -> Vec<String> {
    let order = pane.orders().first().copied().unwrap_or_default();
    let sheet = panes::sheet(pane, live, order);
    let mut lines = sheet.above.clone();
    if sheet.rows.is_empty() {
        lines.push(sheet.nothing.to_owned());
        return lines;
    }
    let (heading, rows) = sheet.lines(width);
    lines.extend(std::iter::once(&heading).chain(&rows).map(text));
    lines
}

fn text(line: &Line<'_>) -> String {
    let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    text.trim_end().to_owned()
}
