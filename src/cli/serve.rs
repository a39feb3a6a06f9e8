//! `verdict serve`: the service.

use std::process::ExitCode;

use clap::ValueEnum;
use verdict::app::{self, Role};
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::telemetry::{self, Output};

use super::{Context, told_to_stop};

/// What to serve.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// all = accept and fetch; api = accept and answer; worker = fetch and decide.
    #[arg(long, value_enum, default_value = "all")]
    role: RoleName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    All,
    Api,
    Worker,
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let export = config.traces()?;
    // Before anything is counted.
    telemetry::metrics();
    let traces = telemetry::init_with_traces(&config.log()?, Output::Stdout, export.as_ref())
        .map_err(|problem| anyhow::anyhow!("configuration: {problem}"))?;
    raise_descriptor_limit();
    let role = match arguments.role {
        RoleName::All => Role::All,
        RoleName::Api => Role::Api,
        RoleName::Worker => Role::Worker,
    };
    // Listening for the signal comes first: one that arrives during the start is not lost.
    let told = tokio::spawn(told_to_stop());
    let running =
        app::start(&config, &context.environment, role, Clock::system(), Ids::random()).await?;
    tracing::info!(
        http = running.http.map(tracing::field::display),
        operations = %running.operations,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    told.await??;
    running.stop();
    running.stopped().await;
    traces.flush().await;
    Ok(ExitCode::SUCCESS)
}

/// Every connection is a descriptor, and a shell's usual soft limit of 1,024 is less than
/// `http.max_connections`: take what the hard limit gives.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
