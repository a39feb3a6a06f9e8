//! `verdict sandbox`: the simulated provider, for one's own tests and CI.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use verdict::domain::clock::Clock;
use verdict::domain::ids::Ids;
use verdict::sandbox::{Sandbox, Settings};
use verdict::telemetry::{self, Output};

use super::{Context, say, told_to_stop};

/// Public, as this source is.
const BUILT_IN_SECRET: &str = "sandbox-secret";

/// How to run it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: verdict sandbox --listen 127.0.0.1:9000 --access-key-id test --access-key-secret test"
)]
pub struct Arguments {
    /// Where to listen; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The only access key it knows.
    #[arg(long, default_value = "sandbox-key", env = "VERDICT_SANDBOX_ACCESS_KEY_ID")]
    access_key_id: String,
    /// Its secret. It protects nothing but invented people.
    #[arg(long, default_value = BUILT_IN_SECRET, env = "VERDICT_SANDBOX_ACCESS_KEY_SECRET")]
    access_key_secret: String,
    /// Throttle above this many calls per second, as the real one does; 0: never.
    #[arg(long, default_value_t = 0)]
    queries_per_second: u32,
    /// Delay every answer by this many milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Delay every image by this many milliseconds.
    #[arg(long, default_value_t = 0)]
    image_latency_ms: u64,
    /// Image links live this many seconds (the provider's live 300).
    #[arg(long, default_value_t = 300)]
    image_seconds: u64,
}

/// Runs until told to stop.
pub async fn run(_: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let log = telemetry::Settings { json: false, filter: "info".to_owned() };
    telemetry::init(&log, Output::Stderr).map_err(anyhow::Error::msg)?;
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        super::Usage(format!(
            "--listen: cannot listen on {}: {}",
            arguments.listen,
            verdict::causes::of_io(&error)
        ))
    })?;
    let built_in = arguments.access_key_secret == BUILT_IN_SECRET;
    let mut settings = Settings::new(arguments.access_key_id, arguments.access_key_secret.into());
    settings.queries_per_second =
        (arguments.queries_per_second > 0).then_some(arguments.queries_per_second);
    settings.latency = Duration::from_millis(arguments.latency_ms);
    settings.image_latency = Duration::from_millis(arguments.image_latency_ms);
    settings.image_ttl = Duration::from_secs(arguments.image_seconds);
    if built_in && !arguments.listen.ip().to_canonical().is_loopback() {
        tracing::warn!(
            "the simulated provider is reachable from outside with its public built-in access key"
        );
    }
    say(format_args!("sandbox listening on http://{}", listener.local_addr()?));
    let told = async {
        let _ = told_to_stop().await;
    };
    Sandbox::new(settings, Clock::system(), Ids::random()).serve(listener, told).await;
    Ok(ExitCode::SUCCESS)
}
