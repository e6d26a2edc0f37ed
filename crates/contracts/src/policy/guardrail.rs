//! Rules on what goes in and what comes out.
//!
//! The `guard` crate compiles them, and refuses a pattern or a schema that cannot be compiled, and for answers a pattern whose
//! matches may be longer than a stream holds back.

use super::prompt::schema_is_small;
use super::{InvalidPolicy, Reference};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Rules on one side of a guardrail.
pub const MOST_RULES: usize = 64;
/// Patterns, words or phrases of one rule.
pub const MOST_PATTERNS: usize = 256;
/// Bytes of one pattern.
pub const MOST_PATTERN_BYTES: usize = 1024;
/// Tools of one guardrail.
pub const MOST_TOOLS: usize = 256;
/// Bytes that a stream may hold back.
pub const MOST_HOLD_BACK: u32 = 16 * 1024;

/// A guardrail as an operator writes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guardrail {
    /// On what users say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<Rule>,
    /// On what models say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<Rule>,
    /// On what models call; anything may be called when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolRules>,
    /// What a client is told when something is blocked, by language tag (`en`, `de-CH`). `{rule}` stands for the rule's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, String>,
    /// How streams are checked.
    pub stream: StreamRules,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, as on traces and in refusals.
    pub name: String,
    /// What must hold.
    pub check: Check,
    /// What happens when it does not.
    pub action: Action,
}

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// None of the patterns may match.
    Regex(Patterns),
    /// Characters (Unicode scalar values) of all texts together.
    MaxChars(u64),
    /// Tokens of all texts together, estimated as a quarter of their bytes in UTF-8.
    MaxTokens(u64),
    /// Words and phrases.
    Topics(Topics),
    /// Each text must be JSON that the schema (draft 2020-12) accepts.
    JsonSchema(Value),
    /// Languages by their ISO 639-3 code (`eng`, `deu`). A text that is too short to tell passes.
    Language(Vec<String>),
}

/// Regular expressions without look-around and back-references, so that they take linear time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patterns {
    /// The expressions. None may match the empty text.
    pub patterns: Vec<String>,
    /// Whether case does not matter.
    #[serde(default)]
    pub case_insensitive: bool,
}

/// Words and phrases, found as whole words and without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topics {
    /// None of them may occur.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// At least one of them must occur, unless empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// What happens on a breach, from mild to severe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// It is noted.
    Flag,
    /// What matched is replaced.
    Mask {
        /// By this.
        with: String,
    },
    /// The next tier of the cascade is asked.
    Escalate,
    /// The call is refused, or the answer withheld.
    Block,
}

/// Which tools may be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRules {
    /// These only.
    pub allow: Vec<ToolRule>,
    /// What happens when another is called, or one with arguments that its schema refuses.
    #[serde(default = "block")]
    pub action: Action,
}

const fn block() -> Action {
    Action::Block
}

/// A tool that may be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRule {
    /// Its name.
    pub name: String,
    /// JSON schema (draft 2020-12) of its arguments; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
}

/// How streams are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamRules {
    /// Bytes of UTF-8 that may be held back. Text is held only as long as it may become part of a match, so what is really held is
    /// what the longest pattern needs; a pattern that needs more is refused.
    pub hold_back: u32,
    /// Bytes that an answer may have which is judged as a whole (JSON schema, language, allowed topics). Longer ones break the rule.
    pub max_whole: u32,
}

impl Default for StreamRules {
    fn default() -> Self {
        Self { hold_back: 512, max_whole: 1024 * 1024 }
    }
}

impl Guardrail {
    /// Checks what the types do not say, but not whether patterns and schemas can be compiled.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        for (side, rules) in [("input", &self.input), ("output", &self.output)] {
            if rules.len() > MOST_RULES {
                return Err(InvalidPolicy::new(side, rules.len(), format!("at most {MOST_RULES} rules")));
            }
            for (n, rule) in rules.iter().enumerate() {
                rule.validate().map_err(|error| error.within(&format!("{side}[{n}]")))?;
                if rules[..n].iter().any(|other| other.name == rule.name) {
                    return Err(InvalidPolicy::new(
                        format!("{side}[{n}].name"),
                        &rule.name,
                        "each name once",
                    ));
                }
            }
        }
        if let Some(n) = self.input.iter().position(|rule| rule.action == Action::Escalate) {
            let expected = "block, mask or flag, as nothing was answered yet";
            return Err(InvalidPolicy::new(format!("input[{n}].action"), "escalate", expected));
        }
        if let Some(tools) = &self.tools {
            tools.validate().map_err(|error| error.within("tools"))?;
        }
        for (locale, text) in &self.refusals {
            let field = format!("refusals.{locale}");
            refusal_is_valid(locale, text).map_err(|error| InvalidPolicy { field, ..error })?;
        }
        if !(64..=MOST_HOLD_BACK).contains(&self.stream.hold_back) {
            let expected = format!("64 to {MOST_HOLD_BACK} bytes");
            return Err(InvalidPolicy::new("stream.hold_back", self.stream.hold_back, expected));
        }
        if !(1024..=64 * 1024 * 1024).contains(&self.stream.max_whole) {
            let expected = "1024 to 67108864 bytes";
            return Err(InvalidPolicy::new("stream.max_whole", self.stream.max_whole, expected));
        }
        Ok(())
    }

    /// What it refers to: nothing. A tool exists by being named.
    pub const fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

