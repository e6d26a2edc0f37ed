//! From columns to types: what every repository needs to read its rows.

use crate::ControlError;
use crate::database::{Tx, failed};
use contracts::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::fmt::Write as _;
use std::str::FromStr;

const READ: &str = "read a row";

pub(super) fn text(row: &AnyRow, column: &str) -> Result<String, ControlError> {
    row.try_get(column).map_err(failed(READ))
}

pub(super) fn optional_text(row: &AnyRow, column: &str) -> Result<Option<String>, ControlError> {
    row.try_get(column).map_err(failed(READ))
}

pub(super) fn integer(row: &AnyRow, column: &str) -> Result<i64, ControlError> {
    row.try_get(column).map_err(failed(READ))
}

pub(super) fn time(row: &AnyRow, column: &str) -> Result<Timestamp, ControlError> {
    integer(row, column).map(Timestamp::from_unix_nanos)
}

pub(super) fn optional_time(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, ControlError> {
    let nanos: Option<i64> = row.try_get(column).map_err(failed(READ))?;
    Ok(nanos.map(Timestamp::from_unix_nanos))
}

/// A column that holds an id or the like, parsed. `kind` names the row in the error.
pub(super) fn parsed<T>(row: &AnyRow, kind: &'static str, column: &str) -> Result<T, ControlError>
where
    T: FromStr,
    T::Err: ToString,
{
    let text = text(row, column)?;
    text.parse().map_err(|error: T::Err| ControlError::corrupt(kind, &text, error.to_string()))
}

/// The same where the column may be NULL.
pub(super) fn optional_parsed<T>(
    row: &AnyRow,
    kind: &'static str,
    column: &str,
) -> Result<Option<T>, ControlError>
where
    T: FromStr,
    T::Err: ToString,
{
    match optional_text(row, column)? {
        None => Ok(None),
        Some(_) => parsed(row, kind, column).map(Some),
    }
}

/// Nanoseconds, as bound to a parameter.
pub(super) fn nanos(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::unix_nanos)
}

/// The number that a `SELECT count(*)` of `id` yields.
pub(super) async fn count(tx: &mut Tx, sql: &'static str, id: &str) -> Result<i64, ControlError> {
    let row = sqlx::query(sql).bind(id).fetch_one(&mut **tx).await.map_err(failed("count references"))?;
    row.try_get(0).map_err(failed("count references"))
}

/// Refuses when any of `counts` (number, what is counted in the singular) is not zero.
pub(super) fn refuse_if_used(
    kind: &'static str,
    id: &str,
    counts: &[(i64, &str)],
) -> Result<(), ControlError> {
    let mut users = String::new();
    for &(count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        let comma = if users.is_empty() { "" } else { ", " };
        let plural = if count == 1 { "" } else { "s" };
        // Writing to a String cannot fail.
        let _ = write!(users, "{comma}{count} {what}{plural}");
    }
    if users.is_empty() { Ok(()) } else { Err(ControlError::InUse { kind, id: id.to_owned(), users }) }
}

/// Turns a violated unique constraint into "already exists".
pub(super) fn insert_failed(kind: &'static str, id: &str) -> impl Fn(sqlx::Error) -> ControlError {
    move |error| match &error {
        sqlx::Error::Database(inner) if inner.is_unique_violation() => ControlError::exists(kind, id),
        _ => failed("insert a row")(error),
    }
}

/// JSON as it is stored; a text that is none shows as itself, for whoever reads it to refuse.
pub(super) fn lenient_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::from(text))
}

/// The same of a column that may be NULL.
pub(super) fn optional_json(row: &AnyRow, column: &str) -> Result<Option<serde_json::Value>, ControlError> {
    Ok(optional_text(row, column)?.map(|text| lenient_json(&text)))
}

/// A value as it is stored.
pub(super) fn json_text(kind: &'static str, value: &impl serde::Serialize) -> Result<String, ControlError> {
    serde_json::to_string(value).map_err(|error| ControlError::corrupt(kind, "", error))
}
