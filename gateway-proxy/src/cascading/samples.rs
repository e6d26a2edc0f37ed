//! Self-consistency: a tier is asked the same several times, and where its samples agree its answer is likelier to be right.
//!
//! The first sample is the answer. The others are asked once it has passed all that is cheaper to check, all at a time: in one request
//! where the protocol has a number of choices, for then the prompt is paid once, and those that do not come that way each in
//! a request of its own. Every request is an attempt with its price. The money for all of them is held before any is sent: where it
//! cannot be, or where time runs out before all have come, the check is late, and the cascade's default holds. A sample that fails is left out.

use super::checked;
use super::said::{Asked, Said};
use crate::app::App;
use crate::attempt::{Answered, Sending, Times, exchange, prepare};
use crate::call::{Attempt, Call, Ending, Facts, TIMED_OUT};
use crate::errors::Failure;
use crate::govern::most;
use crate::metrics::GatewayMetrics;
use crate::pools::ModelPool;
use crate::relay::Opening;
use crate::request::{Ask, Sample};
use crate::tries::{beginning, ending_of, outcome};
use crate::trying::{Asking, Beside, Notes, OVERTAKEN, Parts};
use cascade::{Alike, meanings, must_be_same, self_consistency};
use contracts::Usd;
use contracts::policy::cascade::{Check, DetectsBy, Tier};
use contracts::policy::{Model, Protocol};
use futures_util::future::join_all;
use http::HeaderMap;
use pool::{Ask as Question, Kind, Lease, Outcome, Tried};
use protocols::Dialect;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What an attempt is for.
const SAMPLE: &str = "sample";

/// How many answers of a tier are paid for.
pub(super) fn count(tier: &Tier) -> u64 {
    Sampling::of(tier, None, Instant::now()).map_or(1, |sampling| u64::from(sampling.samples))
}

/// How a tier is asked for samples.
#[derive(Debug)]
pub(super) struct Sampling<'a> {
    tier: &'a Tier,
    detects_by: Option<DetectsBy>,
    /// The first answer included.
    samples: u32,
    temperature: Option<f64>,
    /// When they must have come.
    by: Instant,
}

/// How far samples agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Agreement {
    /// So far, 0 to 1.
    Of(f64),
    /// They did not come in time, could not be paid, or are fewer than two.
    Late,
    /// They are to be compared by meaning, and there is nothing here that knows it: none were asked for.
    Unknown,
}

/// What came of some requests for samples.
#[derive(Debug, Default)]
struct Came {
    texts: Vec<String>,
    is_late: bool,
}

impl<'a> Sampling<'a> {
    /// As the tier's checks want it; `None` when they do not.
    pub(super) fn of(tier: &'a Tier, detects_by: Option<DetectsBy>, by: Instant) -> Option<Self> {
        tier.checks.iter().find_map(|check| match check {
            Check::SelfConsistency { samples, temperature } => {
                Some(Self { tier, detects_by, samples: *samples, temperature: *temperature, by })
            }
            _ => None,
        })
    }

    /// How far the samples agree.
    pub(super) async fn agreement(
        &self,
        app: &App,
        call: &mut Call,
        headers: &HeaderMap,
        asked: &Arc<Asked>,
        said: &Said,
        patience: Duration,
    ) -> Agreement {
        match timeout(patience, self.is_comparable(app, asked, said)).await {
            Ok(true) => {}
            Ok(false) => return Agreement::Unknown,
            Err(_elapsed) => return Agreement::Late,
        }
        let compared = self.compared(app, call, headers, asked, said, patience).await;
        compared.map_or(Agreement::Late, Agreement::Of)
    }

    /// Whether anything can say how far others agree with the first sample. Weights that were fitted on meanings make nothing of words.
    async fn is_comparable(&self, app: &App, asked: &Asked, said: &Said) -> bool {
        let wants_meaning = self.detects_by == Some(DetectsBy::Meaning);
        if !wants_meaning || asked.with(|request| must_be_same(request, &[&said.sample()])) {
            return true;
        }
        let (checks, by) = (app.checks.clone(), self.detects_by);
        tokio::task::spawn_blocking(move || checks.embedder(by).is_some()).await.unwrap_or(false)
    }

