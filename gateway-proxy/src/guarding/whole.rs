//! Answers that came whole: every choice's texts and tool calls, judged before anybody sees them.

use super::chain::{Chain, Found, Stop};
use super::places::{Edits, Literal, is_structural, items, literal, member, object, place, string, texts};
use super::{Compiled, glance, refusal};
use crate::app::App;
use crate::endpoints::Endpoint;
use crate::request::{Member, members};
use bytes::Bytes;
use protocols::Dialect;
use serde_json::json;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// Breaches of one call that are told.
const MOST_FOUND: usize = 64;

type Read<T> = Result<T, serde_json::Error>;

/// What came of judging an answer.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The answer as it may go on, if it is another.
    pub(super) bytes: Option<Bytes>,
    pub(super) found: Vec<Found>,
    /// Why one of its choices, or all of it, may not.
    pub(super) stop: Option<Stop>,
}

/// What judges, and what it says when it refuses.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    pub(super) compiled: Vec<Arc<Compiled>>,
    pub(super) language: Option<Box<str>>,
    /// What was found in the call so far; tries beside each other add to it.
    pub(super) found: Arc<Mutex<Vec<Found>>>,
}

/// One choice of an answer.
#[derive(Debug, Default)]
struct Choice<'a> {
    json: &'a str,
    /// What the model says.
    texts: Vec<Literal<'a>>,
    /// What it says beside: thoughts, refusals, quotations.
    beside: Vec<Literal<'a>>,
    calls: Vec<Called<'a>>,
}

/// A call of a tool.
#[derive(Debug)]
struct Called<'a> {
    name: Cow<'a, str>,
    arguments: Literal<'a>,
    form: Form,
}

/// How the arguments of a call are written.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// JSON within a text.
    Text,
    /// JSON.
    Json,
    /// A text that is no JSON.
    Plain,
}

impl Judge {
    /// What a client is told.
    pub(super) fn refusal(&self, stop: &Stop) -> String {
        let of = self.compiled.get(stop.guard);
        of.map_or_else(String::new, |of| of.guard.refusal(self.language.as_deref(), &stop.rule))
    }

