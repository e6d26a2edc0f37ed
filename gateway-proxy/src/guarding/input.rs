//! What users say: the texts of a request, judged before a model gets them.
//!
//! The conversation is judged, tools' results and what the model said before included, and so are the passages that come with it; what
//! the system is told is the operator's own and is not, unless the client filled a prompt with variables. What a model thought is signed
//! and goes on as it is, and so do images, sounds and files.

use super::chain::{Found, Stop};
use super::places::{Edits, Literal, is_structural, items, string, texts};
use super::{Compiled, glance, input_found};
use crate::errors::Failure;
use crate::request::{Ask, BodyError, members};
use bytes::Bytes;
use guard::Decision;
use std::borrow::Cow;
use std::sync::Arc;

/// What came of judging a request.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The body with what was masked, if anything was.
    pub(super) body: Option<Bytes>,
    pub(super) found: Vec<Found>,
    pub(super) stop: Option<Stop>,
}

/// The rule that a request breaches which a guardrail cannot read.
const UNREADABLE: &str = "unreadable";

/// What is found in a request that cannot be read, by everybody who would have to.
pub(super) fn unread(compiled: &[Arc<Compiled>]) -> Vec<Found> {
    let judging = compiled.iter().filter(|of| !of.guard.passes_all_input());
    let found = judging.map(|of| Found {
        guardrail: of.name.clone(),
        rule: UNREADABLE.into(),
        action: Decision::Block,
        place: "input",
    });
    found.collect()
}

/// Judges what `ask` says; `all` of it, or what users say.
pub(super) fn judge(compiled: &[Arc<Compiled>], ask: &Ask, all: bool) -> Result<Judged, Failure> {
    if passes(compiled, ask, all) { Ok(Judged::default()) } else { closely(compiled, ask, all) }
}

/// The same, text by text.
pub(super) fn closely(compiled: &[Arc<Compiled>], ask: &Ask, all: bool) -> Result<Judged, Failure> {
    let whole = std::str::from_utf8(&ask.body).map_err(|_| Failure::BrokenBody)?;
    let mut literals = Vec::new();
    let prompt = ask.text(ask.prompt_at.as_ref()).unwrap_or_default();
    conversation(whole, prompt, all, &mut literals)?;
    for beside in ask.beside_at.iter().flatten().chain(&ask.variables_at) {
        content(whole, ask.text(Some(beside)).unwrap_or_default(), &mut literals)?;
    }
    if all && let Some(instructions) = ask.text(ask.instructions_at.as_ref()) {
        content(whole, instructions, &mut literals)?;
    }
    let of_prompt = literals.len();
    for given in ask.context.given_at.iter().flatten() {
        let passages = ask.text(Some(given)).unwrap_or_default();
        texts(whole, passages, &is_of_passage, &mut literals).map_err(BodyError::NotJson)?;
    }
    let mut judged = Judged::default();
    let mut said: Vec<Cow<'_, str>> = literals.iter().map(|literal| literal.text.clone()).collect();
    for (at, of) in compiled.iter().enumerate().filter(|(_, of)| !of.guard.passes_all_input()) {
        let refs: Vec<&str> = said.iter().map(AsRef::as_ref).collect();
        let verdict = of.guard.input(&refs, None);
        judged.found.extend(input_found(&of.name, &verdict));
        if let Some(breach) = verdict.severest().filter(|_| verdict.decision.stops()) {
            judged.stop = Some(Stop { guard: at, rule: breach.rule.clone(), decision: verdict.decision });
            return Ok(judged);
        }
        for (n, text) in verdict.masked {
            if let Some(said) = said.get_mut(n) {
                *said = Cow::Owned(text);
            }
        }
    }
    let mut edits = Edits::default();
    let changed = literals.iter().zip(&said).enumerate().filter(|(_, (of, said))| of.text != **said);
    for (n, (literal, said)) in changed {
        // A passage has a text, also one of which nothing is left.
        let is_gone = said.is_empty() && n >= of_prompt;
        edits.text(literal.at.clone(), if is_gone { " " } else { said });
    }
    judged.body = edits.apply(&ask.body);
    Ok(judged)
}

