//! Chunks of chat completions, and of completions.

use super::{Aside, Ending, Out, Rewrite};
use crate::guarding::Compiled;
use crate::guarding::chain::{Chain, Found, Stop};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Choices of an answer, and calls of a choice.
const MOST: u64 = 256;
/// Texts that go beside what is said.
const BESIDE: [&str; 3] = ["reasoning_content", "reasoning", "refusal"];

/// See the module.
#[derive(Debug)]
pub(super) struct Chat {
    aside: Aside,
    whole: bool,
    /// Whether the text stands in the choice itself.
    is_plain: bool,
    choices: BTreeMap<u64, Choice>,
    /// The last chunk, without what it brought.
    frame: Map<String, Value>,
    /// The choice that may not go on.
    stopped: u64,
}

/// One choice so far.
#[derive(Debug)]
struct Choice {
    chain: Chain,
    beside: BTreeMap<&'static str, Chain>,
    calls: BTreeMap<u64, Value>,
    /// A call as it was before there were several.
    function: Option<Value>,
    has_role: bool,
    has_spoken: bool,
    is_ended: bool,
}

impl Chat {
    pub(super) fn new(compiled: &[Arc<Compiled>], whole: bool, is_plain: bool) -> Self {
        let (choices, frame) = (BTreeMap::new(), Map::new());
        Self { aside: Aside::new(compiled), whole, is_plain, choices, frame, stopped: 0 }
    }

    fn choice(&mut self, index: u64) -> Option<&mut Choice> {
        let begin = || Choice {
            chain: Chain::new(&self.aside.compiled, self.whole),
            beside: BTreeMap::new(),
            calls: BTreeMap::new(),
            function: None,
            has_role: false,
            has_spoken: false,
            is_ended: false,
        };
        (index < MOST).then(|| self.choices.entry(index).or_insert_with(begin))
    }

    fn chunk(&self, choices: Vec<Value>, out: &mut Out<'_>) {
        if !choices.is_empty() {
            let mut chunk = self.frame.clone();
            chunk.insert("choices".into(), choices.into());
            out.send(None, &chunk.into());
        }
    }
}

impl Rewrite for Chat {
    fn event(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let Some(choices) = event["choices"].as_array_mut().filter(|choices| !choices.is_empty()) else {
            out.pass(None, raw);
            return Ok(());
        };
        let choices = std::mem::take(choices);
        let is_plain = self.is_plain;
        let aside = Aside::new(&self.aside.compiled);
        let (mut before, mut after, mut is_same) = (Vec::new(), Vec::new(), true);
        let mut result = Ok(());
        for mut choice in choices {
            let index = choice["index"].as_u64().unwrap_or(0);
            let Some(of) = self.choice(index).filter(|_| choice.is_object()) else {
                is_same = false;
                continue;
            };
            let taken = of.take(&mut choice, is_plain, &aside);
            is_same &= taken.is_same;
            before.extend(taken.before);
            if let Err(stop) = taken.result {
                (self.stopped, result, is_same) = (index, Err(stop), false);
                break;
            }
            let is_empty = !is_end(&choice)
                && choice["delta"].as_object().is_none_or(Map::is_empty)
                && choice["text"].as_str().is_none_or(str::is_empty);
            if taken.is_same || !is_empty {
                after.push(choice);
            }
        }
        let Value::Object(mut frame) = event else { return result };
        let usage = frame.remove("usage");
        self.frame = frame;
        if is_same {
            out.pass(None, raw);
            return result;
        }
        self.chunk(before, out);
        match usage.filter(|usage| !usage.is_null() && result.is_ok()) {
            Some(usage) => {
                let mut chunk = self.frame.clone();
                chunk.insert("choices".into(), after.into());
                chunk.insert("usage".into(), usage);
                out.send(None, &chunk.into());
            }
            None => self.chunk(after, out),
        }
        result
    }

    fn refuse(&mut self, text: &str, _ending: &Ending<'_>, out: &mut Out<'_>) {
        let stopped = self.stopped;
        let is_plain = self.is_plain;
        let has_finished = self.has_finished();
        let Some(choice) = self.choice(stopped) else { return };
        let text = if choice.has_spoken { format!("\n\n{text}") } else { text.to_owned() };
        let mut said = json!({"index": stopped, "logprobs": null, "finish_reason": null});
        if is_plain {
            said["text"] = text.into();
        } else if choice.has_role {
            said["delta"] = json!({"content": text});
        } else {
            said["delta"] = json!({"role": "assistant", "content": text});
        }
        let end = |index: u64| {
            let mut end = json!({"index": index, "logprobs": null, "finish_reason": "content_filter"});
            end[if is_plain { "text" } else { "delta" }] = if is_plain { "".into() } else { json!({}) };
            end
        };
        let open = self.choices.iter().filter(|(index, choice)| **index == stopped || !choice.is_ended);
        let ends = open.map(|(index, _)| end(*index)).collect();
        self.chunk(vec![said], out);
        self.chunk(ends, out);
        if !has_finished {
            out.pass(None, b"[DONE]");
        }
    }

    fn begin_again(&mut self) {
        for choice in self.choices.values_mut() {
            (choice.has_role, choice.has_spoken) = (false, false);
        }
    }

    fn has_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|choice| choice.is_ended)
    }

    fn is_usage(&self, event: &Value) -> bool {
        event["choices"].as_array().is_some_and(Vec::is_empty)
    }

    fn tell(&mut self, found: &mut Vec<Found>) {
        for choice in self.choices.values_mut() {
            choice.chain.tell(found);
            choice.beside.values_mut().for_each(|chain| chain.tell(found));
        }
    }
}

/// What came of a choice of a chunk.
struct Taken {
    is_same: bool,
    /// What goes before it in a chunk of its own.
    before: Option<Value>,
    result: Result<(), Stop>,
}

