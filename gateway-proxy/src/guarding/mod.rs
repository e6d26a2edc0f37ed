//! Guardrails in force: what may go to a model, what may come back, which tools it may call.
//!
//! A call's guardrails are those of its route and of its key. Its texts are judged once its prompt is filled in, before anything else
//! looks at them: what is masked goes on masked, to caches and records too. What is blocked is answered here, by a refusal in the
//! client's own protocol and language, and costs nothing. A whole answer is judged before it is released, a streamed one as it comes
//! (`stream`). An answer that asks for another tier is given up for it where a cascade has one, and refused where there is none. What
//! is withheld was paid for all the same.
//!
//! Nothing that was matched is recorded: a blocked request without its content, an answer as the client got it.

mod chain;
mod glance;
mod input;
mod places;
mod refusal;
mod stream;
mod whole;

pub(crate) use chain::Found;
pub(crate) use stream::Guarded;

use crate::app::App;
use crate::attempt::Answered;
use crate::call::{Call, Ending, Facts};
use crate::emit::Unrecorded;
use crate::endpoints::{COUNT_TOKENS, Endpoint};
use crate::errors::Failure;
use crate::meter::Answer;
use crate::request::Ask;
use crate::respond::{self, Body, COST};
use crate::stack::{heavy, read};
use bytes::Bytes;
use contracts::policy::guardrail::Guardrail;
use contracts::policy::{KeyPolicy, Named, Resolved, Unreadable};
use contracts::{PolicyName, TenantId};
use guard::{Decision, Guard, Verdict};
use http::{HeaderMap, Response, StatusCode, header};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use whole::Judge;

/// Compiled guardrails that are kept; when there are more, all are compiled anew.
const MOST: usize = 1_024;

type Key = (Option<TenantId>, PolicyName, u64);

/// Compiles each revision of a guardrail once.
#[derive(Debug, Default)]
pub(crate) struct Guards(Mutex<HashMap<Key, Arc<Compiled>>>);

/// A guardrail that is ready to judge.
#[derive(Debug)]
pub(crate) struct Compiled {
    name: Arc<str>,
    revision: u64,
    guard: Arc<Guard>,
}

/// The guardrails of one call, and what they found.
#[derive(Debug)]
pub(crate) struct Guarding {
    judge: Judge,
    /// What the client is told instead of an answer, when the request is not even passed on.
    refusal: Option<String>,
    told: Told,
    /// Whether some of the answer was withheld.
    is_withheld: bool,
    /// Whether what the client is told is recorded.
    keeps_content: bool,
}

/// The answer as the client gets it.
#[derive(Debug)]
enum Told {
    /// Nothing of it so far.
    Nothing,
    /// As the model said it.
    AsSaid,
    /// As it is, or comes.
    Other(Arc<Mutex<Answer>>),
}

impl Guards {
    async fn compiled(&self, guardrails: &[Arc<Named<Guardrail>>]) -> Result<Vec<Arc<Compiled>>, Failure> {
        let mut compiled = Vec::with_capacity(guardrails.len());
        for guardrail in guardrails {
            let key = (guardrail.tenant.clone(), guardrail.name.clone(), guardrail.revision);
            let known = self.known().get(&key).cloned();
            compiled.push(match known {
                Some(known) => known,
                None => self.compile(key, guardrail.clone()).await?,
            });
        }
        Ok(compiled)
    }

