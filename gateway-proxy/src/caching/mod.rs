//! Answers that were given before, given again: asked before a model is, and told of every answer that may be kept.

mod embed;
mod metrics;
pub(crate) mod replay;
mod whole;

use crate::app::App;
use crate::call::{Call, Ending, Facts};
use crate::config::CacheConfig;
use crate::emit::Unrecorded;
use crate::errors::Failure;
use crate::experimenting::Assigned;
use crate::meaning::Meaning;
use crate::respond::{self, Body, CACHE, COST};
use crate::trying::Heard;
use bytes::Bytes;
use cache::{
    Answer, AnswerCache, Asked, CacheOptions, Control, Hit, Lead, Place, Protocol, Question, SharedOptions,
    Worker, keepable,
};
use contracts::Usd;
use contracts::policy::Named;
use contracts::policy::cache::Cache as Policy;
use embed::Sentences;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use metrics::CacheMetrics;
use protocols::Dialect;
use std::sync::Arc;

/// All answers that are kept.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) cache: AnswerCache,
    meaning: Arc<Meaning>,
}

/// What the cache said to a call, for its trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) status: &'static str,
    pub(crate) similarity: Option<f32>,
    pub(crate) saved: Option<Usd>,
}

/// What becomes of a call that the cache was asked about.
#[derive(Debug)]
pub(crate) enum Known {
    /// It has its answer.
    Answered(Response<Body>),
    /// A model must be asked.
    Not,
}

impl Answers {
    /// The cache, and what must run beside it.
    pub(crate) fn new(
        config: &CacheConfig,
        redis_ca: Option<&[u8]>,
        meaning: Arc<Meaning>,
    ) -> anyhow::Result<(Self, Worker)> {
        let options = CacheOptions { max_bytes: config.max_bytes, ..CacheOptions::default() };
        let embed = meaning.is_there().then(|| Arc::new(Sentences(meaning.clone())) as Arc<dyn cache::Embed>);
        let shared = (!config.redis.is_empty())
            .then(|| SharedOptions { ca: redis_ca.map(Into::into), ..SharedOptions::new(&config.redis) });
        let (cache, worker) = AnswerCache::new(options, embed, shared.as_ref())?;
        Ok((Self { cache, meaning }, worker))
    }

    /// How the cache does, for Prometheus.
    pub(crate) fn metrics(&self) -> CacheMetrics {
        CacheMetrics(self.cache.clone())
    }
}

/// Asks the cache before a model is asked.
pub(crate) async fn ask(
    app: &App,
    call: &mut Call,
    policy: &Arc<Named<Policy>>,
    headers: &HeaderMap,
) -> Result<Known, Failure> {
    let control = Control::read(|name| headers.get(name).and_then(|value| value.to_str().ok()))
        .map_err(|invalid| Failure::BadCacheControl(invalid.to_string()))?;
    let facts = call.facts().ok_or(Failure::Closed)?;
    if control.is_off() {
        facts.found = Some(Found { status: "bypass", similarity: None, saved: None });
        return Ok(Known::Not);
    }
    let Some(question) = question(app, facts, policy, headers) else {
        facts.found = Some(Found { status: "bypass", similarity: None, saved: None });
        return if control.only_if_cached { Err(Failure::NotCached) } else { Ok(Known::Not) };
    };
    match app.answers.cache.ask(question, policy, &control, app.clock.now()).await {
        Asked::Absent => Err(Failure::NotCached),
        Asked::Hit(hit) => {
            let facts = call.facts().ok_or(Failure::Closed)?;
            let events = as_stream(facts, &hit);
            if events.is_none() && facts.ask.as_ref().is_some_and(|ask| ask.stream) {
                // It cannot be told as the client asked for it.
                facts.found = Some(Found { status: "bypass", similarity: None, saved: None });
                return if control.only_if_cached { Err(Failure::NotCached) } else { Ok(Known::Not) };
            }
            answer(app, call, &hit, events).await.map(Known::Answered)
        }
        Asked::Call(lead) => {
            let facts = call.facts().ok_or(Failure::Closed)?;
            facts.found = Some(Found { status: "miss", similarity: None, saved: None });
            facts.lead = Some(lead);
            Ok(Known::Not)
        }
    }
}

