//! The `verdict` binary: parses, dispatches, reports; one file per command.
//!
//! Exit codes: 0 done, 1 it failed, 2 it was asked wrongly (usage or configuration).

mod audit;
mod callback;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod erase;
mod hardening;
mod healthcheck;
mod hint;
mod keys;
mod migrate;
mod openapi;
mod operator;
mod policy;
mod refetch;
mod said;
#[cfg(feature = "demo")]
mod sandbox;
mod serve;
mod shell;
mod told;
mod vault;
#[cfg(not(feature = "demo"))]
mod without_demo;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use verdict::config::{self, Config, ConfigError, ConfigErrors, Environment};
use verdict::domain::clock::Clock;
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::telemetry::{self, Output};

use said::{say, say_done};
#[cfg(not(feature = "demo"))]
use without_demo::{self as demo, self as sandbox};

/// Instead of the C library's: it and `memmove` took a quarter of the service's CPU while accepting
/// (`perf record` during `cargo bench --bench load -- accept`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns "the user has finished real-person verification" into a durable, explainable decision.
#[derive(Debug, Parser)]
#[command(version = VERSION, about, max_term_width = 100, after_help = "Example: verdict demo")]
struct Arguments {
    /// Configuration file (TOML); see config/default.toml for every key.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accept callbacks, fetch results, decide, answer.
    Serve(serve::Arguments),
    /// Bring the database's schema up to this version.
    #[command(after_help = "Example: verdict migrate --config verdict.toml")]
    Migrate,
    /// See the whole product work: private Postgres, simulated provider, callbacks in, decisions out.
    Demo(demo::Arguments),
    /// Run the simulated provider.
    Sandbox(sandbox::Arguments),
    /// Policies: check, try, activate, and look at the past with them.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict policy check config/policy.toml")]
    Policy(policy::Command),
    /// API keys of internal callers.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict keys list --config verdict.toml")]
    Keys(keys::Command),
    /// Forget a person, by verification or by identity number.
    Erase(erase::Arguments),
    /// Who read, erased or changed what, and whether that record is whole.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict audit verify --config verdict.toml")]
    Audit(audit::Command),
    /// The vault's keys: which are needed, and rotation.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict vault status --config verdict.toml")]
    Vault(vault::Command),
    /// Ask the provider again about verifications that were given up.
    #[command(alias = "redrive")]
    Refetch(refetch::Arguments),
    /// Print the description of the API (OpenAPI 3.1).
    #[command(after_help = "Example: verdict openapi > openapi.json")]
    Openapi,
    /// Sign and post callbacks.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict callback send --biz-type demo --biz-id order-1")]
    Callback(callback::Command),
    /// Look at everything that serving needs, and say what to do about what is wrong.
    Doctor(doctor::Arguments),
    /// Ask a running service on this machine whether it is ready; exit code 0 if so.
    #[command(after_help = "Example: verdict healthcheck --config verdict.toml")]
    Healthcheck,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("VERDICT_BUILT_FROM"), ")");

/// Something the caller has to say differently.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// What every command gets.
struct Context {
    config_file: Option<PathBuf>,
    environment: Environment,
}

impl Context {
    /// Refuses what is no key or of the wrong type, and warns of variables that are almost keys.
    fn config(&self) -> Result<Config, ConfigErrors> {
        let config = Config::load(self.config_file.as_deref(), &self.environment)?;
        for found in config::misnamed(&self.environment) {
            let _ = writeln!(std::io::stderr(), "verdict: warning: {}", said_of(&found));
        }
        Ok(config)
    }

    /// For commands that tell everything that is wrong at once.
    fn unchecked_config(&self) -> Result<Config, ConfigErrors> {
        Config::read(self.config_file.as_deref(), &self.environment)
    }

    /// The account that runs the command, and when, for the audit.
    fn doing(purpose: Option<&str>) -> AuditContext {
        let purpose = purpose.map(ToOwned::to_owned);
        AuditContext { actor: operator::actor(), purpose, at: Clock::system().now() }
    }

    async fn migrated_store(&self, config: &Config) -> anyhow::Result<Store> {
        let store = Store::new(&config.store()?)?;
        // Past the pool, which tries again until its time is over and then does not say why.
        store.connect_once().await?;
        store.require_fit_schema().await?;
        Ok(store)
    }
}

