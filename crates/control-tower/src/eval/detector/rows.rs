//! Labelled answers, read from JSON Lines. A line that cannot be used is an error which names line and field.

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// Decompressed input beyond this is refused.
const MOST_BYTES: u64 = 4 << 30;

/// A labelled answer.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) dataset: String,
    pub(super) context: String,
    pub(super) question: Option<String>,
    pub(super) answer: String,
    pub(super) task: Option<String>,
    pub(super) model: Option<String>,
    /// Contains something that the context does not support.
    pub(super) positive: bool,
    /// Which characters (not bytes) of the answer are unsupported; absent where nobody marked any.
    pub(super) spans: Option<Vec<Range<usize>>>,
}

/// Reads a file, plain or `.gz`. Lines end at `\n` alone: texts may hold other line breaks.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let compressed = path.extension().is_some_and(|ext| ext == "gz");
    let input: Box<dyn Read> =
        if compressed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = Vec::new();
    input.take(MOST_BYTES).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    if bytes.len() as u64 == MOST_BYTES {
        bail!("{} holds more than {MOST_BYTES} bytes", path.display());
    }
    let name = path.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned());
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    let rows: Vec<Row> = filled
        .map(|(at, line)| {
            parse(at + 1, line, &name).with_context(|| format!("{} line {}", path.display(), at + 1))
        })
        .collect::<anyhow::Result<_>>()?;
    if rows.is_empty() {
        bail!("{} holds no rows", path.display());
    }
    Ok(rows)
}

fn parse(line: usize, bytes: &[u8], name: &str) -> anyhow::Result<Row> {
    let value: Value = serde_json::from_slice(bytes).context("is no JSON")?;
    let Value::Object(row) = value else { bail!("is no JSON object") };
    let dataset = optional(&row, "dataset")?.unwrap_or_else(|| name.to_owned());
    Ok(Row {
        line,
        dataset,
        context: required(&row, "context")?,
        question: optional(&row, "question")?,
        answer: required(&row, "answer")?,
        task: optional(&row, "task")?,
        model: optional(&row, "model")?,
        positive: label(&row)?,
        spans: spans(&row)?,
    })
}

fn required(row: &Map<String, Value>, field: &str) -> anyhow::Result<String> {
    optional(row, field)?.ok_or_else(|| anyhow!("field `{field}` is missing or null; expected a text"))
}

fn optional(row: &Map<String, Value>, field: &str) -> anyhow::Result<Option<String>> {
    match row.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => bail!("field `{field}` is {}; expected a text", shown(other)),
    }
}

fn label(row: &Map<String, Value>) -> anyhow::Result<bool> {
    match row.get("label") {
        None | Some(Value::Null) => bail!("field `label` is missing or null; expected 0 or 1"),
        Some(Value::Bool(label)) => Ok(*label),
        Some(value) => match value.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => bail!("field `label` is {}; expected 0 or 1", shown(value)),
        },
    }
}

fn spans(row: &Map<String, Value>) -> anyhow::Result<Option<Vec<Range<usize>>>> {
    let spans = match row.get("spans") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(spans)) => spans,
        Some(other) => {
            bail!("field `spans` is {}; expected a list of objects with start and end", shown(other))
        }
    };
    let offset = |span: &Value, at: usize, end: &str| {
        let found = span.get(end).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        found.ok_or_else(|| {
            anyhow!("field `spans[{at}].{end}` is missing or no offset; expected a whole number")
        })
    };
    let read = |(at, span): (usize, &Value)| Ok(offset(span, at, "start")?..offset(span, at, "end")?);
    spans.iter().enumerate().map(read).collect::<anyhow::Result<_>>().map(Some)
}

/// The beginning of a value, for an error.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn of(text: &str) -> anyhow::Result<Vec<Row>> {
        let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path())
    }

    #[test]
    fn fields_that_may_be_absent_may_be_null_too() {
        let rows =
            of("{\"context\":\"c\u{2028}d\",\"answer\":\"a\",\"label\":true,\"model\":null}\n\n").unwrap();
        assert_eq!(rows.len(), 1);
        assert!(rows[0].positive && rows[0].model.is_none() && rows[0].spans.is_none());
        assert_eq!(rows[0].context, "c\u{2028}d");
    }

    #[test]
    fn errors_name_line_and_field() {
        let good = "{\"context\":\"c\",\"answer\":\"a\",\"label\":0}\n";
        for (bad, told) in [
            ("{\"context\":\"c\",\"answer\":null,\"label\":0}", "field `answer` is missing or null"),
            ("{\"context\":7,\"answer\":\"a\",\"label\":0}", "field `context` is 7"),
            ("{\"context\":\"c\",\"answer\":\"a\",\"label\":2}", "field `label` is 2"),
            ("{\"context\":\"c\",\"answer\":\"a\"}", "field `label` is missing"),
            ("{\"context\":\"c\",\"answer\":\"a\",\"label\":0,\"spans\":[{\"end\":3}]}", "`spans[0].start`"),
            ("{\"context\":", "is no JSON"),
            ("[]", "is no JSON object"),
        ] {
            let error = format!("{:#}", of(&format!("{good}{bad}")).unwrap_err());
            assert!(error.contains("line 2") && error.contains(told), "{error}");
        }
    }
}
