//! `POST /v1/messages/count_tokens`: how many tokens a prompt has, as Anthropic's SDKs ask before a call.
//!
//! The model's provider is asked where its protocol can say so; elsewhere, or where it cannot for this model, we count as we count
//! calls whose provider does not tell what they used, and say so in a warning. What is counted is what would go to a model: with its
//! prompt filled in, judged, and without what is for us alone. It is no call: nothing is recorded, charged or
//! queued. Plans count it as a request, and while it lasts as one of those at a time.

use crate::app::App;
use crate::attempt::{outgoing_headers, unanswered};
use crate::endpoints::COUNT_TOKENS;
use crate::errors::Failure;
use crate::govern::tell_limits;
use crate::guarding;
use crate::identity::Identity;
use crate::intake::{ClientBody, Intake, read_json_body};
use crate::relay::collect;
use crate::request::{Ask, More, outgoing_body};
use crate::respond::{self, Body, WARNING};
use crate::stack::{heavy, read, resolve};
use crate::translation::{leave_behind, spoken};
use crate::upstream::{Addressed, Outgoing};
use bytes::Bytes;
use contracts::policy::{KeyPolicy, Model, Resolved, Snapshot};
use http::request::Parts as Head;
use http::{HeaderMap, Response, StatusCode, header};
use protocols::{Counting, Dialect, Options, count_tokens, counted_tokens};
use std::sync::Arc;
use tokio::time::Instant;

/// What a client is told of a count of ours.
const ESTIMATED: &str = "input_tokens: estimated: the model's provider does not count";

/// Answers a client whose key is known.
pub(crate) async fn answer(
    app: &Arc<App>,
    identity: &Identity,
    (snapshot, key): (Arc<Snapshot>, Arc<KeyPolicy>),
    head: &Head,
    body: &mut ClientBody,
) -> Result<Response<Body>, Failure> {
    let (body, _room) = read_json_body(&head.headers, body, Intake::new(app, app.limits.body_bytes)).await?;
    // Before the body is taken apart, which is work.
    let permit = app.governor.admit_question(&key)?;
    let (body, prompted) = app.prompter.fill(&snapshot, &key, &COUNT_TOKENS, body).await?;
    let ask = read(&COUNT_TOKENS, body, app.limits.json_depth).await?;
    let resolved = resolve(&snapshot, &key, &ask.model)?;
    let (ask, is_prompted) = match &prompted {
        Some(_) => (ask, true),
        None => with_prompt(app, &resolved, ask).await?,
    };
    let ask = guarding::counted(app, &key, &resolved, ask, is_prompted, &head.headers).await?;
    let mut response = counted(app, identity, (&snapshot, &resolved), head, &ask).await?;
    tell_limits(permit.as_ref(), response.headers_mut());
    Ok(response)
}

/// What is asked with the route's own prompt, and whether there is one.
async fn with_prompt(app: &App, resolved: &Resolved, ask: Ask) -> Result<(Ask, bool), Failure> {
    let Some(route) = resolved.route.as_deref() else { return Ok((ask, false)) };
    let policy = route.policy.as_ref().map_err(|unreadable| Failure::Unreadable(unreadable.clone()))?;
    let Some(prompt) = &policy.prompt else { return Ok((ask, false)) };
    match app.prompter.add(prompt, &COUNT_TOKENS, &ask.body).await? {
        Some((body, _)) => Ok((read(&COUNT_TOKENS, body, app.limits.json_depth).await?, true)),
        None => Ok((ask, false)),
    }
}

async fn counted(
    app: &Arc<App>,
    identity: &Identity,
    (snapshot, resolved): (&Arc<Snapshot>, &Resolved),
    head: &Head,
    ask: &Ask,
) -> Result<Response<Body>, Failure> {
    let models = app.pools.known(&app.policy, snapshot).reach(snapshot, &resolved.model)?;
    let counts = |model: &&Arc<Model>| !matches!(dialect(app, model), Ok(None | Some(Dialect::OpenAiChat)));
    let model = models.iter().find(counts).unwrap_or(&resolved.model);
    let to = dialect(app, model)?.unwrap_or(Dialect::OpenAiChat);
    match counting(to, model, ask).await? {
        Counting::Local(texts) => locally(app, identity, model, texts).await,
        Counting::Upstream(outgoing) => {
            let mut headers = outgoing_headers(&head.headers, identity, app.ids.span());
            if to != Dialect::Anthropic {
                leave_behind(&mut headers);
            }
            match upstream(app, identity, model, to, headers, outgoing.body).await? {
                Some(response) => Ok(response),
                None => match counting(Dialect::OpenAiChat, model, ask).await? {
                    Counting::Local(texts) => locally(app, identity, model, texts).await,
                    Counting::Upstream(_) => Err(Failure::Closed),
                },
            }
        }
    }
}

