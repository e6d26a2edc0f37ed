//! From a route's row to a route whose names are resolved.

use super::Problem;
use super::policies::Policies;
use crate::records::Route;
use contracts::policy::{self, Kind, RoutePolicy, RouteSpec, Unreadable, shape};
use contracts::{ModelName, TenantId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

type RoutesByName = HashMap<ModelName, Arc<policy::Route>>;

/// Shared routes, and those of each tenant.
pub(super) fn build(
    routes: Vec<Route>,
    policies: &Policies,
    problems: &mut Vec<Problem>,
) -> (RoutesByName, HashMap<TenantId, RoutesByName>) {
    let mut shared = RoutesByName::new();
    let mut own: HashMap<TenantId, RoutesByName> = HashMap::new();
    for route in routes {
        let policy = resolve(&route, policies).map_err(|reason| {
            let unreadable = Unreadable {
                kind: "route",
                tenant: route.tenant.clone(),
                name: route.name.to_string(),
                reason,
            };
            problems.push(Problem::closed(&unreadable));
            Arc::new(unreadable)
        });
        let place = match &route.tenant {
            Some(tenant) => own.entry(tenant.clone()).or_default(),
            None => &mut shared,
        };
        let entry =
            policy::Route { tenant: route.tenant, name: route.name.clone(), model: route.model, policy };
        place.insert(route.name, Arc::new(entry));
    }
    (shared, own)
}

/// What a route does beside leading to a model; the error says what part of it cannot be applied.
fn resolve(route: &Route, policies: &Policies) -> Result<RoutePolicy, String> {
    let Some(spec) = &route.spec else { return Ok(RoutePolicy::default()) };
    let spec: RouteSpec = shape(spec).map_err(|invalid| invalid.to_string())?;
    let tenant = route.tenant.as_ref();
    /// The document of that name, when one is named.
    macro_rules! named {
        ($name:expr, $library:ident, $kind:ident) => {
            $name
                .map(|name| policies.$library.need(Kind::$kind, tenant, name))
                .transpose()
                .map_err(|unreadable| unreadable.to_string())?
        };
    }
    let guardrails =
        spec.guardrails.iter().map(|name| policies.guardrails.need(Kind::Guardrail, tenant, name));
    let prompt = spec.prompt.as_ref();
    let prompt = prompt.map(|prompt| policies.prompts.need(tenant, &prompt.name, prompt.selector()));
    Ok(RoutePolicy {
        cascade: named!(spec.cascade.as_ref(), cascades, Cascade),
        cache: named!(spec.cache.as_ref(), caches, Cache),
        experiment: named!(spec.experiment.as_ref(), experiments, Experiment),
        guardrails: guardrails.collect::<Result<_, _>>().map_err(|unreadable| unreadable.to_string())?,
        prompt: prompt.transpose().map_err(|unreadable| unreadable.to_string())?,
        tags: spec.tags,
        ttft_slo: spec.ttft_slo_ms.map(Duration::from_millis),
    })
}
