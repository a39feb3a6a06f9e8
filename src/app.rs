//! The composition root: configuration becomes parts, parts become a running service, and a stop
//! takes it down in an order that loses nothing.

mod database;
pub mod descriptors;
mod listeners;
mod reload;
pub mod vault_keys;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, ConfigError, Environment, FromKey, Settings, Working};
use crate::domain::clock::Clock;
use crate::domain::ids::{Ids, VerificationId};
use crate::domain::source::Groups;
use crate::domain::starting::Starter;
use crate::http::auth::ApiKeys;
use crate::http::long_polls::{self, LongPolls};
use crate::http::readiness_cache::ReadinessCache;
use crate::http::sources::CurrentSources;
use crate::http::sources::Sources;
use crate::http::{Api, Parts, operations_router, router, server};
use crate::images::{Archive, Downloader};
use crate::policies::active::{ActivePolicies, PolicySnapshot};
use crate::policies::cache::PolicyCache;
use crate::provider::Provider;
use crate::store::Store;
use crate::store::signals::Signals;
use crate::vault::audit_seal::{AUDIT, AuditSeal};
use crate::vault::person_index::{PERSON_INDEX, PersonIndex};
use crate::vault::{DataKey, Vault, WrappedKey};
use crate::worker::{Images, Worker};
use crate::{store, telemetry};
use cloudauth::credentials;
use database::{retry_until_ready, wait_for_database};
use listeners::{bind, fitting_limits};
use policy::Policy;
use reload::Reload;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Both.
    All,
    /// Accepts callbacks and answers.
    Api,
    /// Fetches and decides; serves health and metrics only.
    Worker,
}

impl Role {
    /// It takes callbacks and answers callers.
    pub fn accepts(self) -> bool {
        self != Self::Worker
    }

    /// It fetches and decides.
    pub fn works(self) -> bool {
        self != Self::Api
    }
}

/// A service that runs.
#[derive(Debug)]
pub struct Running {
    /// Where callbacks and the API are served; `None` for a worker.
    pub http: Option<SocketAddr>,
    /// Where metrics and health are served.
    pub operations: SocketAddr,
    stop: CancellationToken,
    look: Arc<Notify>,
    whole: JoinHandle<()>,
}

impl Running {
    /// Has it look at its configuration now, instead of at the next look.
    pub fn reload(&self) {
        self.look.notify_one();
    }

    /// Tells it to stop; [`Self::stopped`] waits for it.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has stopped.
    pub async fn stopped(self) {
        let _ = self.whole.await;
    }
}

/// For the last batches to be written once nobody adds to them.
const LAST_BATCHES: Duration = Duration::from_secs(5);
/// For a last scrape.
const OPERATIONS_DRAIN: Duration = Duration::from_secs(1);
/// Keys of verifications on which a key of the vault is tried.
const SAMPLES: i64 = 3;
/// Histograms are folded this often.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Starts a service. Everything configured is checked before anything is served.
pub async fn start(
    config: &Config,
    environment: &Environment,
    role: Role,
    clock: Clock,
    ids: Ids,
) -> anyhow::Result<Running> {
    let settings = config.settings(role.accepts(), role.works())?;
    Box::pin(start_with(settings, config, environment, role, clock, ids)).await
}

