//! A request of Anthropic's messages, written.

use super::write_blocks::{write_blocks, write_cache};
use crate::Options;
use crate::canonical::{Effort, Format, Part, Request, Role, Thinking, Tier, ToolChoice, system_of, turns};
use crate::problem::{Invalid, Notes};
use crate::write::{Array, Object, array, object_text};

/// Least budget that Anthropic takes.
const LEAST_BUDGET: u64 = 1_024;

/// Writes a request's body.
pub(crate) fn write_request(
    request: &Request,
    options: &Options<'_>,
    notes: &mut Notes,
) -> Result<Vec<u8>, Invalid> {
    let max_tokens = request.max_tokens.unwrap_or(options.default_max_tokens);
    let thinking = thinking_of(request, options.upstream_model, max_tokens, notes);
    let may_think = !matches!(thinking, Some(Thinking::Off));
    let (mut system, mut messages) = (Vec::new(), Vec::new());
    let system_parts = system_of(request, notes);
    let mut outcome = Ok(());
    array(&mut system, |a| outcome = write_blocks(a, &system_parts, false, notes));
    outcome?;
    outcome = Ok(());
    array(&mut messages, |a| outcome = write_messages(a, request, may_think, notes));
    outcome?;
    note_losses(request, notes)?;
    let body = object_text(|o| {
        o.put("model", options.upstream_model).put("max_tokens", &max_tokens);
        match system_parts.as_slice() {
            [] => {}
            [Part::Text { text, cache: None, .. }] => {
                o.put("system", text);
            }
            _ => {
                o.json("system", &String::from_utf8_lossy(&system));
            }
        }
        o.json("messages", &String::from_utf8_lossy(&messages));
        write_tools(o, request);
        write_sampling(o, request, thinking, notes);
        write_thinking(o, request, thinking);
        write_output_config(o, request, thinking, notes);
        if let Some(user) = &request.user {
            o.object("metadata", |o| {
                o.put("user_id", user);
            });
        }
        write_cache(o, request.cache);
        match &request.service_tier {
            None | Some(Tier::Other(_) | Tier::Flex) => {}
            Some(Tier::Default) => {
                o.put("service_tier", "standard_only");
            }
            Some(Tier::Auto | Tier::Priority) => {
                o.put("service_tier", "auto");
            }
        }
        if request.stream {
            o.put("stream", &true);
        }
    });
    Ok(body)
}

fn note_losses(request: &Request, notes: &mut Notes) -> Result<(), Invalid> {
    if let Some(n) = request.n.filter(|n| *n != 1) {
        return Err(Invalid::new("n", n, "1: this provider gives one answer to a call"));
    }
    let mut lost = |field: &str, is_there: bool| {
        if is_there {
            notes.add(field, "left out: Anthropic has none");
        }
    };
    lost("seed", request.seed.is_some());
    lost("frequency_penalty", request.frequency_penalty.is_some());
    lost("presence_penalty", request.presence_penalty.is_some());
    lost("logit_bias", request.logit_bias.is_some());
    lost("logprobs", request.logprobs == Some(true));
    lost("verbosity", request.verbosity.is_some());
    lost("metadata", !request.metadata.is_empty());
    lost("messages.name", request.messages.iter().any(|message| message.name.is_some()));
    lost("service_tier", matches!(request.service_tier, Some(Tier::Flex | Tier::Other(_))));
    Ok(())
}

/// Turns of the same side become one: Anthropic wants a call's results together in the next turn.
fn write_messages(
    a: &mut Array<'_>,
    request: &Request,
    may_think: bool,
    notes: &mut Notes,
) -> Result<(), Invalid> {
    for turn in turns(request) {
        let (parts, role) = (turn.parts, if turn.is_model { "assistant" } else { "user" });
        let mut content = Vec::new();
        let mut outcome = Ok(());
        array(&mut content, |a| outcome = write_blocks(a, &parts, may_think, notes));
        outcome?;
        if content == b"[]" && turn.is_model {
            continue;
        }
        a.object(|o| {
            o.put("role", role);
            match parts.as_slice() {
                [Part::Text { text, cache: None, .. }] => o.put("content", text),
                _ => o.json("content", &String::from_utf8_lossy(&content)),
            };
        });
    }
    Ok(())
}