/// What the model's provider speaks.
fn dialect(app: &App, model: &Model) -> Result<Option<Dialect>, Failure> {
    let target = app.upstreams.target(&model.provider).map_err(|e| Failure::BadProvider(e.to_string()))?;
    Ok(spoken(target.speech.protocol, &COUNT_TOKENS))
}

/// How to count, written in the provider's protocol.
async fn counting(to: Dialect, model: &Arc<Model>, ask: &Ask) -> Result<Counting, Failure> {
    let (model, length, ask) = (model.clone(), ask.body.len(), ask.clone());
    let write = move || {
        let options = Options {
            upstream_model: &model.upstream_model,
            default_max_tokens: 1,
            keep_reasoning: false,
            max_completion_tokens: false,
            asks_stream_usage: true,
            response_id: "",
            created: 0,
        };
        count_tokens(to, &outgoing_body(&ask, &ask.model, More::default()), &options)
    };
    heavy(length, write).await?.map_err(Failure::Untranslatable)
}

/// Asks the provider; `None` when it cannot count for this model.
async fn upstream(
    app: &App,
    identity: &Identity,
    model: &Arc<Model>,
    to: Dialect,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Option<Response<Body>>, Failure> {
    let target = app.upstreams.target(&model.provider).map_err(|e| Failure::BadProvider(e.to_string()))?;
    let until = Instant::now() + app.timeouts.first_byte();
    let addressed = Addressed {
        endpoint: &COUNT_TOKENS,
        model: &model.upstream_model,
        stream: false,
        now: app.clock.now(),
    };
    let outgoing = Outgoing { to: addressed, headers, body };
    let answer = app.upstreams.send(&target, outgoing, until, |_| {}).await;
    let (head, mut body) = answer.map_err(|error| unanswered(app, &target, &error))?.into_parts();
    let bytes = collect(&mut body, app.limits.answer_bytes, &app.timeouts, until).await?;
    body.give_back();
    let status = head.status;
    if status.is_success() {
        let (_, json) = counted_tokens(to, &bytes)
            .map_err(|_| Failure::Garbage { status: status.as_u16(), detail: "what is not a count" })?;
        return Ok(Some(respond::json(StatusCode::OK, json, identity)));
    }
    // Bedrock refuses to count for most models as it refuses a request that is not valid.
    let is_unable =
        matches!(status.as_u16(), 404 | 405 | 501) || to == Dialect::Bedrock && status.as_u16() == 400;
    if is_unable {
        return Ok(None);
    }
    match status.as_u16() {
        401 => return Err(Failure::ProviderCredential { status: 401 }),
        400.. => {}
        other => return Err(Failure::Garbage { status: other, detail: "a redirection" }),
    }
    let json = protocols::error(Dialect::Anthropic, status.as_u16(), &bytes, &identity.request_id);
    let mut response = respond::json(status, json, identity);
    if let Some(after) = head.headers.get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, after.clone());
    }
    Ok(Some(response))
}

/// Counts here, off the async threads: a long prompt takes most of a second.
async fn locally(
    app: &Arc<App>,
    identity: &Identity,
    model: &Model,
    texts: Vec<String>,
) -> Result<Response<Body>, Failure> {
    let (counter, name) = (app.clone(), model.upstream_model.clone());
    let counted = tokio::task::spawn_blocking(move || counter.estimator.count_texts(&name, &texts));
    // The pool is gone: the process is ending.
    let tokens = counted.await.map_err(|_| Failure::BrokenBody)?;
    let mut response = respond::json(StatusCode::OK, format!(r#"{{"input_tokens":{tokens}}}"#), identity);
    respond::put(response.headers_mut(), WARNING, ESTIMATED);
    Ok(response)
}
