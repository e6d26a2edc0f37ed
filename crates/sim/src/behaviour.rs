//! How a model behaves: its pace, its usage, and how it fails.
//!
//! Behaviour follows from the model's name, so that it can be provoked through any proxy: a configured name, optionally
//! followed by modifiers (`sim-small:first-200:cut`), or `sim-` and one modifier (`sim-error-429`, `sim-hang`). The same
//! modifiers are taken from the request's `metadata.sim` and from the header `x-sim`.
//!
//! Modifiers: `error-STATUS`, `hang` (no answer at all), `stall` (stops half-way, keeps the connection), `cut` (breaks
//! off half-way), `garbage` (not the protocol), `break` (a stream ends half-way with an error event), `nousage`,
//! `first-MS`, `tps-N`, `tokens-N`, `reasoning-N`, `filter` (the provider's filter breaks the answer off), `preface` (text
//! before tool calls), `redact` (thoughts are shown encrypted).

use crate::answers::Answers;
use crate::config::{Config, Kind, ModelConfig};
use crate::error::SimError;
use crate::hash::Sequence;
use std::time::Duration;

/// Most tokens that a request may ask for by a modifier: the answer is made as a whole before it is sent.
const MOST_TOKENS: u32 = 1_000_000;

/// Names that exist without configuration, each failing in one way.
const FAILING: [&str; 12] = [
    "sim-error-400",
    "sim-error-401",
    "sim-error-403",
    "sim-error-404",
    "sim-error-429",
    "sim-error-500",
    "sim-error-503",
    "sim-hang",
    "sim-stall",
    "sim-cut",
    "sim-garbage",
    "sim-nousage",
];

/// A model that the simulator lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// Its name.
    pub name: String,
    /// Its place in the pool.
    pub tier: String,
    /// What it produces.
    pub kind: Kind,
}

/// Every model that a simulator with this configuration lists, those with recorded answers included. Reads the recordings.
pub fn advertised(config: &Config) -> anyhow::Result<Vec<Advertised>> {
    let answers = Answers::load(&config.answers)?;
    let recorded = answers.models().into_iter().map(|name| Advertised {
        name: name.to_owned(),
        tier: "mid".to_owned(),
        kind: Kind::Chat,
    });
    Ok(simulated(config).into_iter().chain(recorded).collect())
}

/// Every model that needs no recording.
pub(crate) fn simulated(config: &Config) -> Vec<Advertised> {
    let configured =
        config.models.iter().map(|m| Advertised { name: m.name.clone(), tier: m.tier.clone(), kind: m.kind });
    let failing = FAILING.iter().map(|name| Advertised {
        name: (*name).to_owned(),
        tier: "local".to_owned(),
        kind: Kind::Chat,
    });
    configured.chain(failing).collect()
}

/// How a request ends badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Error(u16),
    Hang,
    Stall,
    Cut,
    Garbage,
    /// An error within a stream; a whole answer is an error 500.
    Break,
}

/// What one request meets.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a modifier of its own")]
pub(crate) struct Behaviour {
    pub(crate) kind: Kind,
    pub(crate) first_token: Duration,
    pub(crate) tokens_per_second: u32,
    pub(crate) min_tokens: u32,
    pub(crate) max_tokens: u32,
    pub(crate) reasoning_tokens: u32,
    pub(crate) reports_usage: bool,
    pub(crate) dimensions: u32,
    /// Whether the provider's filter breaks the answer off.
    pub(crate) filters: bool,
    /// Whether tool calls come with a text before them.
    pub(crate) prefaces: bool,
    /// Whether thoughts are shown encrypted only.
    pub(crate) redacts: bool,
    pub(crate) fault: Option<Fault>,
}

impl Behaviour {
    /// The behaviour of `model` as configured, its random faults drawn from `dice`.
    fn of(model: &ModelConfig, dice: &mut Sequence) -> Self {
        let drawn = [
            (model.error_rate, Fault::Error(model.error_status)),
            (model.hang_rate, Fault::Hang),
            (model.cut_rate, Fault::Cut),
        ];
        let fault = drawn.into_iter().find(|(rate, _)| dice.share() < *rate).map(|(_, fault)| fault);
        Self {
            kind: model.kind,
            first_token: Duration::from_millis(model.first_token_ms),
            tokens_per_second: model.tokens_per_second,
            min_tokens: model.min_tokens,
            max_tokens: model.max_tokens,
            reasoning_tokens: model.reasoning_tokens,
            reports_usage: model.reports_usage,
            dimensions: model.dimensions,
            filters: false,
            prefaces: false,
            redacts: false,
            fault,
        }
    }

    /// Finds `name` among `models`, then applies the modifiers in the name and in `extra`.
    pub(crate) fn resolve(
        models: &[ModelConfig],
        name: &str,
        extra: &[&str],
        dice: &mut Sequence,
    ) -> Result<Self, SimError> {
        let (base, modifiers) = name.split_once(':').unwrap_or((name, ""));
        let mut behaviour = match models.iter().find(|m| m.name == base) {
            Some(model) => Self::of(model, dice),
            None if FAILING.contains(&base) => {
                let mut plain = Self::of(&ModelConfig::default(), dice);
                plain.modify(base.trim_start_matches("sim-"))?;
                plain
            }
            None => return Err(SimError::model_not_found(name)),
        };
        for modifier in modifiers.split(':').chain(extra.iter().flat_map(|e| e.split(':'))) {
            behaviour.modify(modifier)?;
        }
        Ok(behaviour)
    }