    /// Compiles off the async threads: large patterns take their time.
    async fn compile(&self, key: Key, guardrail: Arc<Named<Guardrail>>) -> Result<Arc<Compiled>, Failure> {
        let work = move || -> Result<Arc<Compiled>, Failure> {
            let guard = Guard::new(&guardrail.spec).map_err(|invalid| {
                let (kind, tenant, name) =
                    ("guardrail", guardrail.tenant.clone(), guardrail.name.to_string());
                Failure::Unreadable(Arc::new(Unreadable { kind, tenant, name, reason: invalid.to_string() }))
            })?;
            let name = guardrail.name.as_str().into();
            Ok(Arc::new(Compiled { name, revision: guardrail.revision, guard: Arc::new(guard) }))
        };
        // The pool is gone: the process is ending.
        let compiled = tokio::task::spawn_blocking(work).await.map_err(|_| Failure::BrokenBody)??;
        let mut known = self.known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, compiled.clone());
        Ok(compiled)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Compiled>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges what a call asks, before it is admitted anywhere. What is to be masked is masked from here on.
pub(crate) async fn judge_request(
    app: &App,
    call: &mut Call,
    endpoint: &'static Endpoint,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let facts = call.facts().ok_or(Failure::BrokenBody)?;
    let guardrails = in_force(&facts.key, facts.resolved.as_ref())?;
    if guardrails.is_empty() {
        return Ok(());
    }
    let judge = Judge::new(app, &guardrails, headers).await?;
    let has_rules = judge.compiled.iter().any(|of| !of.guard.passes_all_input());
    let (compiled, ask) = (judge.compiled.clone(), facts.ask.clone().ok_or(Failure::BrokenBody)?);
    let keeps_content = facts.key.tenant.capture_content;
    let mut guarding =
        Guarding { judge, refusal: None, told: Told::AsSaid, is_withheld: false, keeps_content };
    if guarding.judges_output(endpoint) {
        guarding.told = Told::Nothing;
    }
    let judge = guarding.judge.clone();
    facts.guarding = Some(Box::new(guarding));
    if !has_rules {
        return Ok(());
    }
    // The variables of a prompt are the client's words wherever they stand.
    let all = facts.prompted.is_some();
    let unread = input::unread(&compiled);
    let judged = heavy(ask.body.len(), move || input::judge(&compiled, &ask, all)).await;
    let judged = match judged.and_then(std::convert::identity) {
        Ok(judged) => judged,
        Err(failure) => {
            // What they cannot read, they refuse: of such a request, too, nobody but the client gets the words.
            judge.note(app, unread);
            if let Some(guarding) = &mut facts.guarding {
                guarding.refusal = Some(failure.to_api().message);
            }
            return Err(failure);
        }
    };
    judge.note(app, judged.found);
    if let Some(stop) = judged.stop {
        let refusal = judge.refusal(&stop);
        if let Some(guarding) = &mut facts.guarding {
            guarding.refusal = Some(refusal.clone());
            guarding.told = Told::AsSaid;
        }
        // There is no answer that could say no.
        if endpoint.max_output.is_empty() {
            return Err(Failure::Guarded { message: refusal });
        }
    } else if let Some(body) = judged.body {
        facts.ask = Some(read(endpoint, body, app.limits.json_depth).await?);
    }
    Ok(())
}

/// The guardrails of a call: of its route, then of its key.
fn in_force(key: &KeyPolicy, resolved: Option<&Resolved>) -> Result<Vec<Arc<Named<Guardrail>>>, Failure> {
    let route = resolved.and_then(|resolved| resolved.route.as_deref());
    let mut guardrails = match route.map(|route| &route.policy) {
        Some(Err(unreadable)) => return Err(Failure::Unreadable(unreadable.clone())),
        Some(Ok(policy)) => policy.guardrails.clone(),
        None => Vec::new(),
    };
    for held in &key.guardrails {
        let guardrail = held.as_ref().map_err(|unreadable| Failure::Unreadable(unreadable.clone()))?;
        if !guardrails.contains(guardrail) {
            guardrails.push(guardrail.clone());
        }
    }
    Ok(guardrails)
}

impl Judge {
    async fn new(
        app: &App,
        guardrails: &[Arc<Named<Guardrail>>],
        headers: &HeaderMap,
    ) -> Result<Self, Failure> {
        let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let compiled = app.guards.compiled(guardrails).await?;
        Ok(Self { compiled, language: language.map(Into::into), found: Arc::default() })
    }
}

/// What the tokens are to be counted of: as it would go to a model, with a prompt or without. What would not go to one is not counted.
pub(crate) async fn counted(
    app: &App,
    key: &KeyPolicy,
    resolved: &Resolved,
    ask: Ask,
    is_prompted: bool,
    headers: &HeaderMap,
) -> Result<Ask, Failure> {
    let guardrails = in_force(key, Some(resolved))?;
    if guardrails.is_empty() {
        return Ok(ask);
    }
    let judge = Judge::new(app, &guardrails, headers).await?;
    let (compiled, asked) = (judge.compiled.clone(), ask.clone());
    let judged = heavy(ask.body.len(), move || input::judge(&compiled, &asked, is_prompted)).await??;
    judge.note(app, judged.found);
    match (judged.stop, judged.body) {
        (Some(stop), _) => Err(Failure::Guarded { message: judge.refusal(&stop) }),
        (None, Some(body)) => read(&COUNT_TOKENS, body, app.limits.json_depth).await,
        (None, None) => Ok(ask),
    }
}

/// The answer to a request that was blocked, if it was: recorded as a call that asked no model.
pub(crate) async fn refused(app: &App, call: &mut Call) -> Result<Option<Response<Body>>, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    let Some(text) = facts.guarding.as_ref().and_then(|guarding| guarding.refusal.clone()) else {
        return Ok(None);
    };
    let ask = facts.ask.as_ref().ok_or(Failure::BrokenBody)?;
    let (endpoint, identity) = (facts.endpoint, facts.identity.clone());
    let created = app.clock.now().unix_seconds();
    let names = refusal::Names { id: &identity.request_id, model: &ask.model, created };
    let answer = refusal::whole(endpoint, names, &text).ok_or(Failure::Closed)?;
    let is_streamed = ask.stream;
    let events = if ask.asks_stream() { refusal::events(endpoint, &answer, ask.wants_usage()) } else { None };
    let bytes = Bytes::from(answer.to_string());
    facts.answer = (endpoint.read_answer)(&bytes).unwrap_or_default();
    // No model used anything.
    (facts.answer.usage, facts.answer.model) = (None, None);
    let streamed = events.map(|events| app.streams.answer(facts, events)).filter(|_| is_streamed);
    let mut response = streamed.unwrap_or_else(|| respond::json(StatusCode::OK, bytes, &identity));
    facts.governed.tell(response.headers_mut());
    respond::assigned(response.headers_mut(), facts.assigned.as_ref());
    respond::put(response.headers_mut(), COST, "0");
    call.finish(Ending::ok(200)).await.map_err(|Unrecorded| Failure::Unrecorded)?;
    Ok(Some(response))
}

