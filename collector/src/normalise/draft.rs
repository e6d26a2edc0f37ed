//! A row in the making. Dialects fill columns in order of authority: the first value wins, an equal one is taken out of the
//! attributes, a different one stays there and is counted, so that nothing that a sender said is lost.

use super::fields::Fields;
use super::{Dialect, Tally, values};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use warehouse::SpanRow;

/// Which column of a row.
pub(super) type Column<T> = fn(&mut SpanRow) -> &mut T;

/// A row in the making, the attributes not yet understood, and what was noticed on the way.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) row: SpanRow,
    pub(super) fields: Fields,
    pub(super) tally: Tally,
}

impl Draft {
    /// Moves the attribute `key` into a column, if it is there and `parse` understands it.
    pub(super) fn fill<T: PartialEq + Default>(
        &mut self,
        dialect: Dialect,
        key: &str,
        column: Column<T>,
        parse: impl Fn(&Value) -> Option<T>,
    ) {
        let Some(value) = self.fields.get(key) else { return };
        let Some(parsed) = parse(value) else {
            self.tally.invalid_values += 1;
            return;
        };
        if self.set(dialect, column, parsed) {
            self.fields.take(key);
        }
    }

    /// Sets a column unless it says something else already; whether it now says `value`.
    pub(super) fn set<T: PartialEq + Default>(
        &mut self,
        dialect: Dialect,
        column: Column<T>,
        value: T,
    ) -> bool {
        let place = column(&mut self.row);
        if *place == T::default() {
            *place = value;
        } else if *place != value {
            self.tally.conflicts += 1;
            return false;
        }
        self.tally.saw(dialect);
        true
    }

    /// Text columns, each from its key.
    pub(super) fn texts(&mut self, dialect: Dialect, table: &[(&str, Column<String>)]) {
        for (key, column) in table {
            self.fill(dialect, key, *column, |value| Some(values::text(value)));
        }
    }

    /// Columns of counts, each from its key.
    pub(super) fn counts(&mut self, dialect: Dialect, table: &[(&str, Column<u64>)]) {
        for (key, column) in table {
            self.fill(dialect, key, *column, values::count);
        }
    }

    /// Puts messages of a dialect that flattens them into a column, when there are any and the column is free.
    /// `prefix` begins all their keys and `read` makes one JSON array of the groups.
    pub(super) fn groups(
        &mut self,
        dialect: Dialect,
        prefix: &str,
        column: Column<String>,
        read: impl Fn(Vec<Fields>) -> serde_json::Value,
    ) {
        if !self.fields.has_prefix(prefix) {
            return;
        }
        if !column(&mut self.row).is_empty() {
            self.tally.conflicts += 1;
            return;
        }
        let groups = self.fields.take_groups(prefix);
        if !groups.is_empty() {
            *column(&mut self.row) = read(groups).to_string();
            self.tally.saw(dialect);
        }
    }
}
