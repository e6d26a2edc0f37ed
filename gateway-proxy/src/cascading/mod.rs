//! Routes over several models: a tier's answer is checked before it is accepted, and where the next tier promises enough more, it is
//! asked.
//!
//! What the checks cost is bounded: so many run at a time, each within its deadline, on threads of their own. A stream is held back
//! while nobody knows whether it will be accepted, within the bounds of the cascade; once any of it was released it stays the answer.
//! Every tier's answer is an attempt of its own, with its price and what was decided about it.

mod checks;
mod in_hand;
mod said;
mod samples;
mod tier;
mod verifier;

use crate::app::App;
use crate::attempt::{Answered, Times};
use crate::call::{Call, Ending, Facts};
use crate::errors::Failure;
use crate::guarding;
use crate::tries::{ending_of, fails, leave};
use bytes::Bytes;
use cascade::{
    Decision, Purse, Reason, Rejection, RequestView, Signals, Verdict, is_examined, next_tier, reject,
    weighs_request,
};
pub(crate) use checks::Checks;
use contracts::Usd;
use contracts::policy::Named;
use contracts::policy::cascade::{Cascade, Check, Signal, Tier};
use http::HeaderMap;
use in_hand::InHand;
use said::{Asked, Said};
use samples::{Agreement, Sampling};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tier::{Held, Otherwise, ask_tier};
use tokio::time::{Instant, timeout};

/// What a tier's answer came to.
struct Tiered {
    answered: Answered,
    said: Said,
    /// As guardrails let it go on, where it came whole and that is another.
    masked: Option<Bytes>,
    /// When it must be judged: the tier's time is over then, or a stream was held for as long as it may be.
    by: Instant,
}

/// A call on its way up.
struct Climb<'a> {
    app: &'a App,
    cascade: &'a Arc<Named<Cascade>>,
    headers: &'a HeaderMap,
    asked: Arc<Asked>,
    /// The signals of the request alone.
    request: Signals,
    /// What each tier may cost at most.
    most: Vec<Usd>,
}

/// Asks the tiers of `cascade` until one's answer is accepted. Where the last that was asked brings none, an earlier one's is given that
/// nothing is wrong with but that another was likely enough to do better.
pub(crate) async fn climb(
    app: &App,
    call: &mut Call,
    cascade: &Arc<Named<Cascade>>,
    headers: &HeaderMap,
    times: Times,
) -> Result<Answered, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    app.checks.get_ready(cascade);
    let ask = facts.ask.as_ref().ok_or(Failure::BrokenBody)?;
    let is_weighed = weighs_request(cascade) || cascade.tiers.iter().any(is_examined);
    let asked = Arc::new(if is_weighed { Asked::read(ask) } else { Asked::read_form(ask) });
    let most = most_of_tiers(app, facts, cascade)?;
    let request = of_request(app, cascade, &asked).await;
    let climb = Climb { app, cascade, headers, asked, request, most };
    let mut in_hand = None;
    let answered = climb.ask(call, times, &mut in_hand).await;
    if is_answer(&answered) {
        return answered;
    }
    note(call, "fail:failed", None, None);
    let Some(in_hand) = in_hand else { return answered };
    let ending = match &answered {
        // A stream of which the first event says that it failed.
        Ok(Answered::Stream { head, .. }) => Ending::failed(head.status.as_u16(), "upstream_error"),
        answered => ending_of(answered),
    };
    Ok(in_hand.give(app, call, ending).await)
}

fn is_answer(answered: &Result<Answered, Failure>) -> bool {
    match answered {
        Ok(Answered::Whole { head, .. }) => head.status.is_success(),
        Ok(Answered::Stream { opening, .. }) => !opening.is_error(),
        Err(_) => false,
    }
}

