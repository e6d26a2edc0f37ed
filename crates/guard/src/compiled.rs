//! A guardrail that is ready to judge.

use crate::check::Rules;
use crate::redactor::Redactor;
use crate::refusal::Refusals;
use crate::tools::{self, ToolCall, Tools};
use crate::verdict::{Place, Verdict};
use contracts::policy::InvalidPolicy;
use contracts::policy::guardrail::Guardrail;
use std::borrow::Cow;

/// A compiled guardrail. Shared by all calls; judging takes `&self` and no lock.
#[derive(Debug)]
pub struct Guard {
    pub(crate) input: Rules,
    pub(crate) output: Rules,
    pub(crate) tools: Option<Tools>,
    refusals: Refusals,
    /// Bytes that an answer may have which is judged as a whole while it streams.
    pub(crate) max_whole: usize,
}

impl Guard {
    /// Compiles a guardrail. Refuses patterns and schemas that cannot be compiled, patterns that match the empty text, and on the
    /// way out patterns with matches longer than `stream.hold_back`.
    pub fn new(guardrail: &Guardrail) -> Result<Self, InvalidPolicy> {
        guardrail.validate()?;
        Ok(Self {
            input: Rules::new("input", &guardrail.input, None)?,
            output: Rules::new("output", &guardrail.output, Some(guardrail.stream.hold_back as usize))?,
            tools: guardrail.tools.as_ref().map(Tools::new).transpose()?,
            refusals: Refusals::new(&guardrail.refusals)?,
            max_whole: guardrail.stream.max_whole as usize,
        })
    }

    /// Whether requests need not be looked at.
    pub fn passes_all_input(&self) -> bool {
        self.input.list.is_empty()
    }

    /// Whether answers need not be looked at.
    pub fn passes_all_output(&self) -> bool {
        self.output.list.is_empty() && self.tools.is_none()
    }

    /// Whether nothing is to be said of a text of a request, as of nearly all. Where there are patterns only this is cheaper than to judge
    /// it; other rules must see all texts.
    pub fn passes_input(&self, text: &str) -> bool {
        self.input.pass(text)
    }

    /// The same of a text of an answer, all of which is there.
    pub fn passes_output(&self, text: &str) -> bool {
        self.output.pass(text)
    }

    /// Judges what the user says: the texts of a request. They are redacted first; [`Verdict::masked`] holds those that changed.
    pub fn input(&self, texts: &[&str], mut redactor: Option<&mut dyn Redactor>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut redacted: Vec<Cow<'_, str>> = Vec::with_capacity(texts.len());
        for text in texts {
            redacted.push(match &mut redactor {
                Some(redactor) => redactor.redact(text),
                None => Cow::Borrowed(text),
            });
        }
        for (n, (text, original)) in redacted.iter().zip(texts).enumerate() {
            let spans = self.input.search(text, Place::Text(n), &mut verdict);
            if !spans.is_empty() {
                verdict.masked.push((n, self.input.masked(text, &spans)));
            } else if text != original {
                verdict.masked.push((n, text.clone().into_owned()));
            }
        }
        let texts: Vec<&str> = redacted.iter().map(AsRef::as_ref).collect();
        self.input.judge(&texts, &mut verdict);
        verdict
    }

    /// Judges a finished answer: its text and the tools that it calls. What goes on is restored last.
    pub fn output(&self, text: &str, calls: &[ToolCall<'_>], redactor: Option<&dyn Redactor>) -> Verdict {
        let mut verdict = Verdict::default();
        let spans = self.output.search(text, Place::Text(0), &mut verdict);
        if !spans.is_empty() {
            verdict.masked.push((0, self.output.masked(text, &spans)));
        }
        self.output.judge(&[text], &mut verdict);
        for (n, call) in calls.iter().enumerate() {
            self.tool(n, call, &mut verdict);
        }
        if let Some(redactor) = redactor {
            restore(redactor, text, calls, &mut verdict);
        }
        verdict
    }

    pub(crate) fn tool(&self, n: usize, call: &ToolCall<'_>, verdict: &mut Verdict) {
        tools::judge(n, call, self.tools.as_ref(), &self.output, verdict);
    }

    /// What a client is told of a breach, in the language that its `accept-language` asks for, or in English.
    pub fn refusal(&self, accept_language: Option<&str>, rule: &str) -> String {
        self.refusals.text(accept_language, rule)
    }
}

fn restore(redactor: &dyn Redactor, text: &str, calls: &[ToolCall<'_>], verdict: &mut Verdict) {
    let restored = |changed: &[(usize, String)], n: usize, original: &str| {
        let text = changed.iter().find(|(at, _)| *at == n).map_or(original, |(_, text)| text);
        let restored = redactor.restore(text).into_owned();
        (restored != original).then_some((n, restored))
    };
    verdict.masked = restored(&verdict.masked, 0, text).into_iter().collect();
    let tools = |(n, call): (usize, &ToolCall<'_>)| restored(&verdict.masked_tools, n, call.arguments);
    verdict.masked_tools = calls.iter().enumerate().filter_map(tools).collect();
}

#[cfg(test)]
mod tests;
