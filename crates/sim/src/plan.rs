//! What is answered: text, tool calls and usage, decided before the first byte is sent.
//!
//! Everything follows from the model's name and the prompt. Prompts can ask for something in particular: one that starts
//! with `echo ` is answered with the rest of it, and one that names an offered tool gets a call of that tool.

use crate::answers::Recording;
use crate::ask::{Ask, Caching, Choice, Format, Thinking, Tool};
use crate::behaviour::Behaviour;
use crate::hash::{self, Sequence};
use crate::log::Usage;
use crate::{schema, tokens};

/// Prompts shorter than this are never cached; what is cached comes in multiples of [`CACHE_STEP`].
const CACHE_LEAST: u64 = 32;
const CACHE_STEP: u64 = 16;
/// Most tokens that a model thinks when it is asked to and does not by itself.
const THOUGHT: u64 = 24;
/// What a model says before it calls a tool, when it says something.
const PREFACE: &str = "Let me look that up.";

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// One or more independent answers.
    pub(crate) choices: Vec<PlannedChoice>,
    /// Tokens of all of them.
    pub(crate) usage: Usage,
    /// What was thought before the first answer, in tokens, when thoughts are shown.
    pub(crate) thinking: Vec<String>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedChoice {
    pub(crate) body: Body,
    pub(crate) finish: Finish,
    /// The stop text that ended it.
    pub(crate) stopped_by: Option<String>,
}

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// Text, in tokens.
    Text(Vec<String>),
    /// Tool calls, after some text or none.
    Calls { said: Vec<String>, calls: Vec<PlannedCall> },
}

/// A tool call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedCall {
    pub(crate) name: String,
    /// The arguments' JSON, in tokens.
    pub(crate) arguments: Vec<String>,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
    /// The provider's filter broke it off.
    Filtered,
}

impl Finish {
    /// As `finish_reason`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::Filtered => "content_filter",
        }
    }
}

impl PlannedChoice {
    /// Tokens of this answer, reasoning aside.
    pub(crate) fn tokens(&self) -> u64 {
        match &self.body {
            Body::Text(pieces) => pieces.len() as u64,
            // A call's name counts as one.
            Body::Calls { said, calls } => {
                said.len() as u64 + calls.iter().map(|c| 1 + c.arguments.len() as u64).sum::<u64>()
            }
        }
    }
}

/// Plans the answer of `model` to `ask`; `recorded` is what it is known to have answered.
pub(crate) fn plan(model: &str, ask: &Ask, behaviour: &Behaviour, recorded: Option<&Recording>) -> Plan {
    let seed = hash::of(&ask.text) ^ hash::of(model);
    let most = match ask.thinking {
        _ if recorded.is_some() => 0,
        Thinking::Off => 0,
        Thinking::Model => u64::from(behaviour.reasoning_tokens),
        Thinking::On(budget) if behaviour.reasoning_tokens == 0 => budget.min(THOUGHT),
        Thinking::On(budget) => budget.min(u64::from(behaviour.reasoning_tokens)),
    };
    let (mut reasoning, mut thinking) = (0, Vec::new());
    let choices: Vec<PlannedChoice> = (0..ask.answers)
        .map(|index| {
            let mut numbers = Sequence::new(hash::mix(seed ^ u64::from(index)));
            let thought = numbers.below(most) + 1;
            let thought = if most == 0 { 0 } else { thought };
            let thought = thought.min(ask.limit.unwrap_or(u64::MAX));
            reasoning += thought;
            if index == 0 && matches!(ask.thinking, Thinking::On(_)) {
                thinking = pieces(&words(thought, &mut Sequence::new(seed)));
            }
            let limit = ask.limit.map(|limit| limit - thought);
            choose(ask, behaviour, recorded, limit, &mut numbers)
        })
        .collect();
    let visible: u64 = choices.iter().map(PlannedChoice::tokens).sum();
    let prompt = recorded.and_then(|r| r.tokens_in).unwrap_or_else(|| ask.prompt_tokens());
    // What a recorded answer cost must not depend on whether its prompt happens to count as cached.
    let implicit = recorded.is_none() && ask.caching == Caching::Implicit;
    Plan {
        choices,
        usage: Usage {
            prompt,
            cached: if implicit { cached_tokens(seed, prompt) } else { 0 },
            completion: visible + reasoning,
            reasoning,
            ..Usage::default()
        },
        thinking,
    }
}