/// Starts a service with settings that were checked for this role. `config` is what they were read
/// from; its files are followed.
pub async fn start_with(
    mut settings: Settings,
    config: &Config,
    environment: &Environment,
    role: Role,
    clock: Clock,
    ids: Ids,
) -> anyhow::Result<Running> {
    // Before anything is counted.
    telemetry::metrics();
    let store = Store::new(&settings.store)?;
    let stop = CancellationToken::new();
    let signals = Signals::default();
    let limits = fitting_limits(&settings, role);
    let vault = settings.keys.take().map(|keys| Arc::new(Vault::new(keys)));
    let listen = settings.accepting.as_ref().map(|accepting| accepting.listen);
    let operations = settings.operations_listen;
    let parts = match (settings.working.take(), &vault) {
        (Some(working), Some(vault)) => {
            Some(WorkerParts::new(working, &settings.images, vault, environment)?)
        }
        _ => None,
    };
    let groups = parts.as_ref().map(|parts| Arc::clone(&parts.groups));
    let images = settings.images.clone();
    let mut api =
        api(settings, environment, role, &limits, vault, &store, &signals, &clock, &ids, &stop)?;
    let http = match listen {
        Some(address) => Some(bind("http.listen", address).await?),
        None => None,
    };
    let operations = bind("operations.listen", operations).await?;

    wait_for_database(&store).await?;
    retry_until_ready(|| store.require_fit_schema()).await?;
    if let Some(vault) = &api.part.vault {
        vault_keys::require(vault, &store, &clock).await?;
    }
    // Last, for it makes a folder where there is none.
    let archive = archive_of(&images)?;
    api.part.archive.clone_from(&archive);
    let policies = Arc::clone(&api.part.policy_cache);
    api.part.listens = http.as_ref().map(TcpListener::local_addr).transpose()?;
    let api = Flushed { part: Api::from(api.part), flusher: api.flusher };
    let worker = match parts {
        None => None,
        Some(parts) => Some(parts.worker(archive, policies, &store, &signals, &clock, &ids).await?),
    };
    let addresses =
        (http.as_ref().map(TcpListener::local_addr).transpose()?, operations.local_addr()?);
    let look = Arc::new(Notify::new());
    let reload = Reload::new(config, environment, role, groups, Arc::clone(&look));
    let service = Service { store, signals, api, limits, http, operations, worker, reload };
    let whole = tokio::spawn(service.run(stop.clone()));
    Ok(Running { http: addresses.0, operations: addresses.1, stop, look, whole })
}

#[expect(clippy::too_many_arguments, reason = "what an API is made of")]
fn api(
    settings: Settings,
    environment: &Environment,
    role: Role,
    limits: &server::Limits,
    vault: Option<Arc<Vault>>,
    store: &Store,
    signals: &Signals,
    clock: &Clock,
    ids: &Ids,
    stop: &CancellationToken,
) -> anyhow::Result<Flushed<Parts>> {
    let window = settings.window;
    let (accepting, flusher) = store.start_accepting(window, settings.max_batch);
    let (sources, starter) = match settings.accepting {
        Some(accepting) => {
            (accepting.sources, starter(accepting.starting, environment, role, clock, ids)?)
        }
        None => (Sources::default(), None),
    };
    // Nothing is lost when it is dropped with the runtime: it only reads.
    let (loader, _) = store.verifications().start_loader();
    let part = Parts {
        store: store.clone(),
        accepting,
        loader,
        signals: signals.clone(),
        long_polls: LongPolls::new(long_polls::Limits {
            all: (limits.connections / 2).max(1),
            per_key: settings.waits_per_key,
        }),
        readiness: ReadinessCache::default(),
        docs: settings.docs,
        keys: ApiKeys::new(store.clone()),
        sources: CurrentSources::new(sources)?,
        window,
        bodies: settings.bodies,
        account: settings.account,
        vault,
        archive: None,
        starter,
        four_eyes: settings.four_eyes,
        policies_need_two: settings.policies_need_two,
        policy_cache: Arc::default(),
        works: role.works(),
        listens: None,
        query_throttles: crate::http::query_throttle::QueryThrottles::default(),
        render_metrics: Box::new(|| telemetry::metrics().render()),
        clock: clock.clone(),
        ids: ids.clone(),
        stop: stop.clone(),
    };
    Ok(Flushed { part, flusher })
}

/// Something that feeds a group commit, and the task that writes its batches.
struct Flushed<T> {
    part: T,
    flusher: JoinHandle<()>,
}

/// Has the provider start verifications. A process that only accepts may do without the provider's
/// key: it accepts callbacks all the same, and starts nothing.
fn starter(
    configured: Result<config::ProviderCall, config::ConfigErrors>,
    environment: &Environment,
    role: Role,
    clock: &Clock,
    ids: &Ids,
) -> anyhow::Result<Option<Starter>> {
    let provider = match configured {
        Ok(provider) => provider,
        Err(errors) if role == Role::Api => {
            for ConfigError { subject, problem } in errors.0 {
                let key = tracing::field::display(subject);
                tracing::info!(key, problem, "starting verifications is disabled");
            }
            return Ok(None);
        }
        Err(errors) => return Err(errors.into()),
    };
    let environment = environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let provider =
        Arc::new(Provider::new(provider.client, provider.credentials, environment, clock, ids)?);
    Ok(Some(Arc::new(move |starting| {
        let provider = Arc::clone(&provider);
        Box::pin(async move {
            let started = provider.start(&starting).await?;
            Ok((starting, started))
        })
    })))
}

