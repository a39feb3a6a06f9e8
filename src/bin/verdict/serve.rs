//! `verdict serve`: the service.

use std::process::ExitCode;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use verdict::app::{self, Role};
use verdict::config::{Misnamed, misnamed};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::telemetry::{self, Output};

use super::{Context, told_to_stop};

/// What to serve.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict serve --role api --config verdict.toml")]
pub struct Arguments {
    /// all = accept and fetch; api = accept and answer; worker = fetch and decide.
    #[arg(long, value_enum, default_value = "all")]
    role: RoleName,
}

/// A role as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    /// Both.
    All,
    /// Accept and answer.
    Api,
    /// Fetch and decide.
    Worker,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::All => Self::All,
            RoleName::Api => Self::Api,
            RoleName::Worker => Self::Worker,
        }
    }
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = context.unchecked_config()?;
    let role = Role::from(arguments.role);
    // Before the log is set up, which is configured too.
    config.check(role.accepts(), role.works())?;
    let export = config.traces()?;
    // Before anything is counted.
    telemetry::metrics();
    let traces = telemetry::init_with_traces(&config.log()?, Output::Stdout, export.as_ref())
        .map_err(|problem| anyhow::anyhow!("configuration: {problem}"))?;
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
    let running =
        app::start(&config, &context.environment, role, Clock::system(), Ids::random()).await?;
    if !verdict::vault::all_keys_are_locked() {
        tracing::warn!("keys may be written to swap: the limit of locked memory is too low");
    }
    tracing::info!(
        http = running.http.map(tracing::field::display),
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
