//! Experiments: which arm of its route's experiment a call gets, and what that changes of it.
//!
//! The arm is dealt before anything is looked up or reserved, so that plans, budgets and caches see the call as the arm makes it. What an
//! arm sets becomes the route's own for this call: a route that leads to the arm's model or cascade, with the arm's prompt. Parameters go into
//! the body. A key that may ask for the route may be led wherever the route's arms lead, as it may to every tier of a cascade.
//!
//! While an experiment is paused everybody gets the control, and nobody takes part: a trace that named the control then would be counted
//! among those whom it was dealt to.
//!
//! Weights that follow what was measured take ten thousand draws of each arm. They are drawn for the policy in force, on a thread that may be
//! busy; until they are there, a few milliseconds after a change, arms are dealt by those before, and no call waits.

mod subject;

use crate::app::App;
use crate::call::Call;
use crate::endpoints::Endpoint;
use crate::errors::Failure;
use crate::request::{Ask, utf8};
use crate::stack::{LARGE, heavy, read};
use arc_swap::ArcSwap;
use bytes::Bytes;
use contracts::policy::experiment::{Arm, Experiment, Measured, Status, Sticky};
use contracts::policy::{Kind, Named, Resolved, Route, RoutePolicy, Snapshot, Unreadable};
use contracts::{KeyId, ModelName, TenantId};
use http::HeaderMap;
use prompts::{Dealer, Dealt, set_members, shares};
use std::collections::HashMap;
use std::sync::Arc;
use subject::Said;
use tokio::sync::Mutex;

/// Experiments of all routes.
#[derive(Debug, Default)]
pub(crate) struct Experiments {
    current: ArcSwap<Known>,
    /// Held by whoever reckons them anew.
    renewing: Arc<Mutex<()>>,
}

/// The arm that a call got.
#[derive(Debug, Clone)]
pub(crate) struct Assigned {
    experiment: Arc<Named<Experiment>>,
    arm: usize,
    /// What it was dealt to: what the experiment is sticky by, or what is next closer to the request where it did not say.
    pub(crate) by: Sticky,
}

/// The experiments of one snapshot, by their routes.
#[derive(Debug, Default)]
struct Known {
    snapshot: Arc<Snapshot>,
    shared: HashMap<ModelName, Arc<Running>>,
    own: HashMap<TenantId, HashMap<ModelName, Arc<Running>>>,
}

/// An experiment as one route runs it.
#[derive(Debug)]
struct Running {
    experiment: Arc<Named<Experiment>>,
    dealer: Dealer,
    /// The weights, where they follow what was measured.
    adapted: Option<Adapted>,
    /// Where each arm leads. One that names what cannot be had closes itself, not the others.
    arms: Vec<Result<Resolved, Arc<Unreadable>>>,
}

/// Weights, and the measurement that they follow.
type Adapted = (Arc<Named<Measured>>, Vec<f64>);

/// What becomes of weights whose measurement has changed.
#[derive(Debug, Clone, Copy)]
enum Weights {
    /// They stay what they were, for now.
    Kept,
    /// They are drawn.
    Drawn,
}

impl Assigned {
    /// The experiment's name.
    pub(crate) fn name(&self) -> &str {
        self.experiment.name.as_str()
    }

    /// Whose the experiment is, as traces say it.
    pub(crate) fn owner(&self) -> &'static str {
        if self.experiment.tenant.is_some() { "tenant" } else { "shared" }
    }

    /// The arm's name.
    pub(crate) fn variant(&self) -> &str {
        self.experiment.arms.get(self.arm).map_or("", |arm| &arm.name)
    }

    /// Both, as a header says them and a cache tells arms apart.
    pub(crate) fn pair(&self) -> String {
        format!("{}={}", self.name(), self.variant())
    }
}