    /// Notes what was found, each thing once.
    pub(super) fn note(&self, app: &App, news: Vec<Found>) {
        if news.is_empty() {
            return;
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for news in news {
            if found.len() < MOST_FOUND && !found.contains(&news) {
                app.metrics.count_breach(news.action.as_str(), news.place);
                found.push(news);
            }
        }
    }

    /// Judges an answer. An error when it cannot be read.
    pub(super) fn whole(&self, endpoint: &Endpoint, bytes: &[u8], id: &str) -> Read<Judged> {
        let whole = std::str::from_utf8(bytes).map_err(serde::de::Error::custom)?;
        if self.passes(endpoint, whole) { Ok(Judged::default()) } else { self.closely(endpoint, whole, id) }
    }

    /// Whether no guardrail says anything of any text, as far as a first look tells. Of no text at all some say something, too.
    pub(super) fn passes(&self, endpoint: &Endpoint, whole: &str) -> bool {
        let is_fine = |text: &str| self.compiled.iter().all(|of| of.guard.passes_output(text));
        is_fine("") && glance::passes(whole, said(endpoint), &is_fine)
    }

    /// Judges an answer text by text.
    pub(super) fn closely(&self, endpoint: &Endpoint, whole: &str, id: &str) -> Read<Judged> {
        let mut judged = Judged::default();
        let mut edits = Edits::default();
        for choice in choices(endpoint, whole)? {
            let mut own = Edits::default();
            match self.choice(&choice, &mut own, &mut judged.found) {
                Ok(()) => {
                    if own.is_empty() {
                        continue;
                    }
                    forget_tokens(endpoint, whole, choice.json, &mut own)?;
                    edits.extend(own);
                }
                Err(stop) => {
                    withhold(endpoint, whole, choice.json, &self.refusal(&stop), id, &mut edits)?;
                    let is_severer =
                        judged.stop.as_ref().is_none_or(|so_far| so_far.decision < stop.decision);
                    judged.stop = if is_severer { Some(stop) } else { judged.stop };
                }
            }
        }
        judged.bytes = edits.apply(whole.as_bytes());
        Ok(judged)
    }

    fn choice(&self, choice: &Choice<'_>, edits: &mut Edits, found: &mut Vec<Found>) -> Result<(), Stop> {
        let mut chain = Chain::new(&self.compiled, true);
        let result = Self::chained(&mut chain, choice, edits);
        chain.tell(found);
        result?;
        if chain.holds_all() {
            // It was judged, and stands: what is left is to mask.
            let mut chain = Chain::new(&self.compiled, false);
            texts_through(&mut chain, &choice.texts, edits)?;
        }
        for text in &choice.beside {
            let mut chain = Chain::new(&self.compiled, false);
            let result = texts_through(&mut chain, std::slice::from_ref(text), edits);
            chain.tell(found);
            result?;
        }
        Ok(())
    }

    fn chained(chain: &mut Chain, choice: &Choice<'_>, edits: &mut Edits) -> Result<(), Stop> {
        if chain.holds_all() {
            let mut all = String::new();
            for text in &choice.texts {
                chain.push(&text.text, &mut all)?;
                chain.flush(&mut all)?;
            }
        } else {
            texts_through(chain, &choice.texts, edits)?;
        }
        for call in &choice.calls {
            let arguments = match call.form {
                Form::Plain => Cow::Owned(json!(call.arguments.text).to_string()),
                Form::Text | Form::Json => Cow::Borrowed(call.arguments.text.as_ref()),
            };
            let judged = chain.tool(&call.name, &arguments)?;
            if judged != arguments {
                match call.form {
                    Form::Text => edits.text(call.arguments.at.clone(), &judged),
                    Form::Json | Form::Plain => edits.put(call.arguments.at.clone(), judged),
                }
            }
        }
        chain.finish(&mut String::new())
    }
}

/// Each text through the chain, and what differs then into `edits`.
fn texts_through(chain: &mut Chain, texts: &[Literal<'_>], edits: &mut Edits) -> Result<(), Stop> {
    for text in texts {
        let mut released = String::with_capacity(text.text.len());
        chain.push(&text.text, &mut released)?;
        chain.flush(&mut released)?;
        if released != text.text {
            edits.text(text.at.clone(), &released);
        }
    }
    Ok(())
}

/// The members of an answer within which is what it says.
const fn said(endpoint: &Endpoint) -> &'static [&'static str] {
    match endpoint.dialect {
        Some(Dialect::OpenAiResponses) => &["output", "output_text"],
        Some(Dialect::Anthropic) => &["content"],
        _ => &["choices"],
    }
}

/// What an answer consists of.
fn choices<'a>(endpoint: &Endpoint, whole: &'a str) -> Read<Vec<Choice<'a>>> {
    let top = members(whole)?;
    match endpoint.dialect {
        Some(Dialect::OpenAiResponses) => Ok(vec![response(whole, &top)?]),
        Some(Dialect::Anthropic) => Ok(vec![message(whole, &top)?]),
        _ => {
            let of = items(member(&top, "choices").unwrap_or_default())?;
            of.into_iter().map(|choice| completion(whole, choice.get())).collect()
        }
    }
}

/// The text of a member, if there is one.
fn text<'a>(whole: &str, all: &[Member<'a>], name: &str) -> Read<Option<Literal<'a>>> {
    member(all, name).map_or(Ok(None), |json| literal(whole, json))
}

/// Texts that are no text of the answer itself.
fn aside<'a>(whole: &str, all: &[Member<'a>], but: &[&str], into: &mut Vec<Literal<'a>>) -> Read<()> {
    let others = all.iter().filter(|of| !is_structural(&of.name) && !but.contains(&of.name.as_ref()));
    others.into_iter().try_for_each(|of| texts(whole, of.text(), &|name| !is_structural(name), into))
}

fn completion<'a>(whole: &str, json: &'a str) -> Read<Choice<'a>> {
    let mut choice = Choice { json, ..Choice::default() };
    let of = members(json)?;
    choice.texts.extend(text(whole, &of, "text")?);
    let Some(all) = object(&of, "message")? else { return Ok(choice) };
    if let Some(content) = member(&all, "content") {
        texts(whole, content, &|name| !is_structural(name), &mut choice.texts)?;
    }
    for call in items(member(&all, "tool_calls").unwrap_or_default())? {
        let call = members(call.get())?;
        for (kind, arguments, form) in
            [("function", "arguments", Form::Text), ("custom", "input", Form::Plain)]
        {
            if let Some(function) = object(&call, kind)? {
                choice.call(whole, &function, arguments, form)?;
            }
        }
    }
    if let Some(function) = object(&all, "function_call")? {
        choice.call(whole, &function, "arguments", Form::Text)?;
    }
    aside(whole, &all, &["content", "tool_calls", "function_call"], &mut choice.beside)?;
    Ok(choice)
}

