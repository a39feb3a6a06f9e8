//! `verdict sandbox`: the simulated provider, for one's own tests and CI.

use std::net::SocketAddr;
use std::process::ExitCode;

use cloudauth_sandbox::Sandbox;
use cloudauth_sandbox::cli::Options;
use tokio::net::TcpListener;
use verdict::telemetry::{self, Output};

use crate::context::{Context, told_to_stop};
use crate::output::say;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: verdict sandbox --listen 127.0.0.1:9000 --access-key-id test --access-key-secret test"
)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
}

/// Runs until SIGTERM or Ctrl-C.
pub async fn run(_: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let options = arguments.options;
    let log = telemetry::Settings { json: false, filter: "info".to_owned() };
    telemetry::init(&log, Output::Stderr).map_err(anyhow::Error::msg)?;
    let listener = listen("--listen", options.listen).await?;
    let spare = match options.spare_listen {
        Some(address) => Some(listen("--spare-listen", address).await?),
        None => None,
    };
    options.warn_of_built_in_key();
    say(format_args!("sandbox listening on http://{}", listener.local_addr()?));
    if let Some(spare) = &spare {
        say(format_args!("spare region listening on http://{}", spare.local_addr()?));
    }
    let told = async {
        let _ = told_to_stop().await;
    };
    Sandbox::new(options.into_settings()).serve_regions(listener, spare, told).await;
    Ok(ExitCode::SUCCESS)
}

async fn listen(option: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let cause = verdict::causes::of_io(&error);
        crate::context::Usage(format!("{option}: cannot listen on {address}: {cause}")).into()
    })
}