/// Half of all prompts that are long enough were seen before, in part.
fn cached_tokens(seed: u64, prompt: u64) -> u64 {
    let mut numbers = Sequence::new(seed ^ 0xcac4_ed00);
    if prompt < CACHE_LEAST || numbers.below(2) == 0 {
        return 0;
    }
    (1 + numbers.below(prompt / CACHE_STEP - 1)) * CACHE_STEP
}

fn choose(
    ask: &Ask,
    behaviour: &Behaviour,
    recorded: Option<&Recording>,
    limit: Option<u64>,
    numbers: &mut Sequence,
) -> PlannedChoice {
    let tools = asked_tools(ask);
    if !tools.is_empty() {
        let calls = tools
            .into_iter()
            .map(|tool| PlannedCall {
                name: tool.name.clone(),
                arguments: pieces(&schema::instance(&tool.parameters, numbers).to_string()),
            })
            .collect();
        let said = if behaviour.prefaces { pieces(PREFACE) } else { Vec::new() };
        return PlannedChoice {
            body: Body::Calls { said, calls },
            finish: Finish::ToolCalls,
            stopped_by: None,
        };
    }
    let text = match (recorded, &ask.format) {
        (Some(recording), _) => recording.answer.clone(),
        (None, Format::Schema(schema)) => schema::instance(schema, numbers).to_string(),
        (None, Format::JsonObject) => r#"{"answer": "yes", "confidence": 0.9}"#.to_owned(),
        (None, Format::Text) => prose(ask, behaviour, numbers),
    };
    let stopped = ask.stop.iter().filter_map(|s| Some((text.find(s.as_str())?, s))).min();
    let kept = text.split_at(stopped.map_or(text.len(), |(at, _)| at)).0;
    let pieces = match recorded.and_then(|r| r.tokens_out) {
        Some(tokens) if stopped.is_none() => tokens::portions(kept, tokens),
        _ => pieces(kept),
    };
    let choice = end(pieces, limit);
    match (choice.finish, stopped) {
        _ if behaviour.filters => filtered(choice),
        (Finish::Stop, Some((_, by))) => PlannedChoice { stopped_by: Some(by.clone()), ..choice },
        _ => choice,
    }
}

/// Cuts a text at the limit.
fn end(mut pieces: Vec<String>, limit: Option<u64>) -> PlannedChoice {
    let limit = limit.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX));
    let finish = if pieces.len() > limit { Finish::Length } else { Finish::Stop };
    pieces.truncate(limit);
    PlannedChoice { body: Body::Text(pieces), finish, stopped_by: None }
}

/// Breaks a text off half-way, as a provider's filter does.
fn filtered(mut choice: PlannedChoice) -> PlannedChoice {
    if let Body::Text(pieces) = &mut choice.body {
        pieces.truncate(pieces.len() / 2);
    }
    PlannedChoice { finish: Finish::Filtered, ..choice }
}

/// The tools that this prompt calls.
fn asked_tools(ask: &Ask) -> Vec<&Tool> {
    let named = |tool: &&Tool| {
        let prompt = ask.last.to_lowercase();
        let name = tool.name.to_lowercase();
        prompt.contains(&name) || prompt.contains(&name.replace(['_', '-'], " "))
    };
    let asked: Vec<&Tool> = match &ask.choice {
        Choice::None => Vec::new(),
        Choice::Named(name) => ask.tools.iter().filter(|t| t.name == *name).take(1).collect(),
        Choice::Auto | Choice::Required if ask.after_tool => Vec::new(),
        Choice::Auto | Choice::Required => ask.tools.iter().filter(named).collect(),
    };
    let most = if ask.one_call { 1 } else { usize::MAX };
    match (&ask.choice, asked.is_empty()) {
        (Choice::Required, true) => ask.tools.iter().take(1).collect(),
        _ => asked.into_iter().take(most).collect(),
    }
}

fn prose(ask: &Ask, behaviour: &Behaviour, numbers: &mut Sequence) -> String {
    if let Some(rest) = ask.last.strip_prefix("echo ") {
        return rest.to_owned();
    }
    if ask.after_tool {
        return format!("The tool says: {}", ask.last);
    }
    let spread = u64::from(behaviour.max_tokens.saturating_sub(behaviour.min_tokens)) + 1;
    let length = u64::from(behaviour.min_tokens) + numbers.below(spread);
    words(length, numbers)
}

