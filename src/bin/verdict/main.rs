//! The `verdict` binary: one file per command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

mod access;
mod arguments;
mod audit;
mod callback;
mod completions;
mod context;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod erase;
mod erasures;
mod error_text;
mod events;
mod explain;
mod golden;
mod hardening;
mod healthcheck;
mod hints;
mod hold;
mod images;
mod keys;
mod list;
mod listen;
mod migrate;
mod openapi;
mod operator;
mod output;
mod person;
mod person_number;
mod policy;
mod progress;
mod refetch;
mod review;
#[cfg(feature = "demo")]
mod sandbox;
mod serve;
mod shell;
mod show;
mod terminal;
mod users;
mod vault;
mod watch;
mod webhooks;
mod witness;
#[cfg(not(feature = "demo"))]
mod without_demo;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use verdict::config::{ConfigError, ConfigErrors, FromKey};

use crate::context::{Context, Usage};
#[cfg(not(feature = "demo"))]
use crate::without_demo::{self as demo, self as sandbox};

/// Instead of the C library's: it and `memmove` took a quarter of the service's CPU while accepting
/// (`perf record` during `cargo bench --bench load -- accept`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns "the user has finished real-person verification" into a durable, explainable decision.
#[derive(Debug, Parser)]
#[command(version = VERSION, about, max_term_width = 100, after_help = "Example: verdict demo")]
struct Arguments {
    /// Configuration file (TOML); see config/default.toml for every key. Default: the variable
    /// `VERDICT_CONFIG`, then ./verdict.toml where it exists.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: accept callbacks, fetch results, decide, answer.
    Serve(serve::Arguments),
    /// Migrate the database schema to this version.
    Migrate(migrate::Arguments),
    /// Run everything on this machine: private Postgres, simulated provider, callbacks, decisions.
    Demo(demo::Arguments),
    /// Run the simulated provider.
    Sandbox(sandbox::Arguments),
    /// Show everything about one verification: state, next try, decision, reasons, timeline.
    Show(show::Arguments),
    /// List verifications, newest first.
    List(list::Arguments),
    /// Follow one verification until it is decided, or the event log.
    Watch(watch::Arguments),
    /// List the cases that wait for a person, and decide one.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict review list --config verdict.toml")]
    Review(review::Command),
    /// Check, try, activate and backtest policies.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict policy check config/policy.toml")]
    Policy(policy::Command),
    /// Create, list and revoke API keys.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict keys list --config verdict.toml")]
    Keys(keys::Command),
    /// Add, invite, list and disable users of the console.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict users list --config verdict.toml")]
    Users(users::Command),
    /// Erase a person, by verification or by identity number.
    Erase(erase::Arguments),
    /// Keep a list of erasures outside the database, and apply it to a restored one.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict erasures export > erasures.jsonl")]
    Erasures(erasures::Command),
    /// Compare the object store with the database.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict images check --config verdict.toml")]
    Images(images::Command),
    /// Export all that is held of a person.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict person export --purpose 'request 12' < number.txt")]
    Person(person::Command),
    /// Place, lift and list legal holds: what is held is neither erased nor deleted by retention.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict hold list --config verdict.toml")]
    Hold(hold::Command),
    /// Add, list and retire golden pairs: pictures whose answer is known, mixed among reviews.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict golden list --config verdict.toml")]
    Golden(golden::Command),
    /// List the audit (who read, erased or changed what), and verify that it is complete.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict audit verify --config verdict.toml")]
    Audit(audit::Command),
    /// Sign the heads of the audit of another machine, each only if it continues the one before.
    #[command(subcommand)]
    #[command(
        after_help = "Example: verdict witness serve --key-file w1.key --state-file w1.state --log \"$LOG_KEY\""
    )]
    Witness(witness::Command),
    /// Show and rotate the vault's key-encryption keys.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict vault status --config verdict.toml")]
    Vault(vault::Command),
    /// Forward events to a receiver on this machine, signed as deliveries are.
    Listen(listen::Arguments),
    /// Begin a new epoch of the event log, after the database was restored.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict events new-epoch --purpose 'restored a backup'")]
    Events(events::Command),
    /// Add, list and test webhook endpoints, and redeliver events.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict webhooks list --config verdict.toml")]
    Webhooks(Box<webhooks::Command>),
    /// Fetch dead letters again: verifications that failed or expired.
    #[command(alias = "redrive")]
    Refetch(refetch::Arguments),
    /// Print the description of the API (OpenAPI 3.1).
    #[command(after_help = "Example: verdict openapi > openapi.json")]
    Openapi,
    /// Sign and post callbacks.
    #[command(subcommand)]
    #[command(after_help = "Example: verdict callback send --biz-type demo --biz-id order-1")]
    Callback(callback::Command),
    /// Check everything that the service needs, and say what to do about each fault.
    Doctor(doctor::Arguments),
    /// Explain a code: of a problem, a reason, a failure, a cause, a log line, a metric or an alert.
    Explain(explain::Arguments),
    /// Print the completions of a shell.
    Completions(completions::CompletionArguments),
    /// Write the man pages.
    Man(completions::ManArguments),
    /// Check whether the service on this machine is ready; exit code 0 if it is.
    #[command(after_help = "Example: verdict healthcheck --config verdict.toml")]
    Healthcheck,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("VERDICT_BUILT_FROM"), ")");

