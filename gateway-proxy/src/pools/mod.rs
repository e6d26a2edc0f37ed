//! What stands behind each model: its deployments and the queue before them, as the policy in force says.
//!
//! A model without a pool has one deployment, its provider, and nothing is decided about it. The state of a pool, which calls
//! have taught it, outlives changes of its policy. A call keeps to the pools under which it was admitted: what its budgets hold covers
//! their deployments, and no others.

mod watch;

pub(crate) use watch::watch;

use crate::errors::Failure;
use crate::policy::Policy as Policies;
use admission::queue::Queue;
use arc_swap::ArcSwap;
use contracts::ModelName;
use contracts::policy::pool::{Balance, Deployment, DeploymentId, Pool as Policy};
use contracts::policy::{Held, Model, Named, Snapshot, Unreadable};
use pool::{Affinity, Pool};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A model as each of its deployments serves it.
type Deployments = HashMap<DeploymentId, Arc<Model>>;

/// The pools of all models.
#[derive(Debug)]
pub(crate) struct Pools {
    current: ArcSwap<Known>,
    none: Arc<Known>,
    changing: Mutex<()>,
    seed: u64,
}

/// The pools of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Known {
    snapshot: Arc<Snapshot>,
    pools: HashMap<ModelName, Result<Arc<ModelPool>, Arc<Unreadable>>>,
}

/// The pool of one model.
#[derive(Debug)]
pub(crate) struct ModelPool {
    /// What waits before it.
    pub(crate) queue: Queue,
    /// Which deployment is next.
    pub(crate) pool: Arc<Pool>,
    /// The policy that it was made from.
    pub(crate) policy: Arc<Named<Policy>>,
    /// The model as each deployment serves it.
    deployments: Deployments,
    /// The policy with its deployments named.
    complete: Arc<Policy>,
}

impl Pools {
    /// None yet. `seed` starts the choices that are left to chance.
    pub(crate) fn new(seed: u64) -> Self {
        let none = Arc::default();
        Self { current: ArcSwap::from_pointee(Known::default()), none, changing: Mutex::default(), seed }
    }

    /// The pools of `snapshot`, or of what `policy` has in force since.
    pub(crate) fn known(&self, policy: &Policies, snapshot: &Arc<Snapshot>) -> Arc<Known> {
        if snapshot.pools.is_empty() {
            return self.none.clone();
        }
        let known = self.current.load_full();
        if Arc::ptr_eq(&known.snapshot, snapshot) {
            return known;
        }
        let in_force = policy.load_full();
        if Arc::ptr_eq(&known.snapshot, &in_force) { known } else { self.renew(&in_force) }
    }

    /// Takes a new snapshot's pools; what did not change stays, and what changed keeps what it knows.
    fn renew(&self, snapshot: &Arc<Snapshot>) -> Arc<Known> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.current.load_full();
        if Arc::ptr_eq(&known.snapshot, snapshot) {
            return known;
        }
        let mut pools = HashMap::with_capacity(snapshot.pools.len());
        for (name, held) in &snapshot.pools {
            let Some(model) = snapshot.models.get(name) else { continue };
            let before = known.pools.get(name).and_then(|pool| pool.as_ref().ok());
            pools.insert(name.clone(), self.renewed(held, model, snapshot, before));
        }
        let known = Arc::new(Known { snapshot: snapshot.clone(), pools });
        self.current.store(known.clone());
        known
    }

    fn renewed(
        &self,
        held: &Held<Policy>,
        model: &Arc<Model>,
        snapshot: &Snapshot,
        before: Option<&Arc<ModelPool>>,
    ) -> Result<Arc<ModelPool>, Arc<Unreadable>> {
        let policy = held.clone()?;
        let (complete, deployments) = deployments(&policy, model, snapshot)?;
        let now = Instant::now();
        let refused = |error: contracts::policy::InvalidPolicy| unreadable(&policy, error.to_string());
        let (queue, pool) = if let Some(before) = before {
            if before.complete != complete {
                before.pool.update(complete.clone(), now).map_err(refused)?;
                before.queue.update(&complete.queue);
            }
            (before.queue.clone(), before.pool.clone())
        } else {
            let pool = Pool::new(complete.clone(), self.seed, now).map_err(refused)?;
            (Queue::new(&complete.queue), pool)
        };
        Ok(Arc::new(ModelPool { queue, pool, policy, deployments, complete }))
    }
}

