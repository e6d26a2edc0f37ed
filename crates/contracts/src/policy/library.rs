//! Policy documents in force: by owner and name, read once, and kept as long as they do not change.
//!
//! A document that cannot be read (a newer version wrote it, or it is damaged) is an [`Unreadable`] in its place, so that whoever
//! follows a name must say what happens then: what it governs is closed, not open.

use super::{Kind, Selector};
use crate::{PolicyName, TenantId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

/// A document with its identity. While it is not changed, all snapshots hold the same [`Arc`] of it.
#[derive(Debug)]
pub struct Named<D> {
    /// Whose it is; absent when shared by all tenants.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: PolicyName,
    /// Grows with each change; of a prompt its version.
    pub revision: u64,
    /// What it says.
    pub spec: D,
}

impl<D> Deref for Named<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.spec
    }
}

/// The same document at the same revision says the same.
impl<D> PartialEq for Named<D> {
    fn eq(&self, other: &Self) -> bool {
        (self.revision, &self.name, &self.tenant) == (other.revision, &other.name, &other.tenant)
    }
}

impl<D> Eq for Named<D> {}

/// A policy that is there and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} cannot be applied: {reason}")]
pub struct Unreadable {
    /// What it is: `plan`, `route`, `provider` …
    pub kind: &'static str,
    /// Whose it is; absent when shared by all tenants.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A document, or why there is none though there should be.
pub type Held<D> = Result<Arc<Named<D>>, Arc<Unreadable>>;

/// The documents of one kind.
#[derive(Debug, Clone)]
pub struct Library<D> {
    shared: HashMap<PolicyName, Held<D>>,
    own: HashMap<TenantId, HashMap<PolicyName, Held<D>>>,
}

impl<D> Default for Library<D> {
    fn default() -> Self {
        Self { shared: HashMap::new(), own: HashMap::new() }
    }
}

impl<D> Library<D> {
    /// Adds a document.
    pub fn insert(&mut self, tenant: Option<&TenantId>, name: PolicyName, document: Held<D>) {
        match tenant {
            Some(tenant) => self.own.entry(tenant.clone()).or_default().insert(name, document),
            None => self.shared.insert(name, document),
        };
    }

    /// What `name` means to `tenant`: its own, or the shared one. Without tenant the shared one.
    pub fn get(&self, tenant: Option<&TenantId>, name: &PolicyName) -> Option<&Held<D>> {
        find(&self.shared, &self.own, tenant, name)
    }

    /// All documents, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Held<D>> {
        self.shared.values().chain(self.own.values().flat_map(HashMap::values))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.own.is_empty()
    }

    /// As [`Library::get`], for something that needs it: that there is none is unreadable too.
    pub fn need(&self, kind: Kind, tenant: Option<&TenantId>, name: &PolicyName) -> Held<D> {
        self.get(tenant, name).cloned().unwrap_or_else(|| Err(missing(kind, tenant, name)))
    }
}

/// Prompts in force: of each those versions that a label or a policy stands on, and the latest.
#[derive(Debug, Clone)]
pub struct Prompts<D> {
    shared: HashMap<PolicyName, Prompt<D>>,
    own: HashMap<TenantId, HashMap<PolicyName, Prompt<D>>>,
    /// Numbers of versions of tenants' own prompts, in force or not.
    given: HashMap<TenantId, HashMap<PolicyName, HashSet<u64>>>,
}

/// The versions of one prompt and its labels.
#[derive(Debug, Clone)]
pub struct Prompt<D> {
    versions: BTreeMap<u64, Held<D>>,
    labels: HashMap<String, u64>,
}

impl<D> Default for Prompts<D> {
    fn default() -> Self {
        Self { shared: HashMap::new(), own: HashMap::new(), given: HashMap::new() }
    }
}

impl<D> Default for Prompt<D> {
    fn default() -> Self {
        Self { versions: BTreeMap::new(), labels: HashMap::new() }
    }
}

