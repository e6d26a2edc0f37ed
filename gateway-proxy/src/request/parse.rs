//! From a body's bytes to what the gateway must know about it.

use super::context::{self, Context};
use super::fields::{check, kind_of, missing, wrong_type};
use super::json::{Member, members, too_deep, utf8};
use super::message::Message;
use crate::endpoints::Endpoint;
use crate::meter::tier;
use bytes::Bytes;
use contracts::ApiError;
use contracts::price::ServiceTier;
use serde_json::value::RawValue;
use std::ops::Range;

/// What a client asks for: facts taken from its body, and where in the body the rest lies.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The body as it came.
    pub(crate) body: Bytes,
    /// The name in `model`.
    pub(crate) model: String,
    /// Whether the answer shall be streamed.
    pub(crate) stream: bool,
    /// The service tier that it asks for.
    pub(crate) tier: ServiceTier,
    /// The tiers at which it may be served.
    pub(crate) most_tiers: &'static [ServiceTier],
    /// Where the value of `model` stands.
    pub(super) model_at: Range<usize>,
    /// Whether the answer is written, token by token.
    pub(crate) writes: bool,
    /// Most tokens of each answer, where the client says so: the greatest, where it says so twice, for providers differ in which they
    /// follow.
    pub(crate) max_output: Option<u64>,
    /// What it says, in each of the endpoint's fields for it.
    pub(super) bounds: [Option<Bound>; 2],
    /// Answers that are asked for, to all prompts together.
    pub(crate) choices: u64,
    /// Whether the client asks for the probabilities of tokens itself.
    pub(crate) asks_logprobs: bool,
    /// Where `temperature`, `n` and `seed` stand, if they do.
    pub(super) temperature_at: Option<Range<usize>>,
    pub(super) n_at: Option<Range<usize>>,
    pub(super) seed_at: Option<Range<usize>>,
    /// Where `stream` stands, if it does.
    pub(super) stream_at: Option<Range<usize>>,
    /// Where `background` stands, if it is true: the answer is made whether or not anybody waits for it.
    pub(super) background_at: Option<Range<usize>>,
    /// Whether and how the client itself asked for usage in its stream.
    pub(super) usage: AskedUsage,
    /// Where the prompt stands (`messages`, `prompt` or `input`).
    pub(crate) prompt_at: Option<Range<usize>>,
    /// Where else the client says something to the model: `suffix`, `prediction`.
    pub(crate) beside_at: [Option<Range<usize>>; 2],
    /// Where the values of the variables stand with which the client fills a prompt that the provider keeps.
    pub(crate) variables_at: Vec<Range<usize>>,
    /// Where `instructions` stand.
    pub(crate) instructions_at: Option<Range<usize>>,
    /// Where `tools` stand.
    pub(crate) tools_at: Option<Range<usize>>,
    /// Where the form stands that the answer shall have (`response_format`, `text`).
    pub(crate) format_at: Option<Range<usize>>,
    /// What the model was given to answer from, as far as the client says so.
    pub(crate) context: Context,
}

/// What a field says of an answer's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    field: &'static str,
    /// Where the value stands.
    pub(super) at: Range<usize>,
    length: Length,
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// `null`: as if nothing were said.
    Open,
    /// Below zero: to some servers, as long as it gets.
    Negative,
    /// So many tokens.
    Tokens(u64),
}

/// What the client's body says about `stream_options.include_usage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AskedUsage {
    /// It asks: nothing to change, nothing to hide.
    Yes,
    /// There is no `stream_options`.
    NoOptions,
    /// `stream_options` is null, at this place.
    NullOptions(Range<usize>),
    /// `stream_options` is an object without `include_usage`: its place, and whether it has other members.
    NotInOptions(Range<usize>, bool),
    /// `include_usage` is there but not true: the place of its value.
    No(Range<usize>),
}

impl Ask {
    /// Whether the client asked for usage in its stream.
    pub(crate) fn wants_usage(&self) -> bool {
        self.usage == AskedUsage::Yes
    }