impl Climb<'_> {
    /// Asks tier after tier until one's answer is accepted, or none brings one. The last answer is `in_hand` then that was left only
    /// because another was likely enough to do better.
    async fn ask(
        &self,
        call: &mut Call,
        times: Times,
        in_hand: &mut Option<InHand>,
    ) -> Result<Answered, Failure> {
        let Self { app, cascade, headers, .. } = *self;
        let mut before: Option<Said> = None;
        let mut at = self.next(0, Usd::ZERO).ok_or(Failure::PriceCeiling)?;
        loop {
            let Some(tier) = cascade.tiers.get(at) else { return Err(Failure::Closed) };
            let is_last = self.next(at + 1, self.spent(call, Ending::ok(200), at)).is_none();
            let otherwise = match in_hand {
                _ if !is_last => Otherwise::Tier,
                Some(_) => Otherwise::InHand,
                None => Otherwise::Nothing,
            };
            let answered = ask_tier(app, call, cascade, tier, headers, times, otherwise).await;
            // Whatever comes next is paid besides what was asked so far.
            let ending =
                answered.as_ref().map_or_else(|answered| ending_of(answered), |held| held.ending(call));
            match answered {
                Ok(Held::Judgeable(mut tiered)) => {
                    let (guarded, masked) = match guarding::decision(app, call, &tiered.answered).await {
                        // What cannot be read goes to nobody: another tier may say it better.
                        Err(Failure::Garbage { .. }) if !is_last => (guard::Decision::Escalate, None),
                        decided => decided?,
                    };
                    tiered.masked = masked;
                    if guarded == guard::Decision::Block {
                        note(call, "fail:guardrail", None, None);
                        return Ok(tiered.answered);
                    }
                    let (decision, signals) = if guarded.stops() {
                        self.rejected(call, at, ending, Rejection::Guardrail)
                    } else {
                        self.judge(call, at, &tiered, before.as_ref(), is_last).await
                    };
                    let name = format!("{}:{}", verdict_name(&decision), decision.reason.as_str());
                    note(call, name, decision.probability, Some(&signals));
                    let Verdict::Escalate(next) = decision.verdict else {
                        if decision.verdict == Verdict::Fail
                            && let Some(in_hand) = in_hand.take()
                        {
                            return Ok(in_hand.give(app, call, ending).await);
                        }
                        if !matches!(decision.reason, Reason::GoodEnough | Reason::LastTier) {
                            keep_not(call);
                        }
                        return Ok(tiered.answered);
                    };
                    if go_on(app, call, ending).await.is_err() {
                        // Nothing is left for another tier: what there is stands.
                        note(call, "accept:budget", decision.probability, Some(&signals));
                        keep_not(call);
                        return Ok(tiered.answered);
                    }
                    if !matches!(decision.reason, Reason::Rejected(_)) {
                        *in_hand = InHand::of(call, tiered.answered).or(in_hand.take());
                    }
                    (before, at) = (Some(tiered.said), next);
                }
                Ok(Held::Released(answered)) => {
                    note(call, "accept:released", None, None);
                    keep_not(call);
                    return Ok(answered);
                }
                Ok(Held::GivenUp(answered)) => {
                    let next = self.next(at + 1, self.spent(call, ending, at));
                    note(call, "escalate:improbable", None, None);
                    let no = match next {
                        None => "accept:price_ceiling",
                        Some(_) if go_on(app, call, ending).await.is_err() => "accept:budget",
                        Some(next) => {
                            at = next;
                            continue;
                        }
                    };
                    note(call, no, None, None);
                    keep_not(call);
                    return Ok(answered);
                }
                Err(answered) => {
                    // Nothing of an answer: the next tier, or what this one said went wrong.
                    let next = self.next(at + 1, self.spent(call, ending, at));
                    let Some(next) = next.filter(|_| fails(call, &answered, times)) else { return *answered };
                    note(call, "escalate:failed", None, None);
                    if leave(app, call, &answered).await.is_err() {
                        return *answered;
                    }
                    at = next;
                }
            }
        }
    }

    fn purse(&self, spent: Usd) -> Purse<'_> {
        Purse { spent, most: &self.most, left: None }
    }

    /// The tier to ask from `from` on, when so much is spent.
    fn next(&self, from: usize, spent: Usd) -> Option<usize> {
        next_tier(self.cascade, from, &self.request, &self.purse(spent))
    }

    /// What all attempts have cost, the last of which, at tier `at`, comes to this end; the most that it may where its upstream does not
    /// say what it used.
    fn spent(&self, call: &mut Call, ending: Ending, at: usize) -> Usd {
        let used = call.usage(ending);
        let Some(facts) = call.facts() else { return Usd::ZERO };
        let costs = facts.attempts.iter().filter_map(|attempt| attempt.cost);
        let last = match used {
            Some(used) => facts.cost_of_attempt(used).map_or(Usd::ZERO, |cost| cost.total),
            None => self.most.get(at).copied().unwrap_or_default(),
        };
        costs.map(|cost| cost.total).sum::<Usd>() + last
    }

    /// What follows the answer of tier `at`, which is out of the question.
    fn rejected(
        &self,
        call: &mut Call,
        at: usize,
        ending: Ending,
        rejection: Rejection,
    ) -> (Decision, Signals) {
        let spent = self.spent(call, ending, at);
        let decision = cascade::decide(self.cascade, at, &self.request, Some(rejection), &self.purse(spent));
        (decision, self.request)
    }

    /// Judges the answer of tier `at`.
    async fn judge(
        &self,
        call: &mut Call,
        at: usize,
        tiered: &Tiered,
        before: Option<&Said>,
        is_last: bool,
    ) -> (Decision, Signals) {
        let Self { app, cascade, headers, asked, request, .. } = self;
        let Tiered { said, by, .. } = tiered;
        let rejection = rejected(cascade, at, asked, said).await;
        let mut signals = *request;
        if let Some(tier) = cascade.tiers.get(at).filter(|tier| rejection.is_none() && is_examined(tier)) {
            signals = examined(app, cascade, at, request, asked, said, before).await;
            verify(app, call, tier, asked, tiered, &mut signals).await;
            // What nothing follows is not worth the samples.
            if let Some(sampling) = Sampling::of(tier, self.cascade.detects_by, *by).filter(|_| !is_last) {
                match sampling.agreement(app, call, headers, asked, said, patience(cascade)).await {
                    Agreement::Of(agreement) => signals.set(Signal::SelfConsistency, agreement),
                    // The value that stands in for it counts.
                    Agreement::Unknown if tier.combine.is_some() => {}
                    Agreement::Unknown | Agreement::Late => signals.set_late(),
                }
            }
        }
        let spent = self.spent(call, Ending::ok(200), at);
        (cascade::decide(cascade, at, &signals, rejection, &self.purse(spent)), signals)
    }
}

