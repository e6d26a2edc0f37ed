//! What a try used, and how that is known: its upstream told, or it was counted here.

use crate::app::App;
use crate::call::{CANCELLED, CLOSED, Ending, TIMED_OUT};
use crate::meter::{Answer, Kept, Prompt};
use contracts::{TokenUsage, UsageSource};
use tokio::task::{JoinError, JoinHandle};

/// What a try used that ended so: as reported, or `None` when it must be counted first.
pub(crate) fn used_by(
    answer: &Answer,
    prompt_sent: bool,
    answer_started: bool,
    ending: Ending,
) -> Option<Used> {
    if let Some(usage) = answer.usage {
        let is_final = ending.complete || answer.usage_is_final;
        if !is_final && !answer.output.text().is_empty() {
            // What was said before the end says little of what had been written by then.
            return None;
        }
        let source = if is_final { UsageSource::Reported } else { UsageSource::Partial };
        return Some(Used { usage, source: Some(source), is_unknown: false });
    }
    // A prompt that a model worked on costs something, even when nobody got the answer; one that it refused does not, nor
    // one that never left.
    let given_up = ending.disconnected || matches!(ending.error, Some(TIMED_OUT | CLOSED | CANCELLED));
    let worked = prompt_sent && (answer_started || given_up);
    if worked { None } else { Some(Used::NOTHING) }
}

/// What a try's tokens are counted in.
#[derive(Debug)]
pub(crate) struct ToCount {
    pub(crate) prompt: Prompt,
    pub(crate) output: String,
    pub(crate) kept: Kept,
    /// What the upstream has said so far.
    said: TokenUsage,
}

impl ToCount {
    /// Of an answer to `prompt`, as far as it came.
    pub(crate) fn of(prompt: Prompt, answer: &Answer) -> Self {
        let said = answer.usage.unwrap_or_default();
        Self { prompt, output: answer.output.text(), kept: answer.kept, said }
    }

    pub(crate) fn count(&self, app: &App) -> TokenUsage {
        let counted = app.estimator.count(&self.prompt, &self.output);
        self.beside_said(TokenUsage { output: self.kept.in_proportion(counted.output), ..counted })
    }

    /// A prompt is what its upstream says it is, where it says so; of an answer it may have said the beginning only.
    fn beside_said(&self, counted: TokenUsage) -> TokenUsage {
        let said = self.said;
        let input = if said.input > 0 { said.input } else { counted.input };
        TokenUsage { input, output: said.output.max(counted.output), ..said }
    }

    /// Four bytes to a token, when there is no time to count.
    pub(crate) fn by_length(&self) -> TokenUsage {
        let tokens = |bytes: usize| bytes.div_ceil(4) as u64;
        let output = tokens(self.output.len() + self.kept.beyond);
        let input = tokens(self.prompt.ask.body.len());
        self.beside_said(TokenUsage { input, output, ..TokenUsage::default() })
    }
}

/// A count, done or under way.
#[derive(Debug)]
pub(crate) enum Count {
    Done(TokenUsage),
    Pending(JoinHandle<TokenUsage>),
}

impl Count {
    /// What was used of a try that ended as `ending`, once it is counted.
    pub(crate) async fn used(self, ending: Ending) -> Used {
        match self {
            Self::Done(usage) => Used::counted(usage, ending),
            Self::Pending(counting) => Used::of_count(counting.await, ending),
        }
    }
}

/// What a call used, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) usage: TokenUsage,
    /// `None` when no model did anything, or it is not known what it did.
    pub(crate) source: Option<UsageSource>,
    /// Whether some model did something of which nobody knows what it used.
    pub(crate) is_unknown: bool,
}

impl Used {
    /// No model did anything.
    pub(crate) const NOTHING: Self = Self {
        usage: TokenUsage {
            input: 0,
            output: 0,
            cache_read: 0,
            cache_write: 0,
            cache_write_1h: 0,
            reasoning: 0,
            audio_input: 0,
            audio_output: 0,
        },
        source: None,
        is_unknown: false,
    };

    /// Nobody knows what a model did.
    const UNKNOWN: Self = Self { is_unknown: true, ..Self::NOTHING };

    /// This and `other` together. How it is known is as sure as the less sure of both.
    pub(crate) fn and(self, other: Self) -> Self {
        let is_unknown = self.is_unknown || other.is_unknown;
        let (Some(one), Some(two)) = (self.source, other.source) else {
            return Self { is_unknown, ..if self.source.is_some() { self } else { other } };
        };
        let source =
            [UsageSource::Partial, UsageSource::Estimated].into_iter().find(|s| [one, two].contains(s));
        let source = Some(source.unwrap_or(UsageSource::Reported));
        Self { usage: self.usage + other.usage, source, is_unknown }
    }

    /// Counted by us, unless the count failed: then nobody knows, and zero would be a lie.
    pub(crate) fn of_count(counted: Result<TokenUsage, JoinError>, ending: Ending) -> Self {
        match counted {
            Ok(usage) => Self::counted(usage, ending),
            Err(error) => {
                tracing::error!(%error, "the tokens of a call could not be counted");
                Self::UNKNOWN
            }
        }
    }

    /// Counted by us.
    pub(crate) const fn counted(usage: TokenUsage, ending: Ending) -> Self {
        let source = if ending.complete { UsageSource::Estimated } else { UsageSource::Partial };
        Self { usage, source: Some(source), is_unknown: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::MESSAGES;
    use crate::request::parse;
    use bytes::Bytes;

    #[test]
    fn what_is_said_at_the_beginning_of_an_answer_is_not_all_that_it_used() {
        let gone = Ending { disconnected: true, complete: false, ..Ending::ok(200) };
        let usage = TokenUsage { input: 500, output: 1, cache_read: 400, ..TokenUsage::default() };
        let mut answer = Answer { usage: Some(usage), ..Answer::default() };
        // Nothing was written yet.
        assert_eq!(used_by(&answer, true, true, gone).unwrap().usage, usage);
        answer.output.choice(0).content.push_str("a long answer ".repeat(100).as_str());
        assert_eq!(used_by(&answer, true, true, gone), None, "it must be counted");
        assert_eq!(used_by(&answer, true, true, Ending::ok(200)).unwrap().usage, usage);
        let ask = parse(
            &MESSAGES,
            Bytes::from_static(
                br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
            ),
            9,
        )
        .unwrap();
        let counted = ToCount::of(Prompt { ask, model: "claude".into() }, &answer).by_length();
        assert_eq!((counted.input, counted.cache_read, counted.output), (500, 400, 350));
    }

    #[tokio::test]
    async fn a_count_that_failed_is_not_a_count_of_nothing() {
        let never = tokio::spawn(std::future::pending::<TokenUsage>());
        never.abort();
        let used = Used::of_count(never.await, Ending::ok(200));
        assert_eq!((used.source, used.is_unknown), (None, true));
        // Nor is it in a sum, whatever else is known.
        let known = Used::counted(TokenUsage { input: 7, ..TokenUsage::default() }, Ending::ok(200));
        for sum in [used.and(known), known.and(used), used.and(Used::NOTHING), Used::NOTHING.and(used)] {
            assert!(sum.is_unknown, "{sum:?}");
        }
        assert_eq!(known.and(used).usage.input, 7);
        assert!(!known.and(Used::NOTHING).is_unknown);
    }
}
