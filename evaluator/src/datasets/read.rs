//! Reading rows from files.

use super::{DatasetError, Row, RowInput};
use polars_core::prelude::AnyValue;
use polars_io::SerReader;
use polars_io::prelude::ParquetReader;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// A heading, then a row a line (RFC 4180).
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// By the name's ending.
    pub fn of(path: &Path) -> Result<Self, DatasetError> {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        match ending.as_str() {
            "jsonl" | "ndjson" | "json" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err(DatasetError::invalid(
                &path.display().to_string(),
                "format",
                &ending,
                "a name that ends in .jsonl, .csv or .parquet",
            )),
        }
    }
}

/// All rows of a file, checked. Rows without an id are numbered by their place.
pub fn read(path: &Path) -> Result<Vec<Row>, DatasetError> {
    let format = Format::of(path)?;
    let file = std::fs::File::open(path)
        .map_err(|source| DatasetError::File { path: path.display().to_string(), source })?;
    let rows = match format {
        Format::Jsonl => jsonl(BufReader::new(file), path)?,
        Format::Csv => csv_rows(file, path)?,
        Format::Parquet => parquet(file, path)?,
    };
    let checked = rows.into_iter().enumerate().map(|(index, (place, fields))| {
        RowInput { fields, is_of_table: format != Format::Jsonl }
            .check(&place, &format!("row-{:06}", index + 1))
    });
    checked.collect()
}

type Placed = (String, Map<String, Value>);

fn jsonl(mut reader: impl BufRead, path: &Path) -> Result<Vec<Placed>, DatasetError> {
    let (mut rows, mut line) = (Vec::new(), Vec::new());
    for number in 1_usize.. {
        line.clear();
        // By line feeds alone: texts may contain other separators of lines.
        let read = reader.read_until(b'\n', &mut line);
        let read = read.map_err(|source| DatasetError::File { path: path.display().to_string(), source })?;
        if read == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let place = format!("{}:{number}", path.display());
        let fields: Map<String, Value> = serde_json::from_slice(&line).map_err(|error| {
            let text = String::from_utf8_lossy(&line);
            DatasetError::invalid(&place, "line", text.trim_end(), &format!("a JSON object ({error})"))
        })?;
        rows.push((place, fields));
    }
    Ok(rows)
}

fn csv_rows(file: std::fs::File, path: &Path) -> Result<Vec<Placed>, DatasetError> {
    let wrong = |error: &csv::Error| {
        DatasetError::invalid(
            &path.display().to_string(),
            "table",
            "",
            &format!("CSV with a heading ({error})"),
        )
    };
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let heading = reader.headers().map_err(|e| wrong(&e))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| wrong(&e))?;
        let line = record.position().map_or(0, csv::Position::line);
        // An empty cell says nothing, as a missing field does.
        let cells = heading.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        let fields = cells.map(|(name, cell)| (name.to_owned(), Value::from(cell))).collect();
        rows.push((format!("{}:{line}", path.display()), fields));
    }
    Ok(rows)
}

fn parquet(file: std::fs::File, path: &Path) -> Result<Vec<Placed>, DatasetError> {
    let frame = ParquetReader::new(file).finish().map_err(|error| {
        DatasetError::invalid(&path.display().to_string(), "table", "", &format!("a Parquet file ({error})"))
    })?;
    let mut rows: Vec<Placed> =
        (0..frame.height()).map(|row| (format!("{} row {}", path.display(), row + 1), Map::new())).collect();
    for column in frame.columns() {
        for (index, (place, fields)) in rows.iter_mut().enumerate() {
            let cell = column.get(index).map_err(|error| {
                DatasetError::invalid(place, column.name(), "", &format!("a value ({error})"))
            })?;
            let value = cell_value(&cell).ok_or_else(|| {
                DatasetError::invalid(
                    place,
                    column.name(),
                    &cell.to_string(),
                    "a text, number, boolean, or a list of these",
                )
            })?;
            if !value.is_null() {
                fields.insert(column.name().to_string(), value);
            }
        }
    }
    Ok(rows)
}

fn cell_value(cell: &AnyValue<'_>) -> Option<Value> {
    Some(match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => Value::from(*value),
        AnyValue::String(text) => Value::from(*text),
        AnyValue::StringOwned(text) => Value::from(text.as_str()),
        AnyValue::Int8(n) => Value::from(*n),
        AnyValue::Int16(n) => Value::from(*n),
        AnyValue::Int32(n) => Value::from(*n),
        AnyValue::Int64(n) => Value::from(*n),
        AnyValue::UInt8(n) => Value::from(*n),
        AnyValue::UInt16(n) => Value::from(*n),
        AnyValue::UInt32(n) => Value::from(*n),
        AnyValue::UInt64(n) => Value::from(*n),
        AnyValue::Float32(n) => Value::from(*n),
        AnyValue::Float64(n) => Value::from(*n),
        AnyValue::List(items) => {
            let cells = (0..items.len()).map(|index| cell_value(&items.get(index).ok()?));
            Value::Array(cells.collect::<Option<Vec<Value>>>()?)
        }
        _ => return None,
    })
}
