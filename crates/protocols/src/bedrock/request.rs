//! A request of Converse, written. The model stands in the path, not here. What only Anthropic's models know goes into
//! `additionalModelRequestFields`, in Anthropic's own words.

use super::content::{write_cache, write_part};
use crate::Options;
use crate::anthropic::{is_adaptive, thinking_of};
use crate::canonical::{Cache, Effort, Format, Part, Request, Thinking, Tier, ToolChoice, system_of, turns};
use crate::problem::{Invalid, Notes};
use crate::write::{Array, Object, array, object, object_text};
use std::collections::BTreeSet;

/// Writes a request's body.
pub(crate) fn write_request(
    request: &Request,
    options: &Options<'_>,
    notes: &mut Notes,
) -> Result<Vec<u8>, Invalid> {
    let model = Model::of(options.upstream_model);
    let max_tokens = match model {
        Model::Claude => Some(request.max_tokens.unwrap_or(options.default_max_tokens)),
        _ => request.max_tokens,
    };
    let thinking = match (model, max_tokens) {
        (Model::Claude, Some(max)) => thinking_of(request, options.upstream_model, max, notes),
        _ => None,
    };
    let conversation = write_conversation(request, model, thinking, notes)?;
    note_losses(request, model, notes)?;
    let thinks = matches!(thinking, Some(Thinking::Budget(_) | Thinking::Adaptive));
    let mut extra = Vec::new();
    object(&mut extra, |o| write_extra(o, request, model, thinking, notes));
    Ok(object_text(|o| {
        conversation.write(o);
        o.object("inferenceConfig", |o| {
            o.opt("maxTokens", max_tokens.as_ref());
            write_sampling(o, request, model, thinks, notes);
        });
        if extra != b"{}" {
            o.json("additionalModelRequestFields", &String::from_utf8_lossy(&extra));
        }
        let effort = request.effort.filter(|_| {
            model == Model::Claude && (request.is_anthropic || is_adaptive(options.upstream_model))
        });
        write_output_config(o, request, effort, notes);
        if !request.metadata.is_empty() {
            o.object("requestMetadata", |o| {
                for (name, value) in &request.metadata {
                    o.put(name, value);
                }
            });
        }
        let tier = match &request.service_tier {
            Some(Tier::Default) => Some("default"),
            Some(Tier::Flex) => Some("flex"),
            Some(Tier::Priority) => Some("priority"),
            Some(Tier::Auto | Tier::Other(_)) | None => None,
        };
        if let Some(tier) = tier {
            o.object("serviceTier", |o| {
                o.put("type", tier);
            });
        }
    }))
}

/// The body of `CountTokens`.
pub(crate) fn write_count(
    request: &Request,
    options: &Options<'_>,
    notes: &mut Notes,
) -> Result<Vec<u8>, Invalid> {
    let model = Model::of(options.upstream_model);
    let conversation = write_conversation(request, model, request.thinking, notes)?;
    Ok(object_text(|o| {
        o.object("input", |o| {
            o.object("converse", |o| conversation.write(o));
        });
    }))
}

/// Whose words a model understands beside Converse's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Claude,
    GptOss,
    Other,
}

impl Model {
    fn of(name: &str) -> Self {
        if name.contains("anthropic") || name.contains("claude") {
            Self::Claude
        } else if name.contains("gpt-oss") {
            Self::GptOss
        } else {
            Self::Other
        }
    }
}

/// The members of a request that hold the prompt, written.
struct Conversation {
    system: Vec<u8>,
    messages: Vec<u8>,
    tools: Option<Vec<u8>>,
}

impl Conversation {
    fn write(&self, o: &mut Object<'_>) {
        o.json("messages", &String::from_utf8_lossy(&self.messages));
        if self.system != b"[]" {
            o.json("system", &String::from_utf8_lossy(&self.system));
        }
        if let Some(tools) = &self.tools {
            o.json("toolConfig", &String::from_utf8_lossy(tools));
        }
    }
}