/// A whole answer as it may go on; other answers as they are.
pub(crate) async fn judge_answer(
    app: &App,
    call: &mut Call,
    answered: Answered,
) -> Result<Answered, Failure> {
    let Answered::Whole { head, bytes } = answered else { return Ok(answered) };
    let Some(judged) = judged(app, call, head.status, &bytes).await? else {
        return Ok(Answered::Whole { head, bytes });
    };
    let facts = call.facts().ok_or(Failure::Closed)?;
    let read_answer = facts.endpoint.read_answer;
    let Some(guarding) = &mut facts.guarding else { return Ok(Answered::Whole { head, bytes }) };
    let Some(changed) = judged.bytes else {
        guarding.told = Told::AsSaid;
        return Ok(Answered::Whole { head, bytes });
    };
    let told = read_answer(&changed).unwrap_or_default();
    if judged.stop.is_some() {
        guarding.is_withheld = true;
        facts.answer.finish_reasons.clone_from(&told.finish_reasons);
    }
    guarding.told = Told::Other(Arc::new(Mutex::new(told)));
    facts.whole = facts.whole.take().map(|_| changed.clone());
    Ok(Answered::Whole { head, bytes: changed })
}

/// What the guardrails decide about an answer of a cascade's tier, before it is accepted; and one that came whole as it would go on, if
/// that is another.
pub(crate) async fn decision(
    app: &App,
    call: &mut Call,
    answered: &Answered,
) -> Result<(Decision, Option<Bytes>), Failure> {
    match answered {
        Answered::Whole { head, bytes } => {
            let judged = judged(app, call, head.status, bytes).await?.unwrap_or_default();
            Ok((judged.stop.map_or(Decision::Pass, |stop| stop.decision), judged.bytes))
        }
        Answered::Stream { opening, .. } => Ok((opening.decision().unwrap_or_default(), None)),
    }
}

