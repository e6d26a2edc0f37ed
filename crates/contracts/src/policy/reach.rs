//! What a budget applies to, and how all budgets that a call falls under are found without looking at every one.

use super::{Document, Held, KeyPolicy, Named, Reference, Route, Unreadable};
use crate::{KeyId, ModelName, OrganisationId, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Which calls: those that fit every part that is given. Without any part all calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reach {
    /// Of this organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationId>,
    /// Of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// With this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// Through this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<ModelName>,
    /// With this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// A document that applies to some calls.
pub trait Reaching: Document {
    /// To which.
    fn reach(&self) -> Reach;
}

impl Reach {
    /// Its parts as references.
    pub fn references(&self) -> Vec<Reference> {
        let mut references = Vec::new();
        references.extend(self.organisation.clone().map(Reference::Organisation));
        references.extend(self.tenant.clone().map(Reference::Tenant));
        references.extend(self.key.clone().map(Reference::Key));
        let of_tenant = |name| Reference::Route(self.tenant.clone(), name);
        references.extend(self.route.clone().map(of_tenant));
        references.extend(self.tag.clone().map(Reference::Tag));
        references
    }

    /// The reach of a document that cannot be read, of what it was noted to refer to.
    pub fn of_references(references: impl IntoIterator<Item = Reference>) -> Self {
        let mut reach = Self::default();
        for reference in references {
            match reference {
                Reference::Organisation(id) => reach.organisation = Some(id),
                Reference::Tenant(id) => reach.tenant = Some(id),
                Reference::Key(id) => reach.key = Some(id),
                Reference::Route(_, name) => reach.route = Some(name),
                Reference::Tag(tag) => reach.tag = Some(tag),
                Reference::Model(_)
                | Reference::Document(..)
                | Reference::Provider(_)
                | Reference::Prompt(_) => {}
            }
        }
        reach
    }

    fn fits(&self, key: &KeyPolicy, route: Option<&Route>, tags: &[&str]) -> bool {
        let is = |tag: &String| {
            tags.contains(&tag.as_str()) || route.is_some_and(|route| route.tags().contains(tag))
        };
        self.organisation.as_ref().is_none_or(|id| key.tenant.organisation.as_ref() == Some(id))
            && self.tenant.as_ref().is_none_or(|id| key.tenant.id == *id)
            && self.key.as_ref().is_none_or(|id| key.id == *id)
            && self.route.as_ref().is_none_or(|name| route.is_some_and(|route| route.name == *name))
            && self.tag.as_ref().is_none_or(is)
    }
}

/// Budgets by what they apply to. Each stands in one place, that of its narrowest part, so a call meets it once.
#[derive(Debug, Clone)]
pub struct ByReach<D> {
    by_key: HashMap<KeyId, Vec<Entry<D>>>,
    by_route: HashMap<ModelName, Vec<Entry<D>>>,
    by_tag: HashMap<String, Vec<Entry<D>>>,
    by_tenant: HashMap<TenantId, Vec<Entry<D>>>,
    by_organisation: HashMap<OrganisationId, Vec<Entry<D>>>,
    of_all: Vec<Entry<D>>,
}

#[derive(Debug, Clone)]
struct Entry<D> {
    reach: Reach,
    document: Held<D>,
}

impl<D> Default for ByReach<D> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            by_route: HashMap::new(),
            by_tag: HashMap::new(),
            by_tenant: HashMap::new(),
            by_organisation: HashMap::new(),
            of_all: Vec::new(),
        }
    }
}

impl<D> ByReach<D> {
    /// Adds one. A tenant's own applies to that tenant alone.
    pub fn insert(&mut self, owner: Option<&TenantId>, mut reach: Reach, document: Held<D>) {
        if let Some(owner) = owner {
            match &reach.tenant {
                // It names another tenant: nothing fits both.
                Some(tenant) if tenant != owner => return,
                _ => reach.tenant = Some(owner.clone()),
            }
        }
        let place = if let Some(key) = &reach.key {
            self.by_key.entry(key.clone()).or_default()
        } else if let Some(route) = &reach.route {
            self.by_route.entry(route.clone()).or_default()
        } else if let Some(tag) = &reach.tag {
            self.by_tag.entry(tag.clone()).or_default()
        } else if let Some(tenant) = &reach.tenant {
            self.by_tenant.entry(tenant.clone()).or_default()
        } else if let Some(organisation) = &reach.organisation {
            self.by_organisation.entry(organisation.clone()).or_default()
        } else {
            &mut self.of_all
        };
        place.push(Entry { reach, document });
    }