impl Rule {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        super::label_is_valid(&self.name).map_err(|error| InvalidPolicy { field: "name".into(), ..error })?;
        self.check.validate()?;
        let has_spans = match &self.check {
            Check::Regex(_) => true,
            Check::Topics(topics) => topics.allow.is_empty(),
            _ => false,
        };
        if let Action::Mask { with } = &self.action {
            if !has_spans {
                let expected =
                    "block, flag or escalate: only what patterns and denied topics match can be masked";
                return Err(InvalidPolicy::new("action", "mask", expected));
            }
            if with.len() > 256 {
                return Err(InvalidPolicy::new("action.mask.with", with, "at most 256 bytes"));
            }
        }
        Ok(())
    }
}

impl Check {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        match self {
            Self::Regex(regex) if regex.patterns.is_empty() => {
                Err(InvalidPolicy::new("check.regex.patterns", 0, "1 or more patterns"))
            }
            Self::Regex(regex) => texts_are_valid("check.regex.patterns", &regex.patterns),
            Self::MaxChars(0) => Err(InvalidPolicy::new("check.max_chars", 0, "1 or more")),
            Self::MaxTokens(0) => Err(InvalidPolicy::new("check.max_tokens", 0, "1 or more")),
            Self::MaxChars(_) | Self::MaxTokens(_) => Ok(()),
            Self::Topics(topics) if topics.deny.is_empty() && topics.allow.is_empty() => {
                Err(InvalidPolicy::new("check.topics", 0, "1 or more topics to deny or to allow"))
            }
            Self::Topics(topics) => {
                texts_are_valid("check.topics.deny", &topics.deny)?;
                texts_are_valid("check.topics.allow", &topics.allow)
            }
            Self::JsonSchema(schema) => schema_is_small(schema)
                .map_err(|error| InvalidPolicy { field: "check.json_schema".into(), ..error }),
            Self::Language(codes) => {
                let is_code = |code: &str| code.len() == 3 && code.bytes().all(|b| b.is_ascii_lowercase());
                match codes.iter().position(|code| !is_code(code)) {
                    None if codes.is_empty() => {
                        Err(InvalidPolicy::new("check.language", 0, "1 or more codes"))
                    }
                    None => Ok(()),
                    Some(n) => {
                        let expected = "an ISO 639-3 code such as eng";
                        Err(InvalidPolicy::new(format!("check.language[{n}]"), &codes[n], expected))
                    }
                }
            }
        }
    }
}

impl ToolRules {
    fn validate(&self) -> Result<(), InvalidPolicy> {
        if self.allow.len() > MOST_TOOLS {
            return Err(InvalidPolicy::new("allow", self.allow.len(), format!("at most {MOST_TOOLS} tools")));
        }
        for (n, tool) in self.allow.iter().enumerate() {
            if !(1..=128).contains(&tool.name.len()) {
                return Err(InvalidPolicy::new(format!("allow[{n}].name"), &tool.name, "1 to 128 bytes"));
            }
            if self.allow[..n].iter().any(|other| other.name == tool.name) {
                return Err(InvalidPolicy::new(format!("allow[{n}].name"), &tool.name, "each name once"));
            }
            if let Some(schema) = &tool.arguments {
                let field = format!("allow[{n}].arguments");
                schema_is_small(schema).map_err(|error| InvalidPolicy { field, ..error })?;
            }
        }
        if matches!(self.action, Action::Mask { .. }) {
            return Err(InvalidPolicy::new("action", "mask", "block, flag or escalate"));
        }
        Ok(())
    }
}

