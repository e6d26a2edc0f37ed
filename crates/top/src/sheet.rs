//! A pane's content, and how it is fitted into a width: columns are as wide as what is in them; those that can be missed go first; what
//! is to be said at length stands behind its row, or else in a line of its own below it.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// What is said at length stands behind its row where there is so much room, even if it has to be cut.
const ROOM_ENOUGH: usize = 40;
/// No column becomes narrower.
const LEAST_WIDTH: usize = 4;

/// What a pane shows.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    /// Lines above the table.
    pub(crate) above: Vec<String>,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// What stands there instead of rows when there are none.
    pub(crate) nothing: &'static str,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    /// Most places.
    most: usize,
    is_right: bool,
    /// The greater, the sooner it can be missed; 0 never.
    missed: u8,
}

/// A row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// One for each column.
    pub(crate) cells: Vec<Cell>,
    /// What is to be said beside.
    pub(crate) note: Cell,
}

/// A cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(title: &'static str, most: usize) -> Self {
        Self { title, most, is_right: false, missed: 0 }
    }

    /// A column of figures.
    pub(crate) const fn figures(title: &'static str) -> Self {
        Self { title, most: 12, is_right: true, missed: 0 }
    }

    /// The same, which can be missed: of several the one with the greatest number first.
    pub(crate) const fn missed(self, missed: u8) -> Self {
        Self { missed, ..self }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

impl Cell {
    /// The same, in another style.
    pub(crate) fn in_style(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

impl Sheet {
    /// The heading, and the lines of the rows, none wider than `width`.
    pub(crate) fn lines(&self, width: usize) -> (Line<'static>, Vec<Line<'static>>) {
        let shown = self.fitted(width);
        let used: usize = shown.iter().map(|(_, width)| width + 1).sum();
        let room = width.saturating_sub(used);
        let is_behind = room >= ROOM_ENOUGH || self.rows.iter().all(|row| length(&row.note.text) <= room);
        let heading = shown.iter().filter_map(|(index, width)| {
            let column = self.columns.get(*index)?;
            Some(Span::raw(padded(column.title, *width, column.is_right) + " "))
        });
        let heading = heading.collect::<Line<'_>>().style(Style::new().add_modifier(Modifier::BOLD));
        let mut lines = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let mut spans: Vec<Span<'static>> = Vec::with_capacity(shown.len() + 1);
            for (index, width) in &shown {
                let (Some(cell), Some(column)) = (row.cells.get(*index), self.columns.get(*index)) else {
                    continue;
                };
                spans.push(Span::styled(padded(&cell.text, *width, column.is_right) + " ", cell.style));
            }
            let note = &row.note;
            if is_behind {
                spans.push(Span::styled(cut(&note.text, room), note.style));
            }
            lines.push(Line::from(spans));
            if !is_behind && !note.text.is_empty() {
                lines.push(Line::styled(
                    format!("  └ {}", cut(&note.text, width.saturating_sub(4))),
                    note.style,
                ));
            }
        }
        (heading, lines)
    }

    /// The columns that are shown, by number, with their widths.
    fn fitted(&self, width: usize) -> Vec<(usize, usize)> {
        let mut shown: Vec<(usize, usize)> = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter().enumerate() {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
            let content = cells.map(|cell| length(&cell.text)).max().unwrap_or_default();
            shown.push((index, content.min(column.most).max(length(column.title))));
        }
        while shown.iter().map(|(_, width)| width + 1).sum::<usize>() > width + 1 {
            let missed = |index: usize| self.columns.get(index).map_or(0, |column| column.missed);
            let most_missed = shown.iter().enumerate().max_by_key(|(_, (index, _))| missed(*index));
            if let Some((at, (index, _))) = most_missed
                && missed(*index) > 0
            {
                shown.remove(at);
                continue;
            }
            let widest =
                shown.iter_mut().filter(|(_, width)| *width > LEAST_WIDTH).max_by_key(|(_, width)| *width);
            let Some((_, widest)) = widest else { break };
            *widest -= 1;
        }
        shown
    }
}

/// Places that a text takes. What is shown are names of ours, figures and bars, a place each character.
fn length(text: &str) -> usize {
    text.chars().count()
}

/// The text in so many places; one that does not fit ends with a sign that says so.
fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { String::new() } else { kept + "…" }
}

fn padded(text: &str, width: usize, is_right: bool) -> String {
    let text = cut(text, width);
    if is_right { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sheet: &Sheet, width: usize) -> Vec<String> {
        let (heading, lines) = sheet.lines(width);
        let text = |line: &Line<'_>| {
            line.spans.iter().map(|span| span.content.as_ref()).collect::<String>().trim_end().to_owned()
        };
        std::iter::once(&heading).chain(&lines).map(text).collect()
    }

    #[test]
    fn what_does_not_fit_is_missed_cut_or_told_below() {
        let row = |name: &str, note: &str| Row {
            cells: vec![name.into(), "7".into(), "x".into()],
            note: note.into(),
        };
        let columns =
            vec![Column::text("NAME", 20), Column::figures("CALLS"), Column::text("EXTRA", 9).missed(1)];
        let sheet =
            Sheet { columns, rows: vec![row("gateway-one", "because"), row("two", "")], ..Sheet::default() };
        assert_eq!(
            texts(&sheet, 40),
            ["NAME        CALLS EXTRA", "gateway-one     7 x     because", "two             7 x"]
        );
        assert_eq!(
            texts(&sheet, 24),
            ["NAME        CALLS EXTRA", "gateway-one     7 x", "  └ because", "two             7 x"]
        );
        assert_eq!(
            texts(&sheet, 18),
            ["NAME        CALLS", "gateway-one     7", "  └ because", "two             7"]
        );
        assert_eq!(texts(&sheet, 12), ["NAME   CALLS", "gatew…     7", "  └ because", "two        7"]);
        texts(&sheet, 0);
    }
}