    async fn compared(
        &self,
        app: &App,
        call: &mut Call,
        headers: &HeaderMap,
        asked: &Arc<Asked>,
        said: &Said,
        patience: Duration,
    ) -> Option<f64> {
        let facts = call.facts()?;
        let mut texts = vec![said.sample()];
        // Choices that the client asks for are samples that are paid already.
        if facts.ask.as_ref()?.choices > 1 {
            texts = Said::choices(&facts.answer);
        } else {
            texts.extend(self.further(app, call, headers).await?);
        }
        let (asked, checks) = (asked.clone(), app.checks.clone());
        let detects_by = self.detects_by;
        let work = move || {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let embedder = checks.embedder(detects_by);
            let meanings = embedder.and_then(|embedder| meanings(&texts, embedder));
            let alike = match &meanings {
                Some(alike) => Alike::Meaning(alike),
                None if embedder.is_some() || detects_by == Some(DetectsBy::Meaning) => Alike::Unknown,
                None => Alike::Words,
            };
            asked.with(|request| self_consistency(request, &texts, alike))
        };
        let (agreement, _) = timeout(patience * 2, checked(app, work)).await.ok()???;
        Some(agreement)
    }

    /// The texts of the further samples, as far as they came; `None` when there was no time or no money for them.
    async fn further(&self, app: &App, call: &mut Call, headers: &HeaderMap) -> Option<Vec<String>> {
        let further = self.samples.saturating_sub(1);
        let mut texts = Vec::new();
        if further > 1 && has_choices(app, call.facts()?) {
            let all = Sample { number: 1, temperature: self.temperature, choices: further };
            let came = self.round(app, call, headers, vec![all]).await?;
            if came.is_late {
                return None;
            }
            texts = came.texts;
        }
        let missing = further.saturating_sub(u32::try_from(texts.len()).unwrap_or(u32::MAX));
        if missing > 0 {
            let one = |number| Sample { number, temperature: self.temperature, choices: 1 };
            let came = self.round(app, call, headers, (1..=missing).map(one).collect()).await?;
            if came.is_late {
                return None;
            }
            texts.extend(came.texts);
        }
        Some(texts)
    }

    /// Makes some requests for samples at a time; `None` when they cannot be paid.
    async fn round(
        &self,
        app: &App,
        call: &mut Call,
        headers: &HeaderMap,
        samples: Vec<Sample>,
    ) -> Option<Came> {
        let facts = call.facts()?;
        let model = facts.snapshot.models.get(&self.tier.model)?.clone();
        let pool = facts.pools(app).of(&model).ok()?;
        let reach = facts.pools(app).reach(&facts.snapshot, &model).ok()?;
        let each = most(facts.asking(facts.ask.as_ref()?, &facts.governed), &reach, false).ok()?;
        let all: u64 = samples.iter().map(|sample| u64::from(sample.choices)).sum();
        facts.governed.hold_more(each.times(all)).await.ok()?;
        let chosen = choose(facts, pool.as_deref(), &model, samples.len());
        let at_once = samples.iter().any(|sample| sample.choices > 1);
        let mut came = Came::default();
        let tried = self.ask(app, facts, headers, chosen, &samples, each).await.unwrap_or_default();
        for (beside, ending) in facts.beside.iter().zip(tried) {
            came.is_late |= ending.error == Some(TIMED_OUT);
            if ending.complete {
                if at_once {
                    came.texts.extend(Said::choices(&beside.answer));
                } else {
                    came.texts.push(Said::of(&beside.answer).sample());
                }
            }
        }
        call.leave_beside(OVERTAKEN).await;
        Some(came)
    }

    /// Asks them, each beside the others and the answer in hand. Returns how each ended that was sent.
    async fn ask(
        &self,
        app: &App,
        facts: &mut Facts,
        headers: &HeaderMap,
        chosen: Vec<(Option<Lease>, Arc<Model>)>,
        samples: &[Sample],
        each: Usd,
    ) -> Result<Vec<Ending>, Failure> {
        let Parts { asking, governed, beside, .. } = facts.parts()?;
        let asking = Asking { wants_logprobs: false, keeps_whole: false, guarding: None, ..asking };
        let (leases, models): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
        let mut sendings = Vec::with_capacity(samples.len());
        let mut leases = leases.into_iter();
        for (at, sample) in samples.iter().enumerate() {
            let held = each.times(u64::from(sample.choices));
            let lease = leases.next().flatten();
            let prepared = models.get(at).map(|model| prepare(app, asking, model, headers, Some(*sample)));
            let Some(Ok((attempt, sending))) = prepared else {
                governed.hold_less(held);
                continue;
            };
            let attempt = Attempt { decision: SAMPLE.into(), ..attempt };
            beside.push(Beside::new(attempt, lease, held));
            sendings.push(sending);
        }
        let asked: Vec<_> = beside
            .iter_mut()
            .zip(sendings)
            .map(|(beside, sending)| sample(app, asking, beside, sending, self.by))
            .collect();
        Ok(join_all(asked).await)
    }
}

