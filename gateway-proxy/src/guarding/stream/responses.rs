//! Events of `OpenAI`'s responses. They say everything twice and three times: in pieces, whole, and in what it is part of. What was
//! released in pieces is what stands in the whole.

mod refused;

use super::{Aside, Ending, Out, Rewrite};
use crate::guarding::Compiled;
use crate::guarding::chain::{Chain, Found, Stop};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A kind of text: its events, the number of its part in them, the field of the whole, the type of its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    events: &'static str,
    number: &'static str,
    field: &'static str,
    part: &'static str,
}

/// The answer's own text; the others go beside it.
const SAID: Kind =
    Kind { events: "response.output_text", number: "content_index", field: "text", part: "output_text" };
const KINDS: [Kind; 4] = [
    SAID,
    Kind { events: "response.refusal", number: "content_index", field: "refusal", part: "refusal" },
    Kind {
        events: "response.reasoning_text",
        number: "content_index",
        field: "text",
        part: "reasoning_text",
    },
    Kind {
        events: "response.reasoning_summary_text",
        number: "summary_index",
        field: "text",
        part: "summary_text",
    },
];

/// Texts of an answer, and calls: more than any answer has.
const MOST: usize = 1_024;

/// A text's item, kind and part.
type Key = (u64, Kind, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Responses {
    aside: Aside,
    chain: Chain,
    texts: BTreeMap<Key, Spoken>,
    calls: BTreeMap<u64, Call>,
    /// The response as it was said last.
    base: Value,
    /// Items that the client has got whole.
    done: Vec<Value>,
    /// The item, and the part of it, that the client has begun to get.
    item: Option<(u64, Value)>,
    part: Option<(u64, Value)>,
    /// Numbers of the next item, and of the next event.
    next_item: u64,
    next: Option<u64>,
    is_silent: bool,
    has_finished: bool,
}

/// A text so far.
#[derive(Debug, Default)]
struct Spoken {
    /// Its own guards, where it goes beside the answer.
    chain: Option<Box<Chain>>,
    came: usize,
    shown: String,
}

/// A call, held until it is whole.
#[derive(Debug, Default)]
struct Call {
    /// The event that began it, until the client gets it.
    begun: Option<Value>,
    name: String,
    arguments: String,
    judged: Option<String>,
}

impl Responses {
    pub(super) fn new(compiled: &[Arc<Compiled>], whole: bool) -> Self {
        Self {
            aside: Aside::new(compiled),
            chain: Chain::new(compiled, whole),
            texts: BTreeMap::new(),
            calls: BTreeMap::new(),
            base: Value::Null,
            done: Vec::new(),
            item: None,
            part: None,
            next_item: 0,
            next: None,
            is_silent: false,
            has_finished: false,
        }
    }

    /// Sends an event, as it came where that is `raw` and its number is still right.
    fn send(&mut self, mut event: Value, raw: Option<&[u8]>, out: &mut Out<'_>) {
        let own = event["sequence_number"].as_u64();
        let number = self.next.or(own);
        self.next = number.map(|number| number.saturating_add(1));
        let is_right = own == number;
        if let Some(number) = number {
            event["sequence_number"] = number.into();
        }
        match raw.filter(|_| is_right) {
            Some(raw) => out.pass(event["type"].as_str(), raw),
            None => out.send(event["type"].as_str(), &event),
        }
    }

    /// Takes text; what may be seen of it: nothing of texts beyond count.
    fn speak(&mut self, key: Key, text: &str, is_end: bool) -> (String, Result<(), Stop>) {
        if self.texts.len() >= MOST && !self.texts.contains_key(&key) {
            return (String::new(), Ok(()));
        }
        let aside = &self.aside;
        let spoken = self.texts.entry(key).or_insert_with(|| Spoken {
            chain: (key.1 != SAID).then(|| Box::new(aside.chain())),
            ..Spoken::default()
        });
        let chain = spoken.chain.as_deref_mut().unwrap_or(&mut self.chain);
        let mut released = String::with_capacity(text.len());
        let mut result = chain.push(text, &mut released);
        if is_end && result.is_ok() {
            result = chain.flush(&mut released);
        }
        spoken.came += text.len();
        spoken.shown.push_str(&released);
        (released, result)
    }

    fn piece(&mut self, kind: Kind, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let text = event["delta"].as_str().unwrap_or_default().to_owned();
        let (released, result) = self.speak(key(kind, &event), &text, false);
        if released == text {
            self.send(event, Some(raw), out);
        } else if !released.is_empty() {
            event["delta"] = released.into();
            forget_tokens(&mut event);
            self.send(event, None, out);
        }
        result
    }

    fn whole(&mut self, kind: Kind, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let key = key(kind, &event);
        let text = event[kind.field].as_str().unwrap_or_default().to_owned();
        let came = self.texts.get(&key).map_or(0, |spoken| spoken.came);
        let (released, result) = self.speak(key, if came == 0 { &text } else { "" }, true);
        if !released.is_empty() {
            let mut delta = json!({"type": format!("{}.delta", kind.events), "item_id": event["item_id"],
                "output_index": event["output_index"], "delta": released});
            delta[kind.number] = event[kind.number].clone();
            if kind == SAID {
                delta["logprobs"] = json!([]);
            }
            self.send(numbered(delta, &event), None, out);
        }
        result?;
        let shown = self.shown(key);
        let is_same = shown == text;
        event[kind.field] = shown.into();
        if !is_same {
            forget_tokens(&mut event);
        }
        self.send(event, is_same.then_some(raw), out);
        Ok(())
    }

    fn shown(&self, key: Key) -> String {
        self.texts.get(&key).map_or_else(String::new, |spoken| spoken.shown.clone())
    }

    /// Puts into a part what was released of it; one that did not come in pieces is judged. Whether it changed.
    fn part(&mut self, item: u64, number: u64, part: &mut Value) -> Result<bool, Stop> {
        let Some(kind) = KINDS.into_iter().find(|kind| part["type"] == kind.part) else {
            return self.aside.sweep(part);
        };
        let (key, text) = ((item, kind, number), part[kind.field].as_str().unwrap_or_default().to_owned());
        if self.texts.get(&key).is_none_or(|spoken| spoken.came == 0) {
            self.speak(key, &text, true).1?;
        }
        let shown = self.shown(key);
        let mut has_changed = shown != text;
        part[kind.field] = shown.into();
        if has_changed {
            forget_tokens(part);
        }
        if !part["annotations"].is_null() {
            has_changed |= self.aside.sweep(&mut part["annotations"])?;
        }
        Ok(has_changed)
    }

    /// The same for an item.
    fn judge_item(&mut self, at: u64, item: &mut Value) -> Result<bool, Stop> {
        if let Some(field) = call_field(item) {
            let name = item["name"].as_str().unwrap_or_default().to_owned();
            let text = item[field].as_str().unwrap_or_default().to_owned();
            let judged = self.judge_call(at, &name, &text, field == "input")?;
            let mut has_changed = judged != text;
            item[field] = judged.into();
            if !item["output"].is_null() {
                has_changed |= self.aside.sweep(&mut item["output"])?;
            }
            return Ok(has_changed);
        }
        if !matches!(item["type"].as_str(), Some("message" | "reasoning")) {
            return self.aside.sweep(item);
        }
        let mut has_changed = false;
        for field in ["summary", "content"] {
            for (number, part) in (0..).zip(item[field].as_array_mut().into_iter().flatten()) {
                has_changed |= self.part(at, number, part)?;
            }
        }
        Ok(has_changed)
    }

    fn judge_call(&mut self, at: u64, name: &str, text: &str, is_plain: bool) -> Result<String, Stop> {
        let call = self.calls.entry(at).or_default();
        if let Some(judged) = &call.judged {
            return Ok(judged.clone());
        }
        let name = if call.name.is_empty() { name } else { &call.name };
        let text = if text.is_empty() { &call.arguments } else { text };
        let judged = if is_plain {
            let judged = self.chain.tool(name, &json!(text).to_string())?;
            serde_json::from_str(&judged).unwrap_or_default()
        } else {
            self.chain.tool(name, text)?
        };
        call.judged = Some(judged.clone());
        Ok(judged)
    }

    /// The events of a call, from its pieces to its end.
    fn call(&mut self, kind: &str, mut event: Value, out: &mut Out<'_>) -> Result<(), Stop> {
        let at = event["output_index"].as_u64().unwrap_or(0);
        if kind.rsplit('.').next() == Some("delta") {
            let call = self.calls.entry(at).or_default();
            call.arguments.push_str(event["delta"].as_str().unwrap_or_default());
            return Ok(());
        }
        let field = if kind.ends_with("_input.done") { "input" } else { "arguments" };
        let name = event["name"].as_str().unwrap_or_default().to_owned();
        let text = event[field].as_str().unwrap_or_default().to_owned();
        let judged = self.judge_call(at, &name, &text, field == "input")?;
        self.begin_call(at, &event, out);
        let mut delta = json!({"type": kind.replace(".done", ".delta"), "item_id": event["item_id"], "output_index": at,
            "delta": judged});
        delta = numbered(delta, &event);
        self.send(delta, None, out);
        event[field] = judged.into();
        self.send(event, None, out);
        Ok(())
    }

    /// Tells the client of a call that was held.
    fn begin_call(&mut self, at: u64, like: &Value, out: &mut Out<'_>) {
        if let Some(begun) = self.calls.get_mut(&at).and_then(|call| call.begun.take()) {
            self.next_item = self.next_item.max(at.saturating_add(1));
            self.send(numbered(begun, like), None, out);
        }
    }

    fn begin_item(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let at = event["output_index"].as_u64().unwrap_or(0);
        let item = &mut event["item"];
        if call_field(item).is_some() {
            let name = item["name"].as_str().unwrap_or_default().to_owned();
            for field in ["arguments", "input"] {
                if item[field].is_string() {
                    item[field] = "".into();
                }
            }
            self.calls.insert(at, Call { begun: Some(event), name, ..Call::default() });
            return Ok(());
        }
        let mut has_changed = false;
        for field in ["summary", "content"] {
            if item[field].as_array().is_some_and(|parts| !parts.is_empty()) {
                item[field] = json!([]);
                has_changed = true;
            }
        }
        if !matches!(item["type"].as_str(), Some("message" | "reasoning")) {
            has_changed |= self.aside.sweep(item)?;
        }
        self.item = Some((at, item.clone()));
        self.next_item = self.next_item.max(at.saturating_add(1));
        self.send(event, (!has_changed).then_some(raw), out);
        Ok(())
    }

    fn end_item(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let at = event["output_index"].as_u64().unwrap_or(0);
        let mut item = event["item"].take();
        let has_changed = self.judge_item(at, &mut item)?;
        self.begin_call(at, &event, out);
        self.done.push(item.clone());
        event["item"] = item;
        (self.item, self.part) = (None, None);
        self.send(event, (!has_changed).then_some(raw), out);
        Ok(())
    }

    fn begin_part(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let part = &mut event["part"];
        let kind = KINDS.into_iter().find(|kind| part["type"] == kind.part);
        let text = kind.and_then(|kind| part[kind.field].as_str().filter(|text| !text.is_empty()));
        let text = text.map(str::to_owned);
        let mut has_changed = text.is_some();
        match kind {
            Some(kind) => part[kind.field] = "".into(),
            None => has_changed |= self.aside.sweep(part)?,
        }
        let number = kind.map_or(0, |kind| event[kind.number].as_u64().unwrap_or(0));
        self.part = Some((number, event["part"].clone()));
        let like = event.clone();
        self.send(event, (!has_changed).then_some(raw), out);
        if let (Some(kind), Some(text)) = (kind, text) {
            let mut delta = json!({"type": format!("{}.delta", kind.events), "item_id": like["item_id"],
                "output_index": like["output_index"], "delta": text});
            delta[kind.number] = like[kind.number].clone();
            return self.piece(kind, numbered(delta, &like), &[], out);
        }
        Ok(())
    }

    fn end_part(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let item = event["output_index"].as_u64().unwrap_or(0);
        let number = event["content_index"].as_u64().or(event["summary_index"].as_u64()).unwrap_or(0);
        let has_changed = self.part(item, number, &mut event["part"])?;
        self.part = None;
        self.send(event, (!has_changed).then_some(raw), out);
        Ok(())
    }

    fn end(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        self.has_finished = true;
        let mut output = event["response"]["output"].take();
        self.base = event["response"].clone();
        let mut has_changed = false;
        for (at, item) in (0..).zip(output.as_array_mut().into_iter().flatten()) {
            has_changed |= self.judge_item(at, item)?;
        }
        self.chain.finish(&mut String::new())?;
        event["response"]["output"] = output;
        if event["response"]["output_text"].is_string() {
            has_changed |= self.aside.sweep(&mut event["response"]["output_text"])?;
        }
        self.send(event, (!has_changed).then_some(raw), out);
        Ok(())
    }
}

/// The text that an event brings a piece of.
fn key(kind: Kind, event: &Value) -> Key {
    let number = |name: &str| event[name].as_u64().unwrap_or(0);
    (number("output_index"), kind, number(kind.number))
}

/// Where the arguments of a call stand, if the item is one.
fn call_field(item: &Value) -> Option<&'static str> {
    if item["type"] == "custom_tool_call" {
        return Some("input");
    }
    (item["type"] == "function_call" || item["name"].is_string() && item["arguments"].is_string())
        .then_some("arguments")
}