fn write_conversation(
    request: &Request,
    model: Model,
    thinking: Option<Thinking>,
    notes: &mut Notes,
) -> Result<Conversation, Invalid> {
    let may_think = model == Model::Claude && thinking != Some(Thinking::Off);
    let (mut system, mut messages) = (Vec::new(), Vec::new());
    let system_parts = system_of(request, notes);
    let mut outcome = Ok(());
    array(&mut system, |a| outcome = write_all(a, &system_parts, None, false, notes));
    outcome?;
    outcome = Ok(());
    let turns = turns(request);
    let last = turns.len().saturating_sub(1);
    array(&mut messages, |a| {
        for (at, turn) in turns.iter().enumerate() {
            let mut content = Vec::new();
            let cache = request.cache.filter(|_| at == last);
            array(&mut content, |a| outcome = write_all(a, &turn.parts, cache, may_think, notes));
            if outcome.is_err() {
                return;
            }
            if content != b"[]" {
                a.object(|o| {
                    o.put("role", if turn.is_model { "assistant" } else { "user" });
                    o.json("content", &String::from_utf8_lossy(&content));
                });
            }
        }
    });
    outcome?;
    Ok(Conversation { system, messages, tools: write_tools(request, notes) })
}

/// A turn's blocks: a tool's results first, and a cache point after every block that is marked.
fn write_all(
    a: &mut Array<'_>,
    parts: &[&Part],
    cache: Option<Cache>,
    may_think: bool,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    let (results, others): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| matches!(part, Part::ToolResult(_)));
    for (at, part) in results.into_iter().chain(others).enumerate() {
        write_part(a, part, at, may_think, notes)?;
    }
    write_cache(a, cache);
    Ok(())
}

fn write_tools(request: &Request, notes: &mut Notes) -> Option<Vec<u8>> {
    const NO_SCHEMA: &str = "{\"type\":\"object\",\"properties\":{}}";
    let called = called_tools(request);
    let is_off = request.tool_choice == Some(ToolChoice::None);
    if called.is_empty() && (request.tools.is_empty() || is_off) {
        return None;
    }
    if is_off {
        notes.add("tool_choice", "left out: Bedrock cannot forbid tools that the conversation has used");
    }
    Some(object_text(|o| {
        o.array("tools", |a| {
            for tool in &request.tools {
                a.object(|o| {
                    o.object("toolSpec", |o| {
                        o.put("name", &tool.name);
                        o.opt("description", tool.description.as_ref().filter(|text| !text.is_empty()));
                        o.object("inputSchema", |o| {
                            o.json(
                                "json",
                                tool.parameters.as_ref().map_or(NO_SCHEMA, |schema| schema.text()),
                            );
                        });
                        o.opt("strict", tool.strict.as_ref());
                    });
                });
                write_cache(a, tool.cache);
            }
            // Bedrock refuses a conversation with calls where no tools are defined.
            for name in called.iter().filter(|_| request.tools.is_empty()) {
                a.object(|o| {
                    o.object("toolSpec", |o| {
                        o.put("name", name).object("inputSchema", |o| {
                            o.json("json", NO_SCHEMA);
                        });
                    });
                });
            }
        });
        let choice = match &request.tool_choice {
            None | Some(ToolChoice::None) => return,
            Some(ToolChoice::Auto) => "auto",
            Some(ToolChoice::Required) => "any",
            Some(ToolChoice::Tool(_)) => "tool",
        };
        o.object("toolChoice", |o| {
            o.object(choice, |o| {
                if let Some(ToolChoice::Tool(name)) = &request.tool_choice {
                    o.put("name", name);
                }
            });
        });
    }))
}

/// The tools that the conversation has used, by name.
fn called_tools(request: &Request) -> BTreeSet<&str> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    parts
        .filter_map(|part| if let Part::ToolCall(call) = part { Some(call.name.as_str()) } else { None })
        .collect()
}

fn write_sampling(o: &mut Object<'_>, request: &Request, model: Model, thinks: bool, notes: &mut Notes) {
    if thinks && (request.temperature.is_some() || request.top_p.is_some()) {
        notes.add("temperature", "left out with top_p: Anthropic's models take neither while they think");
    } else {
        match request.temperature.as_ref().and_then(crate::read::Json::as_f64) {
            Some(temperature) if temperature > 1.0 => {
                notes.add("temperature", "1 in its place: Bedrock's highest");
                o.put("temperature", &1);
            }
            _ => {
                o.opt("temperature", request.temperature.as_ref());
            }
        }
        let has_both = request.temperature.is_some() && request.top_p.is_some();
        if model == Model::Claude && has_both && !request.is_anthropic {
            notes.add("top_p", "left out: Anthropic's newer models take it or temperature, not both");
        } else {
            o.opt("topP", request.top_p.as_ref());
        }
    }
    if !request.stop.is_empty() {
        o.put("stopSequences", &request.stop);
    }
}