    /// Whether the client says anything of usage in its stream.
    pub(crate) fn has_stream_options(&self) -> bool {
        self.usage != AskedUsage::NoOptions
    }

    /// Whether the answer is made whether or not anybody waits for it.
    pub(crate) const fn is_background(&self) -> bool {
        self.background_at.is_some()
    }

    /// Whether the upstream is asked for a stream: as the client says, and for what is made in the background.
    pub(crate) const fn asks_stream(&self) -> bool {
        self.stream || self.is_background()
    }

    /// What `field` says of the answer's length.
    pub(super) fn bound(&self, field: &str) -> Option<&Bound> {
        self.bounds.iter().flatten().find(|bound| bound.field == field)
    }

    /// Whether `field` bounds the answer's length.
    pub(crate) fn is_bounded_by(&self, field: &str) -> bool {
        self.bound(field).is_some_and(|bound| matches!(bound.length, Length::Tokens(_)))
    }

    /// A field that bounds the answer's length by less than nothing.
    pub(crate) fn negative_bound(&self) -> Option<&'static str> {
        let mut bounds = self.bounds.iter().flatten();
        bounds.find(|bound| bound.length == Length::Negative).map(|bound| bound.field)
    }

    /// The text at `place`.
    pub(crate) fn text(&self, place: Option<&Range<usize>>) -> Option<&str> {
        std::str::from_utf8(self.body.get(place?.clone())?).ok()
    }
}

/// Why a body is not a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("body: the byte at offset {0} is not UTF-8: expected JSON in UTF-8")]
    NotUtf8(usize),
    #[error(
        "body: nested deeper than {max} levels at offset {at}: expected at most {max} arrays and objects within each other"
    )]
    TooDeep { at: usize, max: usize },
    #[error("body: not a valid JSON object: {0}")]
    NotJson(serde_json::Error),
    #[error("{0}")]
    Invalid(ApiError),
}

impl From<ApiError> for BodyError {
    fn from(error: ApiError) -> Self {
        Self::Invalid(error)
    }
}

/// Reads a body; `max_depth` bounds its nesting.
pub(crate) fn parse(endpoint: &Endpoint, body: Bytes, max_depth: usize) -> Result<Ask, BodyError> {
    let text = utf8(&body).map_err(BodyError::NotUtf8)?;
    if let Some(at) = too_deep(text, max_depth) {
        return Err(BodyError::TooDeep { at, max: max_depth });
    }
    let members = members(text).map_err(BodyError::NotJson)?;
    let find = |name: &str| members.iter().find(|m| m.name == name);
    let place = |member: &Member<'_>| place_in(text, member.text());

    let model = find("model").ok_or_else(|| missing("model", "the name of a model"))?;
    let name = model.string().ok_or_else(|| {
        let message = format!(
            "model: {} is not valid here: expected the name of a model, a string",
            kind_of(model.text())
        );
        wrong_type("model", message)
    })?;
    if name.is_empty() {
        return Err(ApiError::invalid("model", "model: \"\" is empty: expected the name of a model").into());
    }
    check(endpoint.fields, &members)?;
    if endpoint.prompt == "messages" {
        check_messages(find("messages"))?;
    }
    let stream = find("stream").is_some_and(|m| m.text() == "true");
    let asked = |name| find(name).filter(|m| m.text() != "null").map(place);
    let bounds = std::array::from_fn(|at| {
        let (field, member) = endpoint.max_output.get(at).and_then(|name| Some((*name, find(name)?)))?;
        Some(Bound { field, at: place(member), length: length(member.text()) })
    });
    let tokens = |bound: &Bound| if let Length::Tokens(tokens) = bound.length { Some(tokens) } else { None };
    let max_output = bounds.iter().flatten().filter_map(tokens).max();
    let choices = ["n", "best_of"].iter().filter_map(|name| find(name)).filter_map(|m| choices(m.text()));
    let prompts = find(endpoint.prompt).map_or(1, |m| prompts(endpoint, m.text()));
    let choices = choices.max().unwrap_or(1).max(1).saturating_mul(prompts);
    let asks_logprobs = find("logprobs").is_some();
    let [stream_at, temperature_at, n_at, seed_at] =
        ["stream", "temperature", "n", "seed"].map(|name| find(name).map(place));
    let background_at = endpoint
        .has_background
        .then(|| find("background").filter(|m| m.text() == "true").map(place))
        .flatten();
    let model_at = place(model);
    let (prompt_at, instructions_at, tools_at) =
        (asked(endpoint.prompt), endpoint.instructions.and_then(asked), asked("tools"));
    let beside_at = ["suffix", "prediction"].map(asked);
    let kept = find("prompt").filter(|_| endpoint.prompt == "input");
    let variables_at = kept.map_or(Ok(Vec::new()), |prompt| variables(text, prompt.text()))?;
    let format_at = endpoint.format.and_then(asked);
    let usage = asked_usage(text, find("stream_options"))?;
    let tier_name = find("service_tier").and_then(Member::string);
    let most_tiers = most_tiers(tier_name.as_deref());
    let tier = tier_name.map_or(ServiceTier::Standard, |name| tier(&name));
    let model = name.into_owned();
    let context = context::read(text, &members)?;
    Ok(Ask {
        body,
        model,
        stream,
        tier,
        most_tiers,
        model_at,
        writes: !endpoint.max_output.is_empty(),
        max_output,
        bounds,
        choices,
        asks_logprobs,
        temperature_at,
        n_at,
        seed_at,
        stream_at,
        background_at,
        usage,
        prompt_at,
        beside_at,
        variables_at,
        instructions_at,
        tools_at,
        format_at,
        context,
    })
}