/// So many tokens of prose: each word of the list is one, and so is the full stop.
fn words(length: u64, numbers: &mut Sequence) -> String {
    let mut text = String::new();
    let mut sentence = 0;
    for index in 0..length {
        if sentence >= 6 && numbers.below(4) == 0 || index + 1 == length && index > 0 {
            text.push('.');
            sentence = 0;
            continue;
        }
        let at = usize::try_from(numbers.below(WORDS.len() as u64)).unwrap_or(0);
        let word = WORDS.get(at).copied().unwrap_or("tower");
        if sentence > 0 || index > 0 {
            text.push(' ');
        }
        if sentence == 0 {
            let mut letters = word.chars();
            text.extend(letters.next().map(|c| c.to_ascii_uppercase()));
            text.push_str(letters.as_str());
        } else {
            text.push_str(word);
        }
        sentence += 1;
    }
    text
}

const WORDS: [&str; 32] = [
    "the", "tower", "sees", "each", "call", "and", "its", "cost", "while", "a", "model", "writes", "one",
    "token", "after", "next", "so", "every", "answer", "stays", "clear", "for", "people", "who", "read",
    "it", "later", "with", "care", "in", "plain", "words",
];

fn pieces(text: &str) -> Vec<String> {
    tokens::split(text).into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use proptest::prelude::*;
    use serde_json::json;

    fn ask(text: &str) -> Ask {
        let mut ask = Ask { answers: 1, ..Ask::default() };
        ask.say("user", text);
        ask
    }

    fn behaviour(name: &str) -> Behaviour {
        let models = [ModelConfig { name: "m".into(), ..ModelConfig::default() }];
        Behaviour::resolve(&models, name, &[], &mut Sequence::new(0)).unwrap()
    }

    fn text_of(choice: &PlannedChoice) -> String {
        match &choice.body {
            Body::Text(pieces) => pieces.concat(),
            Body::Calls { .. } => panic!("calls where text was expected"),
        }
    }

    #[test]
    fn a_length_that_was_asked_for_is_met_exactly() {
        for length in [1, 2, 7, 40] {
            let plan = plan("m", &ask("Tell me."), &behaviour(&format!("m:tokens-{length}")), None);
            assert_eq!(plan.usage.completion, length, "{plan:?}");
        }
    }

    #[test]
    fn stop_limit_and_reasoning_end_an_answer() {
        let mut asked = ask("echo one two three four");
        asked.stop = vec![" three".to_owned()];
        let stopped = plan("m", &asked, &behaviour("m"), None);
        assert_eq!(text_of(&stopped.choices[0]), "one two");
        asked.limit = Some(1);
        let cut = plan("m", &asked, &behaviour("m"), None);
        assert_eq!((text_of(&cut.choices[0]).as_str(), cut.choices[0].finish), ("one", Finish::Length));
        let thinking = plan("m", &asked, &behaviour("m:reasoning-50"), None);
        assert_eq!((thinking.usage.completion, thinking.usage.reasoning), (1, 1));
    }

    #[test]
    fn tools_are_called_when_named_required_or_chosen() {
        let tool =
            |name: &str| Tool { name: name.into(), parameters: json!({"type": "object", "properties": {}}) };
        let mut asked = ask("Please get weather for Paris");
        asked.tools = vec![tool("other"), tool("get_weather")];
        let names = |ask: &Ask| match &plan("m", ask, &behaviour("m"), None).choices[0].body {
            Body::Calls { calls, .. } => calls.iter().map(|c| c.name.clone()).collect(),
            Body::Text(_) => Vec::new(),
        };
        assert_eq!(names(&asked), ["get_weather"]);
        asked.choice = Choice::Named("other".into());
        assert_eq!(names(&asked), ["other"]);
        asked.choice = Choice::None;
        assert!(names(&asked).is_empty());
        asked.choice = Choice::Required;
        asked.last = "Hello".into();
        assert_eq!(names(&asked), ["other"]);
        asked.choice = Choice::Auto;
        assert!(names(&asked).is_empty());
    }

    proptest! {
        #[test]
        fn the_same_prompt_gets_the_same_plan_and_usage_adds_up(text in "[a-z ]{0,300}", n in 1u32..4, limit in 1u64..200) {
            let mut asked = ask(&text);
            (asked.answers, asked.limit) = (n, Some(limit));
            let behaviour = behaviour("m:reasoning-40");
            let first = plan("m", &asked, &behaviour, None);
            prop_assert_eq!(&first, &plan("m", &asked, &behaviour, None));
            prop_assert!(first.usage.cached < first.usage.prompt);
            prop_assert!(first.usage.reasoning <= first.usage.completion);
            prop_assert!(first.usage.completion <= limit * u64::from(n));
            let visible: u64 = first.choices.iter().map(PlannedChoice::tokens).sum();
            prop_assert_eq!(first.usage.completion, visible + first.usage.reasoning);
        }
    }
}
