//! What an answer says, as far as it must be known: who answered, why it ended, what it used, and its text.

use super::kept::{Kept, finish};
use super::usage::tier;
use bytes::Bytes;
use contracts::TokenUsage;
use contracts::price::ServiceTier;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A choice's index beyond this is folded into the last one: indices come from outside and must not size our memory.
const MOST_CHOICES: usize = 256;

/// A JSON string that borrows when it has no escapes.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// An answer, as far as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The provider's id of it.
    pub(crate) id: Option<String>,
    /// The model that answered, as the provider names it.
    pub(crate) model: Option<String>,
    /// The tier that it was served at, once it says so.
    pub(crate) tier: Option<ServiceTier>,
    /// What it used, when it says so.
    pub(crate) usage: Option<TokenUsage>,
    /// Whether that is the sum of it: it came with or after a reason to finish, or in an event of its own. Some servers send
    /// a running count with each chunk.
    pub(crate) usage_is_final: bool,
    /// Why it ended, one a choice.
    pub(crate) finish_reasons: Vec<String>,
    /// What it says.
    pub(crate) output: Output,
    /// How probable its tokens were.
    pub(crate) logprobs: Logprobs,
    /// A stream of it says something that is not put together here.
    pub(crate) says_more: bool,
    /// How much of a stream of it is kept.
    pub(crate) kept: Kept,
    /// What the upstream said went wrong, JSON.
    pub(crate) error: Option<String>,
    /// Number of the last event, where events are numbered.
    pub(crate) sequence: u64,
}

impl Answer {
    /// An answer of which only its names are known.
    pub(crate) fn named(id: Option<Text<'_>>, model: Option<Text<'_>>, tier: Option<&Text<'_>>) -> Self {
        let mut answer = Self::default();
        answer.learn(id, model, tier);
        answer
    }

    /// Takes over what an event of a stream says about usage; `alone` when it says nothing else.
    pub(crate) fn learn_usage(&mut self, usage: Option<TokenUsage>, alone: bool) {
        if usage.is_some() {
            self.usage = usage;
            self.usage_is_final = alone || !self.finish_reasons.is_empty();
        }
    }

    /// Whether every choice that says something has said why it ended.
    pub(crate) fn has_finished(&self) -> bool {
        !self.finish_reasons.is_empty()
            && self.output.choices.iter().all(|said| said.finished || said.is_empty())
    }

    /// The choice at `index` says why it ended, if it does.
    pub(crate) fn finish(&mut self, index: usize, reason: Option<Text<'_>>) {
        if reason.as_ref().is_some_and(|reason| !reason.0.is_empty())
            && let Some(said) = self.output.choices.get_mut(index.min(MOST_CHOICES - 1))
        {
            said.finished = true;
        }
        finish(&mut self.finish_reasons, reason);
    }

    /// All of it ends for this reason, whatever it said.
    pub(crate) fn finish_all(&mut self, reason: &str) {
        self.output.choices.iter_mut().for_each(|said| said.finished = true);
        self.finish_reasons = vec![reason.to_owned()];
    }

    /// Takes over names that are new.
    pub(crate) fn learn(
        &mut self,
        id: Option<Text<'_>>,
        model: Option<Text<'_>>,
        tier_name: Option<&Text<'_>>,
    ) {
        for (into, name) in [(&mut self.id, id), (&mut self.model, model)] {
            if into.is_none()
                && let Some(name) = name.filter(|n| !n.0.is_empty())
            {
                *into = Some(name.0.into_owned());
            }
        }
        if let Some(name) = tier_name {
            self.tier = Some(tier(&name.0));
        }
    }
}

/// Tokens whose probability is kept; an answer of that many is judged by them.
const MOST_LOGPROBS: usize = 16_384;

/// Natural logarithms of the probabilities of the tokens of an answer's first choice, as far as the upstream gave them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logprobs(Vec<f32>);

/// As chat completions have them, or completions.
#[derive(Deserialize)]
struct LogprobsOf {
    #[serde(default)]
    content: Option<Vec<LogprobOf>>,
    #[serde(default)]
    token_logprobs: Option<Vec<Option<f32>>>,
}

#[derive(Deserialize)]
struct LogprobOf {
    logprob: f32,
}

impl Logprobs {
    /// Takes over those that came with the choice at `index`. What is not in a known form says nothing, and harms nothing.
    pub(crate) fn learn(&mut self, index: usize, raw: Option<&RawValue>) {
        let Some(raw) = raw.filter(|_| index == 0) else { return };
        let Ok(of) = serde_json::from_str::<LogprobsOf>(raw.get()) else { return };
        let chat = of.content.into_iter().flatten().map(|token| token.logprob);
        self.extend(chat.chain(of.token_logprobs.into_iter().flatten().flatten()));
    }

    /// Takes over those of a text of a response: the list alone.
    pub(crate) fn learn_list(&mut self, raw: Option<&RawValue>) {
        let tokens = raw.and_then(|raw| serde_json::from_str::<Vec<LogprobOf>>(raw.get()).ok());
        self.extend(tokens.into_iter().flatten().map(|token| token.logprob));
    }