/// The signals of the request alone, where anything depends on them.
async fn of_request(app: &App, cascade: &Cascade, asked: &Arc<Asked>) -> Signals {
    if !weighs_request(cascade) {
        return Signals::default();
    }
    let asked = asked.clone();
    let work = move || asked.with(|request| *RequestView::new(request).signals());
    // Without them each has the value that stands in for it.
    timeout(patience(cascade), checked(app, work)).await.ok().flatten().unwrap_or_default()
}

/// How long the detector may take, and as long again the wait for its turn.
fn patience(cascade: &Cascade) -> Duration {
    Duration::from_millis(u64::from(cascade.detector_deadline_ms))
}

/// Runs a check off the async threads, when it is its turn.
async fn checked<T: Send + 'static>(app: &App, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = app.checks.at_a_time.clone().acquire_owned().await.ok()?;
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// What is wrong with the answer outright. It waits for no turn: whatever else is late, this was looked at.
async fn rejected(
    cascade: &Arc<Named<Cascade>>,
    at: usize,
    asked: &Arc<Asked>,
    said: &Said,
) -> Option<Rejection> {
    let tier = cascade.tiers.get(at)?;
    if asked.is_small(said.len()) {
        return asked.with(|request| said.with(|answer| reject(&tier.checks, request, answer)));
    }
    let (policy, view, answer) = (cascade.clone(), asked.clone(), said.clone());
    let work = move || {
        let tier = policy.tiers.get(at)?;
        view.with(|request| answer.with(|answer| reject(&tier.checks, request, answer)))
    };
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

impl Tiered {
    /// What it says as its client would get it: nobody outside gets what guardrails mask. `None` where that is not known.
    fn told(&self, call: &mut Call) -> Option<Cow<'_, Said>> {
        let facts = call.facts()?;
        let endpoint = facts.endpoint;
        let told = match (&self.answered, &self.masked) {
            (Answered::Whole { .. }, Some(masked)) => (endpoint.read_answer)(masked)?,
            (Answered::Stream { opening, .. }, _) if opening.is_guarded() => {
                opening.told(endpoint, &facts.answer)?
            }
            _ => return Some(Cow::Borrowed(&self.said)),
        };
        Some(Cow::Owned(Said::of(&told)))
    }
}

