//! What a model may call, and with what.

use crate::check::Rules;
use crate::schema;
use crate::verdict::{Breach, Decision, Place, Verdict};
use contracts::policy::InvalidPolicy;
use contracts::policy::guardrail::ToolRules;
use jsonschema::Validator;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A tool that a model calls, once its arguments are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolCall<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// Its arguments, as JSON. Empty means none.
    pub arguments: &'a str,
}

/// The list of tools, compiled.
#[derive(Debug)]
pub(crate) struct Tools {
    allowed: HashMap<String, Option<Validator>>,
    action: Decision,
}

impl Tools {
    pub(crate) fn new(rules: &ToolRules) -> Result<Self, InvalidPolicy> {
        let compile = |(n, schema)| schema::compile(&format!("tools.allow[{n}].arguments"), schema);
        let mut allowed = HashMap::with_capacity(rules.allow.len());
        for (n, tool) in rules.allow.iter().enumerate() {
            let schema = tool.arguments.as_ref().map(|schema| compile((n, schema))).transpose()?;
            allowed.insert(tool.name.clone(), schema);
        }
        Ok(Self { allowed, action: Decision::from(&rules.action) })
    }

    /// Why a tool may not be called. `arguments` are absent when they are not JSON.
    fn wrong(&self, name: &str, arguments: Option<&Value>) -> Option<String> {
        match (self.allowed.get(name), arguments) {
            (None, _) => Some("the tool is not allowed".into()),
            (Some(_), None) => Some("its arguments are not JSON".into()),
            (Some(schema), Some(arguments)) => schema
                .as_ref()
                .and_then(|schema| schema::breach(schema, arguments))
                .map(|wrong| format!("its arguments: {wrong}")),
        }
    }
}

/// Judges call number `n`: the list of tools, then the rules on every text within the arguments. The arguments with what is masked
/// go into the verdict.
pub(crate) fn judge(
    n: usize,
    call: &ToolCall<'_>,
    tools: Option<&Tools>,
    rules: &Rules,
    verdict: &mut Verdict,
) {
    let place = Place::Tool(n);
    let parsed = match call.arguments.trim() {
        "" => Some(Value::Object(Map::new())),
        text => serde_json::from_str(text).ok(),
    };
    if let Some(tools) = tools
        && let Some(reason) = tools.wrong(call.name, parsed.as_ref())
    {
        verdict.add(Breach { rule: "tools".into(), action: tools.action, place, reason });
    }
    if rules.patterns.is_empty() {
        return;
    }
    let Some(mut arguments) = parsed else {
        let spans = rules.search(call.arguments, place, verdict);
        if let Some(span) = spans.first() {
            // A mask in what is not understood may change what it means.
            let (rule, reason) = (rules.list[span.rule].name.clone(), "what matches cannot be masked".into());
            verdict.add(Breach { rule, action: Decision::Block, place, reason });
        }
        return;
    };
    if walk(&mut arguments, place, rules, verdict) {
        verdict.masked_tools.push((n, arguments.to_string()));
    }
}

/// Masks in every text, number and name. Whether something changed. The depth is bounded by that of the parser.
fn walk(value: &mut Value, place: Place, rules: &Rules, verdict: &mut Verdict) -> bool {
    let mut masked = |text: &str| {
        let spans = rules.search(text, place, verdict);
        (!spans.is_empty()).then(|| rules.masked(text, &spans))
    };
    match value {
        Value::String(text) => masked(text).is_some_and(|new| {
            *text = new;
            true
        }),
        Value::Number(number) => masked(&number.to_string()).is_some_and(|new| {
            *value = Value::String(new);
            true
        }),
        Value::Array(items) => {
            let mut changed = false;
            for item in items {
                changed |= walk(item, place, rules, verdict);
            }
            changed
        }
        Value::Object(map) => {
            let names: Vec<(String, String)> =
                map.keys().filter_map(|name| Some((name.clone(), masked(name)?))).collect();
            for (name, new) in &names {
                if let Some(value) = map.remove(name) {
                    map.insert(new.clone(), value);
                }
            }
            let mut changed = !names.is_empty();
            for value in map.values_mut() {
                changed |= walk(value, place, rules, verdict);
            }
            changed
        }
        Value::Null | Value::Bool(_) => false,
    }
}
