//! What a call is held to before it may start: rate plans, and budgets of which the most that it can cost is reserved.
//!
//! What was taken is corrected when the call ends: tokens and dollars are settled with what it used, or given back. A call to
//! which neither plan nor budget applies costs nothing here.

mod charged;
mod content;
mod estimate;
mod most;
mod soft;

pub(crate) use charged::of_plan;
pub(crate) use content::Beyond;
pub(crate) use estimate::estimate;
pub(crate) use most::most;

use crate::app::App;
use crate::call::{Facts, Used};
use crate::config::BudgetsConfig;
use crate::errors::Failure;
use crate::request::Ask;
use admission::flood::Flood;
use admission::rates::{Permit, Rates, Subject};
use budget::{Hold, Ledger};
use charged::{Charged, Charges};
use contracts::policy::plan::{self, Plan};
use contracts::policy::queue::Band;
use contracts::policy::{Held, KeyPolicy, Model, Named};
use contracts::price::Cost;
use contracts::{ApiError, UsageSource, Usd};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use soft::{Teller, Told};
use std::num::NonZeroU64;
use std::sync::Arc;
use tokio::time::Instant;

/// Asks for a band: `interactive`, `standard` or `batch`.
const PRIORITY: &str = "x-control-tower-priority";
/// Tags of a request, with commas between them.
const TAGS: &str = "x-control-tower-tags";
/// Tells of limits that the call went beyond and that refuse nothing.
const SOFT_LIMIT: HeaderName = HeaderName::from_static("x-control-tower-soft-limit");
/// The headers of OpenAI's that tell where a caller stands.
static LIMITS: [HeaderName; 6] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
/// Most tags that a request may carry.
const MOST_TAGS: usize = 32;

/// Holds everybody to what was agreed.
#[derive(Debug)]
pub(crate) struct Governor {
    rates: Rates,
    told: Told,
    charges: Charges,
    ledger: Ledger,
    /// Addresses that keep failing to authenticate.
    pub(crate) flood: Flood,
    /// Most tokens of an answer to a request that does not say, where a budget must know.
    default_max_tokens: u64,
    /// Most tokens of a prompt that is not all in its request.
    context_tokens: Option<NonZeroU64>,
}

/// What was taken for one call.
#[derive(Debug, Default)]
pub(crate) struct Governed {
    permit: Option<Permit>,
    hold: Hold,
    /// What was reserved for each try.
    most: Usd,
    /// What is held beyond what the tries so far may have cost and the next may; below zero, what is missing, which the next try needs
    /// as well.
    spare: Usd,
    /// What was reserved for, tokens of an answer: what the client said, or else what the upstream is told to write at most.
    pub(crate) cap: Option<u64>,
    /// Most tokens of the prompt that its bytes say nothing of, where that was looked for.
    pub(crate) prompt_tokens: Option<Beyond>,
    tags: Vec<String>,
}

impl Governor {
    pub(crate) fn new(ledger: Ledger, config: &BudgetsConfig, flood: Flood, now: Instant) -> Self {
        Self {
            rates: Rates::new(now),
            told: Told::default(),
            charges: Charges::default(),
            ledger,
            flood,
            default_max_tokens: config.default_max_tokens,
            context_tokens: config.context_tokens,
        }
    }

    /// Forgets who has nothing to answer for. Call it now and then.
    pub(crate) fn sweep(&self) {
        self.rates.sweep(Instant::now());
        self.told.sweep();
    }

    /// Most tokens of an answer to a request that does not say, where a provider insists on a number.
    pub(crate) const fn default_max_tokens(&self) -> u64 {
        self.default_max_tokens
    }

    /// Where everybody stands under rate plans.
    pub(crate) const fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The ledger.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes what the call needs under all plans and budgets, or nothing. `models` are those that it may be led to.
    pub(crate) async fn admit(
        &self,
        app: &App,
        facts: &mut Facts,
        models: &[Arc<Model>],
        headers: &HeaderMap,
    ) -> Result<(), Failure> {
        let key = facts.key.clone();
        let (of_tenant, of_key) = (readable(key.tenant.plan.as_ref())?, readable(key.plan.as_ref())?);
        stand_in_line(facts, of_tenant, of_key, headers)?;
        let mut governed = Governed { tags: tags(headers)?, ..Governed::default() };
        let ask = facts.ask.as_ref().ok_or(Failure::BrokenBody)?;
        if of_tenant.is_some() || of_key.is_some() {
            let tokens = estimate(&ask.body);
            let permit = self.permit(&key, of_tenant, of_key, tokens)?;
            self.told.tell(app, facts, permit.over_soft());
            governed.permit = Some(permit);
        }
        // The present, not when the request began: a body may come for minutes, and the window may have ended meanwhile.
        let now = app.clock.now();
        let charged = self.charges.of(facts, &governed.tags, (of_tenant, of_key))?;
        if let Some(Charged { accounts, may_refuse }) = charged {
            governed.cap = cap(ask, self.default_max_tokens)?;
            let content = content::of(facts.endpoint, ask).await;
            governed.prompt_tokens = Some(content.tokens(self.context_tokens, may_refuse)?);
            governed.most = most(facts.asking(ask, &governed), models, may_refuse)?;
            let held = self.ledger.reserve(&accounts, governed.most, now).await;
            governed.hold = held.map_err(Failure::Budget)?;
        }
        facts.governed = governed;
        Ok(())
    }