struct WorkerParts {
    settings: crate::worker::Settings,
    provider: config::ProviderCall,
    environment: credentials::Environment,
    vault: Arc<Vault>,
    images: Images,
    groups: Arc<Groups>,
    seed: Policy,
}

impl WorkerParts {
    fn new(
        working: Working,
        images: &config::Images,
        vault: &Arc<Vault>,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            settings: working.worker,
            provider: working.provider,
            environment: environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            vault: Arc::clone(vault),
            images: worker_images(images)?,
            groups: Arc::new(Groups::new(working.groups)),
            seed: working.seed,
        })
    }

    async fn worker(
        self,
        archive: Option<Archive>,
        policy_cache: Arc<PolicyCache>,
        store: &Store,
        signals: &Signals,
        clock: &Clock,
        ids: &Ids,
    ) -> anyhow::Result<Flushed<Worker>> {
        let now = clock.now();
        // Only now: a process that was refused has wrapped nothing, and its key is not needed.
        retry_until_ready(|| store.vault_keys().use_vault_key(self.vault.primary_id(), now))
            .await?;
        let persons = named_key(&self.vault, store, PERSON_INDEX, now).await?;
        let audit = named_key(&self.vault, store, AUDIT, now).await?;
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
            audit_seal: AuditSeal::new(audit),
            groups: self.groups,
            policies: ActivePolicies::new(policy_cache, policies),
            clock: clock.clone(),
            ids: ids.clone(),
            faults: AtomicBool::new(false),
        };
        Ok(Flushed { part: worker, flusher })
    }
}

fn worker_images(images: &config::Images) -> anyhow::Result<Images> {
    let downloader =
        Downloader::new(images.download.clone()).context("the HTTP client cannot be set up")?;
    Ok(Images {
        archive: None,
        took_micros: AtomicU64::new(0),
        mode: images.mode,
        scenes: images.scenes.clone(),
        concurrency: images.concurrency,
        downloader,
    })
}

/// The object store. Where nothing is archived any more it may be gone too; while it is there,
/// images from before can be shown and deleted.
fn archive_of(images: &config::Images) -> Result<Option<Archive>, ConfigError> {
    if !images.archives() && images.store.is_missing() {
        return Ok(None);
    }
    match Archive::open(&images.store) {
        Ok(archive) => Ok(Some(archive)),
        Err(_) if !images.archives() => Ok(None),
        Err(error) => Err(ConfigError::new("images.store", error)),
    }
}

/// Keys of the ring that do not open what a key of that id has wrapped: the same name with other
/// bytes. Each is tried on the installation's keys and on a few of verifications, as far as this
/// role may see them; one altered row does not condemn a key that opens others.
pub async fn keys_with_other_bytes(vault: &Vault, store: &Store) -> store::Result<Vec<String>> {
    let mut others = Vec::new();
    let named = empty_if_forbidden(store.vault_keys().named_keys().await)?;
    for id in vault.ring().ids() {
        let mut opened: Vec<bool> = Vec::new();
        for (name, key_id, bytes) in named.iter().filter(|(_, key_id, _)| key_id == id) {
            let wrapped = WrappedKey { key_id: key_id.clone(), bytes: bytes.clone() };
            opened.push(vault.open_named_key(name, &wrapped).is_ok());
        }
        for sample in empty_if_forbidden(store.vault_keys().data_keys_under(id, SAMPLES).await)? {
            let whose = VerificationId(sample.verification_id);
            let wrapped = WrappedKey { key_id: sample.key_id, bytes: sample.wrapped };
            opened.push(vault.open_data_key(whose, &wrapped).is_ok());
        }
        if !opened.is_empty() && !opened.contains(&true) {
            others.push(id.to_owned());
        }
    }
    Ok(others)
}

/// Nothing, where this role may see nothing.
fn empty_if_forbidden<T>(rows: store::Result<Vec<T>>) -> store::Result<Vec<T>> {
    match rows {
        Err(store::Error::Refused { code, .. }) if code == "42501" => Ok(Vec::new()),
        rows => rows,
    }
}

/// The vault as configured.
pub fn vault(config: &Config) -> anyhow::Result<Vault> {
    Ok(Vault::new(config.key_ring()?))
}

/// The blind index of this installation's persons.
pub async fn person_index(config: &Config, store: &Store) -> anyhow::Result<PersonIndex> {
    let now = Clock::system().now();
    let key = named_key(&vault(config)?, store, PERSON_INDEX, now).await?;
    Ok(PersonIndex::new(key))
}

