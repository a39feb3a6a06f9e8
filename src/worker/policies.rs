//! The policies in use, as the database says at this moment: activations reach every process
//! within a second.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::Worker;
use crate::lanes::off_runtime;
use crate::policy::Policy;
use crate::store::policies::{InUse, Use};
use crate::store::{self, Store};

/// Between two looks whether something was activated: one row by the end of an index.
const LOOK: Duration = Duration::from_millis(400);
/// An activation is followed at the next look, or, if that one just missed it or went wrong, at the
/// one after it: within a second.
const _: () = assert!(2 * LOOK.as_millis() < 1000);

/// What decides, and what decides beside it.
#[derive(Clone, Debug)]
pub struct Policies {
    newest_activation: i64,
    general: Arc<Policy>,
    scenes: HashMap<String, Arc<Policy>>,
    shadows: HashMap<String, Arc<Policy>>,
}

impl Policies {
    /// One policy for everything.
    pub fn only(policy: Policy) -> Self {
        Self {
            newest_activation: 0,
            general: Arc::new(policy),
            scenes: HashMap::new(),
            shadows: HashMap::new(),
        }
    }

    /// As the database says; `None` where none is active, or one cannot be compiled by this
    /// version, which the log then tells.
    pub async fn load(store: &Store) -> store::Result<Option<Self>> {
        Self::load_after(store, None).await
    }

    /// The same; what was in use before is not compiled once more. Compiled off the runtime: there
    /// may be a policy for every scene.
    async fn load_after(store: &Store, before: Option<&Self>) -> store::Result<Option<Self>> {
        let newest_activation = store.newest_activation().await?;
        let in_use = store.policies_in_use().await?;
        let mut policies = Vec::with_capacity(in_use.len());
        for InUse { kind, biz_type, digest, body } in in_use {
            let policy = match before.and_then(|before| before.compiled(&digest)) {
                Some(policy) => Some(policy),
                None => off_runtime(move || Policy::load_stored(&body)).await.map(Arc::new),
            };
            let Some(policy) = policy else {
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

    fn compiled(&self, digest: &str) -> Option<Arc<Policy>> {
        let all = self.scenes.values().chain(self.shadows.values()).chain([&self.general]);
        all.into_iter().find(|policy| policy.digest() == digest).cloned()
    }

    /// The newest change of what is in use that is certainly in it.
    pub fn newest_activation(&self) -> i64 {
        self.newest_activation
    }

    /// What decides in that scene.
    pub fn active(&self, biz_type: &str) -> &Arc<Policy> {
        self.scenes.get(biz_type).unwrap_or(&self.general)
    }

    /// What decides beside it.
    pub fn shadow(&self, biz_type: &str) -> Option<&Arc<Policy>> {
        self.shadows.get(biz_type).or_else(|| self.shadows.get(""))
    }

    /// What decides where a scene has no policy of its own.
    pub fn general(&self) -> &Arc<Policy> {
        &self.general
    }
}

/// The present ones; clones of what is read stay as they are.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Policies>>);

impl Current {
    /// To begin with.
    pub fn new(policies: Policies) -> Self {
        Self(RwLock::new(Arc::new(policies)))
    }

    /// At this moment.
    pub fn get(&self) -> Arc<Policies> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, policies: Policies) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policies);
    }
}

impl Worker {
    /// Looks for activations, for ever. Where the database or a text does not serve, what was
    /// active stays.
    pub(super) async fn follow_activations(&self) {
        let mut refused = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let before = self.policies.get();
            let outcome = match self.store.newest_activation().await {
                Ok(newest) if newest == before.newest_activation || newest == refused => continue,
                Ok(newest) => Policies::load_after(&self.store, Some(&before))
                    .await
                    .map(|loaded| (newest, loaded)),
                Err(error) => Err(error),
            };
            match outcome {
                Ok((_, Some(policies))) => {
                    let active = policies.general.digest();
                    tracing::info!(policy = active, "activation applied");
                    self.policies.set(policies);
                }
                Ok((newest, None)) => {
                    tracing::error!("activation refused: the previous policy stays active");
                    metrics::counter!("verdict_activations_refused_total").increment(1);
                    refused = newest;
                }
                Err(error) => tracing::debug!(%error, "activations could not be polled"),
            }
        }
    }
}
