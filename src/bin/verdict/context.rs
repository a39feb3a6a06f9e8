//! The context of every command, and the helpers that all commands share.

use std::io::Write;
use std::path::PathBuf;

use verdict::config::{self, Config, ConfigErrors, Environment};
use verdict::domain::clock::Clock;
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::telemetry::{self, Output};

use crate::operator;

/// Wrong usage: the caller has to write the command differently.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

pub(crate) struct Context {
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) environment: Environment,
}

impl Context {
    /// Refuses unknown keys and wrong types, and warns of variables whose names resemble keys.
    pub(crate) fn config(&self) -> Result<Config, ConfigErrors> {
        let config = Config::load(self.config_file.as_deref(), &self.environment)?;
        for found in config::misnamed(&self.environment) {
            let _ = writeln!(std::io::stderr(), "verdict: warning: {}", said_of(&found));
        }
        Ok(config)
    }

    /// For commands that report every mistake at once.
    pub(crate) fn unchecked_config(&self) -> Result<Config, ConfigErrors> {
        Config::read(self.config_file.as_deref(), &self.environment)
    }

    /// The account that runs the command, and when, for the audit.
    pub(crate) fn doing(purpose: Option<&str>) -> AuditContext {
        let purpose = purpose.map(ToOwned::to_owned);
        AuditContext { actor: operator::actor(), purpose, at: Clock::system().now() }
    }

    pub(crate) async fn migrated_store(&self, config: &Config) -> anyhow::Result<Store> {
        let store = Store::new(&config.store()?)?;
        // Past the pool, which tries again until its time is over and then does not say why.
        store.inspection().connect_once().await?;
        store.require_fit_schema().await?;
        Ok(store)
    }
}

pub(crate) fn said_of(found: &config::Misnamed) -> String {
    format!("the variable {} has no effect; did you mean {}?", found.variable, found.meant)
}

/// For commands whose output is their result: logs go to stderr, warnings only.
pub(crate) fn quiet_log() {
    let settings = telemetry::Settings { json: false, filter: "warn".to_owned() };
    let _ = telemetry::init(&settings, Output::Stderr);
}

/// Fires on SIGTERM or Ctrl-C.
pub(crate) async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