/// Whether no guardrail says anything of any text, as far as a first look tells. Of no text at all some say something, too.
pub(super) fn passes(compiled: &[Arc<Compiled>], ask: &Ask, all: bool) -> bool {
    let is_fine = |text: &str| compiled.iter().all(|of| of.guard.passes_input(text));
    let places = [ask.prompt_at.as_ref(), ask.instructions_at.as_ref().filter(|_| all)];
    let places = places.into_iter().flatten().chain(ask.beside_at.iter().flatten()).chain(&ask.variables_at);
    let mut texts = places.map(|place| ask.text(Some(place)));
    is_fine("")
        && ask.context.given_at.iter().flatten().next().is_none()
        && texts.all(|text| text.is_some_and(|text| glance::passes(text, &[], &is_fine)))
}

/// Whether what stands under a name of a passage is a text: its data and what it is called are, its id is not.
fn is_of_passage(name: &str) -> bool {
    matches!(name, "data" | "name") || !is_structural(name) && !matches!(name, "doc_id" | "document_id")
}

/// The texts of messages, of items, or of a prompt that is a text or several.
fn conversation<'a>(
    whole: &str,
    prompt: &'a str,
    all: bool,
    into: &mut Vec<Literal<'a>>,
) -> Result<(), Failure> {
    if !prompt.starts_with('[') {
        return content(whole, prompt, into);
    }
    for item in items(prompt).map_err(BodyError::NotJson)? {
        let json = item.get();
        match json.as_bytes().first() {
            Some(b'{') => {
                let message = members(json).map_err(BodyError::NotJson)?;
                let role = string(&message, "role");
                if all || !matches!(role.as_ref(), "system" | "developer") {
                    content(whole, json, into)?;
                }
            }
            Some(b'"') => content(whole, json, into)?,
            // Numbers of tokens: nobody here can read them.
            _ => {
                let message =
                    "tokens instead of text cannot be judged by the guardrails in force: expected text";
                return Err(Failure::Guarded { message: message.into() });
            }
        }
    }
    Ok(())
}

/// The texts within a message or a part of one.
fn content<'a>(whole: &str, json: &'a str, into: &mut Vec<Literal<'a>>) -> Result<(), Failure> {
    let all_of = |json: &'a str, into: &mut Vec<Literal<'a>>| {
        texts(whole, json, &|_| true, into).map_err(|error| Failure::from(BodyError::NotJson(error)))
    };
    match json.as_bytes().first() {
        Some(b'"') => all_of(json, into),
        Some(b'[') => {
            let items = items(json).map_err(BodyError::NotJson)?;
            items.into_iter().try_for_each(|item| content(whole, item.get(), into))
        }
        Some(b'{') => {
            let all = members(json).map_err(BodyError::NotJson)?;
            let is_text = string(&all, "type") == "text";
            all.iter().try_for_each(|of| match of.name.as_ref() {
                // What a tool was called with has names of its own.
                "input" => all_of(of.text(), into),
                "data" if is_text => all_of(of.text(), into),
                "thinking" => Ok(()),
                name if is_structural(name) => Ok(()),
                _ => content(whole, of.text(), into),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{CHAT_COMPLETIONS, Endpoint, MESSAGES, RESPONSES};
    use crate::request::parse;
    use serde_json::{Value, json};

    fn said(endpoint: &Endpoint, body: &Value, all: bool) -> Vec<String> {
        let ask = parse(endpoint, Bytes::from(body.to_string()), 64).unwrap();
        let whole = std::str::from_utf8(&ask.body).unwrap();
        let mut literals = Vec::new();
        conversation(whole, ask.text(ask.prompt_at.as_ref()).unwrap(), all, &mut literals).unwrap();
        literals.iter().map(|literal| literal.text.to_string()).collect()
    }

    #[test]
    fn what_users_say_is_found_in_every_protocol() {
        let chat = json!({"model": "m", "messages": [
            {"role": "system", "content": "be kind"}, {"role": "user", "name": "ann", "content": "one"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "t", "content": "two"},
            {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "image_url", "image_url": {"url": "x"}}]}]});
        assert_eq!(said(&CHAT_COMPLETIONS, &chat, false), ["one", "{\"a\":1}", "two", "three"]);
        assert_eq!(said(&CHAT_COMPLETIONS, &chat, true)[0], "be kind");
        let response = |input: Value| json!({"model": "m", "input": input});
        assert_eq!(said(&RESPONSES, &response(json!("one")), false), ["one"]);
        let items = json!([{"role": "developer", "content": "no"}, {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
            {"type": "function_call_output", "call_id": "c", "output": "two"}]);
        assert_eq!(said(&RESPONSES, &response(items), false), ["one", "two"]);
        let message = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "one"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"name": "two"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "three"}]},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "four"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]});
        assert_eq!(said(&MESSAGES, &message, false), ["one", "two", "three", "four"]);
    }
}