fn write_tools(o: &mut Object<'_>, request: &Request) {
    if !request.tools.is_empty() {
        o.array("tools", |a| {
            for tool in &request.tools {
                a.object(|o| {
                    o.put("name", &tool.name).opt("description", tool.description.as_ref());
                    let schema = tool
                        .parameters
                        .as_ref()
                        .map_or("{\"type\":\"object\",\"properties\":{}}", |s| s.text());
                    o.json("input_schema", schema).opt("strict", tool.strict.as_ref());
                    write_cache(o, tool.cache);
                });
            }
        });
    }
    let parallel = request.parallel_tool_calls.filter(|_| !request.tools.is_empty());
    let choice = request.tool_choice.as_ref().or(parallel.map(|_| &ToolChoice::Auto));
    let Some(choice) = choice else { return };
    o.object("tool_choice", |o| {
        match choice {
            ToolChoice::Auto => o.put("type", "auto"),
            ToolChoice::None => o.put("type", "none"),
            ToolChoice::Required => o.put("type", "any"),
            ToolChoice::Tool(name) => o.put("type", "tool").put("name", name),
        };
        if let Some(parallel) = parallel
            && *choice != ToolChoice::None
        {
            o.put("disable_parallel_tool_use", &!parallel);
        }
    });
}

fn write_sampling(o: &mut Object<'_>, request: &Request, thinking: Option<Thinking>, notes: &mut Notes) {
    let thinks = matches!(thinking, Some(Thinking::Budget(_) | Thinking::Adaptive));
    let asked = |value: &Option<crate::read::Json>| value.as_ref().and_then(crate::read::Json::as_f64);
    match asked(&request.temperature) {
        Some(temperature) if thinks && temperature < 1.0 => {
            notes.add("temperature", "left out: Anthropic takes none but 1 while it thinks");
        }
        Some(temperature) if temperature > 1.0 => {
            notes.add("temperature", "1 in its place: Anthropic's highest");
            o.put("temperature", &1);
        }
        _ => {
            o.opt("temperature", request.temperature.as_ref());
        }
    }
    if thinks && asked(&request.top_p).is_some_and(|top_p| top_p < 0.95) {
        notes.add("top_p", "left out: Anthropic takes none below 0.95 while it thinks");
    } else if !request.is_anthropic && request.temperature.is_some() && request.top_p.is_some() {
        notes.add("top_p", "left out: Anthropic's newer models take it or temperature, not both");
    } else {
        o.opt("top_p", request.top_p.as_ref());
    }
    if thinks && request.top_k.is_some() {
        notes.add("top_k", "left out: Anthropic takes none while it thinks");
    } else {
        o.opt("top_k", request.top_k.as_ref());
    }
    if !request.stop.is_empty() {
        o.put("stop_sequences", &request.stop);
    }
}

fn write_thinking(o: &mut Object<'_>, request: &Request, thinking: Option<Thinking>) {
    let Some(thinking) = thinking else { return };
    o.object("thinking", |o| {
        match thinking {
            Thinking::Off => o.put("type", "disabled"),
            Thinking::Adaptive => o.put("type", "adaptive"),
            Thinking::Budget(tokens) => o.put("type", "enabled").put("budget_tokens", &tokens),
        };
        if let Some(show) = request.show_thinking
            && thinking != Thinking::Off
        {
            o.put("display", if show { "summarized" } else { "omitted" });
        }
    });
}