fn said_of(found: &config::Misnamed) -> String {
    format!("the variable {} has no effect; did you mean {}?", found.variable, found.meant)
}

fn main() -> ExitCode {
    if let Err(error) = hardening::protect_memory() {
        let _ = writeln!(
            std::io::stderr(),
            "verdict: core dumps cannot be switched off: {}",
            told::sentence(&error.into())
        );
    }
    let arguments = Arguments::parse();
    #[cfg(feature = "demo")]
    if matches!(arguments.command, Command::Demo(_))
        && let Err(error) = demo::restart_without_libpq_variables()
    {
        let _ = writeln!(
            std::io::stderr(),
            "verdict: cannot start the demo anew: {}",
            told::io(&error)
        );
    }
    let context = Context {
        config_file: arguments.config,
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    };
    let outcome = block_on(dispatch(&context, arguments.command));
    if let (Ok(_), Some(error)) = (&outcome, said::not_written()) {
        let _ = writeln!(
            std::io::stderr(),
            "verdict: the result could not be written: {}",
            told::io(error)
        );
        return ExitCode::FAILURE;
    }
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "verdict: {}", told::sentence(&error));
            if let Some(hint) = hint::about(&error, &context) {
                let _ = writeln!(stderr, "hint: {hint}");
            }
            let asked_wrongly = error.is::<ConfigError>()
                || error.is::<ConfigErrors>()
                || error.is::<Usage>()
                || error.to_string().starts_with("configuration:");
            ExitCode::from(if asked_wrongly { 2 } else { 1 })
        }
    }
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    // A connection whose peer is silent must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

async fn dispatch(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => serve::run(context, &arguments).await,
        Command::Migrate => migrate::run(context).await,
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(context, &arguments).await,
        #[cfg(feature = "demo")]
        Command::Sandbox(arguments) => sandbox::run(context, arguments).await,
        #[cfg(not(feature = "demo"))]
        Command::Demo(_) => Err(anyhow::Error::msg(without_demo::NO_DEMO)),
        #[cfg(not(feature = "demo"))]
        Command::Sandbox(_) => Err(anyhow::Error::msg(without_demo::NO_SANDBOX)),
        Command::Policy(command) => policy::run(context, command).await,
        Command::Keys(command) => keys::run(context, command).await,
        Command::Callback(command) => callback::run(context, command).await,
        Command::Erase(arguments) => erase::run(context, &arguments).await,
        Command::Audit(command) => audit::run(context, command).await,
        Command::Vault(command) => vault::run(context, &command).await,
        Command::Refetch(arguments) => refetch::run(context, arguments).await,
        Command::Openapi => openapi::run(),
        Command::Doctor(arguments) => doctor::run(context, &arguments).await,
        Command::Healthcheck => healthcheck::run(context).await,
    }
}

/// For commands whose output is their result: logs go to stderr, warnings only.
fn quiet_log() {
    let settings = telemetry::Settings { json: false, filter: "warn".to_owned() };
    let _ = telemetry::init(&settings, Output::Stderr);
}

/// Fires on SIGTERM or Ctrl-C.
async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    /// Words as a shell makes them, up to the first redirection.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(ToOwned::to_owned));
            }
        }
        words.into_iter().take_while(|word| !["<", ">", "|"].contains(&word.as_str())).collect()
    }

    fn walk(command: &mut Command, path: &str, seen: &mut usize) {
        let help = command.render_long_help().to_string();
        let examples: Vec<&str> =
            help.lines().filter_map(|line| line.trim().strip_prefix("Example: ")).collect();
        assert!(!examples.is_empty(), "{path} --help has no Example:\n{help}");
        for example in examples {
            assert!(example.starts_with(path), "{path}: the example is of another command");
            if let Err(error) = Arguments::try_parse_from(words(example)) {
                panic!("{path}: the example does not hold: {error}");
            }
        }
        *seen += 1;
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            let path = format!("{path} {}", inner.get_name());
            walk(inner, &path, seen);
        }
    }

    #[test]
    fn every_command_has_an_example_that_holds() {
        let mut seen = 0;
        walk(&mut Arguments::command(), "verdict", &mut seen);
        assert!(seen > 30, "only {seen} commands");
    }
}
