//! A conversation as it was recorded: one block a message, code as code, tool calls with their arguments, long texts
//! folded.

use super::icon::{self, Icon};
use crate::transcript::{Block, Message, Part, blocks};
use leptos::prelude::*;

/// Texts longer than this are folded after the first [`SHOWN`] characters.
const LONG: usize = 1_800;
const SHOWN: usize = 1_200;

/// Messages, in order.
#[component]
pub(crate) fn Messages(messages: Vec<Message>) -> impl IntoView {
    let items = messages.into_iter().map(message).collect_view();
    view! { <ol class="messages">{items}</ol> }
}

fn message(message: Message) -> AnyView {
    let class = match message.role.as_str() {
        "user" => "message user",
        "assistant" => "message assistant",
        "tool" => "message tool",
        _ => "message system",
    };
    let parts = message.parts.into_iter().map(part).collect_view();
    view! {
        <li class=class>
            <span class="role">{message.role}</span>
            <div class="message-body">{parts}</div>
        </li>
    }
    .into_any()
}

fn part(part: Part) -> AnyView {
    match part {
        Part::Text(text) => folded(text),
        Part::Reasoning(text) => view! {
            <details class="fold">
                <summary>"Reasoning"</summary>
                {prose(&text)}
            </details>
        }
        .into_any(),
        Part::ToolCall { id, name, arguments } => view! {
            <div class="tool-call">
                <p title=id>
                    <Icon path=icon::TOOL/>
                    <b>{name}</b>
                </p>
                {(!arguments.is_empty()).then(|| view! { <pre><code>{arguments}</code></pre> })}
            </div>
        }
        .into_any(),
        Part::ToolResult { id, content } => view! {
            <div class="tool-call">
                <p title=id>
                    <Icon path=icon::TOOL/>
                    "Result"
                </p>
                <pre><code>{content}</code></pre>
            </div>
        }
        .into_any(),
        Part::Media { kind, detail } => view! {
            <p class="media">
                <Icon path=icon::IMAGE/>
                <span>{kind}</span>
                <small class="clip">{detail}</small>
            </p>
        }
        .into_any(),
        Part::Other(json) => view! { <pre><code>{json}</code></pre> }.into_any(),
    }
}

fn folded(text: String) -> AnyView {
    let length = text.chars().count();
    if length <= LONG {
        return prose(&text);
    }
    let head: String = text.chars().take(SHOWN).collect();
    view! {
        <details class="fold long">
            <summary>
                <span class="when-closed">{prose(&head)}</span>
                <span class="fold-label">{format!("All {length} characters")}</span>
            </summary>
            {prose(&text)}
        </details>
    }
    .into_any()
}

fn prose(text: &str) -> AnyView {
    let parts = blocks(text)
        .into_iter()
        .map(|block| match block {
            Block::Prose(text) => view! { <div class="prose">{text}</div> }.into_any(),
            Block::Code { language, code } => view! {
                <pre data-language=language>
                    <code>{code}</code>
                </pre>
            }
            .into_any(),
        })
        .collect_view();
    parts.into_any()
}
