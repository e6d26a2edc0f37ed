//! A request of `generateContent`, written. The model stands in the path, not here.

use super::contents::{write_contents, write_part};
use crate::Options;
use crate::canonical::{Effort, Format, Request, Thinking, Tier, ToolChoice, system_of};
use crate::problem::{Invalid, Notes};
use crate::write::{Object, array, object_text};

/// Writes a request's body.
pub(crate) fn write_request(
    request: &Request,
    options: &Options<'_>,
    notes: &mut Notes,
) -> Result<Vec<u8>, Invalid> {
    let (mut contents, mut system) = (Vec::new(), Vec::new());
    let is_signing = generation(options.upstream_model) >= 3;
    let mut outcome = Ok(());
    array(&mut contents, |a| outcome = write_contents(a, request, is_signing, notes));
    outcome?;
    let system_parts = system_of(request, notes);
    array(&mut system, |a| system_parts.iter().for_each(|part| write_part(a, part, None, notes)));
    note_losses(request, notes)?;
    let body = object_text(|o| {
        if !system_parts.is_empty() {
            o.object("systemInstruction", |o| {
                o.json("parts", &String::from_utf8_lossy(&system));
            });
        }
        o.json("contents", &String::from_utf8_lossy(&contents));
        write_tools(o, request);
        o.object("generationConfig", |o| write_config(o, request, options, notes));
        match &request.service_tier {
            Some(Tier::Flex) => {
                o.put("serviceTier", "flex");
            }
            Some(Tier::Priority) => {
                o.put("serviceTier", "priority");
            }
            _ => {}
        }
    });
    Ok(body)
}

fn note_losses(request: &Request, notes: &mut Notes) -> Result<(), Invalid> {
    if let Some(n) = request.n.filter(|n| *n != 1) {
        return Err(Invalid::new("n", n, "1: several answers to a call are not translated"));
    }
    let mut lost = |field: &str, is_there: bool| {
        if is_there {
            notes.add(field, "left out: Gemini has none");
        }
    };
    lost("logit_bias", request.logit_bias.is_some());
    lost("logprobs", request.logprobs == Some(true));
    lost("verbosity", request.verbosity.is_some());
    lost("metadata", !request.metadata.is_empty());
    lost("user", request.user.is_some());
    lost("messages.name", request.messages.iter().any(|message| message.name.is_some()));
    lost("parallel_tool_calls", request.parallel_tool_calls == Some(false));
    lost("tools.strict", request.tools.iter().any(|tool| tool.strict == Some(true)));
    lost("service_tier", matches!(request.service_tier, Some(Tier::Other(_))));
    if request.has_cache_marks() {
        notes.add("cache_control", "left out: Gemini caches prompts by itself");
    }
    Ok(())
}

fn write_tools(o: &mut Object<'_>, request: &Request) {
    if request.tools.is_empty() {
        return;
    }
    o.array("tools", |a| {
        a.object(|o| {
            o.array("functionDeclarations", |a| {
                for tool in &request.tools {
                    a.object(|o| {
                        o.put("name", &tool.name).opt("description", tool.description.as_ref());
                        o.opt("parametersJsonSchema", tool.parameters.as_ref());
                    });
                }
            });
        });
    });
    let Some(choice) = &request.tool_choice else { return };
    o.object("toolConfig", |o| {
        o.object("functionCallingConfig", |o| {
            match choice {
                ToolChoice::Auto => o.put("mode", "AUTO"),
                ToolChoice::None => o.put("mode", "NONE"),
                ToolChoice::Required => o.put("mode", "ANY"),
                ToolChoice::Tool(name) => o.put("mode", "ANY").put("allowedFunctionNames", &[name]),
            };
        });
    });
}

fn write_config(o: &mut Object<'_>, request: &Request, options: &Options<'_>, notes: &mut Notes) {
    o.opt("maxOutputTokens", request.max_tokens.as_ref());
    o.opt("temperature", request.temperature.as_ref()).opt("topP", request.top_p.as_ref());
    o.opt("topK", request.top_k.as_ref()).opt("seed", request.seed.as_ref());
    o.opt("frequencyPenalty", request.frequency_penalty.as_ref());
    o.opt("presencePenalty", request.presence_penalty.as_ref());
    if !request.stop.is_empty() {
        o.put("stopSequences", &request.stop);
    }
    match &request.format {
        Some(Format::JsonObject) => {
            o.put("responseMimeType", "application/json");
        }
        Some(Format::JsonSchema { schema, .. }) => {
            o.put("responseMimeType", "application/json").put("responseJsonSchema", schema);
        }
        Some(Format::Text) | None => {}
    }
    write_thinking(o, request, generation(options.upstream_model), notes);
}

/// Gemini 2.5 takes a budget of thinking tokens, later ones a level.
fn write_thinking(o: &mut Object<'_>, request: &Request, generation: u32, notes: &mut Notes) {
    let thinking = match (request.thinking, request.effort) {
        (None, None) => return,
        (None, Some(Effort::None)) => Thinking::Off,
        (Some(Thinking::Adaptive) | None, _) => Thinking::Adaptive,
        (Some(thinking), _) => thinking,
    };
    let has_levels = generation >= 3;
    if thinking == Thinking::Off && has_levels {
        notes.add("thinking", "a low level in its place: this model always thinks");
    }
    o.object("thinkingConfig", |o| {
        match (thinking, request.effort) {
            (Thinking::Off, _) if has_levels => o.put("thinkingLevel", "LOW"),
            (Thinking::Off, _) => o.put("thinkingBudget", &0),
            (Thinking::Budget(tokens), _) => o.put("thinkingBudget", &tokens),
            (Thinking::Adaptive, Some(effort)) if has_levels => o.put(
                "thinkingLevel",
                match effort {
                    Effort::None | Effort::Minimal => "MINIMAL",
                    Effort::Low => "LOW",
                    Effort::Medium => "MEDIUM",
                    Effort::High | Effort::Xhigh | Effort::Max => "HIGH",
                },
            ),
            // More than what Google itself takes for `high` is more than these models allow.
            (Thinking::Adaptive, Some(effort)) => {
                o.put("thinkingBudget", &effort.budget().min(Effort::High.budget()))
            }
            (Thinking::Adaptive, None) if has_levels => o,
            (Thinking::Adaptive, None) => o.put("thinkingBudget", &-1),
        };
        if thinking != Thinking::Off {
            o.put("includeThoughts", &request.show_thinking.unwrap_or(true));
        }
    });
}

/// The number in `gemini-3-pro`; 0 where there is none.
fn generation(model: &str) -> u32 {
    let number = model.split("gemini-").nth(1).unwrap_or_default();
    number.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}
