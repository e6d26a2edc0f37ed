//! Answers of administrative commands: tables for people, JSON for scripts.

use crate::output::say;
use anyhow::Context;
use serde::Serialize;

/// A table: columns as wide as their widest cell, two spaces apart, the heading in capitals.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_uppercase)] }
    }

    /// Adds a row. An empty cell shows as `-`.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { String::from("-") } else { cell }));
    }

    /// The lines of the table, without trailing blanks.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; N]| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// Prints a list: as a JSON array, or as a table with one row each.
pub(super) fn list<T: Serialize, const N: usize>(
    json: bool,
    items: &[T],
    heading: [&str; N],
    cells: impl Fn(&T) -> [String; N],
) -> anyhow::Result<()> {
    if json {
        return print_json(&items);
    }
    let mut table = Table::new(heading);
    for item in items {
        table.row(cells(item));
    }
    for line in table.lines() {
        say(&line);
    }
    Ok(())
}

/// Prints one thing: as a JSON object, or as a line that says what happened.
pub(super) fn one<T: Serialize>(json: bool, item: &T, line: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    if json {
        return print_json(item);
    }
    say(&line(item));
    Ok(())
}

/// Prints one thing with all its fields: as a JSON object, or a field a line.
pub(super) fn show<T: Serialize>(json: bool, item: &T) -> anyhow::Result<()> {
    if json {
        return print_json(item);
    }
    let value = serde_json::to_value(item).context("cannot write the answer")?;
    let mut table = Table::new(["field", "value"]);
    for (name, value) in value.as_object().into_iter().flatten() {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
        table.row([name.clone(), text]);
    }
    for line in table.lines().iter().skip(1) {
        say(line);
    }
    Ok(())
}

/// Prints that something is gone.
pub(super) fn deleted(json: bool, kind: &str, id: &str) -> anyhow::Result<()> {
    let answer = serde_json::json!({ "deleted": { "kind": kind, "id": id } });
    one(json, &answer, |_| format!("deleted {kind} {id}"))
}

/// Prints JSON.
pub(super) fn print_json<T: Serialize>(item: &T) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(item).context("cannot write the answer as JSON")?);
    Ok(())
}

/// `yes` or `no`.
pub(super) fn yes_no(value: bool) -> String {
    String::from(if value { "yes" } else { "no" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["id", "name"]);
        table.row(["acme".into(), "Größe".into()]);
        table.row(["a".into(), String::new()]);
        assert_eq!(table.lines(), ["ID    NAME", "acme  Größe", "a     -"]);
    }
}