impl<D> Prompts<D> {
    /// Adds a version.
    pub fn insert(&mut self, tenant: Option<&TenantId>, name: &PolicyName, version: u64, prompt: Held<D>) {
        self.of(tenant, name).versions.insert(version, prompt);
        if let Some(tenant) = tenant {
            self.give(tenant, name, version);
        }
    }

    /// Notes that a version of the tenant's own prompt has, or once had, this number: it never means a shared version, even where
    /// its own is not in force any more.
    pub fn give(&mut self, tenant: &TenantId, name: &PolicyName, version: u64) {
        let given = self.given.entry(tenant.clone()).or_default();
        given.entry(name.clone()).or_default().insert(version);
    }

    /// Puts a label on a version.
    pub fn label(&mut self, tenant: Option<&TenantId>, name: &PolicyName, label: String, version: u64) {
        self.of(tenant, name).labels.insert(label, version);
    }

    fn of(&mut self, tenant: Option<&TenantId>, name: &PolicyName) -> &mut Prompt<D> {
        let prompts = match tenant {
            Some(tenant) => self.own.entry(tenant.clone()).or_default(),
            None => &mut self.shared,
        };
        prompts.entry(name.clone()).or_default()
    }

    /// The prompt that `name` means to `tenant`: its own, or the shared one.
    pub fn prompt(&self, tenant: Option<&TenantId>, name: &PolicyName) -> Option<&Prompt<D>> {
        find(&self.shared, &self.own, tenant, name)
    }

    /// All prompts with their owners, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&TenantId>, &PolicyName, &Prompt<D>)> {
        let shared = self.shared.iter().map(|(name, prompt)| (None, name, prompt));
        let own = self.own.iter();
        shared.chain(own.flat_map(|(tenant, prompts)| {
            prompts.iter().map(move |(name, prompt)| (Some(tenant), name, prompt))
        }))
    }

    /// One version, which [`Named::revision`] numbers: of the tenant's own prompt, where that has the label or ever had the number, or else
    /// of the shared one. Own versions are numbered after the shared ones, so that they take from a tenant nothing that it calls already.
    pub fn get(
        &self,
        tenant: Option<&TenantId>,
        name: &PolicyName,
        selector: Selector<'_>,
    ) -> Option<&Held<D>> {
        let own = tenant.and_then(|tenant| self.own.get(tenant)?.get(name));
        let is_own = match selector {
            Selector::Version(version) => {
                let given = tenant.and_then(|tenant| self.given.get(tenant)?.get(name));
                given.is_some_and(|given| given.contains(&version))
            }
            Selector::Label(label) => own.is_some_and(|own| own.labels.contains_key(label)),
        };
        let meant = if is_own { own } else { self.shared.get(name) };
        meant?.get(selector)
    }

    /// As [`Prompts::get`], for something that needs it: that there is none is unreadable too.
    pub fn need(&self, tenant: Option<&TenantId>, name: &PolicyName, selector: Selector<'_>) -> Held<D> {
        let found = self.get(tenant, name, selector).cloned();
        found.unwrap_or_else(|| Err(missing(Kind::Prompt, tenant, name)))
    }
}

impl<D> Prompt<D> {
    /// A version, by its number or by a label.
    pub fn get(&self, selector: Selector<'_>) -> Option<&Held<D>> {
        match selector {
            Selector::Version(version) => self.versions.get(&version),
            Selector::Label(label) => self.versions.get(self.labels.get(label)?),
        }
    }

    /// Labels and the versions they stand on, in no order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, u64)> {
        self.labels.iter().map(|(label, version)| (label.as_str(), *version))
    }
}

fn find<'a, N: Eq + Hash, V>(
    shared: &'a HashMap<N, V>,
    own: &'a HashMap<TenantId, HashMap<N, V>>,
    tenant: Option<&TenantId>,
    name: &N,
) -> Option<&'a V> {
    let of_tenant = tenant.and_then(|tenant| own.get(tenant)?.get(name));
    of_tenant.or_else(|| shared.get(name))
}

