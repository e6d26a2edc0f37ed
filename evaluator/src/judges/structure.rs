//! Structure: is the answer the JSON that was asked for, and do its tool calls fit the tools that were offered?
//!
//! Schemas are compiled for each call: they come with it. One that is not a schema is the application's fault, so the judge
//! says that it does not apply. References to other documents are not followed.

use super::{Judge, Judging, Subject, ToolCall};
use cascade::{Fault, Patterns};
use contracts::Verdict;
use serde_json::{Value, json};

/// Faults that an explanation lists.
const MOST_FAULTS: usize = 5;
/// Characters of one fault.
const FAULT: usize = 200;

/// `json_validity`: 1 when the answer parses and follows its schema, 0.5 when it only parses, 0 when it does not.
#[derive(Debug, Clone, Copy)]
pub struct JsonValidity;

impl Judge for JsonValidity {
    fn name(&self) -> &'static str {
        "json_validity"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        Box::pin(async move { Ok(self.look(subject)) })
    }
}

impl JsonValidity {
    fn look(self, subject: &Subject) -> Verdict {
        if !subject.wants_json && subject.response_schema.is_none() {
            return subject.not_applicable(&self, "nobody asked for JSON");
        }
        if subject.answer.trim().is_empty() {
            return subject.not_applicable(&self, "there is no answer in words");
        }
        let value: Value = match serde_json::from_str(&subject.answer) {
            Ok(value) => value,
            Err(error) => {
                return Verdict {
                    explanation: format!("the answer is not JSON: {error}"),
                    ..subject.verdict(&self, Some(0.0), "fail")
                };
            }
        };
        let Some(schema) = &subject.response_schema else { return subject.verdict(&self, Some(1.0), "pass") };
        match faults(schema, &value) {
            Err(reason) => subject.not_applicable(&self, &format!("the schema cannot be used: {reason}")),
            Ok(faults) if faults.is_empty() => subject.verdict(&self, Some(1.0), "pass"),
            Ok(faults) => {
                Verdict { explanation: faults.join("; "), ..subject.verdict(&self, Some(0.5), "fail") }
            }
        }
    }
}

/// `tool_calls`: share of the answer's tool calls that name an offered tool and whose arguments follow its schema.
#[derive(Debug, Clone, Copy)]
pub struct ToolCorrectness;

impl Judge for ToolCorrectness {
    fn name(&self) -> &'static str {
        "tool_calls"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
        Box::pin(async move { Ok(self.look(subject)) })
    }
}

impl ToolCorrectness {
    #[expect(clippy::cast_precision_loss, reason = "a handful of tool calls")]
    fn look(self, subject: &Subject) -> Verdict {
        if subject.tool_calls.is_empty() {
            return subject.not_applicable(&self, "the answer calls no tool");
        }
        if subject.tools.is_empty() {
            return subject.not_applicable(&self, "the tools that were offered are not known");
        }
        let checked: Vec<(&ToolCall, Option<String>)> =
            subject.tool_calls.iter().map(|call| (call, fault(subject, call))).collect();
        let right = checked.iter().filter(|(_, fault)| fault.is_none()).count();
        let label = if right == checked.len() { "pass" } else { "fail" };
        let mut verdict = subject.verdict(&self, Some(right as f64 / checked.len() as f64), label);
        let faults: Vec<String> = checked
            .iter()
            .filter_map(|(call, fault)| Some(format!("{}: {}", call.name, fault.as_ref()?)))
            .take(MOST_FAULTS)
            .collect();
        verdict.explanation = faults.join("; ");
        verdict.details =
            checked.iter().map(|(call, fault)| json!({"tool": call.name, "fault": fault})).collect::<Value>();
        verdict
    }
}

/// What is wrong with one tool call.
fn fault(subject: &Subject, call: &ToolCall) -> Option<String> {
    let Some(tool) = subject.tools.iter().find(|tool| tool.name == call.name) else {
        return Some("no such tool was offered".to_owned());
    };
    // A call without arguments is written as nothing by some models.
    let text = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let arguments: Value = match serde_json::from_str(text) {
        Ok(arguments) => arguments,
        Err(error) => return Some(format!("the arguments are not JSON: {error}")),
    };
    if !arguments.is_object() {
        return Some("the arguments are not an object".to_owned());
    }
    match faults(&tool.parameters, &arguments) {
        // A schema that cannot be used says nothing against the call.
        Err(_) => None,
        Ok(faults) if faults.is_empty() => None,
        Ok(faults) => Some(faults.join("; ")),
    }
}

/// What speaks against `value`; an error when the schema is none.
fn faults(schema: &Value, value: &Value) -> Result<Vec<String>, String> {
    if schema.is_null() {
        return Ok(Vec::new());
    }
    let found =
        cascade::faults(schema, value, MOST_FAULTS, Patterns::LookAround).map_err(|reason| short(&reason))?;
    let text = |Fault { place, problem }| {
        short(&if place.is_empty() { problem } else { format!("{place}: {problem}") })
    };
    Ok(found.into_iter().map(text).collect())
}

fn short(text: &str) -> String {
    text.chars().take(FAULT).collect()
}