/// The tiers at which a request may be served that asks for `asked`. Without a word, or with `auto`, the provider's settings decide,
/// and what was asked for at another tier may be served at the standard one.
fn most_tiers(asked: Option<&str>) -> &'static [ServiceTier] {
    match asked {
        Some("default" | "standard_only") => &[ServiceTier::Standard],
        Some("flex") => &[ServiceTier::Standard, ServiceTier::Flex],
        _ => &ServiceTier::ALL,
    }
}

/// What is said of an answer's length. A number that is beyond counting is as good as the greatest that is not.
fn length(text: &str) -> Length {
    match text.as_bytes().first() {
        Some(b'n') => Length::Open,
        Some(b'-') => Length::Negative,
        _ => Length::Tokens(text.parse().unwrap_or(u64::MAX)),
    }
}

/// How many answers are asked for. What is no such number may be one to somebody.
fn choices(text: &str) -> Option<u64> {
    (text != "null").then(|| text.parse().unwrap_or(u64::MAX))
}

/// How many prompts `text` is: each of a list is answered on its own, unless the list is one of tokens.
fn prompts(endpoint: &Endpoint, text: &str) -> u64 {
    if endpoint.prompt != "prompt" || !text.starts_with('[') {
        return 1;
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let is_token =
        |item: &&RawValue| item.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if items.iter().all(is_token) { 1 } else { items.len() as u64 }
}

/// Where the values of a prompt's variables stand.
fn variables(text: &str, prompt: &str) -> Result<Vec<Range<usize>>, BodyError> {
    if !prompt.starts_with('{') {
        return Ok(Vec::new());
    }
    let all = members(prompt).map_err(BodyError::NotJson)?;
    let Some(given) = all.iter().find(|m| m.name == "variables" && m.text() != "null") else {
        return Ok(Vec::new());
    };
    if !given.text().starts_with('{') {
        return Ok(vec![place_in(text, given.text())]);
    }
    let given = members(given.text()).map_err(BodyError::NotJson)?;
    Ok(given.iter().map(|variable| place_in(text, variable.text())).collect())
}

/// Where `part`, a slice of `text`, stands in it.
pub(crate) fn place_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

fn asked_usage(text: &str, options: Option<&Member<'_>>) -> Result<AskedUsage, BodyError> {
    let Some(options) = options else { return Ok(AskedUsage::NoOptions) };
    let at = place_in(text, options.text());
    if options.text() == "null" {
        return Ok(AskedUsage::NullOptions(at));
    }
    let inner = members(options.text()).map_err(BodyError::NotJson)?;
    let Some(include) = inner.iter().find(|m| m.name == "include_usage") else {
        return Ok(AskedUsage::NotInOptions(at, !inner.is_empty()));
    };
    match include.text() {
        "true" => Ok(AskedUsage::Yes),
        "false" | "null" => Ok(AskedUsage::No(place_in(text, include.text()))),
        other => {
            let name = "stream_options.include_usage";
            let message = format!("{name}: {} is not valid here: expected boolean", kind_of(other));
            Err(wrong_type(name, message).into())
        }
    }
}

/// Each message must be an object with a role; the rest is between client and model.
fn check_messages(messages: Option<&Member<'_>>) -> Result<(), BodyError> {
    let Some(messages) = messages else { return Ok(()) };
    // One pass when nothing is wrong; what is wrong is then named by a closer look.
    if serde_json::from_str::<Vec<Message>>(messages.text()).is_ok() {
        return Ok(());
    }
    look_closer(messages.text())
}

fn look_closer(messages: &str) -> Result<(), BodyError> {
    let items: Vec<&RawValue> = serde_json::from_str(messages).map_err(BodyError::NotJson)?;
    for (at, item) in items.iter().enumerate() {
        if !item.get().starts_with('{') {
            let name = format!("messages[{at}]");
            let message = format!("{name}: {} is not valid here: expected object", kind_of(item.get()));
            return Err(wrong_type(&name, message).into());
        }
        let fields = members(item.get()).map_err(BodyError::NotJson)?;
        let name = format!("messages[{at}].role");
        match fields.iter().find(|m| m.name == "role").map(Member::text) {
            None => return Err(missing(&name, "a role, such as user").into()),
            Some(role) if !role.starts_with('"') => {
                let message = format!("{name}: {} is not valid here: expected string", kind_of(role));
                return Err(wrong_type(&name, message).into());
            }
            Some(_) => {}
        }
        if let Some(content) = fields.iter().find(|m| m.name == "content").map(Member::text)
            && !matches!(content.as_bytes().first(), Some(b'"' | b'[' | b'n'))
        {
            let name = format!("messages[{at}].content");
            let message = format!("{name}: {} is not valid here: expected string or array", kind_of(content));
            return Err(wrong_type(&name, message).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("role"),
            Just("content"),
            Just("name"),
            Just("x"),
            Just("r\\u006fle"),
            Just("\\n")
        ];
        let value = prop_oneof![
            Just(r#""user""#),
            Just("null"),
            Just("7"),
            Just(r#"[{"role":1,"role":2}]"#),
            Just("{}"),
            Just("-")
        ];
        let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        let message = prop_oneof![
            4 => prop::collection::vec(member, 0..5).prop_map(|all| format!("{{\"role\":\"user\"{}{}}}", if all.is_empty() { "" } else { "," }, all.join(","))),
            1 => Just(r#"{"content":"x"}"#.to_owned()),
            1 => Just("[]".to_owned()),
        ];
        prop::collection::vec(message, 0..4).prop_map(|all| format!("[{}]", all.join(",")))
    }

    proptest! {
        /// The quick pass may give up on what is fine, and never takes what is not.
        #[test]
        fn what_passes_quickly_passes_the_closer_look(text in messages()) {
            if serde_json::from_str::<Vec<Message>>(&text).is_ok() {
                prop_assert!(look_closer(&text).is_ok(), "{text}");
            }
        }

        #[test]
        fn plain_messages_pass_quickly(content in ".{0,40}", count in 0_usize..4) {
            let message = serde_json::json!({"role": "user", "content": content, "name": "é"});
            let text = serde_json::to_string(&vec![message; count]).unwrap();
            prop_assert!(serde_json::from_str::<Vec<Message>>(&text).is_ok(), "{text}");
        }
    }
}