/// What the cache is asked; `None` where there is nothing that it could know.
fn question(app: &App, facts: &Facts, policy: &Named<Policy>, headers: &HeaderMap) -> Option<Question> {
    let ask = facts.ask.as_ref().filter(|ask| !ask.is_background())?;
    let protocol = protocol(facts)?;
    let resolved = facts.resolved.as_ref()?;
    let beta = headers.get("anthropic-beta").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cascade = resolved
        .cascade()
        .map_or_else(String::new, |cascade| format!("{}@{}", cascade.name, cascade.revision));
    let prompted = facts.prompted.as_ref();
    let prompted = prompted.map_or_else(String::new, |prompt| format!("{}@{}", prompt.name, prompt.version));
    let guardrails = facts.guardrails();
    // A revision is given once only: whoever writes the cache anew has done with all that was kept under it.
    let kept_under = format!("{}@{}", policy.name, policy.revision);
    // Arms must not answer for each other, also where one would be near enough to another.
    let arm = facts.assigned.as_ref().map_or_else(String::new, Assigned::pair);
    let variant = [resolved.model.name.as_str(), &cascade, beta, &prompted, &guardrails, &kept_under, &arm];
    let place = Place {
        tenant: &facts.key.tenant.id,
        route: &ask.model,
        protocol,
        variant: &variant,
        embedder: app.answers.meaning.name(),
    };
    Question::read(&place, &ask.body, policy).ok()
}

/// The form of a call's body; `None` where answers are not kept.
fn protocol(facts: &Facts) -> Option<Protocol> {
    match facts.endpoint.dialect? {
        Dialect::OpenAiChat => Some(Protocol::Chat),
        Dialect::OpenAiResponses => Some(Protocol::Responses),
        Dialect::Anthropic => Some(Protocol::Messages),
        Dialect::Gemini | Dialect::Bedrock => None,
    }
}

/// An answer as the stream that was asked for, where one was and it can be told as one.
fn as_stream(facts: &Facts, hit: &Hit) -> Option<Bytes> {
    let ask = facts.ask.as_ref().filter(|ask| ask.stream)?;
    replay::events(protocol(facts)?, &hit.entry.answer.body, ask.wants_usage())
}

/// Gives an answer again, whole or as the stream that was asked for; that is kept where the client may come back to it.
async fn answer(
    app: &App,
    call: &mut Call,
    hit: &Hit,
    events: Option<Bytes>,
) -> Result<Response<Body>, Failure> {
    let body = hit.entry.answer.body.clone();
    let facts = call.facts().ok_or(Failure::Closed)?;
    facts.found =
        Some(Found { status: hit.status.as_str(), similarity: hit.similarity, saved: Some(hit.saved) });
    let answer =
        (facts.endpoint.read_answer)(&body).ok_or(Failure::Garbage { status: 200, detail: "no answer" })?;
    // Nothing was used: the tokens are those of the call that was made then.
    facts.answer = crate::meter::Answer { usage: None, ..answer };
    facts.first_content = Some(tokio::time::Instant::now());
    app.answers.cache.note_answered(hit);
    // It went through these guardrails when it was given first.
    facts.tell_as_said();
    let identity = facts.identity.clone();
    let mut response = match events {
        Some(events) => app.streams.answer(facts, events),
        None => respond::json(StatusCode::OK, body, &identity),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE, HeaderValue::from_static(hit.status.as_str()));
    headers.insert(header::AGE, HeaderValue::from(hit.age.as_secs()));
    respond::put(headers, respond::MODEL, &hit.entry.answer.model);
    respond::put(headers, COST, "0");
    respond::assigned(headers, facts.assigned.as_ref());
    facts.governed.tell(headers);
    call.finish(Ending::ok(200)).await.map_err(|Unrecorded| Failure::Unrecorded)?;
    Ok(response)
}

/// A stream has ended with this event, as the client gets it: where it carries the whole answer, that is what may be kept.
pub(crate) fn note_end(heard: &mut Heard<'_>, event: &[u8]) {
    let whole =
        heard.whole.as_deref_mut().filter(|_| heard.endpoint.dialect == Some(Dialect::OpenAiResponses));
    if let Some(whole) = whole
        && let Some(response) = whole::of_last_event(event)
    {
        *whole = Some(response);
    }
}

/// A call has ended well: what it brought may be given again.
pub(crate) fn keep(app: &App, facts: &mut Facts, lead: Box<Lead>, cost: Option<Usd>) {
    let Some(protocol) = protocol(facts).filter(|_| !facts.is_withheld()) else { return lead.release() };
    let body = facts.whole.take().or_else(|| whole::of(protocol, facts));
    let Some(body) = body else { return lead.release() };
    let model = facts.answer.model.clone().unwrap_or_default();
    let usage = facts.answer.usage.unwrap_or_default();
    let keepable = keepable(protocol, &body);
    let answer = Answer {
        body,
        content_type: "application/json".into(),
        model,
        usage,
        cost: cost.unwrap_or_default(),
    };
    lead.keep(answer, keepable, app.clock.now());
}