fn missing(kind: Kind, tenant: Option<&TenantId>, name: &impl fmt::Display) -> Arc<Unreadable> {
    Arc::new(Unreadable {
        kind: kind.as_str(),
        tenant: tenant.cloned(),
        name: name.to_string(),
        reason: String::from("it does not exist"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(tenant: Option<&TenantId>, name: &PolicyName, spec: u32) -> Arc<Named<u32>> {
        Arc::new(Named { tenant: tenant.cloned(), name: name.clone(), revision: u64::from(spec), spec })
    }

    #[test]
    fn a_tenants_own_wins_over_the_shared_one() {
        let (acme, other): (TenantId, TenantId) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let gold: PolicyName = "gold".parse().unwrap();
        let mut library = Library::default();
        library.insert(None, gold.clone(), Ok(named(None, &gold, 1)));
        library.insert(Some(&acme), gold.clone(), Ok(named(Some(&acme), &gold, 2)));
        let spec = |tenant| library.need(Kind::Plan, tenant, &gold).unwrap().spec;
        assert_eq!((spec(None), spec(Some(&acme)), spec(Some(&other))), (1, 2, 1));
        assert_eq!(library.len(), 2);
        let error = library.need(Kind::Plan, None, &"x".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "plan \"x\" cannot be applied: it does not exist");
    }

    #[test]
    fn prompts_are_found_by_version_and_by_label() {
        let name: PolicyName = "greeting".parse().unwrap();
        let mut prompts = Prompts::default();
        for version in 1..=3 {
            prompts.insert(None, &name, u64::from(version), Ok(named(None, &name, version)));
        }
        prompts.label(None, &name, "production".into(), 2);
        let spec = |selector| prompts.get(None, &name, selector).map(|held| held.as_ref().unwrap().spec);
        assert_eq!(spec(Selector::Version(3)), Some(3));
        assert_eq!(spec(Selector::Label("production")), Some(2));
        assert_eq!(spec(Selector::Label("staging")), None);
        assert!(prompts.need(None, &name, Selector::Version(9)).is_err());
    }

    #[test]
    fn a_first_own_version_takes_nothing_of_the_shared_prompt_away() {
        let (name, acme): (PolicyName, TenantId) = ("support".parse().unwrap(), "acme".parse().unwrap());
        let mut prompts = Prompts::default();
        for version in 1..=3 {
            prompts.insert(None, &name, u64::from(version), Ok(named(None, &name, 10 + version)));
        }
        prompts.label(None, &name, "production".into(), 2);
        // Numbered after what there was to be called, and the shared prompt comes to the number, and beyond it, later.
        prompts.insert(Some(&acme), &name, 4, Ok(named(Some(&acme), &name, 24)));
        for version in 4..=5 {
            prompts.insert(None, &name, u64::from(version), Ok(named(None, &name, 10 + version)));
        }
        let spec = |prompts: &Prompts<u32>, selector| {
            prompts.get(Some(&acme), &name, selector).map(|held| held.as_ref().unwrap().spec)
        };
        assert_eq!(spec(&prompts, Selector::Label("production")), Some(12));
        for (version, text) in [(1, 11), (3, 13), (4, 24), (5, 15)] {
            assert_eq!(spec(&prompts, Selector::Version(version)), Some(text));
        }
        prompts.label(Some(&acme), &name, "production".into(), 4);
        assert_eq!(spec(&prompts, Selector::Label("production")), Some(24));
        // A second own version takes nothing away either: what lies between the two is shared still.
        prompts.insert(Some(&acme), &name, 6, Ok(named(Some(&acme), &name, 26)));
        for (version, text) in [(3, 13), (4, 24), (5, 15), (6, 26)] {
            assert_eq!(spec(&prompts, Selector::Version(version)), Some(text));
        }
        // Nor does an own version that is not in force become the shared one of its number.
        prompts.give(&acme, &name, 5);
        assert_eq!(spec(&prompts, Selector::Version(5)), None);
        assert_eq!(spec(&prompts, Selector::Label("staging")), None);
    }
}
