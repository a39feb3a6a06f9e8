//! The simulated provider as a standalone program.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use cloudauth_sandbox::Sandbox;
use cloudauth_sandbox::cli::Options;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A simulated provider for tests and CI: it speaks the API of Cloudauth, checks signatures, and
/// the id of a verification scripts the answers.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    after_help = "Example: cloudauth-sandbox --listen 127.0.0.1:9000 --access-key-id test --access-key-secret test"
)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    match run(Arguments::parse().options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cloudauth-sandbox: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let (listener, local) = listen("--listen", options.listen).await?;
    let spare = match options.spare_listen {
        Some(address) => Some(listen("--spare-listen", address).await?),
        None => None,
    };
    options.warn_of_built_in_key();
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err("signals cannot be received".to_owned());
    };
    let _ = writeln!(std::io::stdout(), "sandbox listening on http://{local}");
    if let Some((_, address)) = &spare {
        let _ = writeln!(std::io::stdout(), "spare region listening on http://{address}");
    }
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let spare = spare.map(|(listener, _)| listener);
    Sandbox::new(options.into_settings()).serve_regions(listener, spare, stop).await;
    Ok(())
}

async fn listen(option: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let failed = |error| format!("{option}: cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}
