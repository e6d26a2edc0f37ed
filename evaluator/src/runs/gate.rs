//! Conditions under which a release is stopped: `--fail-if 'grounding < 0.9 or errors > 0.01'`.
//!
//! ```text
//! condition  = all { "or" all }
//! all        = term { "and" term }
//! term       = "(" condition ")" | metric [ "." figure ] [ "[" slice "=" value "]" ] comparison number
//! comparison = "<" | "<=" | ">" | ">=" | "==" | "!="
//! metric     = a judge | "cost" | "cost_mean" | "errors" | "latency_p50_ms" | "latency_p95_ms" | "results"
//! figure     = "mean" | "low" | "high" | "scored"        (of a judge; "mean" unless said)
//! ```
//!
//! `low` and `high` are the ends of the 95% interval: `grounding.low < 0.9` stops a release that is not surely good enough,
//! `grounding.high < 0.9` one that is surely not. `scored` is the share of the rows that the judge scored, of those that it applies to. A figure
//! that the run does not have is an error, never a pass; so is a judge's figure of fewer than nine rows in ten.

use super::summary::{Judged, Summary, by_slice, summarise};
use super::{RunError, RunResult};
use contracts::Usd;
use std::fmt;

/// Share of the rows that a judge must have scored for its figures to speak for the run.
const LEAST_SCORED: f64 = 0.9;

/// A parsed condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    text: String,
    condition: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Test(Test),
}

#[derive(Debug, Clone, PartialEq)]
struct Test {
    metric: String,
    figure: Option<String>,
    slice: Option<(String, String)>,
    comparison: Comparison,
    number: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
    Unequal,
}

/// What a condition came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// The condition.
    pub condition: String,
    /// Whether it is met, and so the release stopped.
    pub met: bool,
    /// Each comparison with the figure that it saw.
    pub seen: Vec<String>,
}

/// Why a condition cannot be read: where, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--fail-if {text:?}, column {column}: expected {expected}, found {found}")]
pub struct InvalidGate {
    text: String,
    column: usize,
    expected: &'static str,
    found: String,
}

impl Gate {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, InvalidGate> {
        let mut parser = Parser { text, at: 0 };
        let condition = parser.any(0)?;
        match parser.rest() {
            "" => Ok(Self { text: text.trim().to_owned(), condition }),
            _ => Err(parser.error("\"and\", \"or\" or the end")),
        }
    }

    /// Holds the condition against a run.
    pub fn check(&self, results: &[RunResult]) -> Result<Outcome, RunError> {
        let mut seen = Vec::new();
        let met = self.evaluate(&self.condition, results, &summarise(results), &mut seen)?;
        Ok(Outcome { condition: self.text.clone(), met, seen })
    }

    fn evaluate(
        &self,
        node: &Node,
        results: &[RunResult],
        whole: &Summary,
        seen: &mut Vec<String>,
    ) -> Result<bool, RunError> {
        // Every part is looked at, so that the report shows every figure.
        match node {
            Node::Any(parts) => {
                let met = parts.iter().map(|part| self.evaluate(part, results, whole, seen));
                Ok(met.collect::<Result<Vec<bool>, _>>()?.contains(&true))
            }
            Node::All(parts) => {
                let met = parts.iter().map(|part| self.evaluate(part, results, whole, seen));
                Ok(!met.collect::<Result<Vec<bool>, _>>()?.contains(&false))
            }
            Node::Test(test) => {
                let value = self.value(test, results, whole)?;
                seen.push(format!("{test} (it is {value:.6})"));
                Ok(test.comparison.holds(value, test.number))
            }
        }
    }

    fn value(&self, test: &Test, results: &[RunResult], whole: &Summary) -> Result<f64, RunError> {
        let invalid =
            |expected: String| RunError::Invalid { field: "--fail-if", value: self.text.clone(), expected };
        let part;
        let (summary, results) = match &test.slice {
            None => (whole, results.iter().collect::<Vec<_>>()),
            Some((slice, value)) => {
                let slices = by_slice(results, slice)?;
                let values: Vec<&str> = slices.iter().map(|(value, _)| value.as_str()).collect();
                let known = format!("a slice of the run; {slice:?} has the values {values:?}");
                part =
                    slices.iter().find(|(found, _)| found == value).ok_or_else(|| invalid(known))?.1.clone();
                (&part, results.iter().filter(|r| r.slices.get(slice) == Some(value)).collect())
            }
        };
        let plain = match test.metric.as_str() {
            "cost" => {
                let total: Usd = results.iter().map(|r| r.cost() + r.cost_judges()).sum();
                Some(Some(total.to_f64_for_display()))
            }
            "cost_mean" => Some(summary.mean_cost),
            "errors" => Some(summary.errors),
            "latency_p50_ms" => Some(summary.latency_p50_ms),
            "latency_p95_ms" => Some(summary.latency_p95_ms),
            "results" => Some(Some(crate::stats::float(summary.results))),
            _ => None,
        };
        if let Some(value) = plain {
            return match (&test.figure, value) {
                (None, Some(value)) => Ok(value),
                (None, None) => Err(invalid(format!("a run with an answer, to have a {}", test.metric))),
                (Some(figure), _) => Err(invalid(format!("{} without .{figure}", test.metric))),
            };
        }
        let judges: Vec<&String> = summary.judges.keys().collect();
        let known = format!(
            "a judge of the run {judges:?}, or cost, cost_mean, errors, latency_p50_ms, latency_p95_ms, results"
        );
        let judged = summary.judges.get(&test.metric).ok_or_else(|| invalid(known))?;
        let none = || invalid(format!("a judge that scored at least one row; {} scored none", test.metric));
        let scored = judged.scored();
        if test.figure.as_deref() == Some("scored") {
            return scored.ok_or_else(none);
        }
        let mean = judged.mean.ok_or_else(none)?;
        // Those that are missing may be the worst ones.
        if scored.is_some_and(|scored| scored < LEAST_SCORED) {
            let Judged { rows, wanted, .. } = judged;
            return Err(invalid(format!(
                "a judge that scored nine rows in ten at least; {} scored {rows} of {wanted}",
                test.metric
            )));
        }
        match test.figure.as_deref() {
            None | Some("mean") => Ok(mean.estimate),
            Some("low") => Ok(mean.low),
            Some("high") => Ok(mean.high),
            Some(other) => Err(invalid(format!("one of .mean .low .high .scored, not .{other}"))),
        }
    }
}