/// Judges a whole answer; `None` where nothing judges it.
async fn judged(
    app: &App,
    call: &mut Call,
    status: StatusCode,
    bytes: &Bytes,
) -> Result<Option<whole::Judged>, Failure> {
    let facts = call.facts().ok_or(Failure::Closed)?;
    let endpoint = facts.endpoint;
    let guarding = facts.guarding.as_ref().filter(|guarding| guarding.judges_output(endpoint));
    let Some(guarding) = guarding.filter(|_| status.is_success()) else { return Ok(None) };
    let (judge, bytes, id) = (guarding.judge.clone(), bytes.clone(), facts.identity.request_id.clone());
    let length = bytes.len();
    let work = move || {
        let judged = judge.whole(endpoint, &bytes, &id);
        (judge, judged)
    };
    let (judge, judged) = heavy(length, work).await?;
    let mut judged = judged
        .map_err(|_| Failure::Garbage { status: status.as_u16(), detail: "what guardrails cannot read" })?;
    judge.note(app, std::mem::take(&mut judged.found));
    Ok(Some(judged))
}

/// What a verdict on a request found.
fn input_found<'v>(name: &'v Arc<str>, verdict: &'v Verdict) -> impl Iterator<Item = Found> + 'v {
    verdict.breaches.iter().map(|breach| Found {
        guardrail: name.clone(),
        rule: breach.rule.clone(),
        action: breach.action,
        place: "input",
    })
}

impl Guarding {
    /// Whether anything judges the answers of an endpoint.
    fn judges_output(&self, endpoint: &Endpoint) -> bool {
        !endpoint.max_output.is_empty() && self.judge.compiled.iter().any(|of| !of.guard.passes_all_output())
    }
}

impl Facts {
    /// What guardrails found.
    pub(crate) fn breaches(&self) -> Vec<Found> {
        let found = self.guarding.as_ref().map(|guarding| &guarding.judge.found);
        found.map_or_else(Vec::new, |found| found.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The answer as the client gets it.
    pub(crate) fn told(&self) -> Cow<'_, Answer> {
        match self.guarding.as_ref().map(|guarding| &guarding.told) {
            None | Some(Told::AsSaid) => Cow::Borrowed(&self.answer),
            Some(Told::Nothing) => Cow::Owned(Answer::default()),
            Some(Told::Other(told)) => {
                Cow::Owned(told.lock().unwrap_or_else(PoisonError::into_inner).clone())
            }
        }
    }

    /// The client is told what the answer says.
    pub(crate) fn tell_as_said(&mut self) {
        if let Some(guarding) = &mut self.guarding {
            guarding.told = Told::AsSaid;
        }
    }

    /// Whether nobody but the client gets the request's words: it was blocked, or it failed before its guardrails could judge it.
    pub(crate) fn is_refused(&self) -> bool {
        match &self.guarding {
            Some(guarding) => guarding.refusal.is_some(),
            // Before its route is known nobody can say which judge it.
            None => {
                self.resolved.is_none()
                    || !in_force(&self.key, self.resolved.as_ref()).is_ok_and(|none| none.is_empty())
            }
        }
    }

    /// Whether some of the answer was withheld.
    pub(crate) fn is_withheld(&self) -> bool {
        self.guarding.as_ref().is_some_and(|guarding| guarding.is_withheld)
    }

    /// Which guardrails an answer went through: one that went through others is another.
    pub(crate) fn guardrails(&self) -> String {
        let Some(guarding) = &self.guarding else { return String::new() };
        let of = guarding.judge.compiled.iter().map(|of| format!("{}@{}", of.name, of.revision));
        of.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests;
