//! The whole way of a request through the gateway, layer by layer, in one place.

use crate::app::App;
use crate::auth::{administers, authenticate};
use crate::call::{Call, Ending, Facts};
use crate::counting;
use crate::endpoints::{self, COUNT_TOKENS, Endpoint, models};
use crate::errors::{Failure, renews_soon};
use crate::experimenting;
use crate::forward::forward;
use crate::guarding;
use crate::identity::Identity;
use crate::intake::{ClientBody, Intake, read_json_body};
use crate::live;
use crate::metrics::GatewayMetrics;
use crate::outcomes::{self, Outcome};
use crate::pools::Known;
use crate::request::{Ask, parse};
use crate::respond::{self, Body};
use crate::resume::{self, OnDisconnect, socket};
use bytes::Bytes;
use contracts::policy::{KeyPolicy, Model, Resolved, Route, Snapshot};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::Instant;
use tower::ServiceExt;

/// Bodies above this many bytes are parsed off the async threads.
pub(crate) const LARGE: usize = 256 << 10;

/// The service of every connection.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) app: Arc<App>,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub(crate) operations: axum::Router,
    /// Whose connection it is.
    pub(crate) peer: IpAddr,
}

impl hyper::service::Service<Request<Incoming>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // Operational endpoints: no key, no record.
        if matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics") {
            let operations = self.operations.clone();
            return Box::pin(async move {
                let response = operations.oneshot(request.map(axum::body::Body::new)).await?;
                Ok(response.map(Body::Other))
            });
        }
        let (app, peer) = (self.app.clone(), self.peer);
        if request.uri().path() == socket::PATH {
            return Box::pin(async move { Ok(socket::open(&app, peer, request)) });
        }
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = ClientBody::new(&head.headers, body);
            Ok(identified(&app, peer, head, body).await)
        })
    }
}

/// Identity and errors: every request gets an id and a place in a trace; every failure becomes a response here.
pub(crate) async fn identified(
    app: &Arc<App>,
    peer: IpAddr,
    head: Head,
    mut body: ClientBody,
) -> Response<Body> {
    let identity = Arc::new(app.ids.identify(&head.headers, peer, app.clock.now()));
    let (route, result) = routed(app, &identity, head, &mut body).await;
    if result.is_err() {
        body.see_off();
    }
    let (response, fault) = match result {
        Ok(response) => {
            let fault = if response.status().is_success() { "" } else { "upstream" };
            (response, fault)
        }
        Err(Refusal { failure, limits }) => {
            let (mut response, fault) = refused(app, &failure, route, &identity);
            response.headers_mut().extend(limits);
            (response, fault)
        }
    };
    app.metrics.count_request(route, response.status().as_u16(), fault);
    response
}

/// Why a request is not answered, and where its client stands under its plans, where it was admitted before.
#[derive(Debug)]
pub(crate) struct Refusal {
    failure: Failure,
    limits: HeaderMap,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, limits: HeaderMap::new() }
    }
}