fn write_output_config(o: &mut Object<'_>, request: &Request, thinking: Option<Thinking>, notes: &mut Notes) {
    // An effort that became a budget is said already.
    let is_said = !request.is_anthropic && matches!(thinking, Some(Thinking::Budget(_) | Thinking::Off));
    let effort = request.effort.filter(|_| !is_said);
    let effort = effort.map(|effort| if effort <= Effort::Low { "low" } else { effort.as_str() });
    let schema = match &request.format {
        Some(Format::JsonSchema { schema, .. }) => Some(schema),
        Some(Format::JsonObject) => {
            notes.add(
                "response_format",
                "left out: Anthropic has no JSON without a schema; the prompt must ask for it",
            );
            None
        }
        Some(Format::Text) | None => None,
    };
    if effort.is_none() && schema.is_none() {
        return;
    }
    o.object("output_config", |o| {
        o.opt("effort", effort.as_ref());
        if let Some(schema) = schema {
            o.object("format", |o| {
                o.put("type", "json_schema").put("schema", schema);
            });
        }
    });
}

/// How an Anthropic model is to think. What the request says of it in Anthropic's own words stands; an effort becomes what the
/// model knows: a budget up to Claude 4.5, adaptive thinking from 4.6 on. Thinking is left out where Anthropic would refuse it: a
/// forced tool, or a conversation within a tool's turn whose thoughts are not there any more.
pub(crate) fn thinking_of(
    request: &Request,
    model: &str,
    max_tokens: u64,
    notes: &mut Notes,
) -> Option<Thinking> {
    let thinking = match (request.thinking, request.effort) {
        (Some(thinking), _) => thinking,
        (None, None) => return None,
        (None, Some(_)) if request.is_anthropic => return None,
        (None, Some(Effort::None)) => Thinking::Off,
        (None, Some(_)) if is_adaptive(model) => Thinking::Adaptive,
        (None, Some(effort)) => Thinking::Budget(effort.budget()),
    };
    if thinking == Thinking::Off {
        return Some(thinking);
    }
    if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_))) {
        notes.add("reasoning_effort", "left out: Anthropic does not think where a tool is forced");
        return request.thinking.is_some().then_some(Thinking::Off);
    }
    if lacks_thoughts(request) {
        notes.add(
            "reasoning_effort",
            "left out: the thoughts before the tool's call are not in the conversation",
        );
        return Some(Thinking::Off);
    }
    match thinking {
        // Anthropic's own clients may think for longer than one answer, between calls of tools.
        Thinking::Budget(tokens) if tokens >= max_tokens && !request.is_anthropic => {
            if max_tokens <= LEAST_BUDGET {
                notes.add("reasoning_effort", "left out: max_tokens leaves no room for thoughts");
                return None;
            }
            let fit = LEAST_BUDGET.max(max_tokens / 2);
            notes.add("reasoning_effort", format!("a budget of {fit} tokens, half of max_tokens"));
            Some(Thinking::Budget(fit))
        }
        thinking => Some(thinking),
    }
}

/// Whether the turn that the last results belong to began without the model's own thoughts.
fn lacks_thoughts(request: &Request) -> bool {
    let Some(last) = request.messages.iter().rposition(|message| message.role == Role::Assistant) else {
        return false;
    };
    let answers = request.messages[last + 1..].iter().flat_map(|message| &message.parts);
    if !answers.into_iter().any(|part| matches!(part, Part::ToolResult(_))) {
        return false;
    }
    let is_thought = |part: &Part| match part {
        Part::Reasoning { signature: Some(signature), .. } | Part::Redacted { data: signature } => {
            signature.origin == crate::signature::Origin::Anthropic
        }
        _ => false,
    };
    !request.messages[last].parts.iter().any(is_thought)
}

/// Whether the model thinks as it finds right. Those with a budget are all of up to Claude 4.5.
pub(crate) fn is_adaptive(model: &str) -> bool {
    const WITH_BUDGET: [&str; 11] = [
        "claude-3",
        "opus-4-0",
        "opus-4-1",
        "opus-4-2",
        "opus-4-5",
        "opus-4@",
        "sonnet-4-0",
        "sonnet-4-2",
        "sonnet-4-5",
        "sonnet-4@",
        "haiku-4-5",
    ];
    !WITH_BUDGET.iter().any(|name| model.contains(name))
        && !["opus-4", "sonnet-4", "haiku-4"].iter().any(|name| model.ends_with(name))
}
