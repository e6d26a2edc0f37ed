//! A conversation as the protocols see it that know only two sides: the system apart, and turns that alternate.

use super::{Part, Request, Role};
use crate::problem::Notes;
use crate::read::Json;
use std::borrow::Cow;

/// All that one side says before the other answers.
pub(crate) struct Turn<'r> {
    pub is_model: bool,
    pub parts: Vec<&'r Part>,
}

/// The turns; messages of the same side that follow each other are one.
pub(crate) fn turns(request: &Request) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in &request.messages {
        let is_model = match message.role {
            Role::User => false,
            Role::Assistant => true,
            Role::System | Role::Developer => continue,
        };
        match turns.last_mut() {
            Some(turn) if turn.is_model == is_model => turn.parts.extend(&message.parts),
            _ => turns.push(Turn { is_model, parts: message.parts.iter().collect() }),
        }
    }
    turns
}

/// What the system says, wherever in the conversation.
pub(crate) fn system_of<'r>(request: &'r Request, notes: &mut Notes) -> Vec<&'r Part> {
    let mut is_later = false;
    let mut parts = Vec::new();
    for message in &request.messages {
        if matches!(message.role, Role::System | Role::Developer) {
            if is_later {
                notes.once("messages", "a system message within the conversation goes to its head");
            }
            parts.extend(&message.parts);
        } else {
            is_later = true;
        }
    }
    parts
}

/// A call's arguments as the object that Anthropic, Gemini and Bedrock want. What a model wrote wrongly goes within one, and the
/// second says so.
pub(crate) fn arguments_object(arguments: &str) -> (Cow<'_, str>, bool) {
    let text = arguments.trim();
    if text.is_empty() {
        return (Cow::Borrowed("{}"), true);
    }
    if text.starts_with('{') && Json::parse(text).is_some() {
        return (Cow::Borrowed(text), true);
    }
    let wrapped = crate::write::object_text(|o| {
        o.put("invalid_arguments", text);
    });
    (Cow::Owned(String::from_utf8_lossy(&wrapped).into_owned()), false)
}
