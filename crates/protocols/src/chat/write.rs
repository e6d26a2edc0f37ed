//! A request of chat completions, written.

use crate::Options;
use crate::canonical::{
    Effort, Format, Message, Part, Request, Role, Source, Thinking, Tier, ToolCall, ToolChoice, text_of,
};
use crate::problem::Notes;
use crate::signature::Origin;
use crate::write::{Array, Object, object_text};

/// Writes a request's body.
pub(crate) fn write_request(request: &Request, options: &Options<'_>, notes: &mut Notes) -> Vec<u8> {
    let mut messages = Vec::new();
    crate::write::array(&mut messages, |a| {
        for message in &request.messages {
            write_message(a, message, options, notes);
        }
    });
    note_losses(request, notes);
    object_text(|o| {
        o.put("model", options.upstream_model);
        o.json("messages", &String::from_utf8_lossy(&messages));
        write_tools(o, request);
        write_sampling(o, request, options);
        write_format(o, request);
        o.opt("user", request.user.as_ref()).opt("verbosity", request.verbosity.as_ref());
        if !request.metadata.is_empty() {
            o.object("metadata", |o| {
                for (name, value) in &request.metadata {
                    o.put(name, value);
                }
            });
        }
        if let Some(tier) = &request.service_tier {
            o.put(
                "service_tier",
                match tier {
                    Tier::Auto => "auto",
                    Tier::Default => "default",
                    Tier::Flex => "flex",
                    Tier::Priority => "priority",
                    Tier::Other(other) => other,
                },
            );
        }
        if request.stream {
            o.put("stream", &true);
            // Whatever the client wants to know: somebody has to pay for it.
            if options.asks_stream_usage {
                o.object("stream_options", |o| {
                    o.put("include_usage", &true);
                });
            }
        }
    })
}

fn note_losses(request: &Request, notes: &mut Notes) {
    if request.has_cache_marks() {
        notes.add("cache_control", "left out: chat completions cache prompts by themselves");
    }
}

fn write_sampling(o: &mut Object<'_>, request: &Request, options: &Options<'_>) {
    let name = if options.max_completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    o.opt(name, request.max_tokens.as_ref());
    o.opt("temperature", request.temperature.as_ref()).opt("top_p", request.top_p.as_ref());
    o.opt("top_k", request.top_k.as_ref()).opt("seed", request.seed.as_ref());
    o.opt("frequency_penalty", request.frequency_penalty.as_ref());
    o.opt("presence_penalty", request.presence_penalty.as_ref());
    o.opt("logit_bias", request.logit_bias.as_ref()).opt("logprobs", request.logprobs.as_ref());
    o.opt("top_logprobs", request.top_logprobs.as_ref()).opt("n", request.n.as_ref());
    if !request.stop.is_empty() {
        o.put("stop", &request.stop);
    }
    let effort = request.effort.or(match request.thinking {
        Some(Thinking::Budget(tokens)) => Some(Effort::of_budget(tokens)),
        _ => None,
    });
    if let Some(effort) = effort {
        // OpenAI's models know no higher one.
        let effort = if effort == Effort::Max { Effort::Xhigh } else { effort };
        o.put("reasoning_effort", effort.as_str());
    }
}

fn write_tools(o: &mut Object<'_>, request: &Request) {
    if !request.tools.is_empty() {
        o.array("tools", |a| {
            for tool in &request.tools {
                a.object(|o| {
                    o.put("type", "function").object("function", |o| {
                        o.put("name", &tool.name).opt("description", tool.description.as_ref());
                        o.opt("parameters", tool.parameters.as_ref()).opt("strict", tool.strict.as_ref());
                    });
                });
            }
        });
        o.opt("parallel_tool_calls", request.parallel_tool_calls.as_ref());
    }
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Tool(name)) => {
            o.object("tool_choice", |o| {
                o.put("type", "function").object("function", |o| {
                    o.put("name", name);
                });
            });
        }
        Some(choice) => {
            let word = match choice {
                ToolChoice::None => "none",
                ToolChoice::Required => "required",
                _ => "auto",
            };
            o.put("tool_choice", word);
        }
    }
}

fn write_format(o: &mut Object<'_>, request: &Request) {
    let Some(format) = &request.format else { return };
    o.object("response_format", |o| match format {
        Format::Text => {
            o.put("type", "text");
        }
        Format::JsonObject => {
            o.put("type", "json_object");
        }
        Format::JsonSchema { name, description, schema, strict } => {
            o.put("type", "json_schema").object("json_schema", |o| {
                o.put("name", name.as_deref().unwrap_or("answer")).opt("description", description.as_ref());
                o.put("schema", schema).opt("strict", strict.as_ref());
            });
        }
    });
}

