//! A running process applies a changed configuration as far as it can: the sources of callbacks with
//! their secrets and limits. (API keys are in the database.) It looks every few seconds, and at once
//! on SIGHUP. The whole configuration is checked first. If anything in it is wrong, all of it is
//! refused and the old one stays.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::role::Role;
use crate::config::{Config, ConfigError, ConfigErrors, Environment, Watched};
use crate::domain::ids::Ids;
use crate::domain::source::Groups;
use crate::http::Api;
use crate::http::sources::Sources;
use crate::periodic::{self, Periodic};

/// Between two polls of the files. A change is applied once two polls agree: a file may be half
/// written.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the files that a configuration was read from.
pub(super) struct Reload {
    role: Role,
    environment: Arc<Environment>,
    /// A difference from it that cannot be applied needs a restart.
    started_with: Arc<Config>,
    /// The files at that time.
    then: Watched,
    /// The newest that could be read, applied or not: its files are polled.
    newest: Arc<Config>,
    /// The files when they were last read.
    seen: Watched,
    /// The worker's, where there is one.
    groups: Option<Arc<Groups>>,
    wake: Arc<Notify>,
    /// The keys that were reported to need a restart.
    reported: Vec<String>,
}

/// A configuration that could be read.
struct Read {
    config: Arc<Config>,
    watched: Watched,
    checked: Result<Sources, ConfigErrors>,
}

impl Reload {
    pub(super) fn new(
        config: &Config,
        environment: &Environment,
        role: Role,
        groups: Option<Arc<Groups>>,
        wake: Arc<Notify>,
    ) -> Self {
        let config = Arc::new(config.clone());
        let then = config.watched();
        Self {
            role,
            environment: Arc::new(environment.clone()),
            started_with: Arc::clone(&config),
            seen: then.clone(),
            then,
            newest: config,
            groups,
            wake,
            reported: Vec::new(),
        }
    }

    /// Until stopped.
    pub(super) async fn run(self, api: Api, ids: Ids, stop: CancellationToken) {
        let polls = Polls { reload: self, api, settling: None, at_once: false };
        tokio::select! {
            () = stop.cancelled() => {}
            () = periodic::repeat(&ids, polls) => {}
        }
    }

    async fn follow(&mut self, now: Watched, api: &Api) {
        let (role, environment) = (self.role, Arc::clone(&self.environment));
        let read = blocking(&self.newest, move |config| {
            config.reload(&environment).map(|next| {
                // Before what they hold is read: the next poll sees a change after this one.
                let watched = next.watched();
                let checked = next.settings(role.parts()).map(|settings| {
                    settings.accepting.map(|accepting| accepting.sources).unwrap_or_default()
                });
                Read { config: Arc::new(next), watched, checked }
            })
        })
        .await;
        let checked = match read {
            None => return,
            Some(Err(error)) => {
                self.seen = now;
                Err(error)
            }
            Some(Ok(Read { config, watched, checked })) => {
                // A file that changed while it was read is read again.
                self.seen = if watched.agrees_with(&now) { watched } else { now };
                self.newest = config;
                checked
            }
        };
        match checked {
            Ok(sources) => {
                if self.role.accepts() {
                    tracing::info!(sources = sources.len(), "changed configuration applied");
                    api.sources.replace(sources);
                }
                if let Some(groups) = &self.groups {
                    groups.replace(self.newest.groups());
                }
                metrics::counter!("verdict_config_reloads_total", "outcome" => "applied")
                    .increment(1);
                self.tell_what_needs_a_restart();
            }
            Err(errors) => {
                for ConfigError { subject, problem } in errors.0 {
                    let key = tracing::field::display(subject);
                    tracing::error!(key, problem, "changed configuration refused");
                }
                metrics::counter!("verdict_config_reloads_total", "outcome" => "refused")
                    .increment(1);
            }
        }
    }

    fn tell_what_needs_a_restart(&mut self) {
        let keys = self.newest.fixed_changes(&self.started_with, &self.then, &self.seen);
        if !keys.is_empty() && keys != self.reported {
            tracing::warn!(keys = keys.join(", "), "changed configuration needs a restart");
        }
        self.reported = keys;
    }
}

/// Polls the files for changes.
struct Polls {
    reload: Reload,
    api: Api,
    /// A change that the last poll saw first.
    settling: Option<Watched>,
    /// A signal asked for a reload: it does not wait for a second poll.
    at_once: bool,
}

impl Periodic for Polls {
    async fn round(&mut self) -> Duration {
        let at_once = std::mem::take(&mut self.at_once);
        if let Some(now) = blocking(&self.reload.newest, Config::watched).await
            && (self.has_settled(&now) || at_once)
        {
            self.settling = None;
            self.reload.follow(now, &self.api).await;
        }
        POLL_INTERVAL
    }

    async fn woken(&mut self) {
        self.reload.wake.notified().await;
        self.at_once = true;
    }
}

impl Polls {
    /// Whether the files have changed and two polls agree on it.
    fn has_settled(&mut self, now: &Watched) -> bool {
        if *now == self.reload.seen {
            self.settling = None;
            return false;
        }
        self.settling.replace(now.clone()).as_ref() == Some(now)
    }
}

/// Files may be on a network's disk.
async fn blocking<T: Send + 'static>(
    config: &Arc<Config>,
    work: impl FnOnce(&Config) -> T + Send + 'static,
) -> Option<T> {
    let config = Arc::clone(config);
    tokio::task::spawn_blocking(move || work(&config)).await.ok()
}
