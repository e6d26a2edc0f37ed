//! What is wrong with an answer beyond any score: it is empty, declines, is not what its schema asks for, or calls tools that do
//! not exist. Such an answer is never accepted while another tier may be asked.

use crate::facts::{Answer, Request};
use crate::schema::{Patterns, faults};
use crate::words::cut;
use contracts::policy::cascade::Check;
use serde_json::Value;

/// Bytes of JSON that are checked; more is rejected, since nobody can say whether it is valid.
const MOST_JSON: usize = 4 << 20;

/// Characters of an answer that are searched for a refusal: one stands at the beginning.
const REFUSAL_WITHIN: usize = 240;

/// Why an answer is rejected outright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There is neither text nor a tool call.
    Empty,
    /// The model declines, or the provider's filter cut in.
    Refusal,
    /// It was cut off by the limit of tokens, and JSON was asked for.
    CutOff,
    /// It is no JSON; what the parser says.
    Json(String),
    /// It is not of the schema; what the schema says.
    Schema(String),
    /// It calls a tool that the request does not offer.
    UnknownTool(String),
    /// A tool's arguments are no JSON, or not of its schema.
    Arguments {
        /// The tool.
        tool: String,
        /// What is wrong.
        problem: String,
    },
    /// A guardrail asks for another.
    Guardrail,
}

impl Rejection {
    /// A name for traces and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Refusal => "refusal",
            Self::CutOff => "cut_off",
            Self::Json(_) => "invalid_json",
            Self::Schema(_) => "schema_mismatch",
            Self::UnknownTool(_) => "unknown_tool",
            Self::Arguments { .. } => "invalid_arguments",
            Self::Guardrail => "guardrail",
        }
    }
}

/// The first of `checks` that rejects the answer.
pub fn reject(checks: &[Check], request: &Request<'_>, answer: &Answer<'_>) -> Option<Rejection> {
    checks.iter().find_map(|check| match check {
        Check::RefusalOrEmpty => refusal_or_empty(answer),
        Check::JsonSchema => json(request, answer),
        Check::ToolCalls => tool_calls(request, answer),
        Check::LogprobConfidence
        | Check::SelfConsistency { .. }
        | Check::Grounding
        | Check::Verifier { .. } => None,
    })
}

fn refusal_or_empty(answer: &Answer<'_>) -> Option<Rejection> {
    if answer.is_filtered || answer.refusal.is_some_and(|text| !text.trim().is_empty()) {
        return Some(Rejection::Refusal);
    }
    if !answer.tool_calls.is_empty() {
        return None;
    }
    if answer.text.trim().is_empty() {
        return Some(Rejection::Empty);
    }
    declines(answer.text).then_some(Rejection::Refusal)
}

/// Whether the answer begins by declining. Saying that the context does not tell is an answer, not a refusal.
fn declines(text: &str) -> bool {
    const OPENINGS: [&str; 22] = [
        "i can't assist",
        "i can't help",
        "i can't provide",
        "i can't comply",
        "i can't fulfill",
        "i cannot assist",
        "i cannot help",
        "i cannot provide",
        "i cannot comply",
        "i cannot fulfill",
        "i'm unable to assist",
        "i'm unable to help",
        "i'm unable to provide",
        "i am unable to assist",
        "i am unable to help",
        "i am unable to provide",
        "i'm not able to help",
        "i am not able to help",
        "i won't be able to",
        "i must decline",
        "as an ai language model",
        "as a large language model",
    ];
    let mut head = cut(text.trim_start(), REFUSAL_WITHIN).to_lowercase().replace('\u{2019}', "'");
    for opening in [
        "i'm sorry, but ",
        "i am sorry, but ",
        "sorry, but ",
        "sorry, ",
        "i apologize, but ",
        "unfortunately, ",
    ] {
        if let Some(rest) = head.strip_prefix(opening) {
            head = rest.to_owned();
            break;
        }
    }
    OPENINGS.iter().any(|opening| head.starts_with(opening))
}

fn json(request: &Request<'_>, answer: &Answer<'_>) -> Option<Rejection> {
    if !request.json && request.schema.is_none() || !answer.tool_calls.is_empty() {
        return None;
    }
    if answer.is_cut_off || answer.is_filtered {
        return Some(Rejection::CutOff);
    }
    let value = match parse(answer.text) {
        Ok(value) => value,
        Err(problem) => return Some(Rejection::Json(problem)),
    };
    mismatch(request.schema?, &value).map(Rejection::Schema)
}

fn tool_calls(request: &Request<'_>, answer: &Answer<'_>) -> Option<Rejection> {
    answer.tool_calls.iter().find_map(|call| {
        let Some(tool) = request.tools.iter().find(|tool| tool.name == call.name) else {
            return Some(Rejection::UnknownTool(cut(call.name, 128).to_owned()));
        };
        // Providers leave the arguments of a tool without parameters empty.
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments };
        let problem = match (parse(arguments), tool.parameters) {
            (Err(problem), _) => Some(problem),
            (Ok(value), Some(schema)) => mismatch(schema, &value),
            (Ok(_), None) => None,
        };
        problem.map(|problem| Rejection::Arguments { tool: tool.name.to_owned(), problem })
    })
}