    fn extend(&mut self, logprobs: impl Iterator<Item = f32>) {
        let room = MOST_LOGPROBS.saturating_sub(self.0.len());
        self.0.extend(logprobs.take(room));
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// A JSON array of numbers; none when there are none.
    pub(crate) fn to_json(&self) -> Option<String> {
        if self.is_empty() { None } else { serde_json::to_string(&self.0).ok() }
    }
}

/// What an answer says: pieces of its own JSON, or text put together from a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    raw: Vec<Bytes>,
    choices: Vec<Said>,
}

/// One choice of a stream, so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) content: String,
    pub(crate) refusal: String,
    pub(crate) reasoning: String,
    tool_calls: Vec<ToolCall>,
    /// It said why it ended.
    finished: bool,
}

/// A tool call of a stream, so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct ToolCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Said {
    fn is_empty(&self) -> bool {
        let Self { content, refusal, reasoning, tool_calls, finished: _ } = self;
        tool_calls.is_empty() && [content, refusal, reasoning].iter().all(|text| text.is_empty())
    }

    /// The tool call at `index`.
    pub(crate) fn tool_call(&mut self, index: usize) -> &mut ToolCall {
        grown(&mut self.tool_calls, index)
    }
}

impl Output {
    /// Adds a message as the provider wrote it.
    pub(crate) fn push_raw(&mut self, message: Option<Bytes>) {
        self.raw.extend(message);
    }

    /// The choice at `index`.
    pub(crate) fn choice(&mut self, index: usize) -> &mut Said {
        grown(&mut self.choices, index)
    }

    /// Forgets what was put together: the whole came.
    pub(crate) fn clear(&mut self) {
        self.choices.clear();
        self.raw.clear();
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.choices.is_empty()
    }

    /// A JSON array of messages.
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::with_capacity(self.raw.iter().map(|raw| raw.len() + 1).sum::<usize>() + 2);
        json.push('[');
        for message in self.messages() {
            separate(&mut json);
            json.push_str(&message);
        }
        json.push(']');
        json
    }

    /// Each message, JSON.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let raw = self.raw.iter().map(|raw| String::from_utf8_lossy(raw));
        // Texts always serialise; the fallback keeps this function total.
        let written =
            |said| serde_json::to_string(&Message::of(said)).map_or(Cow::Borrowed("{}"), Cow::Owned);
        raw.chain(self.choices.iter().filter(|_| self.raw.is_empty()).map(written))
    }

    /// All text that the model generated, for counting.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for raw in &self.raw {
            if let Ok(message) = serde_json::from_slice::<serde_json::Value>(raw) {
                collect_strings(&message, &mut text);
            }
        }
        for said in self.choices.iter().filter(|_| self.raw.is_empty()) {
            for part in [&said.reasoning, &said.content, &said.refusal] {
                text.push_str(part);
            }
            for call in &said.tool_calls {
                text.push_str(&call.name);
                text.push_str(&call.arguments);
            }
        }
        text
    }
}

/// Texts of a message: the values of its fields that hold generated text, wherever they stand.
pub(super) fn collect_strings(value: &serde_json::Value, into: &mut String) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let generated = matches!(
                    name.as_str(),
                    "content" | "text" | "refusal" | "reasoning_content" | "arguments" | "name" | "output"
                );
                match value {
                    serde_json::Value::String(text) if generated => into.push_str(text),
                    serde_json::Value::String(_) => {}
                    nested => collect_strings(nested, into),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_strings(item, into)),
        _ => {}
    }
}

fn separate(json: &mut String) {
    if json.len() > 1 {
        json.push(',');
    }
}

/// The item at `index`, with defaults before it as needed.
fn grown<T: Default>(items: &mut Vec<T>, index: usize) -> &mut T {
    let index = index.min(MOST_CHOICES - 1);
    while items.len() <= index {
        items.push(T::default());
    }
    &mut items[index]
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Message<'a> {
    fn of(said: &'a Said) -> Self {
        let some = |text: &'a str| Some(text).filter(|t| !t.is_empty());
        let call = |c: &'a ToolCall| Call {
            id: &c.id,
            kind: "function",
            function: Function { name: &c.name, arguments: &c.arguments },
        };
        Self {
            role: "assistant",
            content: some(&said.content),
            refusal: some(&said.refusal),
            reasoning_content: some(&said.reasoning),
            // A call's place may be one among texts and thoughts too.
            tool_calls: said
                .tool_calls
                .iter()
                .filter(|c| !c.name.is_empty() || !c.id.is_empty())
                .map(call)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_from_outside_does_not_size_memory() {
        let mut output = Output::default();
        output.choice(usize::MAX).content.push('x');
        assert_eq!(output.choices.len(), MOST_CHOICES);
    }

    #[test]
    fn the_text_to_count_is_what_the_model_generated() {
        let mut output = Output::default();
        let message = br#"{"role":"assistant","content":"Hi","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
        output.push_raw(Some(Bytes::from_static(message)));
        assert!(
            output.text().contains("Hi")
                && output.text().contains("{}")
                && !output.text().contains("assistant")
        );
    }
}