    /// Takes what asking something takes that no model answers: a request, and nothing else. `None` where no plan applies.
    pub(crate) fn admit_question(&self, key: &KeyPolicy) -> Result<Option<Permit>, Failure> {
        let (of_tenant, of_key) = (readable(key.tenant.plan.as_ref())?, readable(key.plan.as_ref())?);
        if of_tenant.is_none() && of_key.is_none() {
            return Ok(None);
        }
        self.permit(key, of_tenant, of_key, 0).map(Some)
    }

    fn permit(
        &self,
        key: &KeyPolicy,
        of_tenant: Option<&Arc<Named<Plan>>>,
        of_key: Option<&Arc<Named<Plan>>>,
        tokens: u64,
    ) -> Result<Permit, Failure> {
        let tenant = Subject::Tenant(key.tenant.id.clone());
        let key = Subject::Key(key.id.clone());
        let mut planned = Vec::with_capacity(2);
        planned.extend(of_tenant.map(|plan| (&tenant, plan)));
        planned.extend(of_key.map(|plan| (&key, plan)));
        self.rates
            .admit(&planned, tokens, Instant::now())
            .map_err(|refusal| Failure::RateLimited(Box::new(refusal)))
    }
}

impl Governed {
    /// One that holds `hold` and nothing else.
    #[cfg(test)]
    pub(crate) fn holding(hold: Hold) -> Self {
        Self { hold, ..Self::default() }
    }

    /// The prompt is about to be sent: from here on it may be billed.
    pub(crate) async fn dispatch(&mut self) -> Result<(), Failure> {
        self.hold.dispatch().await.map_err(Failure::Budget)
    }

    /// Another try follows one that used `used` and cost `cost`: that much is held more, or all that a try may cost where nobody knows.
    pub(crate) async fn try_again(&mut self, used: Used, cost: Option<Cost>) -> Result<(), Failure> {
        self.hold_more(charged(used, cost, self.most)).await
    }

    /// A try is about to be sent beside the current one, or several are: `more` is held for them besides. When it is refused,
    /// nothing may be sent.
    pub(crate) async fn hold_more(&mut self, more: Usd) -> Result<(), Failure> {
        let missing = (more - self.spare).max(Usd::ZERO);
        self.hold.extend(missing).await.map_err(Failure::Budget)?;
        self.spare = self.spare + missing - more;
        Ok(())
    }

    /// What was held for a try that was not sent after all is there for the next.
    pub(crate) fn hold_less(&mut self, held: Usd) {
        self.spare += held;
    }

    /// A try for which `held` was held besides is left: it used `used` and cost `cost`, at most `most`.
    pub(crate) fn ended_beside(&mut self, held: Usd, used: Used, cost: Option<Cost>, most: Usd) {
        self.spare = self.spare + held - charged(used, cost, most);
    }

    /// What is held for the current try.
    pub(crate) const fn most(&self) -> Usd {
        self.most
    }