/// Deals the call its arm, where its route has an experiment, and returns where that leads.
pub(crate) async fn deal(
    app: &App,
    call: &mut Call,
    endpoint: &'static Endpoint,
    headers: &HeaderMap,
    resolved: Resolved,
) -> Result<Resolved, Failure> {
    let Some((route, policy, experiment)) = compared(&resolved) else { return Ok(resolved) };
    let facts = call.facts().ok_or(Failure::BrokenBody)?;
    let in_force = || app.policy.load_full();
    let running = app.experiments.of(in_force, &facts.snapshot, route, policy, experiment);
    let body = facts.ask.as_ref().map(|ask| ask.body.clone()).ok_or(Failure::BrokenBody)?;
    let dealt = dealt(&running, &body, headers, &facts.key.id, &facts.identity.request_id).await?;
    let assigned = Assigned { experiment: running.experiment.clone(), arm: dealt.arm, by: dealt.by };
    let Some(led) = running.arms.get(dealt.arm) else { return Ok(resolved) };
    let led = led.clone().map_err(Failure::Unreadable);
    let parameters = running.experiment.arms.get(dealt.arm).and_then(|arm| arm.parameters.as_ref());
    let parameters = parameters.filter(|parameters| !parameters.is_empty());
    let is_running = running.experiment.status == Status::Running;
    // Also a call that its arm cannot serve is on the trace as the arm's.
    facts.assigned = is_running.then(|| assigned.clone());
    let led = led?;
    facts.resolved = Some(led.clone());
    if let Some(parameters) = parameters {
        let parameters = parameters.clone();
        let body = heavy(body.len(), move || set_members(&body, &parameters)).await?;
        let body = body.map_err(|error| assigned.refused(&error))?;
        let ask = parsed(app, endpoint, body.into()).await.map_err(|message| assigned.refused(&message))?;
        if let Some(facts) = call.facts() {
            facts.ask = Some(ask);
        }
    }
    Ok(led)
}

/// The arm for whom the request is from. A large body is looked through off the async threads.
async fn dealt(
    running: &Arc<Running>,
    body: &Bytes,
    headers: &HeaderMap,
    key: &KeyId,
    request: &str,
) -> Result<Dealt, Failure> {
    if body.len() <= LARGE || !Said::reads_body(running.experiment.sticky) {
        return Ok(running.deal(body, headers, key, request));
    }
    let (running, body, headers) = (running.clone(), body.clone(), headers.clone());
    let (key, request) = (key.clone(), request.to_owned());
    heavy(body.len(), move || running.deal(&body, &headers, &key, &request)).await
}

/// A route, what it does, and the experiment that it runs.
type Compared<'a> = (&'a Arc<Route>, &'a RoutePolicy, &'a Arc<Named<Experiment>>);

/// What a route compares, where it does.
fn compared(resolved: &Resolved) -> Option<Compared<'_>> {
    let route = resolved.route.as_ref()?;
    let policy = route.policy.as_ref().ok()?;
    Some((route, policy, policy.experiment.as_ref()?))
}

async fn parsed(app: &App, endpoint: &'static Endpoint, body: Bytes) -> Result<Ask, String> {
    read(endpoint, body, app.limits.json_depth).await.map_err(|failure| failure.to_api().message)
}

impl Assigned {
    /// The client's body was fine before the arm's parameters were in it.
    fn refused(&self, error: &impl ToString) -> Failure {
        Failure::Unreadable(unreadable(&self.experiment, self.variant(), &error.to_string()))
    }
}

impl Experiments {
    /// The experiment of `route`, as `snapshot` has it.
    fn of(
        self: &Arc<Self>,
        in_force: impl FnOnce() -> Arc<Snapshot>,
        snapshot: &Arc<Snapshot>,
        route: &Arc<Route>,
        policy: &RoutePolicy,
        experiment: &Arc<Named<Experiment>>,
    ) -> Arc<Running> {
        let known = self.current.load();
        let before = known.get(route);
        if Arc::ptr_eq(&known.snapshot, snapshot) {
            if let Some(running) = before {
                return running.clone();
            }
        } else {
            let in_force = in_force();
            // Else it is a call that was admitted under the policy before.
            if !Arc::ptr_eq(&known.snapshot, &in_force) {
                self.renew(in_force);
            }
        }
        let before = before.map(AsRef::as_ref);
        Arc::new(Running::new(snapshot, route, policy, experiment, before, Weights::Kept))
    }

    /// Reckons the experiments of `snapshot`, which is in force, in the background, unless that is being done.
    fn renew(self: &Arc<Self>, snapshot: Arc<Snapshot>) {
        if let Ok(alone) = self.renewing.clone().try_lock_owned() {
            let all = self.clone();
            tokio::task::spawn_blocking(move || {
                all.put(&snapshot);
                drop(alone);
            });
        }
    }

    /// Reckons the experiments of `snapshot`, which is in force or about to be, and returns when that is done.
    pub(crate) async fn prepare(self: &Arc<Self>, snapshot: Arc<Snapshot>) {
        let (alone, all) = (self.renewing.clone().lock_owned().await, self.clone());
        let reckoned = tokio::task::spawn_blocking(move || {
            all.put(&snapshot);
            drop(alone);
        });
        // It fails where the process is ending, or else calls have it done.
        let _ = reckoned.await;
    }

    fn put(&self, snapshot: &Arc<Snapshot>) {
        let known = self.current.load_full();
        if !Arc::ptr_eq(&known.snapshot, snapshot) {
            self.current.store(Arc::new(Known::new(snapshot, &known)));
        }
    }
}

