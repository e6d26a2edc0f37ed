//! One row of a truth set.

use super::DatasetError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One question with what is known about its right answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Unique within the version.
    pub id: String,
    /// The conversation that is sent.
    pub messages: Vec<Message>,
    /// What an answer has to rest on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<Passage>,
    /// A reference answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// By what results are sliced: task, language, difficulty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slices: BTreeMap<String, String>,
    /// Fields of the request besides messages and model, such as `max_tokens`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
}

/// A message as the gateway takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A piece of context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// A row as people write it: `input` for one user message or `messages` for several, context as one text or a list, any further scalar
/// field a slice. In tables (CSV and Parquet) each field is a column, and what is nested is JSON in a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowInput {
    /// By name.
    pub fields: serde_json::Map<String, Value>,
    /// Whether they are the cells of a table.
    pub is_of_table: bool,
}

/// Fields of a request that belong to the run, not the row.
const RESERVED_PARAMS: &[&str] = &["model", "messages", "stream"];
/// Fields that are no texts.
const NESTED: &[&str] = &["messages", "context", "params", "slices"];
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool"];

impl RowInput {
    /// Checks it; `place` says where it stands, for errors. A row without an id gets `default_id`.
    pub fn check(self, place: &str, default_id: &str) -> Result<Row, DatasetError> {
        let (mut fields, is_of_table) = (self.fields, self.is_of_table);
        let mut take = |name: &str| {
            let field = fields.remove(name)?;
            // Texts that look like JSON are texts all the same: truth sets of extraction are made of them.
            let is_nested = is_of_table && NESTED.contains(&name);
            Some(if is_nested { opened(field) } else { field }).filter(|v| !v.is_null())
        };
        let id = take("id").map_or_else(|| Ok(default_id.to_owned()), |v| scalar(place, "id", &v))?;
        if id.is_empty() || id.len() > 200 {
            return Err(DatasetError::invalid(place, "id", &id, "1 to 200 bytes"));
        }
        let mut messages = match (take("messages"), take("input").or_else(|| take("question"))) {
            (Some(list), None) => read_messages(place, &list)?,
            (None, Some(input)) => {
                vec![Message { role: "user".into(), content: scalar(place, "input", &input)? }]
            }
            (Some(list), Some(_)) => {
                return Err(DatasetError::invalid(
                    place,
                    "messages",
                    &list.to_string(),
                    "either messages or input, not both",
                ));
            }
            (None, None) => return Err(DatasetError::invalid(place, "input", "", "a text, or messages")),
        };
        if let Some(system) = take("system") {
            messages.insert(0, Message { role: "system".into(), content: scalar(place, "system", &system)? });
        }
        let context = take("context").map_or_else(|| Ok(Vec::new()), |list| read_context(place, list))?;
        let expected = take("expected").map(|v| text(&v));
        let params: BTreeMap<String, Value> = match take("params") {
            None => BTreeMap::new(),
            Some(Value::Object(map)) => map.into_iter().collect(),
            Some(other) => {
                return Err(DatasetError::invalid(place, "params", &other.to_string(), "an object"));
            }
        };
        if let Some(name) = params.keys().find(|name| RESERVED_PARAMS.contains(&name.as_str())) {
            return Err(DatasetError::invalid(
                place,
                "params",
                name,
                "fields other than model, messages and stream",
            ));
        }
        let mut slices = match take("slices") {
            None => BTreeMap::new(),
            Some(Value::Object(map)) => slices(place, map)?,
            Some(other) => {
                return Err(DatasetError::invalid(place, "slices", &other.to_string(), "an object"));
            }
        };
        slices.extend(self::slices(place, fields)?);
        Ok(Row { id, messages, context, expected, slices, params })
    }
}

fn slices(
    place: &str,
    map: serde_json::Map<String, Value>,
) -> Result<BTreeMap<String, String>, DatasetError> {
    let given = map.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| Ok((name.clone(), scalar(place, &name, &value)?))).collect()
}

/// JSON that stands in a text, as it does in a cell of a table.
fn opened(value: Value) -> Value {
    match &value {
        Value::String(text) if text.starts_with(['[', '{']) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn scalar(place: &str, field: &str, value: &Value) -> Result<String, DatasetError> {
    match value {
        Value::Array(_) | Value::Object(_) | Value::Null => {
            Err(DatasetError::invalid(place, field, &value.to_string(), "a text, a number or a boolean"))
        }
        other => Ok(text(other)),
    }
}

fn read_messages(place: &str, list: &Value) -> Result<Vec<Message>, DatasetError> {
    let wrong = |value: &Value| {
        DatasetError::invalid(place, "messages", &value.to_string(), "a list of {role, content} with texts")
    };
    let items = list.as_array().filter(|items| !items.is_empty()).ok_or_else(|| wrong(list))?;
    items
        .iter()
        .map(|item| {
            let message: Message = serde_json::from_value(item.clone()).map_err(|_| wrong(item))?;
            if ROLES.contains(&message.role.as_str()) { Ok(message) } else { Err(wrong(item)) }
        })
        .collect()
}

fn read_context(place: &str, list: Value) -> Result<Vec<Passage>, DatasetError> {
    let items = match list {
        Value::Array(items) => items,
        one => vec![one],
    };
    let passage = |(index, item): (usize, Value)| match item {
        Value::String(text) => Ok(Passage { id: (index + 1).to_string(), text }),
        Value::Object(map) => {
            let field = |name: &str| map.get(name).filter(|v| !v.is_null()).map(text);
            let text = field("text").or_else(|| field("content"));
            let id = field("id").unwrap_or_else(|| (index + 1).to_string());
            text.map(|text| Passage { id, text }).ok_or_else(|| {
                DatasetError::invalid(
                    place,
                    "context",
                    &Value::Object(map.clone()).to_string(),
                    "passages with a text",
                )
            })
        }
        other => Err(DatasetError::invalid(
            place,
            "context",
            &other.to_string(),
            "a text, or a list of {id, text}",
        )),
    };
    items.into_iter().enumerate().map(passage).collect()
}