    /// All that a call falls under: the widest first (all, organisation, tenant), then by tag, route and key. `tags` are those of the
    /// request; those of the route are added.
    pub fn applying<'a>(
        &'a self,
        key: &'a KeyPolicy,
        route: Option<&'a Route>,
        tags: &'a [&'a str],
    ) -> impl Iterator<Item = Result<&'a Arc<Named<D>>, &'a Arc<Unreadable>>> {
        let of_route = route.map_or(&[] as &[String], Route::tags);
        // A tag that request and route both carry counts once.
        let more = tags.iter().enumerate().filter(move |(n, tag)| {
            !tags[..*n].contains(tag) && !of_route.iter().any(|known| known.as_str() == **tag)
        });
        let of_organisation = key.tenant.organisation.as_ref().and_then(|id| self.by_organisation.get(id));
        let of_tags = of_route.iter().map(String::as_str).chain(more.map(|(_, tag)| *tag));
        self.of_all
            .iter()
            .chain(of_organisation.into_iter().flatten())
            .chain(self.by_tenant.get(&key.tenant.id).into_iter().flatten())
            .chain(of_tags.filter_map(|tag| self.by_tag.get(tag)).flatten())
            .chain(route.and_then(|route| self.by_route.get(&route.name)).into_iter().flatten())
            .chain(self.by_key.get(&key.id).into_iter().flatten())
            .filter(move |entry| entry.reach.fits(key, route, tags))
            .map(|entry| entry.document.as_ref())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Held<D>> {
        let by_name = self.by_key.values().chain(self.by_route.values()).chain(self.by_tag.values());
        let by_owner = self.by_tenant.values().chain(self.by_organisation.values());
        by_name.chain(by_owner).flatten().chain(&self.of_all).map(|entry| &entry.document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{RoutePolicy, TenantPolicy};

    fn key(organisation: Option<&str>) -> KeyPolicy {
        let tenant = TenantPolicy {
            organisation: organisation.map(|id| id.parse().unwrap()),
            ..TenantPolicy::new("acme".parse().unwrap())
        };
        KeyPolicy::new("key_1".parse().unwrap(), Arc::new(tenant))
    }

    fn named(name: &str) -> Arc<Named<()>> {
        Arc::new(Named { tenant: None, name: name.parse().unwrap(), revision: 1, spec: () })
    }

    fn budgets() -> ByReach<()> {
        let reach = |json: &str| serde_json::from_str::<Reach>(json).unwrap();
        let mut budgets = ByReach::default();
        for (name, json) in [
            ("all", "{}"),
            ("org", r#"{"organisation": "big"}"#),
            ("tenant", r#"{"tenant": "acme"}"#),
            ("key", r#"{"key": "key_1"}"#),
            ("route", r#"{"route": "bot"}"#),
            ("tag", r#"{"tag": "team-a"}"#),
            ("tag of a tenant", r#"{"tag": "team-a", "tenant": "acme"}"#),
            ("tag of another", r#"{"tag": "team-a", "tenant": "other"}"#),
            ("key on a route", r#"{"key": "key_1", "route": "bot"}"#),
            ("another key", r#"{"key": "key_2"}"#),
        ] {
            budgets.insert(None, reach(json), Ok(named(&name.replace(' ', "-"))));
        }
        let other = "other".parse().unwrap();
        budgets.insert(Some(&other), reach("{}"), Ok(named("own-of-another")));
        budgets.insert(Some(&other), reach(r#"{"tenant": "acme"}"#), Ok(named("never")));
        budgets
    }

    fn names(budgets: &ByReach<()>, key: &KeyPolicy, route: Option<&Route>, tags: &[&str]) -> String {
        let found: Vec<&str> =
            budgets.applying(key, route, tags).map(|held| held.unwrap().name.as_str()).collect();
        found.join(" ")
    }

    #[test]
    fn a_call_meets_each_budget_that_fits_it_once() {
        let budgets = budgets();
        assert_eq!(names(&budgets, &key(None), None, &[]), "all tenant key");
        assert_eq!(names(&budgets, &key(Some("big")), None, &[]), "all org tenant key");
        let tagged = "all tenant tag tag-of-a-tenant";
        assert_eq!(names(&budgets, &key(None), None, &["team-a", "team-a"]), format!("{tagged} key"));
        let policy = RoutePolicy { tags: vec!["team-a".into()], ..RoutePolicy::default() };
        let route = Route { policy: Ok(policy), ..Route::new("bot".parse().unwrap(), "m".parse().unwrap()) };
        let expected = format!("{tagged} route key key-on-a-route");
        assert_eq!(names(&budgets, &key(None), Some(&route), &["team-a", "x"]), expected);
        assert_eq!(budgets.iter().count(), 11);
    }
}