impl Choice {
    /// Takes what a chunk brings of this choice, and leaves in it what may be seen.
    fn take(&mut self, choice: &mut Value, is_plain: bool, aside: &Aside) -> Taken {
        let is_end = is_end(choice);
        let was = if is_plain { json!({"content": choice["text"]}) } else { choice["delta"].take() };
        let was = if let Value::Object(was) = was { was } else { Map::new() };
        let mut delta = Map::new();
        let result = self.released(&was, is_end, aside, &mut delta);
        self.is_ended |= is_end;
        self.has_role |= delta.contains_key("role");
        self.has_spoken |= delta.get("content").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        let is_same = delta == was && result.is_ok();
        let put = |choice: &mut Value, delta: Map<String, Value>| {
            if is_plain {
                choice["text"] = delta.get("content").cloned().unwrap_or_else(|| "".into());
            } else {
                choice["delta"] = delta.into();
            }
        };
        if is_same {
            put(choice, delta);
            return Taken { is_same, before: None, result };
        }
        // The tokens would tell.
        choice["logprobs"] = Value::Null;
        if (!is_end && result.is_ok()) || delta.is_empty() {
            put(choice, delta);
            return Taken { is_same, before: None, result };
        }
        let mut before = choice.clone();
        before["finish_reason"] = Value::Null;
        put(&mut before, delta);
        put(choice, Map::new());
        Taken { is_same, before: Some(before), result }
    }

    /// What may be seen now, into `delta`.
    fn released(
        &mut self,
        was: &Map<String, Value>,
        is_end: bool,
        aside: &Aside,
        delta: &mut Map<String, Value>,
    ) -> Result<(), Stop> {
        for (name, value) in was {
            match (name.as_str(), value) {
                ("role", _) | (_, Value::Null) => {
                    delta.insert(name.clone(), value.clone());
                }
                ("tool_calls", Value::Array(calls)) => calls.iter().for_each(|call| self.hold(call)),
                ("function_call", call) => hold(self.function.get_or_insert_with(|| json!({})), call),
                _ => {}
            }
        }
        for name in BESIDE {
            let text = was.get(name).and_then(Value::as_str);
            if text.is_none() && !self.beside.contains_key(name) {
                continue;
            }
            let chain = self.beside.entry(name).or_insert_with(|| aside.chain());
            let mut released = String::new();
            let mut result = chain.push(text.unwrap_or_default(), &mut released);
            // Nothing more of it comes once something is said.
            if result.is_ok() && (is_end || text.is_none()) {
                result = chain.flush(&mut released);
            }
            if !released.is_empty() || text == Some("") {
                delta.insert(name.into(), released.into());
            }
            result?;
        }
        let text = was.get("content").and_then(Value::as_str);
        let mut released = String::new();
        let mut result = self.chain.push(text.unwrap_or_default(), &mut released);
        let mut calls = Vec::new();
        if is_end {
            result = result.and_then(|()| self.judge_calls(&mut calls, delta));
            result = result.and_then(|()| self.chain.finish(&mut released));
        }
        if !released.is_empty() || text == Some("") {
            delta.insert("content".into(), released.into());
        }
        if result.is_err() {
            delta.remove("function_call");
        } else if !calls.is_empty() {
            delta.insert("tool_calls".into(), calls.into());
        }
        result
    }

    fn hold(&mut self, call: &Value) {
        let index = call["index"].as_u64().unwrap_or(0);
        if index < MOST {
            let held = self.calls.entry(index).or_insert_with(|| json!({"index": index}));
            for name in ["id", "type"] {
                if let Some(text) = call[name].as_str().filter(|text| !text.is_empty()) {
                    held[name] = text.into();
                }
            }
            for name in ["function", "custom"].into_iter().filter(|name| call[*name].is_object()) {
                if held[name].is_null() {
                    held[name] = json!({});
                }
                hold(&mut held[name], &call[name]);
            }
        }
    }

    fn judge_calls(&mut self, calls: &mut Vec<Value>, delta: &mut Map<String, Value>) -> Result<(), Stop> {
        for mut call in std::mem::take(&mut self.calls).into_values() {
            let kind = if call["custom"].is_object() { "custom" } else { "function" };
            judge(&mut self.chain, &mut call[kind])?;
            calls.push(call);
        }
        if let Some(mut function) = self.function.take() {
            judge(&mut self.chain, &mut function)?;
            delta.insert("function_call".into(), function);
        }
        Ok(())
    }
}

/// Whether a choice says why it ends. Some servers have an empty reason where others have none.
fn is_end(choice: &Value) -> bool {
    choice["finish_reason"].as_str().is_some_and(|reason| !reason.is_empty())
}

/// Adds a piece of a call to what is held of it.
fn hold(held: &mut Value, piece: &Value) {
    for name in ["name", "arguments", "input"] {
        match (piece[name].as_str(), &mut held[name]) {
            (Some(text), Value::String(so_far)) => so_far.push_str(text),
            (Some(text), nothing) => *nothing = text.into(),
            (None, _) => {}
        }
    }
}

/// Judges a call that is whole; its arguments are those that may go on.
fn judge(chain: &mut Chain, function: &mut Value) -> Result<(), Stop> {
    let name = function["name"].as_str().unwrap_or_default().to_owned();
    if let Some(input) = function["input"].as_str() {
        let judged = chain.tool(&name, &json!(input).to_string())?;
        function["input"] = serde_json::from_str(&judged).unwrap_or(Value::Null);
        return Ok(());
    }
    let judged = chain.tool(&name, function["arguments"].as_str().unwrap_or_default())?;
    function["arguments"] = judged.into();
    Ok(())
}
