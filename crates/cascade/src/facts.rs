//! What the checks are told: of the request, and of an answer.

use serde_json::Value;

/// A request, as far as an answer to it is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The question or instruction, without the context.
    pub prompt: &'a str,
    /// The passages that the answer may rest on; empty where the request brings none.
    pub context: &'a [&'a str],
    /// The schema that `response_format` demands.
    pub schema: Option<&'a Value>,
    /// Whether `response_format` demands JSON of any kind.
    pub json: bool,
    /// The tools that it offers.
    pub tools: &'a [Tool<'a>],
}

/// A tool that a request offers.
#[derive(Debug, Clone, Copy)]
pub struct Tool<'a> {
    /// Its name.
    pub name: &'a str,
    /// The JSON schema of its arguments; absent where it takes anything.
    pub parameters: Option<&'a Value>,
}

/// An answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// Its text.
    pub text: &'a str,
    /// The calls that it makes.
    pub tool_calls: &'a [ToolCall<'a>],
    /// What the model itself refused with, where the protocol has a place for that.
    pub refusal: Option<&'a str>,
    /// It was cut off by the limit of tokens.
    pub is_cut_off: bool,
    /// The provider's filter ended it, or the model declined by its reason to stop.
    pub is_filtered: bool,
    /// The natural logarithms of its tokens' probabilities; empty where the upstream gave none.
    pub logprobs: &'a [f32],
}

/// A call of a tool.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// The arguments, as the model wrote them.
    pub arguments: &'a str,
}
