//! `verdict witness`: signs the heads of another machine's audit.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use merkle_log::note::{Kind, SigningKey, VerifyingKey};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use verdict::causes;
use verdict::domain::byte_order_mark;
use verdict::domain::clock::Clock;
use verdict::http::server::{Limits, serve};
use verdict::telemetry::{self, Output};
use verdict::vault::witness_key::{self, WitnessKeyError};
use verdict::witness::router::router;
use verdict::witness::state::{Witness, initial, sync_folder};
use zeroize::Zeroizing;

use crate::context::{Usage, told_to_stop};
use crate::output::{say, say_done};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make the key of a new witness, and a state that says that it has signed nothing. Prints the
    /// public key, for audit.witnesses of the installation.
    #[command(
        after_help = "Example: verdict witness new-key witness.example.com/w1 --key-file w1.key --state-file w1.state"
    )]
    NewKey {
        /// The name of the witness, as a URL without a scheme.
        name: String,
        /// Where the key is written, readable only by its owner. It must not exist.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// Where the state is written. It must not exist.
        #[arg(long, value_name = "FILE")]
        state_file: PathBuf,
    },
    /// Sign the heads of one log: each only if it continues the one that was signed before. Run it on a
    /// machine that the administrators of the database cannot reach.
    #[command(
        after_help = "Example: verdict witness serve --key-file w1.key --state-file w1.state --log \"$LOG_KEY\""
    )]
    Serve(ServeArguments),
}

#[derive(Debug, clap::Args)]
pub struct ServeArguments {
    /// The key, as `witness new-key` made it.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The newest head that was signed. It is replaced, durably, before each signature is given away.
    /// Never restore an older one.
    #[arg(long, value_name = "FILE")]
    state_file: PathBuf,
    /// The public key of the log, as `audit head --key` prints it. Its name is the origin of the log.
    #[arg(long, value_name = "KEY")]
    log: String,
    /// Where to listen, by plain http. It signs only heads of the log, so anybody may reach it.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8190")]
    listen: SocketAddr,
    /// Log as text, not as JSON.
    #[arg(long)]
    text_log: bool,
}

/// A log sends a head a minute.
const LIMITS: Limits = Limits {
    connections: 64,
    first_byte: Duration::from_secs(10),
    header_read: Duration::from_secs(90),
    write_stall: Duration::from_secs(10),
    drain: Duration::from_secs(5),
};

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::NewKey { name, key_file, state_file } => new_key(&name, &key_file, &state_file),
        Command::Serve(arguments) => serve_witness(&arguments).await,
    }
}

fn new_key(name: &str, key_file: &Path, state_file: &Path) -> anyhow::Result<ExitCode> {
    let made = witness_key::generate(name);
    let (secret, public) = made.map_err(|error| match error {
        WitnessKeyError::Key(problem) => Usage(format!("NAME: {problem}")).into(),
        WitnessKeyError::Random(_) => anyhow::Error::new(error).context("no key was made"),
    })?;
    create(state_file, initial(&public).as_bytes())?;
    let secret = Zeroizing::new(format!("{}\n", secret.as_str()));
    if let Err(error) = create(key_file, secret.as_bytes()) {
        // So that the command can be repeated.
        let _ = std::fs::remove_file(state_file);
        return Err(error);
    }
    say_done(public);
    Ok(ExitCode::SUCCESS)
}

/// A new file that only its owner reads.
fn create(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        let written = new.write_all(content);
        let kept = written.and_then(|()| new.sync_all()).and_then(|()| sync_folder(file));
        if kept.is_err() {
            // So that the command can be repeated.
            let _ = std::fs::remove_file(file);
        }
        kept
    };
    write().map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!(
            "{} exists already: choose another path, because it may belong to a witness",
            file.display()
        ),
        _ => anyhow!("{} cannot be written: {}", file.display(), causes::of_io(&error)),
    })
}

fn signing_key(file: &Path) -> anyhow::Result<SigningKey> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text
        .map_err(|error| anyhow!("{} cannot be read: {}", file.display(), causes::of_io(&error)))?;
    SigningKey::parse(byte_order_mark::skipped(&text).trim())
        .with_context(|| format!("{} does not contain the key of a witness", file.display()))
}

async fn serve_witness(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    let log = VerifyingKey::parse(arguments.log.trim());
    let log = log.map_err(|problem| Usage(format!("--log {problem}")))?;
    if log.kind() != Kind::Log {
        let says =
            "--log is the key of a witness: give the one that `verdict audit head --key` prints";
        return Err(Usage(says.to_owned()).into());
    }
    let settings = telemetry::Settings { json: !arguments.text_log, filter: "info".to_owned() };
    telemetry::init(&settings, Output::Stderr).map_err(anyhow::Error::msg)?;
    let key = signing_key(&arguments.key_file)?;
    let witness = Arc::new(Witness::open(key, log, &arguments.state_file)?);
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        anyhow!("cannot listen on {}: {}", arguments.listen, causes::of_io(&error))
    })?;
    // Listening for signals comes first: one that arrives during the start is not lost.
    let told = tokio::spawn(told_to_stop());
    let stop = CancellationToken::new();
    say(format_args!(
        "{} signs heads of {} on {}",
        witness.key().name(),
        witness.log().name(),
        listener.local_addr()?
    ));
    let router = router(witness, Clock::system());
    let serving = tokio::spawn(serve(listener, router, LIMITS, stop.clone()));
    told.await??;
    stop.cancel();
    serving.await?;
    Ok(ExitCode::SUCCESS)
}