/// Gives an event of ours the number of that which it goes before.
fn numbered(mut event: Value, like: &Value) -> Value {
    event["sequence_number"] = like["sequence_number"].clone();
    event
}

/// The tokens would tell.
fn forget_tokens(value: &mut Value) {
    if !value["logprobs"].is_null() {
        value["logprobs"] = json!([]);
    }
}

impl Rewrite for Responses {
    fn event(&mut self, mut event: Value, raw: &[u8], out: &mut Out<'_>) -> Result<(), Stop> {
        let name = event["type"].as_str().unwrap_or_default().to_owned();
        // What nobody can read nobody can judge.
        if ["response", "item"].iter().any(|name| !event[*name].is_null() && !event[*name].is_object()) {
            return Ok(());
        }
        for kind in KINDS {
            match name.strip_prefix(kind.events) {
                Some(".delta") => return self.piece(kind, event, raw, out),
                Some(".done") => return self.whole(kind, event, raw, out),
                _ => {}
            }
        }
        match name.as_str() {
            "response.created" | "response.in_progress" | "response.queued" => {
                let output = &mut event["response"]["output"];
                let is_bare = output.as_array().is_none_or(Vec::is_empty);
                if !is_bare {
                    *output = json!([]);
                }
                self.base = event["response"].clone();
                self.send(event, is_bare.then_some(raw), out);
                Ok(())
            }
            "response.output_item.added" => self.begin_item(event, raw, out),
            "response.output_item.done" => self.end_item(event, raw, out),
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                self.begin_part(event, raw, out)
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                self.end_part(event, raw, out)
            }
            "response.completed" | "response.incomplete" => self.end(event, raw, out),
            "response.failed" => {
                event["response"]["output"] = json!([]);
                self.send(event, None, out);
                Ok(())
            }
            "error" => {
                self.send(event, Some(raw), out);
                Ok(())
            }
            name if name.contains("_call_arguments.") || name.contains("_call_input.") => {
                self.call(name, event, out)
            }
            // Nobody can judge a piece of what is not known.
            name if name.rsplit('.').next() == Some("delta") => Ok(()),
            _ => {
                let has_changed = self.aside.sweep(&mut event)?;
                self.send(event, (!has_changed).then_some(raw), out);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, text: &str, ending: &Ending<'_>, out: &mut Out<'_>) {
        self.refused(text, ending, out);
    }

    fn begin_again(&mut self) {
        (self.item, self.part, self.next_item, self.is_silent) = (None, None, 0, true);
        self.done.clear();
    }

    fn has_finished(&self) -> bool {
        self.has_finished
    }

    fn is_usage(&self, _event: &Value) -> bool {
        false
    }

    fn tell(&mut self, found: &mut Vec<Found>) {
        self.chain.tell(found);
        for spoken in self.texts.values_mut() {
            if let Some(chain) = &mut spoken.chain {
                chain.tell(found);
            }
        }
        found.append(&mut self.aside.found);
    }
}