/// What Converse itself has no field for.
fn write_extra(
    o: &mut Object<'_>,
    request: &Request,
    model: Model,
    thinking: Option<Thinking>,
    notes: &mut Notes,
) {
    match model {
        Model::Claude => {
            if let Some(thinking) = thinking {
                o.object("thinking", |o| match thinking {
                    Thinking::Off => {
                        o.put("type", "disabled");
                    }
                    Thinking::Adaptive => {
                        o.put("type", "adaptive");
                    }
                    Thinking::Budget(tokens) => {
                        o.put("type", "enabled").put("budget_tokens", &tokens);
                    }
                });
            }
            if let Some(top_k) = request.top_k {
                if matches!(thinking, Some(Thinking::Budget(_) | Thinking::Adaptive)) {
                    notes.add("top_k", "left out: Anthropic's models take none while they think");
                } else {
                    o.put("top_k", &top_k);
                }
            }
            if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
                o.object("tool_choice", |o| {
                    match &request.tool_choice {
                        Some(ToolChoice::Required) => o.put("type", "any"),
                        Some(ToolChoice::Tool(name)) => o.put("type", "tool").put("name", name),
                        _ => o.put("type", "auto"),
                    };
                    o.put("disable_parallel_tool_use", &true);
                });
            }
        }
        Model::GptOss => {
            if let Some(effort) = request.effort {
                o.put("reasoning_effort", effort.clamp(Effort::Low, Effort::High).as_str());
            }
        }
        Model::Other => {}
    }
}

fn write_output_config(o: &mut Object<'_>, request: &Request, effort: Option<Effort>, notes: &mut Notes) {
    let schema = match &request.format {
        Some(Format::JsonSchema { name, description, schema, .. }) => Some((name, description, schema)),
        Some(Format::JsonObject) => {
            notes.add(
                "response_format",
                "left out: Bedrock has no JSON without a schema; the prompt must ask for it",
            );
            None
        }
        Some(Format::Text) | None => None,
    };
    if schema.is_none() && effort.is_none() {
        return;
    }
    o.object("outputConfig", |o| {
        if let Some(effort) = effort {
            o.put("effort", if effort <= Effort::Low { "low" } else { effort.as_str() });
        }
        if let Some((name, description, schema)) = schema {
            o.object("textFormat", |o| {
                o.put("type", "json_schema").object("structure", |o| {
                    o.object("jsonSchema", |o| {
                        // The schema as a text, not as an object.
                        o.put("schema", schema.text()).opt("name", name.as_ref());
                        o.opt("description", description.as_ref());
                    });
                });
            });
        }
    });
}

fn note_losses(request: &Request, model: Model, notes: &mut Notes) -> Result<(), Invalid> {
    if let Some(n) = request.n.filter(|n| *n != 1) {
        return Err(Invalid::new("n", n, "1: this provider gives one answer to a call"));
    }
    let mut lost = |field: &str, is_there: bool| {
        if is_there {
            notes.add(field, "left out: Bedrock's Converse has none");
        }
    };
    lost("seed", request.seed.is_some());
    lost("frequency_penalty", request.frequency_penalty.is_some());
    lost("presence_penalty", request.presence_penalty.is_some());
    lost("logit_bias", request.logit_bias.is_some());
    lost("logprobs", request.logprobs == Some(true));
    lost("verbosity", request.verbosity.is_some());
    lost("user", request.user.is_some());
    lost("messages.name", request.messages.iter().any(|message| message.name.is_some()));
    lost("service_tier", matches!(request.service_tier, Some(Tier::Other(_))));
    let is_claude = model == Model::Claude;
    lost("top_k", request.top_k.is_some() && !is_claude);
    lost("parallel_tool_calls", request.parallel_tool_calls == Some(false) && !is_claude);
    lost("thinking", request.thinking.is_some() && !is_claude);
    lost("reasoning_effort", request.effort.is_some() && model == Model::Other);
    Ok(())
}
