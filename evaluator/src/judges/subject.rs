//! What is judged: one call with everything that could be found of it.

use super::{Judge, NOT_APPLICABLE};
use contracts::{SubjectRef, Timestamp, Usd, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call. Empty where nothing is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Which call.
    pub reference: SubjectRef,
    /// When it is judged.
    pub at: Timestamp,
    /// Route that was taken.
    #[serde(default)]
    pub route: String,
    /// Model that answered.
    #[serde(default)]
    pub model: String,
    /// System instructions.
    #[serde(default)]
    pub system: String,
    /// The conversation up to the answer.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// What was asked: the last message of the user.
    #[serde(default)]
    pub question: Option<String>,
    /// What the answer had to rest on.
    #[serde(default)]
    pub context: Vec<Passage>,
    /// The answer's text.
    #[serde(default)]
    pub answer: String,
    /// The tools that the model could call.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// The tool calls that the answer makes.
    #[serde(default)]
    pub tool_calls: Vec<ToolCall>,
    /// Natural logarithms of the probabilities of the answer's tokens.
    #[serde(default)]
    pub logprobs: Vec<f64>,
    /// Whether the answer had to be JSON.
    #[serde(default)]
    pub wants_json: bool,
    /// The JSON schema that the answer had to follow.
    #[serde(default)]
    pub response_schema: Option<Value>,
    /// A reference answer, where a truth set has one.
    #[serde(default)]
    pub expected: Option<String>,
    /// Whether a part of it was cut off when it was recorded.
    #[serde(default)]
    pub cut: bool,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its text.
    pub text: String,
}

/// A piece of context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// The id that the retrieval gave it, or its number.
    #[serde(default)]
    pub id: String,
    /// Its text.
    pub text: String,
    /// The retrieval's score.
    #[serde(default)]
    pub score: Option<f64>,
    /// Where it comes from.
    #[serde(default)]
    pub source: String,
}

/// A tool that the model could call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// JSON schema of its arguments.
    #[serde(default)]
    pub parameters: Value,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments as the model wrote them: JSON, or what should be.
    pub arguments: String,
}

impl Subject {
    /// An empty subject.
    pub fn new(reference: SubjectRef, at: Timestamp) -> Self {
        Self {
            reference,
            at,
            route: String::new(),
            model: String::new(),
            system: String::new(),
            messages: Vec::new(),
            question: None,
            context: Vec::new(),
            answer: String::new(),
            tools: Vec::new(),
            tool_calls: Vec::new(),
            logprobs: Vec::new(),
            wants_json: false,
            response_schema: None,
            expected: None,
            cut: false,
        }
    }

    /// A verdict of `judge` on this call, to be completed.
    pub fn verdict(&self, judge: &dyn Judge, score: Option<f64>, label: &str) -> Verdict {
        Verdict {
            judge: judge.name().to_owned(),
            version: judge.version().to_owned(),
            subject: self.reference.clone(),
            score,
            label: label.to_owned(),
            explanation: String::new(),
            cost: Usd::ZERO,
            details: Value::Null,
            at: self.at,
        }
    }

    /// The verdict of a judge that has nothing to say, and why.
    pub fn not_applicable(&self, judge: &dyn Judge, why: &str) -> Verdict {
        Verdict { explanation: why.to_owned(), ..self.verdict(judge, None, NOT_APPLICABLE) }
    }
}
