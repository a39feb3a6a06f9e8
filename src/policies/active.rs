//! The active policy and the shadow policy of each scene. Activations reach every process within a
//! second.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use policy::Policy;

use super::cache::PolicyCache;
use crate::domain::ids::Ids;
use crate::periodic::{self, Periodic};
use crate::store::policies::{InUse, Use};
use crate::store::{self, Store};

/// Between two polls for activations: one row by the end of an index.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// An activation is followed at the next poll, or, if that one just missed it or failed, at the one
/// after it: within a second.
const _: () = assert!(2 * POLL_INTERVAL.as_millis() < 1000);

/// The policies in use at one moment.
#[derive(Clone, Debug)]
pub struct PolicySnapshot {
    newest_activation: i64,
    general: Arc<Policy>,
    scenes: HashMap<String, Arc<Policy>>,
    shadows: HashMap<String, Arc<Policy>>,
}

impl PolicySnapshot {
    /// One policy for everything.
    pub fn only(policy: Policy) -> Self {
        Self {
            newest_activation: 0,
            general: Arc::new(policy),
            scenes: HashMap::new(),
            shadows: HashMap::new(),
        }
    }

    /// The policies in use by the database. `None` where none is active, or where this version
    /// cannot compile one of them, which is logged.
    pub async fn load(store: &Store, cache: &PolicyCache) -> store::Result<Option<Self>> {
        let newest_activation = store.policies().newest_activation().await?;
        let in_use = store.policies().policies_in_use().await?;
        let mut policies = Vec::with_capacity(in_use.len());
        for InUse { kind, biz_type, digest, body } in in_use {
            let Some(policy) = cache.compile(&digest, body).await else {
                tracing::error!(policy = digest, "this version cannot compile a policy in use");
                return Ok(None);
            };
            if policy.compares_between_edges() {
                tracing::warn!(
                    policy = digest,
                    "a policy in use compares card_days_left with a number that is no edge"
                );
            }
            policies.push((kind, biz_type, policy));
        }
        let of = |wanted: Use| -> HashMap<String, Arc<Policy>> {
            let fitting = policies.iter().filter(|(kind, ..)| kind == wanted.as_str());
            fitting.map(|(_, scene, policy)| (scene.clone(), Arc::clone(policy))).collect()
        };
        let (mut scenes, shadows) = (of(Use::Active), of(Use::Shadow));
        let general = scenes.remove("");
        Ok(general.map(|general| Self { newest_activation, general, scenes, shadows }))
    }

    /// The newest activation that this snapshot certainly contains.
    pub fn newest_activation(&self) -> i64 {
        self.newest_activation
    }

    /// The active policy of that scene.
    pub fn active(&self, biz_type: &str) -> &Arc<Policy> {
        self.scenes.get(biz_type).unwrap_or(&self.general)
    }

    /// The policy in shadow in that scene.
    pub fn shadow(&self, biz_type: &str) -> Option<&Arc<Policy>> {
        self.shadows.get(biz_type).or_else(|| self.shadows.get(""))
    }

    /// The active policy of scenes without their own policy.
    pub fn general(&self) -> &Arc<Policy> {
        &self.general
    }
}

/// The newest snapshot, kept up to date by [`ActivePolicies::follow`].
#[derive(Debug)]
pub struct ActivePolicies {
    cache: Arc<PolicyCache>,
    newest: RwLock<Arc<PolicySnapshot>>,
}

impl ActivePolicies {
    /// Begins with this snapshot.
    pub fn new(cache: Arc<PolicyCache>, snapshot: PolicySnapshot) -> Self {
        Self { cache, newest: RwLock::new(Arc::new(snapshot)) }
    }

    /// The policies in use now. The snapshot itself never changes.
    pub fn snapshot(&self) -> Arc<PolicySnapshot> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compiled policies, shared with the rest of the process.
    pub fn cache(&self) -> &PolicyCache {
        &self.cache
    }

    /// Polls for activations and takes them over; never ends. Where the database cannot be asked or
    /// a policy cannot be compiled, the snapshot before stays.
    pub async fn follow(&self, store: &Store, ids: &Ids) {
        periodic::repeat(ids, Follow { active: self, store, refused: 0 }).await;
    }
}

struct Follow<'a> {
    active: &'a ActivePolicies,
    store: &'a Store,
    /// The activation that was refused last; 0: none.
    refused: i64,
}

impl Periodic for Follow<'_> {
    async fn round(&mut self) -> Duration {
        if let Err(error) = self.poll().await {
            tracing::debug!(%error, "activations could not be polled");
        }
        POLL_INTERVAL
    }
}

impl Follow<'_> {
    async fn poll(&mut self) -> store::Result<()> {
        let newest = self.store.policies().newest_activation().await?;
        if newest == self.active.snapshot().newest_activation || newest == self.refused {
            return Ok(());
        }
        if let Some(policies) = PolicySnapshot::load(self.store, &self.active.cache).await? {
            tracing::info!(policy = policies.general.digest(), "activation applied");
            let mut newest = self.active.newest.write().unwrap_or_else(PoisonError::into_inner);
            *newest = Arc::new(policies);
        } else {
            tracing::error!("activation refused: the previous policy stays active");
            metrics::counter!("verdict_activations_refused_total").increment(1);
            self.refused = newest;
        }
        Ok(())
    }
}