impl Known {
    fn new(snapshot: &Arc<Snapshot>, before: &Self) -> Self {
        let running = |routes: &HashMap<ModelName, Arc<Route>>| {
            let of_route = |route: &Arc<Route>| {
                let policy = route.policy.as_ref().ok()?;
                let before = before.get(route).map(AsRef::as_ref);
                let experiment = policy.experiment.as_ref()?;
                let running = Running::new(snapshot, route, policy, experiment, before, Weights::Drawn);
                Some((route.name.clone(), Arc::new(running)))
            };
            routes.values().filter_map(of_route).collect::<HashMap<_, _>>()
        };
        let own = snapshot.tenant_routes.iter().map(|(tenant, routes)| (tenant.clone(), running(routes)));
        Self { snapshot: snapshot.clone(), shared: running(&snapshot.shared_routes), own: own.collect() }
    }

    fn get(&self, route: &Route) -> Option<&Arc<Running>> {
        match &route.tenant {
            Some(tenant) => self.own.get(tenant)?.get(&route.name),
            None => self.shared.get(&route.name),
        }
    }
}

impl Running {
    fn new(
        snapshot: &Snapshot,
        route: &Arc<Route>,
        policy: &RoutePolicy,
        experiment: &Arc<Named<Experiment>>,
        before: Option<&Self>,
        weights: Weights,
    ) -> Self {
        let arms = experiment.arms.iter().map(|arm| lead(snapshot, route, policy, experiment, arm)).collect();
        let name = experiment.full_name();
        let adapted = adapted(snapshot, &name, experiment, before, weights);
        let dealer = Dealer::new(&name, experiment);
        let dealer = match &adapted {
            Some((_, weights)) => dealer.with_weights(weights),
            None => dealer,
        };
        Self { experiment: experiment.clone(), dealer, adapted, arms }
    }

    /// The arm for whom a request is from.
    fn deal(&self, body: &[u8], headers: &HeaderMap, key: &KeyId, request: &str) -> Dealt {
        let said = Said::read(self.experiment.sticky, utf8(body).unwrap_or_default(), headers);
        self.dealer.deal(&said.subject(key, request))
    }
}

/// The weights that follow from what was measured, where they do.
fn adapted(
    snapshot: &Snapshot,
    name: &str,
    experiment: &Arc<Named<Experiment>>,
    before: Option<&Running>,
    weights: Weights,
) -> Option<Adapted> {
    experiment.adaptive.as_ref()?;
    let measured = snapshot.measured.get(&(experiment.tenant.clone(), experiment.name.clone()))?;
    // A revision alone may be another's, in a database that was restored.
    let is_same =
        |before: &&Running| before.experiment == *experiment && before.experiment.spec == experiment.spec;
    let before = before.filter(is_same);
    let before = before.and_then(|before| before.adapted.as_ref());
    match (weights, before) {
        (Weights::Kept, before) => before.cloned(),
        (Weights::Drawn, Some(same)) if same.0.spec == measured.spec => Some(same.clone()),
        (Weights::Drawn, _) => Some((measured.clone(), shares(name, experiment, measured)?)),
    }
}

/// The route as `arm` has it. Names are read in the eyes of whoever's experiment it is.
fn lead(
    snapshot: &Snapshot,
    route: &Arc<Route>,
    policy: &RoutePolicy,
    experiment: &Named<Experiment>,
    arm: &Arm,
) -> Result<Resolved, Arc<Unreadable>> {
    let tenant = experiment.tenant.as_ref();
    let name = arm.model.as_ref().unwrap_or(&route.model);
    let missing = || unreadable(experiment, &arm.name, &format!("the model {name} does not exist"));
    let model = snapshot.models.get(name).cloned().ok_or_else(missing)?;
    let mut policy = policy.clone();
    if arm.model.is_some() {
        policy.cascade = None;
    }
    if let Some(cascade) = &arm.cascade {
        policy.cascade = Some(snapshot.cascades.need(Kind::Cascade, tenant, cascade)?);
    }
    if let Some(prompt) = &arm.prompt {
        policy.prompt = Some(snapshot.prompts.need(tenant, &prompt.name, prompt.selector())?);
    }
    let route = Route { model: name.clone(), policy: Ok(policy), ..Route::clone(route) };
    Ok(Resolved { route: Some(Arc::new(route)), model })
}

fn unreadable(experiment: &Named<Experiment>, arm: &str, reason: &str) -> Arc<Unreadable> {
    Arc::new(Unreadable {
        kind: Kind::Experiment.as_str(),
        tenant: experiment.tenant.clone(),
        name: experiment.name.to_string(),
        reason: format!("arm {arm}: {reason}"),
    })
}

#[cfg(test)]
mod tests;
