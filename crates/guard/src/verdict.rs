//! What guarding found.

use contracts::policy::guardrail::Action;
use std::sync::Arc;

/// What is done, from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Decision {
    /// Nothing was breached.
    #[default]
    Pass,
    /// Something was, and is only noted.
    Flag,
    /// Something is replaced; see [`Verdict::masked`].
    Mask,
    /// The next tier of the cascade is to be asked.
    Escalate,
    /// The call is to be refused, or the answer withheld.
    Block,
}

impl Decision {
    /// `pass`, `flag`, `mask`, `escalate` or `block`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Flag => "flag",
            Self::Mask => "mask",
            Self::Escalate => "escalate",
            Self::Block => "block",
        }
    }

    /// Whether the text may not go on, not even masked.
    pub fn stops(self) -> bool {
        self >= Self::Escalate
    }
}

impl From<&Action> for Decision {
    fn from(action: &Action) -> Self {
        match action {
            Action::Flag => Self::Flag,
            Action::Mask { .. } => Self::Mask,
            Action::Escalate => Self::Escalate,
            Action::Block => Self::Block,
        }
    }
}

/// Where a rule was breached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In all texts together.
    Whole,
    /// In the text of this number, from 0. An answer's text is number 0.
    Text(usize),
    /// In the tool call of this number, from 0.
    Tool(usize),
}

/// One breach. A rule is breached at most once at a place, however often it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The rule's name; `tools` for the list of tools.
    pub rule: Arc<str>,
    /// What the rule demands. A tool call that cannot be masked is [`Decision::Block`]ed instead.
    pub action: Decision,
    /// Where.
    pub place: Place,
    /// What is wrong, without a word of the text: `pattern 2 matches`, `more than 4000 characters`.
    pub reason: String,
}

/// Breaches that are told of one request or answer: whoever has more reads none of them.
const MOST_BREACHES: usize = 1_000;

/// What guarding found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What was breached: by text, then in the order of the rules.
    pub breaches: Vec<Breach>,
    /// The texts that changed, by their number, with what is masked and, on the way in, redacted. The others go on as they are.
    pub masked: Vec<(usize, String)>,
    /// The arguments of tool calls that changed, by the number of the call.
    pub masked_tools: Vec<(usize, String)>,
    /// The severest of all breaches.
    pub decision: Decision,
}

impl Verdict {
    /// The severest breach, the first of several: what a refusal names.
    pub fn severest(&self) -> Option<&Breach> {
        self.breaches.iter().find(|breach| breach.action == self.decision)
    }

    /// The text of number `n` as it goes on.
    pub fn text<'t>(&'t self, n: usize, original: &'t str) -> &'t str {
        self.masked.iter().find(|(masked, _)| *masked == n).map_or(original, |(_, text)| text)
    }

    pub(crate) fn add(&mut self, breach: Breach) {
        if self.has_room(breach.action) {
            self.decision = self.decision.max(breach.action);
            self.breaches.push(breach);
        }
    }

    /// Whether a breach with this action is told: the severest always is, for a refusal names it.
    pub(crate) fn has_room(&self, action: Decision) -> bool {
        self.breaches.len() < MOST_BREACHES || action > self.decision
    }

    pub(crate) fn has(&self, rule: &str, place: Place) -> bool {
        self.breaches.iter().any(|breach| breach.place == place && *breach.rule == *rule)
    }
}
