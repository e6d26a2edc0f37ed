//! What is tried: a route, a model, or a version of a prompt at a model.

use super::RunError;
use crate::datasets::Row;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;

/// Where the rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    name: String,
    model: String,
    template: Option<String>,
}

/// Whether the row's context is put before its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContextIn {
    /// As a system message, unless a prompt template places it.
    #[default]
    System,
    /// No: the row's messages hold it already.
    Messages,
}

impl Target {
    /// `route:NAME`, `model:NAME`, or `prompt-version:FILE` with the route or model that it is tried at. The file is the system
    /// prompt, where `{{context}}` stands for the row's passages; its version is the hash of its text.
    pub fn parse(text: &str, at: Option<&str>) -> Result<Self, RunError> {
        let invalid = |expected: &str| RunError::Invalid {
            field: "--target",
            value: text.to_owned(),
            expected: expected.to_owned(),
        };
        let (kind, name) = text
            .split_once(':')
            .filter(|(_, name)| !name.is_empty())
            .ok_or_else(|| invalid("route:NAME, model:NAME or prompt-version:FILE"))?;
        match kind {
            "route" | "model" => {
                Ok(Self { name: text.to_owned(), model: at.unwrap_or(name).to_owned(), template: None })
            }
            "prompt-version" => {
                let model =
                    at.ok_or_else(|| invalid("--at with the route or model at which the prompt is tried"))?;
                let template = std::fs::read_to_string(name)
                    .map_err(|source| RunError::File { path: name.to_owned(), source })?;
                let digest = crate::datasets::hex(&Sha256::digest(template.as_bytes())[..6]);
                let file = Path::new(name).file_name().map_or_else(|| name.into(), |f| f.to_string_lossy());
                Ok(Self {
                    name: format!("prompt-version:{file}@{digest}@{model}"),
                    model: model.to_owned(),
                    template: Some(template),
                })
            }
            _ => Err(invalid("route:NAME, model:NAME or prompt-version:FILE")),
        }
    }

    /// The body of the request for a row.
    pub fn body(&self, row: &Row, context: ContextIn) -> Value {
        let passages: Vec<String> = row.context.iter().map(|p| format!("[{}] {}", p.id, p.text)).collect();
        let passages = passages.join("\n\n");
        let mut messages: Vec<Value> = Vec::new();
        let before = match &self.template {
            Some(template) => Some(template.replace("{{context}}", &passages)),
            None if context == ContextIn::System && !passages.is_empty() => {
                Some(format!("Answer from this context alone:\n\n{passages}"))
            }
            None => None,
        };
        messages.extend(before.map(|content| json!({"role": "system", "content": content})));
        messages.extend(row.messages.iter().map(|m| json!({"role": m.role, "content": m.content})));
        let mut body = json!({"model": self.model, "messages": messages});
        for (name, value) in &row.params {
            body[name] = value.clone();
        }
        if !row.context.is_empty() {
            let context: Vec<Value> =
                row.context.iter().map(|p| json!({"id": p.id, "text": p.text})).collect();
            body["control_tower"] = json!({ "context": context });
        }
        body
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