/// Whether whoever answered first speaks a protocol in which several answers can be asked for at once.
fn has_choices(app: &App, facts: &Facts) -> bool {
    let model = facts.attempts.last().map(|attempt| &attempt.model);
    let target = model.and_then(|model| app.upstreams.target(&model.provider).ok());
    let speaks = target.is_some_and(|t| matches!(t.speech.protocol, Protocol::OpenAi | Protocol::Azure));
    speaks && facts.endpoint.dialect == Some(Dialect::OpenAiChat)
}

/// Who is asked for so many samples: as many as there are deployments for.
fn choose(
    facts: &Facts,
    pool: Option<&ModelPool>,
    model: &Arc<Model>,
    samples: usize,
) -> Vec<(Option<Lease>, Arc<Model>)> {
    let Some(pool) = pool else { return (0..samples).map(|_| (None, model.clone())).collect() };
    let kind = if facts.ask.as_ref().is_some_and(Ask::asks_stream) { Kind::Streamed } else { Kind::Whole };
    let affinity = pool.affinity(beginning(facts));
    let question = Question { affinity, may_panic: false, ..Question::new(kind) };
    let one = |_| {
        let (now, mut tried) = (Instant::now().into_std(), Tried::default());
        // One that came to the pool after the call did is passed over: its price is not known to the call's budget.
        for _ in 0..=pool.policy.deployments.len() {
            let lease = pool.pool.pick(&question, &mut tried, now).ok()?;
            match pool.model(lease.deployment()) {
                Some(model) => return Some((Some(lease), model.clone())),
                None => lease.finish(Outcome::Cancelled, now),
            }
        }
        None
    };
    (0..samples).map_while(one).collect()
}

/// One request for samples, to its end. Returns how it ended.
async fn sample(
    app: &App,
    asking: Asking<'_>,
    beside: &mut Beside,
    sending: Sending<'_>,
    by: Instant,
) -> Ending {
    let times = Times { first_byte_by: by, deadline: by };
    let (mut notes, lease) = beside.parts();
    let mut answered = exchange(app, asking, &mut notes, sending, times).await;
    if let Ok(Answered::Stream { opening, .. }) = &mut answered
        && let Err(failure) = read_on(app, asking, &mut notes, opening, by).await
    {
        answered = Err(failure);
    }
    let is_answer = answered.as_ref().is_ok_and(|answered| match answered {
        Answered::Whole { head, .. } => head.status.is_success(),
        Answered::Stream { opening, .. } => !opening.is_error(),
    });
    let now = Instant::now();
    let ending = if is_answer { Ending::ok(200) } else { ending_of(&answered) };
    // That it takes longer than the cascade has time for says nothing against a deployment.
    let outcome = match ending.error {
        None => Outcome::Success,
        Some(TIMED_OUT) => Outcome::Cancelled,
        Some(_) => outcome(asking.endpoint, &answered),
    };
    if let Some(lease) = lease.take() {
        lease.finish(outcome, now.into_std());
    }
    if let Some(error) = ending.error {
        GatewayMetrics::count(&app.metrics.upstream_errors, error);
    }
    beside.end(ending, now)
}

/// Reads a stream that nobody waits for but us. One that breaks off is no sample.
async fn read_on(
    app: &App,
    asking: Asking<'_>,
    notes: &mut Notes<'_>,
    opening: &mut Opening,
    by: Instant,
) -> Result<(), Failure> {
    while !opening.is_whole() {
        if Instant::now() >= by {
            return Err(Failure::Timeout { what: "end of its answer", after: app.timeouts.total() });
        }
        opening.more_of(app, notes.heard(&asking), by, by).await?;
    }
    if opening.is_error() || opening.has_ended(notes.answer) { Ok(()) } else { Err(Failure::Cut) }
}