fn main() -> ExitCode {
    if let Err(error) = hardening::protect_memory() {
        let _ = writeln!(
            std::io::stderr(),
            "verdict: core dumps cannot be switched off: {}",
            error_text::sentence(&error.into())
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
            error_text::io(&error)
        );
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let context = Context::new(arguments.config, environment);
    let outcome = block_on(dispatch(&context, arguments.command));
    if let (Ok(_), Some(error)) = (&outcome, output::not_written()) {
        let _ = writeln!(
            std::io::stderr(),
            "verdict: the result could not be written: {}",
            error_text::io(error)
        );
        return ExitCode::FAILURE;
    }
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "verdict: {}", error_text::sentence(&error));
            if let Some(hint) = hints::about(&error, &context) {
                let _ = writeln!(stderr, "hint: {hint}");
            }
            ExitCode::from(if is_of_the_caller(&error) { 2 } else { 1 })
        }
    }
}

/// Wrong usage or configuration, as opposed to a failure.
fn is_of_the_caller(error: &anyhow::Error) -> bool {
    error.is::<ConfigError>()
        || error.is::<ConfigErrors>()
        || error.is::<FromKey>()
        || error.is::<Usage>()
        || access::is_refused(error, "invalid-field")
}

/// How long an idle thread for blocking work waits for more of it. Work goes to the thread that has
/// waited longest, so tokio's 10 s would keep every thread that a burst of images needed: five pieces
/// of work a second use each of 50 threads in time.
const IDLE_THREAD: Duration = Duration::from_millis(250);

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(IDLE_THREAD)
        .build()?;
    let outcome = runtime.block_on(future);
    // A connection whose peer is silent must not hold the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn dispatch(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => serve::run(context, &arguments).await,
        Command::Migrate(arguments) => migrate::run(context, &arguments).await,
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => Box::pin(demo::run(context, &arguments)).await,
        #[cfg(feature = "demo")]
        Command::Sandbox(arguments) => sandbox::run(context, arguments).await,
        #[cfg(not(feature = "demo"))]
        Command::Demo(_) => Err(anyhow::Error::msg(without_demo::NO_DEMO)),
        #[cfg(not(feature = "demo"))]
        Command::Sandbox(_) => Err(anyhow::Error::msg(without_demo::NO_SANDBOX)),
        Command::Policy(command) => policy::run(context, command).await,
        Command::Golden(command) => golden::run(context, command).await,
        Command::Keys(command) => keys::run(context, command).await,
        Command::Users(command) => Box::pin(users::run(context, command)).await,
        Command::Callback(command) => Box::pin(callback::run(context, command)).await,
        Command::Erase(arguments) => erase::run(context, &arguments).await,
        Command::Erasures(command) => erasures::run(context, command).await,
        Command::Images(command) => images::run(context, command).await,
        Command::Person(command) => person::run(context, command).await,
        Command::Hold(command) => hold::run(context, command).await,
        Command::Audit(command) => Box::pin(audit::run(context, command)).await,
        Command::Witness(command) => witness::run(command).await,
        Command::Vault(command) => vault::run(context, &command).await,
        Command::Webhooks(command) => webhooks::run(context, *command).await,
        Command::Review(command) => Box::pin(review::run(context, command)).await,
        Command::Refetch(arguments) => refetch::run(context, arguments).await,
        Command::Listen(arguments) => listen::run(context, &arguments).await,
        Command::Events(command) => events::run(context, command).await,
        Command::Openapi => openapi::run(),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Show(arguments) => Box::pin(show::run(context, &arguments)).await,
        Command::List(arguments) => Box::pin(list::run(context, &arguments)).await,
        Command::Watch(arguments) => Box::pin(watch::run(context, &arguments)).await,
        Command::Completions(arguments) => {
            Ok(completions::completions(Arguments::command(), &arguments))
        }
        Command::Man(arguments) => completions::man(Arguments::command(), &arguments),
        Command::Doctor(arguments) => Box::pin(doctor::run(context, &arguments)).await,
        Command::Healthcheck => healthcheck::run(context).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

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