/// What signs this installation's checkpoints of the audit; `None` where no keys are configured or
/// none was ever made.
pub async fn audit_seal(config: &Config, store: &Store) -> anyhow::Result<Option<AuditSeal>> {
    if !config.has_vault_keys() {
        return Ok(None);
    }
    let Some((key_id, bytes)) = store.vault_keys().find_named_key(AUDIT).await? else {
        return Ok(None);
    };
    let key = vault(config)?.open_named_key(AUDIT, &WrappedKey { key_id, bytes })?;
    Ok(Some(AuditSeal::new(key)))
}

/// A key of the installation, made if there is none yet.
async fn named_key(
    vault: &Vault,
    store: &Store,
    name: &str,
    now: time::OffsetDateTime,
) -> anyhow::Result<DataKey> {
    let (_, new) = vault.new_named_key(name)?;
    let candidate = (new.key_id.as_str(), &new.bytes[..]);
    let (key_id, bytes) =
        retry_until_ready(|| store.vault_keys().named_key(name, candidate, now)).await?;
    vault
        .open_named_key(name, &WrappedKey { key_id, bytes })
        .with_context(|| format!("the installation's key {name}"))
        .context(FromKey("vault.keys"))
}

/// The database's policies; the configured one seeds an empty database.
async fn policies_in_use(
    store: &Store,
    cache: &PolicyCache,
    seed: &Policy,
    clock: &Clock,
) -> anyhow::Result<PolicySnapshot> {
    let now = clock.now();
    let seed_database =
        || store.policies().seed_policy(seed.digest(), seed.name(), seed.text(), now);
    if retry_until_ready(seed_database).await? {
        tracing::info!(policy = seed.digest(), "policy seeded and activated");
    }
    let Some(policies) = retry_until_ready(|| PolicySnapshot::load(store, cache)).await? else {
        bail!("no policy is active that this version can compile")
    };
    let active = policies.general().digest();
    if active != seed.digest() {
        tracing::info!(policy = active, "using the database's active policy");
    }
    Ok(policies)
}

struct Service {
    store: Store,
    signals: Signals,
    api: Flushed<Api>,
    limits: server::Limits,
    http: Option<TcpListener>,
    operations: TcpListener,
    worker: Option<Flushed<Worker>>,
    reload: Reload,
}

impl Service {
    async fn run(self, stop: CancellationToken) {
        // What others lean on stops after them.
        let background = CancellationToken::new();
        let Flushed { part: api, flusher } = self.api;
        let mut last = vec![flusher];
        let relay = tokio::spawn({
            let (signals, store, stop) =
                (self.signals.clone(), self.store.clone(), background.clone());
            async move { signals.relay(&store, stop).await }
        });
        let waiting = tokio::spawn({
            let (api, stop) = (api.clone(), background.clone());
            async move { api.long_polls.serve(api.store.clone(), api.signals.clone(), stop).await }
        });
        let upkeep = tokio::spawn(keep_metrics(background.clone()));
        let reload = tokio::spawn(self.reload.run(api.clone(), background.clone()));
        // Health and metrics answer until the end.
        let operations = tokio::spawn(server::serve(
            self.operations,
            operations_router(api.clone()),
            server::Limits {
                connections: descriptors::OPERATIONS_CONNECTIONS,
                drain: OPERATIONS_DRAIN,
                ..self.limits.clone()
            },
            background.clone(),
        ));
        let worker = self.worker.map(|Flushed { part, flusher }| {
            last.push(flusher);
            tokio::spawn(part.run(stop.clone()))
        });
        let http = self.http.map(|listener| {
            tokio::spawn(server::serve(listener, router(api.clone()), self.limits, stop.clone()))
        });
        drop(api);

        stop.cancelled().await;
        tracing::info!("stopping");
        for part in [http, worker].into_iter().flatten() {
            let _ = part.await;
        }
        background.cancel();
        for part in [operations, relay, waiting, upkeep, reload] {
            let _ = part.await;
        }
        let _ = tokio::time::timeout(LAST_BATCHES, async {
            for flusher in last {
                let _ = flusher.await;
            }
        })
        .await;
        let _ = tokio::time::timeout(LAST_BATCHES, self.store.close()).await;
        tracing::info!("stopped");
    }
}

async fn keep_metrics(stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(METRICS_UPKEEP) => telemetry::metrics().run_upkeep(),
        }
    }
}