    /// What the client is told with its answer: where it stands, and which soft limits it is beyond.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        tell_limits(self.permit.as_ref(), headers);
        for text in self.soft_limits() {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(SOFT_LIMIT, value);
            }
        }
    }

    /// The soft limits that the call is beyond.
    pub(crate) fn soft_limits(&self) -> Vec<String> {
        soft::texts(self.permit.as_ref().map_or(&[], Permit::over_soft), self.hold.passed())
    }

    /// The call of `facts` has ended: it used `used` and cost `cost`; nothing when nothing of it may have been billed, and all that was
    /// held when nobody knows.
    pub(crate) fn settle(self, app: &App, facts: &Facts, used: Used, cost: Usd) {
        let Self { permit, hold, prompt_tokens, .. } = self;
        // Where it is not known what it used, the permit is dropped, which counts all tokens that were taken.
        if let Some(mut permit) = permit.filter(|_| !used.is_unknown) {
            permit.settle(used.usage.total());
        }
        let is_guess = matches!(used.source, Some(UsageSource::Estimated | UsageSource::Partial));
        // Counted was what is in the request, and it may refer to more: that may have cost all that was held for it.
        let refers = is_guess && prompt_tokens.is_some_and(|beyond| beyond.context > 0);
        let is_unknown = used.is_unknown || refers;
        if used.source.is_none() && !is_unknown {
            hold.release();
            return;
        }
        if !hold.is_charged() {
            return;
        }
        let teller = Teller::of(app, facts);
        // A ledger of this machine answers at once. One that others share goes on by itself, and is waited for only to learn whether a
        // soft limit was passed.
        let mut settling = Box::pin(async move {
            if is_unknown { hold.settle_unknown().await } else { hold.settle(cost).await }
        });
        let waiting = app.background.token();
        match settling.as_mut().now_or_never() {
            Some(settled) => teller.crossed(&settled),
            None => drop(app.background.spawn(async move {
                let _waiting = waiting;
                teller.crossed(&settling.await);
            })),
        }
    }
}

/// Tells the client where it stands with its plans.
pub(crate) fn tell_limits(permit: Option<&Permit>, headers: &mut HeaderMap) {
    for (name, value) in permit.into_iter().flat_map(Permit::headers) {
        // A name that is known need not be read letter by letter.
        let known = LIMITS.iter().find(|known| known.as_str() == name).cloned();
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(known.unwrap_or_else(|| HeaderName::from_static(name)), value);
        }
    }
}

/// What a try may be charged that used `used` and cost `cost`: at most `most`, where nobody knows.
fn charged(used: Used, cost: Option<Cost>, most: Usd) -> Usd {
    match used.source {
        None if used.is_unknown => most,
        None => Usd::ZERO,
        Some(UsageSource::Reported) => cost.map_or(Usd::ZERO, |cost| cost.total),
        Some(UsageSource::Estimated | UsageSource::Partial) => most,
    }
}

/// How urgent the call is, and what share its tenant has.
fn stand_in_line(
    facts: &mut Facts,
    of_tenant: Option<&Arc<Named<Plan>>>,
    of_key: Option<&Arc<Named<Plan>>>,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let asked = headers.get(PRIORITY).map(band).transpose()?;
    let (of_tenant, of_key) = (of_tenant.map(|plan| &plan.spec), of_key.map(|plan| &plan.spec));
    facts.turn.band = plan::band(of_tenant, of_key, asked);
    facts.turn.weight = of_tenant.map_or(facts.turn.weight, |plan| plan.weight);
    Ok(())
}

/// A plan that applies and cannot be read closes what it applies to.
fn readable(plan: Option<&Held<Plan>>) -> Result<Option<&Arc<Named<Plan>>>, Failure> {
    match plan {
        None => Ok(None),
        Some(Ok(plan)) => Ok(Some(plan)),
        Some(Err(unreadable)) => Err(Failure::Unreadable(unreadable.clone())),
    }
}

fn band(value: &HeaderValue) -> Result<Band, Failure> {
    let text = value.to_str().unwrap_or_default().trim();
    Band::ALL.into_iter().find(|band| band.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        Failure::BadHeader {
            name: PRIORITY,
            value: text.chars().take(80).collect(),
            expected: "interactive, standard or batch",
        }
    })
}

fn tags(headers: &HeaderMap) -> Result<Vec<String>, Failure> {
    let mut tags = Vec::new();
    for value in headers.get_all(TAGS) {
        let bad = |value: &str| Failure::BadHeader {
            name: TAGS,
            value: value.chars().take(80).collect(),
            expected: "at most 32 tags of 1 to 64 visible ASCII characters, with commas between them",
        };
        let text = value.to_str().map_err(|_| bad("(not ASCII)"))?;
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            contracts::policy::tag_is_valid(tag).map_err(|_| bad(tag))?;
            tags.push(tag.to_owned());
            if tags.len() > MOST_TAGS {
                return Err(bad(text));
            }
        }
    }
    Ok(tags)
}

/// Most tokens of an answer: what the client said, or else `default`; nothing when nothing is written. What is below zero is without
/// bound to some servers and an error to others, so that nobody knows what to reserve for it.
fn cap(ask: &Ask, default: u64) -> Result<Option<u64>, Failure> {
    if let Some(field) = ask.negative_bound() {
        let message = format!("{field}: below zero: under a budget, expected a whole number from 0 on");
        return Err(Failure::Body(ApiError::invalid(field, message).into()));
    }
    Ok(ask.writes.then(|| ask.max_output.unwrap_or(default)))
}

#[cfg(test)]
mod tests;