fn write_message(a: &mut Array<'_>, message: &Message, options: &Options<'_>, notes: &mut Notes) {
    let role = match message.role {
        Role::Assistant => return write_assistant(a, message, options, notes),
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
    };
    // Pictures that a tool returned: a tool's message has no place for them, so they follow it as the user's.
    let mut shown: Vec<&Part> = Vec::new();
    let mut has_result = false;
    for part in &message.parts {
        let Part::ToolResult(result) = part else { continue };
        has_result = true;
        a.object(|o| {
            o.put("role", "tool").put("tool_call_id", &result.id);
            let (texts, others): (Vec<&Part>, Vec<&Part>) =
                result.content.iter().partition(|part| matches!(part, Part::Text { .. }));
            match texts.as_slice() {
                [] => o.put("content", ""),
                [Part::Text { text, .. }] => o.put("content", text),
                _ => o.array("content", |a| texts.iter().for_each(|part| write_part(a, part, notes))),
            };
            if !others.is_empty() {
                notes.once(
                    "tool_result.content",
                    "its images and documents follow the tool's message as the user's: chat completions take only text from a tool",
                );
                shown.extend(others);
            }
            if result.is_error {
                notes.once("tool_result.is_error", "left out: chat completions have no mark of a failed tool");
            }
        });
    }
    let said: Vec<&Part> =
        shown.into_iter().chain(message.parts.iter().filter(|p| !matches!(p, Part::ToolResult(_)))).collect();
    if said.is_empty() && has_result {
        return;
    }
    a.object(|o| {
        o.put("role", role).opt("name", message.name.as_ref());
        write_content(o, &said, notes);
    });
}

/// One bare text as such, anything else as parts.
fn write_content(o: &mut Object<'_>, parts: &[&Part], notes: &mut Notes) {
    match parts {
        [] => o.put("content", ""),
        [Part::Text { text, .. }] => o.put("content", text),
        _ => o.array("content", |a| parts.iter().for_each(|part| write_part(a, part, notes))),
    };
}

fn write_part(a: &mut Array<'_>, part: &Part, notes: &mut Notes) {
    match part {
        Part::Text { text, .. } => a.object(|o| {
            o.put("type", "text").put("text", text);
        }),
        Part::Refusal { text } => a.object(|o| {
            o.put("type", "refusal").put("refusal", text);
        }),
        Part::Image { source, detail, .. } => a.object(|o| {
            o.put("type", "image_url").object("image_url", |o| {
                o.put("url", &source.to_url().unwrap_or_default()).opt("detail", detail.as_ref());
            });
        }),
        Part::Audio { data, format } => a.object(|o| {
            o.put("type", "input_audio").object("input_audio", |o| {
                o.put("data", data).put("format", format);
            });
        }),
        Part::Document { source, name, context, citations, .. } => {
            if context.is_some() || *citations {
                notes.once("document", "its context and citations are left out: chat completions have none");
            }
            match source {
                Source::Text(text) => a.object(|o| {
                    o.put("type", "text");
                    let titled = name.as_ref().map(|name| format!("{name}\n\n{text}"));
                    o.put("text", titled.as_ref().unwrap_or(text));
                }),
                source => a.object(|o| {
                    o.put("type", "file").object("file", |o| {
                        o.opt("filename", name.as_ref()).opt("file_data", source.to_url().as_ref());
                    });
                }),
            }
        }
        Part::Reasoning { .. } | Part::Redacted { .. } | Part::ToolCall(_) | Part::ToolResult(_) => {}
    }
}

fn write_assistant(a: &mut Array<'_>, message: &Message, options: &Options<'_>, notes: &mut Notes) {
    let mut reasoning = String::new();
    let mut said: Vec<&Part> = Vec::new();
    let mut refusal: Vec<Part> = Vec::new();
    let mut calls: Vec<&ToolCall> = Vec::new();
    for part in &message.parts {
        match part {
            Part::Reasoning { text, signature } => {
                let is_open = signature.as_ref().is_none_or(|s| s.origin == Origin::OpenAi);
                if options.keep_reasoning && is_open {
                    reasoning.push_str(text);
                } else {
                    notes.once("thinking", "left out: this provider does not take reasoning back");
                }
            }
            Part::Redacted { .. } => {
                notes.once("redacted_thinking", "left out: only the provider that wrote it can read it");
            }
            Part::ToolCall(call) => calls.push(call),
            Part::Refusal { .. } => refusal.push(part.clone()),
            Part::ToolResult(_) => {}
            other => said.push(other),
        }
    }
    a.object(|o| {
        o.put("role", "assistant").opt("name", message.name.as_ref());
        if !reasoning.is_empty() {
            o.put("reasoning_content", &reasoning);
        }
        if said.is_empty() && (!calls.is_empty() || !refusal.is_empty()) {
            o.put("content", &None::<&str>);
        } else {
            write_content(o, &said, notes);
        }
        if !refusal.is_empty() {
            o.put("refusal", &text_of(&refusal));
        }
        if !calls.is_empty() {
            o.array("tool_calls", |a| {
                for call in calls {
                    a.object(|o| {
                        o.put("id", &call.id).put("type", "function").object("function", |o| {
                            let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                            o.put("name", &call.name).put("arguments", arguments);
                        });
                        write_thought_signature(o, call.signature.as_ref());
                    });
                }
            });
        }
    });
}

/// `extra_content`, for Gemini behind its own compatible endpoint and for clients.
pub(super) fn write_thought_signature(o: &mut Object<'_>, signature: Option<&crate::signature::Signature>) {
    if let Some(signature) = signature.filter(|s| s.origin == Origin::Gemini) {
        o.object("extra_content", |o| {
            o.object("google", |o| {
                o.put("thought_signature", &signature.value);
            });
        });
    }
}