    fn modify(&mut self, modifier: &str) -> Result<(), SimError> {
        let (word, number) = match modifier.rsplit_once('-') {
            Some((word, digits)) => (word, Some(digits)),
            None => (modifier, None),
        };
        let value = number.and_then(|digits| digits.parse::<u32>().ok());
        match (word, value) {
            ("", None) => {}
            ("error", Some(status @ 400..=599)) => {
                self.fault = Some(Fault::Error(u16::try_from(status).unwrap_or(500)));
            }
            ("hang", None) => self.fault = Some(Fault::Hang),
            ("stall", None) => self.fault = Some(Fault::Stall),
            ("cut", None) => self.fault = Some(Fault::Cut),
            ("garbage", None) => self.fault = Some(Fault::Garbage),
            ("break", None) => self.fault = Some(Fault::Break),
            ("filter", None) => self.filters = true,
            ("preface", None) => self.prefaces = true,
            ("redact", None) => self.redacts = true,
            ("nousage", None) => self.reports_usage = false,
            ("first", Some(ms)) => self.first_token = Duration::from_millis(u64::from(ms)),
            ("tps", Some(rate)) => self.tokens_per_second = rate,
            ("tokens", Some(tokens @ 1..=MOST_TOKENS)) => {
                (self.min_tokens, self.max_tokens) = (tokens, tokens);
            }
            ("reasoning", Some(tokens @ ..=MOST_TOKENS)) => self.reasoning_tokens = tokens,
            _ => {
                return Err(SimError::invalid(
                    "model",
                    format!(
                        "model: the modifier {modifier:?} is not known: expected error-STATUS, hang, stall, cut, garbage, \
                         break, filter, preface, redact, nousage, first-MS, tps-N, tokens-N or reasoning-N, of at most \
                         {MOST_TOKENS} tokens"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// When token number `token` (from 1) is due, counted from the request.
    pub(crate) fn due(&self, token: u64) -> Duration {
        if self.tokens_per_second == 0 || token <= 1 {
            return self.first_token;
        }
        let nanos = (token - 1).saturating_mul(1_000_000_000) / u64::from(self.tokens_per_second);
        self.first_token + Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(name: &str, extra: &[&str]) -> Result<Behaviour, SimError> {
        Behaviour::resolve(&Config::default().models, name, extra, &mut Sequence::new(1))
    }

    #[test]
    fn a_name_carries_its_modifiers() {
        let behaviour = resolve("sim-small:first-200:tokens-7:nousage", &["cut"]).unwrap();
        assert_eq!(behaviour.first_token, Duration::from_millis(200));
        assert_eq!((behaviour.min_tokens, behaviour.max_tokens), (7, 7));
        assert!(!behaviour.reports_usage);
        assert_eq!(behaviour.fault, Some(Fault::Cut));
    }

    #[test]
    fn every_advertised_name_resolves() {
        for model in simulated(&Config::default()) {
            assert!(resolve(&model.name, &[]).is_ok(), "{}", model.name);
        }
        assert_eq!(resolve("sim-error-429", &[]).unwrap().fault, Some(Fault::Error(429)));
    }

    #[test]
    fn unknown_names_and_modifiers_are_told_apart() {
        assert_eq!(resolve("gpt-nope", &[]).unwrap_err().status, 404);
        let error = resolve("sim-small:explode", &[]).unwrap_err();
        assert_eq!(error.status, 400);
        assert!(error.message.contains("explode"));
        // An answer is made as a whole before it is sent.
        assert_eq!(resolve("sim-small:tokens-1000000", &[]).unwrap().max_tokens, MOST_TOKENS);
        for modifier in ["tokens-0", "tokens-1000001", "tokens-4000000000", "reasoning-4000000000"] {
            let error = resolve("sim-small", &[modifier]).unwrap_err();
            assert!(error.message.contains("at most 1000000 tokens"), "{}", error.message);
        }
    }

    #[test]
    fn tokens_are_due_at_the_models_pace() {
        let behaviour = resolve("sim-small:first-100:tps-10", &[]).unwrap();
        assert_eq!(behaviour.due(1), Duration::from_millis(100));
        assert_eq!(behaviour.due(11), Duration::from_millis(1100));
    }

    #[test]
    fn rates_are_met() {
        let model =
            ModelConfig { name: "m".into(), error_rate: 0.25, error_status: 503, ..ModelConfig::default() };
        let mut dice = Sequence::new(7);
        let failed =
            (0..4000).filter(|_| Behaviour::of(&model, &mut dice).fault == Some(Fault::Error(503))).count();
        assert!((900..1100).contains(&failed), "{failed} of 4000 failed at a rate of 0.25");
    }
}