impl Comparison {
    #[expect(clippy::float_cmp, reason = "whoever writes == means it")]
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Below => left < right,
            Self::AtMost => left <= right,
            Self::Above => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign =
            COMPARISONS.iter().find(|(_, comparison)| *comparison == self.comparison).map_or("", |(s, _)| *s);
        let figure = self.figure.as_ref().map(|figure| format!(".{figure}")).unwrap_or_default();
        let slice = self.slice.as_ref().map(|(name, value)| format!("[{name}={value}]")).unwrap_or_default();
        write!(f, "{}{figure}{slice} {sign} {}", self.metric, self.number)
    }
}

/// Conditions nested deeper than this are refused.
const DEEPEST: usize = 32;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self, depth: usize) -> Result<Node, InvalidGate> {
        let mut parts = vec![self.all(depth)?];
        while self.word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Node::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Node, InvalidGate> {
        let mut parts = vec![self.term(depth)?];
        while self.word("and") {
            parts.push(self.term(depth)?);
        }
        Ok(one_or(parts, Node::All))
    }

    fn term(&mut self, depth: usize) -> Result<Node, InvalidGate> {
        if self.sign("(") {
            if depth >= DEEPEST {
                return Err(self.error("fewer parentheses within each other"));
            }
            let inner = self.any(depth + 1)?;
            return if self.sign(")") { Ok(inner) } else { Err(self.error("\")\"")) };
        }
        let metric =
            self.name().ok_or_else(|| self.error("a metric such as grounding, or \"(\""))?.to_owned();
        let figure = if self.sign(".") {
            Some(self.name().ok_or_else(|| self.error("mean, low, high or scored"))?.to_owned())
        } else {
            None
        };
        let slice = if self.sign("[") { Some(self.slice()?) } else { None };
        let found = COMPARISONS.iter().find(|(sign, _)| self.sign(sign));
        let comparison = found.ok_or_else(|| self.error("one of < <= > >= == !="))?.1;
        let number = self.number().ok_or_else(|| self.error("a number such as 0.9"))?;
        Ok(Node::Test(Test { metric, figure, slice, comparison, number }))
    }

    fn slice(&mut self) -> Result<(String, String), InvalidGate> {
        let inside =
            self.rest().split_once(']').and_then(|(inside, _)| Some((inside.len(), inside.split_once('=')?)));
        let Some((length, (name, value))) = inside else { return Err(self.error("slice=value and \"]\"")) };
        self.at = self.text.len() - self.rest().len() + length + 1;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    }

    /// What is left, from the next character that is no blank.
    fn rest(&self) -> &'a str {
        self.text[self.at..].trim_start()
    }

    fn take(&mut self, length: usize) -> &'a str {
        let rest = self.rest();
        self.at = self.text.len() - rest.len() + length;
        &rest[..length]
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.take(sign.len());
        }
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let found = rest.strip_prefix(word).is_some_and(|after| !after.starts_with(is_of_name));
        if found {
            self.take(word.len());
        }
        found
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        (length > 0 && rest.starts_with(|c: char| c.is_ascii_alphabetic())).then(|| self.take(length))
    }

    fn number(&mut self) -> Option<f64> {
        let rest = self.rest();
        let is_digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
        let length = rest.find(|c| !is_digit(c)).unwrap_or(rest.len());
        let number: f64 = rest[..length].parse().ok()?;
        self.take(length);
        number.is_finite().then_some(number)
    }

    fn error(&self, expected: &'static str) -> InvalidGate {
        let rest = self.rest();
        let column = self.text[..self.text.len() - rest.len()].chars().count() + 1;
        let found = match rest.split_whitespace().next() {
            None => "the end".to_owned(),
            Some(word) => format!("{:?}", word.chars().take(40).collect::<String>()),
        };
        InvalidGate { text: self.text.to_owned(), column, expected, found }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn one_or(mut parts: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}
