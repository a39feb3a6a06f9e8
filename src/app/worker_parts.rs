//! The parts of the worker: those that the configuration gives, then those that the database keeps.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use cloudauth::credentials;
use policy::Policy;

use super::database::retry_until_ready;
use super::deliveries::deliveries;
use super::images::worker_images;
use super::installation_keys::named_key;
use super::seed_policy::policies_in_use;
use super::shared::{Flushed, Shared};
use crate::audit_log::heads::HeadSettings;
use crate::config::{self, Environment, Working};
use crate::domain::source::Groups;
use crate::images::Archive;
use crate::policies::active::ActivePolicies;
use crate::policies::cache::PolicyCache;
use crate::provider::Provider;
use crate::vault::Vault;
use crate::vault::checkpoint_mac::{AUDIT, AuditSeal};
use crate::vault::person_index::{PERSON_INDEX, PersonIndex};
use crate::webhooks;
use crate::worker::{self, AuditHeads, Deliveries, Images, Worker};

pub(super) struct WorkerParts {
    settings: worker::Settings,
    provider: config::ProviderCall,
    environment: credentials::Environment,
    vault: Arc<Vault>,
    images: Images,
    deliveries: Deliveries,
    heads: HeadSettings,
    /// A reload replaces them.
    pub(super) groups: Arc<Groups>,
    seed: Policy,
}

impl WorkerParts {
    pub(super) fn new(
        working: Working,
        images: &config::Images,
        webhooks: &webhooks::Settings,
        heads: HeadSettings,
        vault: Arc<Vault>,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            settings: working.worker,
            provider: working.provider,
            environment: environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            vault,
            images: worker_images(images)?,
            deliveries: deliveries(webhooks)?,
            heads,
            groups: Arc::new(Groups::new(working.groups)),
            seed: working.seed,
        })
    }

    pub(super) async fn worker(
        self,
        archive: Option<Archive>,
        policy_cache: Arc<PolicyCache>,
        shared: &Shared<'_>,
    ) -> anyhow::Result<Flushed<Worker>> {
        let Shared { store, signals, clock, ids, .. } = shared;
        let now = clock.now();
        // Only now: a process that was refused has wrapped nothing, and its key is not needed.
        retry_until_ready(|| store.vault_keys().use_vault_key(self.vault.primary_id(), now))
            .await?;
        let persons = named_key(&self.vault, store, PERSON_INDEX, now).await?;
        let audit_seal = AuditSeal::new(named_key(&self.vault, store, AUDIT, now).await?);
        let heads = audit_heads(self.heads, &audit_seal)?;
        let policies = policies_in_use(store, &policy_cache, &self.seed, clock).await?;
        retry_until_ready(|| store.accounts().open_account(&self.settings.account)).await?;
        let config::ProviderCall { client, credentials } = self.provider;
        let provider = Provider::new(client, credentials, self.environment, clock, ids)?;
        let (completing, flusher) = store.start_completing();
        let worker = Worker {
            settings: self.settings,
            store: store.clone(),
            completing,
            signals: signals.clone(),
            provider,
            vault: self.vault,
            persons: PersonIndex::new(persons),
            images: Images { archive, ..self.images },
            deliveries: self.deliveries,
            audit_seal,
            heads,
            groups: self.groups,
            policies: ActivePolicies::new(policy_cache, policies),
            clock: clock.clone(),
            ids: ids.clone(),
            faults: AtomicBool::new(false),
        };
        Ok(Flushed { part: worker, flusher })
    }
}

/// `None`: there are no witnesses.
fn audit_heads(settings: HeadSettings, seal: &AuditSeal) -> anyhow::Result<Option<AuditHeads>> {
    let HeadSettings { origin, witnesses, every } = settings;
    let Some(origin) = origin.filter(|_| !witnesses.is_empty()) else { return Ok(None) };
    let key = seal.head_key(&origin).context("the key that signs heads of the audit")?;
    let heads = AuditHeads::new(witnesses, every, key);
    heads.map(Some).context("the HTTP client cannot be set up")
}
