//! The composition root: configuration becomes parts, parts become a running service, and a stop
//! takes it down in an order that loses nothing.

mod api_parts;
mod database;
mod deliveries;
pub mod descriptors;
mod images;
mod installation_keys;
mod listeners;
mod presence;
mod reload;
mod role;
mod seed_policy;
mod service;
mod shared;
mod starter;
pub mod vault_keys;
mod worker_parts;

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Environment, Settings};
use crate::console::Console;
use crate::domain::clock::Clock;
use crate::domain::ids::Ids;
use crate::http::Api;
use crate::store::Store;
use crate::store::signals::Signals;
use crate::telemetry;
use crate::vault::Vault;
use api_parts::api_parts;
use database::{retry_until_ready, wait_for_database};
use images::archive_of;
use installation_keys::console_key;
use listeners::{Listeners, fitting_limits};
use reload::Reload;
use service::Service;
use shared::{Flushed, Shared};
use worker_parts::WorkerParts;

pub use images::archive;
pub use installation_keys::person_index;
pub use role::Role;
pub use service::Running;

/// Starts a service. Everything configured is checked before anything is served.
pub async fn start(
    config: &Config,
    environment: &Environment,
    role: Role,
    clock: Clock,
    ids: Ids,
) -> anyhow::Result<Running> {
    let settings = config.settings(role.parts())?;
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
    let (signals, stop) = (Signals::default(), CancellationToken::new());
    let shared = Shared { environment, role, store, signals, clock, ids, stop };
    let limits = fitting_limits(&settings, role);
    let vault = settings.keys.take().map(|keys| Arc::new(Vault::new(keys)));
    let (images, webhooks) = (settings.images.clone(), settings.common.webhooks.clone());
    let heads = settings.common.audit.clone();
    let worker = settings.working.take().zip(vault.clone());
    let worker = worker
        .map(|(working, vault)| {
            WorkerParts::new(working, &images, &webhooks, heads, vault, environment)
        })
        .transpose()?;
    let listeners = Listeners::bind(&settings).await?;
    let console = settings.console.take().map(|console| console.console);
    let mut api = api_parts(settings, vault.clone(), &limits, listeners.http_address()?, &shared)?;

    wait_for_database(&shared.store).await?;
    retry_until_ready(|| shared.store.require_fit_schema()).await?;
    if let Some(vault) = &vault {
        vault_keys::require(vault, &shared.store, &shared.clock).await?;
    }
    // Last, for it makes a folder where there is none.
    let archive = archive_of(&images)?;
    api.part.archive.clone_from(&archive);
    let policy_cache = Arc::clone(&api.part.policy_cache);
    let groups = worker.as_ref().map(|parts| Arc::clone(&parts.groups));
    let worker = match worker {
        None => None,
        Some(parts) => Some(parts.worker(archive, policy_cache, &shared).await?),
    };

    let reload_now = Arc::new(Notify::new());
    let reload = Reload::new(config, environment, role, groups, Arc::clone(&reload_now));
    let api = Flushed { part: Api::from(api.part), flusher: api.flusher };
    let console = match console.zip(listeners.console_address()?) {
        Some((settings, listens)) => {
            let key = console_key(vault.as_deref(), &shared).await?;
            let api = api.part.clone();
            let console = Console::new(api, settings, listens, key);
            Some(console.context("the HTTP client cannot be set up")?)
        }
        None => None,
    };
    let Shared { store, signals, clock, ids, stop, .. } = shared;
    Service { store, signals, api, console, limits, listeners, worker, reload, role, clock, ids }
        .start(reload_now, stop)
}