fn message<'a>(whole: &'a str, top: &[Member<'a>]) -> Read<Choice<'a>> {
    let mut choice = Choice { json: whole, ..Choice::default() };
    for block in items(member(top, "content").unwrap_or_default())? {
        let all = members(block.get())?;
        match string(&all, "type").as_ref() {
            "text" => {
                choice.texts.extend(text(whole, &all, "text")?);
                aside(whole, &all, &["text"], &mut choice.beside)?;
            }
            kind if kind.ends_with("tool_use") => choice.call(whole, &all, "input", Form::Json)?,
            _ => aside(whole, &all, &[], &mut choice.beside)?,
        }
    }
    Ok(choice)
}

fn response<'a>(whole: &'a str, top: &[Member<'a>]) -> Read<Choice<'a>> {
    let mut choice = Choice { json: whole, ..Choice::default() };
    for item in items(member(top, "output").unwrap_or_default())? {
        let all = members(item.get())?;
        match string(&all, "type").as_ref() {
            "message" => {
                for part in items(member(&all, "content").unwrap_or_default())? {
                    let part = members(part.get())?;
                    choice.texts.extend(text(whole, &part, "text")?);
                    aside(whole, &part, &["text", "logprobs"], &mut choice.beside)?;
                }
            }
            "custom_tool_call" => choice.call(whole, &all, "input", Form::Plain)?,
            _ => {
                if member(&all, "arguments").is_some() && member(&all, "name").is_some() {
                    choice.call(whole, &all, "arguments", Form::Text)?;
                }
                aside(whole, &all, &["arguments"], &mut choice.beside)?;
            }
        }
    }
    choice.beside.extend(text(whole, top, "output_text")?);
    Ok(choice)
}

impl<'a> Choice<'a> {
    /// Adds a call of the tool that `all` are the members of.
    fn call(&mut self, whole: &str, all: &[Member<'a>], arguments: &str, form: Form) -> Read<()> {
        let name = string(all, "name");
        let json = member(all, arguments).unwrap_or_default();
        let arguments = match form {
            Form::Json => Literal { at: place_or_end(whole, json), text: json.into() },
            Form::Text | Form::Plain => literal(whole, json)?
                .unwrap_or_else(|| Literal { at: place_or_end(whole, json), text: json.into() }),
        };
        self.calls.push(Called { name, arguments, form });
        Ok(())
    }
}

/// Where `part` stands; at the end, where nothing is put, when it is none of `whole`.
fn place_or_end(whole: &str, part: &str) -> std::ops::Range<usize> {
    if part.is_empty() { whole.len()..whole.len() } else { place(whole, part) }
}

/// Takes out the tokens of a choice whose text is another now: they would tell what it was.
fn forget_tokens(endpoint: &Endpoint, whole: &str, choice: &str, edits: &mut Edits) -> Read<()> {
    let all = members(choice)?;
    if endpoint.dialect != Some(Dialect::OpenAiResponses) {
        if member(&all, "logprobs").is_some() {
            edits.set(whole, &all, "logprobs", "null");
        }
        return Ok(());
    }
    for item in items(member(&all, "output").unwrap_or_default())? {
        let item = members(item.get())?;
        for part in items(member(&item, "content").unwrap_or_default())? {
            let part = members(part.get())?;
            if member(&part, "logprobs").is_some() {
                edits.set(whole, &part, "logprobs", "[]");
            }
        }
    }
    Ok(())
}

/// Puts a refusal in the place of a choice, or of the answer.
fn withhold(
    endpoint: &Endpoint,
    whole: &str,
    choice: &str,
    text: &str,
    id: &str,
    edits: &mut Edits,
) -> Read<()> {
    let all = members(choice)?;
    let mut set = |name: &str, json: &str| edits.set(whole, &all, name, json);
    match endpoint.dialect {
        Some(Dialect::OpenAiResponses) => {
            set("output", &json!([refusal::item(id, text)]).to_string());
            set("status", "\"incomplete\"");
            set("incomplete_details", "{\"reason\":\"content_filter\"}");
            if member(&all, "output_text").is_some() {
                set("output_text", "\"\"");
            }
        }
        Some(Dialect::Anthropic) => {
            set("content", &json!([{"type": "text", "text": text}]).to_string());
            set("stop_reason", "\"refusal\"");
            set("stop_sequence", "null");
        }
        Some(_) => {
            let message = json!({"role": "assistant", "content": text, "refusal": null});
            set("message", &message.to_string());
            set("finish_reason", "\"content_filter\"");
            set("logprobs", "null");
        }
        None => {
            set("text", &json!(text).to_string());
            set("finish_reason", "\"content_filter\"");
            set("logprobs", "null");
        }
    }
    Ok(())
}
