//! The conversation in a body, in each protocol's form.

use super::{Bypass, Protocol};
use crate::canonical::Node;
use std::borrow::Cow;

/// What a conversation ends with.
pub(super) enum Ending<'a> {
    /// The user's message, with its text.
    Question(Cow<'a, str>),
    /// Something else that a model can go on from.
    Other,
}

/// Where a protocol keeps its messages.
const fn messages(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Responses => "input",
        Protocol::Chat | Protocol::Messages => "messages",
    }
}

/// Parts of messages that are text, or that come from a model as text.
const TEXT_PARTS: [&str; 7] =
    ["text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking", "tool_use"];

/// Items of a responses conversation that are not messages, and text.
const TEXT_ITEMS: [&str; 4] =
    ["function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"];

/// Members that lead to state at the provider, or to its tools.
const STATE: [&str; 5] =
    ["previous_response_id", "conversation", "container", "context_management", "prompt"];
const HOSTED: [&str; 2] = ["web_search_options", "mcp_servers"];

/// Looks through a conversation for what no cache can answer for.
pub(super) fn read<'a>(protocol: Protocol, body: &'a Node<'_>) -> Result<Ending<'a>, Bypass> {
    let is_true = |member| body.get(member) == Some(&Node::Bool(true));
    if is_true("background") {
        return Err(Bypass::Background);
    }
    if is_true("store") || STATE.iter().any(|member| body.some(member).is_some()) {
        return Err(Bypass::State);
    }
    if HOSTED.iter().any(|member| body.some(member).is_some()) || hosted_tools(body) {
        return Err(Bypass::HostedTool);
    }
    let spoken = |kind: &Node<'_>| kind.text() != Some("text");
    if body.some("audio").is_some()
        || body
            .some("modalities")
            .and_then(|kinds| kinds.list())
            .is_some_and(|kinds| kinds.iter().any(spoken))
    {
        return Err(Bypass::Media);
    }
    if let Some(system) = body.some("system") {
        text_of(system)?;
    }
    let conversation = body.get(messages(protocol)).ok_or(Bypass::Unreadable)?;
    if let (Protocol::Responses, Some(text)) = (protocol, conversation.text()) {
        return Ok(Ending::Question(text.into()));
    }
    let mut ending = Err(Bypass::Unreadable);
    for message in conversation.list().ok_or(Bypass::Unreadable)? {
        ending = Ok(message_of(message)?);
    }
    match ending? {
        Message::User(text) => Ok(Ending::Question(text)),
        Message::Other => Ok(Ending::Other),
        Message::ToolResults => Err(Bypass::ToolResults),
    }
}

/// Puts nothing in the place of the last message's content.
pub(super) fn take_question(protocol: Protocol, body: &mut Node<'_>) {
    let Node::Members(members) = body else { return };
    match members.get_mut(messages(protocol)) {
        Some(Node::List(list)) => {
            if let Some(Node::Members(last)) = list.last_mut() {
                last.remove("content");
            }
        }
        Some(text) => *text = Node::Null,
        None => {}
    }
}

enum Message<'a> {
    User(Cow<'a, str>),
    ToolResults,
    Other,
}

fn message_of<'a>(message: &'a Node<'_>) -> Result<Message<'a>, Bypass> {
    let kind = message.some("type").map(|kind| kind.text().ok_or(Bypass::Unreadable)).transpose()?;
    let role = message.some("role").and_then(|role| role.text());
    match (kind, role) {
        (Some(kind), _) if kind.ends_with("_call_output") && TEXT_ITEMS.contains(&kind) => {
            // Such an output may be text, or parts that hold images.
            message.some("output").map_or(Ok(Cow::default()), text_of)?;
            Ok(Message::ToolResults)
        }
        (Some(kind), _) if TEXT_ITEMS.contains(&kind) => Ok(Message::Other),
        (Some("reasoning"), _) => Ok(Message::Other),
        (Some("item_reference"), _) => Err(Bypass::State),
        (None | Some("message"), Some(role)) => {
            if message.some("audio").is_some() {
                return Err(Bypass::Media);
            }
            let content = message.some("content");
            let text = content.map_or(Ok(Cow::default()), text_of)?;
            Ok(match role {
                "user" if content.is_some_and(holds_results) => Message::ToolResults,
                "user" => Message::User(text),
                "tool" | "function" => Message::ToolResults,
                _ => Message::Other,
            })
        }
        _ => Err(Bypass::Media),
    }
}

/// A content's text: of a string, or of parts that are all text.
fn text_of<'a>(content: &'a Node<'_>) -> Result<Cow<'a, str>, Bypass> {
    if let Some(text) = content.text() {
        return Ok(text.into());
    }
    let mut texts = Vec::new();
    for part in content.list().ok_or(Bypass::Unreadable)? {
        match part.some("type").and_then(|kind| kind.text()) {
            Some("tool_result") => {
                if let Some(content) = part.some("content") {
                    text_of(content)?;
                }
            }
            Some(kind) if TEXT_PARTS.contains(&kind) => {
                texts.extend(part.some("text").and_then(|text| text.text()));
            }
            _ => return Err(Bypass::Media),
        }
    }
    Ok(texts.join("\n").into())
}

fn holds_results(content: &Node<'_>) -> bool {
    let is_result = |part: &Node<'_>| part.some("type").and_then(|kind| kind.text()) == Some("tool_result");
    content.list().is_some_and(|parts| parts.iter().any(is_result))
}

/// Whether any tool is one that the provider runs itself.
fn hosted_tools(body: &Node<'_>) -> bool {
    let ours = |tool: &Node<'_>| match tool.some("type") {
        None => true,
        Some(kind) => matches!(kind.text(), Some("function" | "custom")),
    };
    match body.some("tools") {
        None => false,
        Some(tools) => !tools.list().is_some_and(|tools| tools.iter().all(ours)),
    }
}