fn texts_are_valid(field: &str, texts: &[String]) -> Result<(), InvalidPolicy> {
    if texts.len() > MOST_PATTERNS {
        return Err(InvalidPolicy::new(field, texts.len(), format!("at most {MOST_PATTERNS}")));
    }
    match texts.iter().position(|text| text.trim().is_empty() || text.len() > MOST_PATTERN_BYTES) {
        Some(n) => {
            let expected = format!("1 to {MOST_PATTERN_BYTES} bytes that are not all space");
            Err(InvalidPolicy::new(format!("{field}[{n}]"), &texts[n], expected))
        }
        None => Ok(()),
    }
}

fn refusal_is_valid(locale: &str, text: &str) -> Result<(), InvalidPolicy> {
    let subtag = |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric());
    if !locale.split('-').all(subtag) {
        return Err(InvalidPolicy::new("", locale, "a language tag such as en or de-CH"));
    }
    if text.trim().is_empty() || text.len() > 4096 {
        return Err(InvalidPolicy::new("", text, "1 to 4096 bytes that are not all space"));
    }
    if text.replace("{rule}", "").contains(['{', '}']) {
        return Err(InvalidPolicy::new("", text, "a text with no other placeholder than {rule}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::document::shape;
    use super::*;
    use serde_json::json;

    fn read(spec: &Value) -> Result<Guardrail, InvalidPolicy> {
        let guardrail: Guardrail = shape(spec)?;
        guardrail.validate()?;
        Ok(guardrail)
    }

    #[test]
    fn a_guardrail_reads_as_it_is_written() {
        let spec = json!({
            "input": [
                {"name": "cards", "check": {"regex": {"patterns": ["[0-9]{16}"], "case_insensitive": true}},
                 "action": {"mask": {"with": "[card]"}}},
                {"name": "length", "check": {"max_chars": 4000}, "action": "block"},
            ],
            "output": [
                {"name": "stocks", "check": {"topics": {"deny": ["insider tip"]}}, "action": "escalate"},
                {"name": "shape", "check": {"json_schema": {"type": "object"}}, "action": "flag"},
                {"name": "tongue", "check": {"language": ["eng"]}, "action": "flag"},
            ],
            "tools": {"allow": [{"name": "search", "arguments": {"type": "object"}}], "action": "block"},
            "refusals": {"en": "Refused by {rule}."},
            "stream": {"hold_back": 256, "max_whole": 4096},
        });
        assert_eq!(serde_json::to_value(read(&spec).unwrap()).unwrap(), spec);
        assert_eq!(read(&json!({})).unwrap(), Guardrail::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rule =
            |check: Value, action: Value| json!({"input": [{"name": "r", "check": check, "action": action}]});
        let mask = json!({"mask": {"with": "x"}});
        let cases = [
            (rule(json!({"max_chars": 0}), json!("block")), "input[0].check.max_chars"),
            (rule(json!({"max_chars": 1}), mask.clone()), "input[0].action"),
            (rule(json!({"max_chars": 1}), json!("escalate")), "input[0].action"),
            (rule(json!({"topics": {}}), json!("block")), "input[0].check.topics"),
            (rule(json!({"topics": {"deny": ["a", " "]}}), mask.clone()), "input[0].check.topics.deny[1]"),
            (rule(json!({"topics": {"deny": ["a"], "allow": ["b"]}}), mask), "input[0].action"),
            (rule(json!({"regex": {"patterns": []}}), json!("flag")), "input[0].check.regex.patterns"),
            (
                rule(json!({"regex": {"patterns": ["x".repeat(2000)]}}), json!("flag")),
                "input[0].check.regex.patterns[0]",
            ),
            (rule(json!({"json_schema": true}), json!("flag")), "input[0].check.json_schema"),
            (rule(json!({"language": ["en"]}), json!("flag")), "input[0].check.language[0]"),
            (json!({"tools": {"allow": [{"name": "a"}, {"name": "a"}]}}), "tools.allow[1].name"),
            (json!({"tools": {"allow": [{"name": "a", "arguments": 1}]}}), "tools.allow[0].arguments"),
            (json!({"refusals": {"en": "by {who}"}}), "refusals.en"),
            (json!({"refusals": {"e n": "no"}}), "refusals.e n"),
            (json!({"stream": {"hold_back": 1}}), "stream.hold_back"),
        ];
        for (spec, field) in cases {
            let error = read(&spec).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
        let twice = json!({"name": "r", "check": {"max_chars": 1}, "action": "flag"});
        assert_eq!(read(&json!({"output": [twice, twice]})).unwrap_err().field, "output[1].name");
    }
}
