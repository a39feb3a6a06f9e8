//! The context of every command, and the helpers that all commands share.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::Context as _;
use verdict::config::{self, CommandSettings, Config, ConfigErrors, Environment, Keys};
use verdict::domain::clock::Clock;
use verdict::domain::purpose;
use verdict::store::audit::AuditContext;
use verdict::store::{PoolerSearch, Store};
use verdict::telemetry::{self, Output};
use verdict::vault::Vault;

use crate::operator;

/// Wrong usage: the caller has to write the command differently.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

pub(crate) struct Context {
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) config_origin: ConfigOrigin,
    pub(crate) environment: Environment,
}

/// How the configuration file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigOrigin {
    /// `--config`.
    Option,
    /// [`CONFIG_VARIABLE`].
    Variable,
    /// [`CONFIG_IN_FOLDER`].
    Folder,
    /// [`CONFIG_IN_FOLDER`] exists, and is left alone: another user may have put it there.
    FolderOfAnotherUser,
    /// There is none.
    None,
}

const CONFIG_VARIABLE: &str = "VERDICT_CONFIG";
const CONFIG_IN_FOLDER: &str = "verdict.toml";

impl Context {
    /// Finds the configuration file: the option, else the variable, else the working folder.
    pub(crate) fn new(option: Option<PathBuf>, environment: Environment) -> Self {
        let variable = environment.get(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        let (config_file, config_origin) = match (option, variable) {
            (Some(file), _) => (Some(file), ConfigOrigin::Option),
            (None, Some(file)) => (Some(file.into()), ConfigOrigin::Variable),
            (None, None) => match std::fs::metadata(CONFIG_IN_FOLDER).map(|about| about.uid()) {
                Err(_) => (None, ConfigOrigin::None),
                Ok(owner) if owner == 0 || owner == nix::unistd::getuid().as_raw() => {
                    (Some(CONFIG_IN_FOLDER.into()), ConfigOrigin::Folder)
                }
                Ok(_) => (None, ConfigOrigin::FolderOfAnotherUser),
            },
        };
        Self { config_file, config_origin, environment }
    }

    /// The configuration as written, with a warning for each variable whose name resembles a key.
    pub(crate) fn config(&self) -> Result<Config, ConfigErrors> {
        let config = self.config_without_warnings()?;
        if self.config_origin == ConfigOrigin::FolderOfAnotherUser {
            let _ = writeln!(
                std::io::stderr(),
                "verdict: warning: ./{CONFIG_IN_FOLDER} is not read, because it belongs to another \
                 user; --config {CONFIG_IN_FOLDER} reads it"
            );
        }
        for found in config::misnamed(&self.environment) {
            let _ = writeln!(std::io::stderr(), "verdict: warning: {}", said_of(&found));
        }
        Ok(config)
    }

    /// For commands that report such variables in their own way.
    pub(crate) fn config_without_warnings(&self) -> Result<Config, ConfigErrors> {
        Config::read(self.config_file.as_deref(), &self.environment)
    }

    /// The checked settings of a command that works on the database, or every mistake in them.
    pub(crate) fn settings(&self, keys: Keys) -> Result<CommandSettings, ConfigErrors> {
        self.config()?.for_command(keys)
    }

    /// The account that runs the command, and when, for the audit.
    pub(crate) fn doing(purpose: Option<&str>) -> AuditContext {
        let purpose = purpose.map(ToOwned::to_owned);
        AuditContext { actor: operator::actor(), purpose, at: Clock::system().now() }
    }

    /// The database, for a command that needs nothing else of the configuration.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        migrated_store(&self.settings(Keys::Unused)?).await
    }
}

pub(crate) async fn migrated_store(settings: &CommandSettings) -> anyhow::Result<Store> {
    let store = Store::new(&settings.store)?;
    // Past the pool, which tries again until its time is over and then does not say why.
    store.inspection().connect_once(PoolerSearch::Usual).await?;
    store.require_fit_schema().await?;
    Ok(store)
}

/// The database and the vault, for a command that works with the installation's keys.
pub(crate) async fn store_and_vault(context: &Context) -> anyhow::Result<(Store, Vault)> {
    let mut settings = context.settings(Keys::Required)?;
    let keys = settings.keys.take().context("vault.keys is empty")?;
    Ok((migrated_store(&settings).await?, Vault::new(keys)))
}

pub(crate) fn said_of(found: &config::Misnamed) -> String {
    format!("the variable {} has no effect; did you mean {}?", found.variable, found.meant)
}

/// The purpose of a command that needs one, for the audit.
pub(crate) fn required_purpose(text: &str) -> Result<&str, Usage> {
    let purpose = purpose::parse(text).ok().filter(|purpose| !purpose.is_empty());
    purpose.ok_or_else(|| {
        Usage("--purpose must be 1 to 200 visible characters, on one line".to_owned())
    })
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