/// Asks the verifiers of a tier.
async fn verify(
    app: &App,
    call: &mut Call,
    tier: &Tier,
    asked: &Asked,
    tiered: &Tiered,
    signals: &mut Signals,
) {
    for check in &tier.checks {
        let Check::Verifier { url, timeout_ms } = check else { continue };
        let patience = Duration::from_millis(u64::from(*timeout_ms));
        let Some(said) = tiered.told(call) else {
            signals.set_late();
            continue;
        };
        match app.checks.verifiers.ask(url, &asked.to_json(&said), patience).await {
            Some(score) => signals.set(Signal::Verifier, score),
            None => signals.set_late(),
        }
    }
}

/// What the answer of tier `at` is like.
async fn examined(
    app: &App,
    cascade: &Arc<Named<Cascade>>,
    at: usize,
    of_request: &Signals,
    asked: &Arc<Asked>,
    said: &Said,
    before: Option<&Said>,
) -> Signals {
    let patience = patience(cascade);
    let deadline = Instant::now() + patience;
    let checks = app.checks.clone();
    let (policy, view, answer, earlier) = (cascade.clone(), asked.clone(), said.clone(), before.cloned());
    let work = move || {
        let tier = policy.tiers.get(at)?;
        let signals = view.with(|request| {
            let (view, instruments, by) =
                (RequestView::new(request), checks.instruments(policy.detects_by), Some(deadline.into_std()));
            answer.with(|answer| match &earlier {
                Some(earlier) => {
                    earlier.with(|earlier| view.examine(tier, answer, Some(earlier), &instruments, by))
                }
                None => view.examine(tier, answer, None, &instruments, by),
            })
        });
        Some(signals)
    };
    // The detector keeps its deadline by itself; a queue before it must not cost more than as much again.
    let examined = timeout(patience * 2, checked(app, work)).await.ok().flatten().flatten();
    examined.unwrap_or_else(|| {
        let mut late = *of_request;
        late.set_late();
        late
    })
}

/// What one try of each tier costs at most.
fn most_of_tiers(app: &App, facts: &Facts, cascade: &Cascade) -> Result<Vec<Usd>, Failure> {
    let of_tier = |(at, tier): (usize, &Tier)| {
        let Some(model) = facts.snapshot.models.get(&tier.model) else { return Ok(Usd::ZERO) };
        let answers = if at + 1 < cascade.tiers.len() { samples::count(tier) } else { 1 };
        Ok(facts.most(&facts.pools(app).reach(&facts.snapshot, model)?).times(answers))
    };
    // Without a ceiling nobody needs to know.
    if cascade.price_ceiling.is_none() {
        return Ok(vec![Usd::ZERO; cascade.tiers.len()]);
    }
    cascade.tiers.iter().enumerate().map(of_tier).collect()
}

/// Leaves the answer that is not good enough; an error when there is no money for another.
async fn go_on(app: &App, call: &mut Call, ending: Ending) -> Result<(), Failure> {
    app.metrics.escalations.inc();
    call.leave_attempt(ending).await
}

/// Nobody accepted this answer for being good: it is not one to give again.
fn keep_not(call: &mut Call) {
    if let Some(lead) = call.facts().and_then(|facts| facts.lead.take()) {
        lead.release();
    }
}

const fn verdict_name(decision: &Decision) -> &'static str {
    match decision.verdict {
        Verdict::Accept => "accept",
        Verdict::Escalate(_) => "escalate",
        Verdict::Fail => "fail",
    }
}

/// Writes down what was decided about the current attempt's answer.
fn note(
    call: &mut Call,
    decision: impl Into<Cow<'static, str>>,
    score: Option<f64>,
    signals: Option<&Signals>,
) {
    let Some(attempt) = call.facts().and_then(Facts::attempt) else { return };
    attempt.decision = decision.into();
    attempt.score = score;
    attempt.signals = signals.map(|signals| {
        let named: serde_json::Map<String, serde_json::Value> =
            signals.iter().map(|(signal, value)| (signal.as_str().to_owned(), value.into())).collect();
        serde_json::Value::from(named).to_string().into()
    });
}
