//! `verdict serve`: the service.

use std::process::ExitCode;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use verdict::app::{self, Role};
use verdict::config::{ConfigError, Misnamed, misnamed};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::telemetry::{self, Output};

use crate::context::{Context, told_to_stop};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict serve --role api --config verdict.toml")]
pub struct Arguments {
    /// The work of this process: all of it, accepting and answering only, fetching and deciding, or
    /// the console.
    #[arg(long, value_enum, default_value = "all")]
    role: RoleName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    /// Everything.
    All,
    /// Accept and answer.
    Api,
    /// Fetch and decide.
    Worker,
    /// Serve the console.
    Console,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::All => Self::All,
            RoleName::Api => Self::Api,
            RoleName::Worker => Self::Worker,
            RoleName::Console => Self::Console,
        }
    }
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = context.config_without_warnings()?;
    let role = Role::from(arguments.role);
    let settings = config.settings(role.parts())?;
    // Before anything is counted.
    telemetry::metrics();
    let export = settings.common.traces.as_ref();
    let traces = telemetry::init_with_traces(&settings.common.log, Output::Stdout, export)
        .map_err(|problem| ConfigError::new("traces.endpoint", problem))?;
    app::descriptors::raise_limit();
    for Misnamed { variable, meant } in misnamed(&context.environment) {
        tracing::warn!(
            variable,
            suggestion = meant,
            "environment variable has no effect: its name resembles a key"
        );
    }
    // Listening for signals comes first: one that arrives during the start is not lost.
    let mut look_again = signal(SignalKind::hangup())?;
    let mut told = tokio::spawn(told_to_stop());
    let (clock, ids) = (Clock::system(), Ids::random());
    let running =
        Box::pin(app::start_with(settings, &config, &context.environment, role, clock, ids))
            .await?;
    if !verdict::vault::all_keys_are_locked() {
        tracing::warn!("keys may be written to swap: the limit of locked memory is too low");
    }
    tracing::info!(
        http = running.http.map(tracing::field::display),
        callbacks = running.callbacks.map(tracing::field::display),
        console = running.console.map(tracing::field::display),
        operations = %running.operations,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    loop {
        tokio::select! {
            outcome = &mut told => break outcome??,
            _ = look_again.recv() => running.reload(),
        }
    }
    running.stop();
    running.stopped().await;
    traces.flush().await;
    Ok(ExitCode::SUCCESS)
}