/// What a client is told of a failure, and whose fault it is.
fn refused(
    app: &App,
    failure: &Failure,
    route: &'static str,
    identity: &Identity,
) -> (Response<Body>, &'static str) {
    let error = failure.to_api();
    GatewayMetrics::count(&app.metrics.refusals, error.code.unwrap_or(error.kind));
    let mut response = respond::error(&error, endpoints::shape(route), identity);
    let headers = response.headers_mut();
    match failure {
        Failure::WrongMethod { allowed, .. } => {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        Failure::RateLimited(refusal) => {
            for (name, value) in refusal.headers() {
                respond::put(headers, HeaderName::from_static(name), &value);
            }
        }
        // OpenAI's clients try again on any 429, unless they are told not to.
        Failure::Budget(budget::Refused::Exhausted(why)) if !renews_soon(why) => {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        _ => {}
    }
    (response, error.fault.as_str())
}

/// Routing: which endpoint, with which method. Returns the route's name for metrics.
async fn routed(
    app: &Arc<App>,
    identity: &Arc<Identity>,
    head: Head,
    body: &mut ClientBody,
) -> (&'static str, Result<Response<Body>, Refusal>) {
    let path = head.uri.path();
    if let Some(endpoint) = endpoints::find(path) {
        let result = match require(&head, &Method::POST, endpoint.path, "POST") {
            Ok(()) => admitted(app, identity, endpoint, head, body).await,
            Err(failure) => Err(failure.into()),
        };
        return (endpoint.path, result);
    }
    if path == COUNT_TOKENS.path {
        return (COUNT_TOKENS.path, counted(app, identity, &head, body).await.map_err(Refusal::from));
    }
    if let Some(outcome) = Outcome::find(path) {
        return (outcome.path(), told(app, identity, outcome, &head, body).await.map_err(Refusal::from));
    }
    if let Some(asked) = models::asked(path) {
        let route = asked.route();
        let listed = || -> Result<_, Failure> {
            require(&head, &Method::GET, route, "GET")?;
            let (snapshot, key) = known(app, &head, identity)?;
            let json = models::answer(&snapshot, &key, &asked)?;
            Ok(respond::json(StatusCode::OK, json, identity))
        };
        return (route, listed().map_err(Refusal::from));
    }
    if let Some(asked) = resume::Asked::find(&head) {
        let route = asked.route();
        let (method, name) = asked.method();
        let answered = || {
            require(&head, &method, route, name)?;
            let (_, key) = known(app, &head, identity)?;
            resume::answer(app, &key, identity, &asked, &head)
        };
        return (route, answered().map_err(Refusal::from));
    }
    if path == live::PATH {
        return (live::PATH, watched(app, identity, &head).await.map_err(Refusal::from));
    }
    let failure =
        Failure::NoSuchEndpoint { method: head.method.to_string(), path: path.chars().take(200).collect() };
    ("other", Err(failure.into()))
}

/// How many tokens a prompt has.
async fn counted(
    app: &Arc<App>,
    identity: &Identity,
    head: &Head,
    body: &mut ClientBody,
) -> Result<Response<Body>, Failure> {
    require(head, &Method::POST, COUNT_TOKENS.path, "POST")?;
    let known = known(app, head, identity)?;
    counting::answer(app, identity, known, head, body).await
}

/// What a client says of answers.
async fn told(
    app: &App,
    identity: &Identity,
    outcome: Outcome,
    head: &Head,
    body: &mut ClientBody,
) -> Result<Response<Body>, Failure> {
    require(head, &Method::POST, outcome.path(), "POST")?;
    let (_, key) = known(app, head, identity)?;
    outcomes::take(app, identity, &key, outcome, head, body).await
}

/// What goes on here, for who holds an admin key.
async fn watched(app: &App, identity: &Identity, head: &Head) -> Result<Response<Body>, Failure> {
    require(head, &Method::GET, live::PATH, "GET")?;
    let snapshot = in_force(app)?;
    administers(&snapshot, &head.headers, identity.started).map_err(|failure| match failure {
        Failure::NotAdmin { .. } => failure,
        failure => unauthenticated(app, identity.peer, failure),
    })?;
    live::answer(app, &snapshot, identity).await
}

fn require(head: &Head, method: &Method, path: &'static str, allowed: &'static str) -> Result<(), Failure> {
    if head.method == *method {
        return Ok(());
    }
    Err(Failure::WrongMethod { method: head.method.to_string(), path, allowed })
}

/// Whether a socket may be opened: its key works.
pub(crate) fn lets_in(app: &App, peer: IpAddr, head: &Head) -> Result<Arc<KeyPolicy>, Box<Response<Body>>> {
    let identity = app.ids.identify(&head.headers, peer, app.clock.now());
    let known = known(app, head, &identity).map(|(_, key)| key);
    known.map_err(|failure| Box::new(socket_refused(app, &failure, &identity)))
}

/// What a client is told whose socket is not opened, or closed.
pub(crate) fn socket_refused(app: &App, failure: &Failure, identity: &Identity) -> Response<Body> {
    let (response, fault) = refused(app, failure, socket::PATH, identity);
    app.metrics.count_request(socket::PATH, response.status().as_u16(), fault);
    response
}

/// The policy in force, once there is one.
fn in_force(app: &App) -> Result<Arc<Snapshot>, Failure> {
    let snapshot = app.policy.load_full();
    if snapshot.version == 0 && snapshot.keys.is_empty() {
        return Err(Failure::NoPolicy);
    }
    Ok(snapshot)
}

/// Authentication: the policy in force, and the key that the request carries.
fn known(app: &App, head: &Head, identity: &Identity) -> Result<(Arc<Snapshot>, Arc<KeyPolicy>), Failure> {
    let snapshot = in_force(app)?;
    let key = authenticate(&snapshot, &head.headers, identity.started)
        .map_err(|failure| unauthenticated(app, identity.peer, failure))?;
    Ok((snapshot, key))
}

/// Counts a failure against the address that it came from; one that keeps failing has to wait. Whoever has a key that works is
/// never held up by others behind the same address.
fn unauthenticated(app: &App, peer: IpAddr, failure: Failure) -> Failure {
    let flood = &app.governor.flood;
    if let Err(wait) = flood.check(peer) {
        return Failure::Flooded { wait };
    }
    flood.failed(peer);
    failure
}

/// Admission: from here on the call is recorded, whatever becomes of it.
async fn admitted(
    app: &Arc<App>,
    identity: &Arc<Identity>,
    endpoint: &'static Endpoint,
    head: Head,
    body: &mut ClientBody,
) -> Result<Response<Body>, Refusal> {
    let (snapshot, key) = known(app, &head, identity)?;
    // What cannot be recorded is not done.
    if app.recorder.refuses() {
        return Err(Failure::SpoolFull.into());
    }
    let facts = Facts::new(identity.clone(), endpoint, snapshot, key);
    let mut call = Call::new(app.clone(), facts);
    match understood(app, &mut call, endpoint, &head.headers, body).await {
        Ok(resolved) => forward(app, call, resolved, head.headers).await,
        Err(failure) => Err(fail(&mut call, failure).await),
    }
}

/// Records a call that failed before an answer came.
pub(crate) async fn fail(call: &mut Call, failure: Failure) -> Refusal {
    let mut limits = HeaderMap::new();
    if let Some(facts) = call.facts() {
        facts.governed.tell(&mut limits);
    }
    let error = failure.to_api();
    let class = error.code.unwrap_or(error.kind);
    // It failed already: that it could not be recorded either is counted and logged, but tells the client nothing.
    let _failed_anyway = call.finish(Ending::failed(error.status, class)).await;
    Refusal { failure, limits }
}

/// Intake and policy: the body is read within limits, checked, and led to a model that the key may use.
async fn understood(
    app: &App,
    call: &mut Call,
    endpoint: &'static Endpoint,
    headers: &HeaderMap,
    body: &mut ClientBody,
) -> Result<Resolved, Failure> {
    let limits = &app.limits;
    let (body, room) = read_json_body(headers, body, Intake::new(app, limits.body_bytes)).await?;
    let asked_at = Instant::now();
    let facts = call.facts().ok_or(Failure::BrokenBody)?;
    (facts.asked_at, facts.room) = (Some(asked_at), room);
    let (body, prompted) = app.prompter.fill(&facts.snapshot, &facts.key, endpoint, body).await?;
    facts.prompted = prompted;
    let body = app.streams.as_provider_knows(&facts.key.tenant.id, endpoint, body);
    let ask = read(endpoint, body, limits.json_depth).await?;
    let facts = call.facts().ok_or(Failure::BrokenBody)?;
    let ask = facts.ask.insert(ask);
    facts.on_disconnect = OnDisconnect::of(headers)?;
    if (resume::opts_in(headers)? && ask.stream) || ask.is_background() {
        let place = app.streams.enter(&facts.key.tenant.id);
        facts.place = Some(place.ok_or(Failure::TooManyStreams)?);
    }
    let resolved = resolve(&facts.snapshot, &facts.key, &ask.model)?;
    facts.resolved = Some(resolved.clone());
    let resolved = experimenting::deal(app, call, endpoint, headers, resolved).await?;
    if let Some(route) = resolved.route.as_deref() {
        add_prompt(app, call, endpoint, route).await?;
    }
    guarding::judge_request(app, call, endpoint, headers).await?;
    let facts = call.facts().ok_or(Failure::BrokenBody)?;
    if facts.is_governed() {
        let models = reach(facts.pools(app), &facts.snapshot, &resolved)?;
        app.governor.admit(app, facts, &models, headers).await?;
    }
    Ok(resolved)
}

/// A route's prompt, where the client named none.
async fn add_prompt(
    app: &App,
    call: &mut Call,
    endpoint: &'static Endpoint,
    route: &Route,
) -> Result<(), Failure> {
    let policy = route.policy.as_ref().map_err(|unreadable| Failure::Unreadable(unreadable.clone()))?;
    let facts = call.facts().ok_or(Failure::BrokenBody)?;
    let (Some(prompt), None, Some(ask)) = (&policy.prompt, &facts.prompted, &facts.ask) else {
        return Ok(());
    };
    if let Some((body, prompted)) = app.prompter.add(prompt, endpoint, &ask.body).await? {
        facts.prompted = Some(prompted);
        let ask = read(endpoint, body, app.limits.json_depth).await?;
        if let Some(facts) = call.facts() {
            facts.ask = Some(ask);
        }
    }
    Ok(())
}

/// Every model that the call may be led to.
fn reach(pools: &Known, snapshot: &Snapshot, resolved: &Resolved) -> Result<Vec<Arc<Model>>, Failure> {
    let Some(cascade) = resolved.cascade() else { return pools.reach(snapshot, &resolved.model) };
    let mut models = Vec::new();
    for model in cascade.tiers.iter().filter_map(|tier| snapshot.models.get(&tier.model)) {
        models.extend(pools.reach(snapshot, model)?);
    }
    Ok(models)
}

pub(crate) async fn read(endpoint: &'static Endpoint, body: Bytes, max_depth: usize) -> Result<Ask, Failure> {
    Ok(heavy(body.len(), move || parse(endpoint, body, max_depth)).await??)
}

/// Does what looks at each of so many bytes: off the async threads, when they are many.
pub(crate) async fn heavy<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if bytes <= LARGE {
        return Ok(work());
    }
    // The pool is gone: the process is ending.
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::BrokenBody)
}

/// The model that `name` leads to, if the key may use it.
pub(crate) fn resolve(snapshot: &Snapshot, key: &KeyPolicy, name: &str) -> Result<Resolved, Failure> {
    let is_allowed = match &key.allowed_models {
        None => true,
        Some(allowed) => allowed.iter().any(|model| model.as_str() == name),
    };
    match snapshot.resolve(&key.tenant.id, name) {
        Some(resolved) if is_allowed => Ok(resolved),
        Some(_) => Err(Failure::ModelNotAllowed { model: name.into(), key: key.id.to_string() }),
        None => Err(Failure::UnknownModel { model: name.chars().take(200).collect() }),
    }
}