fn parse(text: &str) -> Result<Value, String> {
    if text.len() > MOST_JSON {
        return Err(format!("{} bytes, expected at most {MOST_JSON}", text.len()));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// What the schema says against the value. A schema that cannot be used says nothing: that is the request's fault.
fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    let fault = faults(schema, value, 1, Patterns::Linear).ok()?.into_iter().next()?;
    let text = format!("{}: {}", fault.place, fault.problem);
    Some(cut(&text, 300).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Tool, ToolCall};
    use serde_json::json;

    fn says(text: &str) -> Answer<'_> {
        Answer { text, ..Answer::default() }
    }

    #[test]
    fn refusals_are_told_from_answers_that_know_nothing() {
        let check = [Check::RefusalOrEmpty];
        let verdict = |text| reject(&check, &Request::default(), &says(text));
        for text in [
            "I'm sorry, but I can\u{2019}t assist with that.",
            "I cannot help with this request.",
            " As an AI language model, I",
        ] {
            assert_eq!(verdict(text), Some(Rejection::Refusal), "{text}");
        }
        assert_eq!(verdict(" \n"), Some(Rejection::Empty));
        for text in [
            "Based on the passages, the fee cannot be determined.",
            "I cannot recommend the fish enough, says a guest.",
            "The clerk said: I can't help.",
        ] {
            assert_eq!(verdict(text), None, "{text}");
        }
        let called = Answer { tool_calls: &[ToolCall { name: "f", arguments: "" }], ..Answer::default() };
        assert_eq!(reject(&check, &Request::default(), &called), None);
        assert_eq!(reject(&[], &Request::default(), &says("")), None);
        let filtered = Answer { text: "To do that, first", is_filtered: true, ..Answer::default() };
        assert_eq!(reject(&check, &Request::default(), &filtered), Some(Rejection::Refusal));
    }

    #[test]
    fn a_clients_pattern_takes_no_longer_than_linear_time() {
        // With backtracking this would go on for longer than anybody waits; a pattern that needs it says nothing.
        let evil = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let request = Request { schema: Some(&evil), json: true, ..Request::default() };
        let text = format!("{{\"a\": \"{}b\"}}", "a".repeat(5_000));
        assert!(matches!(reject(&[Check::JsonSchema], &request, &says(&text)), Some(Rejection::Schema(_))));
        let ahead = json!({"type": "string", "pattern": "^(?=a)a$"});
        let request = Request { schema: Some(&ahead), json: true, ..Request::default() };
        assert_eq!(reject(&[Check::JsonSchema], &request, &says("\"b\"")), None);
    }

    #[test]
    fn json_is_held_to_the_requests_schema() {
        let schema =
            json!({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]});
        let request = Request { schema: Some(&schema), json: true, ..Request::default() };
        let verdict = |text| reject(&[Check::JsonSchema], &request, &says(text));
        assert_eq!(verdict("{\"age\": 3}"), None);
        assert!(matches!(verdict("{\"age\": \"3\"}"), Some(Rejection::Schema(p)) if p.contains("/age")));
        assert!(matches!(verdict("age: 3"), Some(Rejection::Json(_))));
        let cut_off = Answer { text: "{\"age\": 3", is_cut_off: true, ..Answer::default() };
        assert_eq!(reject(&[Check::JsonSchema], &request, &cut_off), Some(Rejection::CutOff));
        assert_eq!(reject(&[Check::JsonSchema], &Request::default(), &says("age: 3")), None);
        let broken = json!({"type": 7});
        let request = Request { schema: Some(&broken), ..Request::default() };
        assert_eq!(reject(&[Check::JsonSchema], &request, &says("3")), None);
    }

    #[test]
    fn tool_calls_are_held_to_the_tools_that_were_offered() {
        let schema =
            json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let tools =
            [Tool { name: "weather", parameters: Some(&schema) }, Tool { name: "now", parameters: None }];
        let request = Request { tools: &tools, ..Request::default() };
        let verdict = |name, arguments| {
            let calls = [ToolCall { name, arguments }];
            reject(&[Check::ToolCalls], &request, &Answer { tool_calls: &calls, ..Answer::default() })
        };
        assert_eq!(verdict("weather", "{\"city\": \"Oslo\"}"), None);
        assert_eq!(verdict("now", ""), None);
        assert_eq!(verdict("wether", "{}"), Some(Rejection::UnknownTool("wether".to_owned())));
        assert!(matches!(verdict("weather", "{\"city\":"), Some(Rejection::Arguments { .. })));
        assert!(matches!(verdict("weather", "{}"), Some(Rejection::Arguments { .. })));
    }
}