impl Known {
    /// The pool of `model`; `None` when nothing is said.
    pub(crate) fn of(&self, model: &Model) -> Result<Option<Arc<ModelPool>>, Failure> {
        match self.pools.get(&model.name) {
            None => Ok(None),
            Some(Ok(pool)) => Ok(Some(pool.clone())),
            Some(Err(unreadable)) => Err(Failure::Unreadable(unreadable.clone())),
        }
    }

    /// Every model that a call of `model` under `snapshot` may be led to, at every provider: its deployments, and those of what it falls
    /// back to.
    pub(crate) fn reach(&self, snapshot: &Snapshot, model: &Arc<Model>) -> Result<Vec<Arc<Model>>, Failure> {
        let Some(pool) = self.of(model)? else { return Ok(vec![model.clone()]) };
        let mut models: Vec<Arc<Model>> = pool.deployments.values().cloned().collect();
        for next in pool.policy.fallbacks.iter().filter_map(|name| snapshot.models.get(name)) {
            match self.of(next)? {
                Some(pool) => models.extend(pool.deployments.values().cloned()),
                None => models.push(next.clone()),
            }
        }
        Ok(models)
    }

    /// All that can be read.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&ModelName, &Arc<ModelPool>)> {
        self.pools.iter().filter_map(|(name, pool)| Some((name, pool.as_ref().ok()?)))
    }
}

/// A pool's policy with its deployments named, and the model as each of them serves it.
fn deployments(
    policy: &Arc<Named<Policy>>,
    model: &Arc<Model>,
    snapshot: &Snapshot,
) -> Result<(Arc<Policy>, Deployments), Arc<Unreadable>> {
    let mut complete = policy.spec.clone();
    if complete.deployments.is_empty() {
        let id = model.provider.id.as_str().parse();
        complete.deployments.push(Deployment {
            id: id
                .map_err(|error: contracts::policy::InvalidPolicy| unreadable(policy, error.to_string()))?,
            provider: model.provider.id.clone(),
            upstream_model: model.upstream_model.clone(),
            price_as: None,
            weight: 1,
            slots: None,
            load: None,
            gpu: None,
        });
    }
    let mut deployments = HashMap::with_capacity(complete.deployments.len());
    for deployment in &complete.deployments {
        let provider = snapshot.providers.get(&deployment.provider).ok_or_else(|| {
            unreadable(
                policy,
                format!("deployment {}: there is no provider {}", deployment.id, deployment.provider),
            )
        })?;
        let there = Model {
            upstream_model: deployment.upstream_model.clone(),
            price_as: deployment.price_as.clone().or_else(|| model.price_as.clone()),
            provider: provider.clone(),
            ..Model::clone(model)
        };
        deployments.insert(deployment.id.clone(), Arc::new(there));
    }
    Ok((Arc::new(complete), deployments))
}

fn unreadable(policy: &Named<Policy>, reason: String) -> Arc<Unreadable> {
    Arc::new(Unreadable { kind: "pool", tenant: None, name: policy.name.to_string(), reason })
}

impl ModelPool {
    /// The model as `deployment` serves it; `None` when that is another than it was under this pool's policy.
    pub(crate) fn model(&self, deployment: &Deployment) -> Option<&Arc<Model>> {
        let model = self.deployments.get(&deployment.id)?;
        let is_same =
            model.provider.id == deployment.provider && model.upstream_model == deployment.upstream_model;
        is_same.then_some(model)
    }

    /// What prompts that begin like `prompt` have in common, where the balance makes use of it.
    pub(crate) fn affinity<'a>(&self, prompt: impl IntoIterator<Item = &'a [u8]>) -> Option<Affinity> {
        match &self.complete.balance {
            Balance::PrefixAffinity(policy) => Affinity::of(prompt, policy, 0),
            Balance::LeastOutstandingPeakEwma | Balance::Weighted => None,
        }
    }
}
