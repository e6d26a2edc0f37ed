//! Asking one tier, and how much of its answer is waited for.

use super::Tiered;
use super::said::Said;
use crate::app::App;
use crate::attempt::{Answered, Times};
use crate::call::{Call, Ending};
use crate::errors::Failure;
use crate::relay::Opening;
use crate::tries::ask_in_turn;
use cascade::{Hold, hold, longest};
use contracts::policy::Model;
use contracts::policy::cascade::{Cascade, Check, Tier};
use http::HeaderMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What there is where a tier brings no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// Another tier.
    Tier,
    /// An earlier tier's answer.
    InHand,
    /// Nothing.
    Nothing,
}

/// What has come of a tier's answer.
pub(super) enum Held {
    /// All of it, and nothing of it was released.
    Judgeable(Tiered),
    /// It was held for as long as it may be, or it is the last tier's, and goes to the client as it is.
    Released(Answered),
    /// Its beginning is too improbable for the rest to be worth waiting for.
    GivenUp(Answered),
}

impl Held {
    /// How its try ends when it is left.
    pub(super) fn ending(&self, call: &mut Call) -> Ending {
        let complete = match self {
            Self::Judgeable(Tiered { answered: Answered::Stream { opening, .. }, .. }) => {
                call.facts().is_some_and(|facts| opening.has_ended(&facts.answer))
            }
            Self::Judgeable(_) | Self::Released(_) => true,
            Self::GivenUp(_) => false,
        };
        Ending { complete, ..Ending::ok(200) }
    }
}

/// Asks one tier. What is no answer at all comes back as an error.
pub(super) async fn ask_tier(
    app: &App,
    call: &mut Call,
    cascade: &Cascade,
    tier: &Tier,
    headers: &HeaderMap,
    times: Times,
    otherwise: Otherwise,
) -> Result<Held, Box<Result<Answered, Failure>>> {
    let model = lead_to(call, tier).map_err(|failure| Box::new(Err(failure)))?;
    let by = (Instant::now() + Duration::from_millis(u64::from(tier.timeout_ms))).min(times.deadline);
    let times = match otherwise {
        Otherwise::Nothing => times,
        _ => Times { first_byte_by: times.first_byte_by.min(by), deadline: by },
    };
    let is_last = otherwise != Otherwise::Tier;
    // Where nobody is well, an answer in hand is better than one who is asked all the same.
    let has_nothing = otherwise == Otherwise::Nothing;
    let answered = ask_in_turn(app, call, &model, headers, times, has_nothing).await;
    match answered {
        Ok(Answered::Whole { head, bytes }) if head.status.is_success() => {
            let said = call.facts().map(|facts| Said::of(&facts.answer)).unwrap_or_default();
            Ok(Held::Judgeable(Tiered { answered: Answered::Whole { head, bytes }, said, masked: None, by }))
        }
        Ok(Answered::Stream { head, opening }) => {
            // The last tier's answer is accepted whatever it is, unless something could reject it; and nothing follows it then.
            if is_last {
                return Ok(Held::Released(Answered::Stream { head, opening }));
            }
            let by = by.min(Instant::now() + longest(&cascade.streaming));
            match hold_back(call, cascade, opening, times).await {
                Err(failure) => Err(Box::new(Err(failure))),
                Ok((opening, Hold::Hold)) => {
                    let said = call.facts().map(|facts| Said::of(&facts.answer)).unwrap_or_default();
                    let answered = Answered::Stream { head, opening };
                    Ok(Held::Judgeable(Tiered { answered, said, masked: None, by }))
                }
                Ok((opening, Hold::Release)) => Ok(Held::Released(Answered::Stream { head, opening })),
                Ok((opening, Hold::GiveUp)) => Ok(Held::GivenUp(Answered::Stream { head, opening })),
            }
        }
        other => Err(Box::new(other)),
    }
}

/// The model of a tier, which the call is led to from here on.
fn lead_to(call: &mut Call, tier: &Tier) -> Result<Arc<Model>, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    let model = facts.snapshot.models.get(&tier.model).cloned();
    let model = model.ok_or_else(|| Failure::UnknownModel { model: tier.model.to_string() })?;
    if let Some(resolved) = &mut facts.resolved {
        resolved.model = model.clone();
    }
    facts.wants_logprobs = tier.checks.contains(&Check::LogprobConfidence);
    Ok(model)
}

/// Holds a stream back until its end, or until the cascade says otherwise. One that is over without having come to its end is no answer.
async fn hold_back(
    call: &mut Call,
    cascade: &Cascade,
    mut opening: Box<Opening>,
    times: Times,
) -> Result<(Box<Opening>, Hold), Failure> {
    let since = Instant::now();
    let mut chunks = 1;
    loop {
        let facts = call.facts().ok_or(Failure::Closed)?;
        if opening.is_whole() {
            let is_answer = opening.is_cut() || opening.has_ended(&facts.answer);
            return if is_answer { Ok((opening, Hold::Hold)) } else { Err(Failure::Cut) };
        }
        let held = cascade::Held {
            bytes: opening.held(),
            time: since.elapsed(),
            chunks,
            logprobs: facts.answer.logprobs.as_slice(),
        };
        match hold(&cascade.streaming, &held) {
            Hold::Hold => {}
            done => return Ok((opening, done)),
        }
        opening.more(call, since + longest(&cascade.streaming), times.deadline).await?;
        chunks += 1;
    }
}
