//! `verdict demo`: the main job for real. A private Postgres, a simulated provider, the service,
//! signed callbacks for every outcome, and the decisions as they fall.

mod backend;
mod events;
mod golden;
mod person;
mod script;
mod settings;
mod system;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::bail;
use private_postgres::is_libpq_variable;

use crate::context::{Context, told_to_stop};
use crate::output::say;
use events::Events;
use system::Demo;

/// How to run it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict demo --exit")]
pub struct Arguments {
    /// End after the script; exit code 0 only if every decision was the expected one.
    #[arg(long)]
    exit: bool,
    /// Where database and logs are kept.
    #[arg(long, default_value = ".verdict/demo", value_name = "FOLDER")]
    folder: PathBuf,
    /// Settings (TOML) in place of the demo's own.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

/// Starts this program anew without the variables of libpq. Comes back where there are none, or with
/// the reason why it could not.
pub fn restart_without_libpq_variables() -> std::io::Result<()> {
    let names = std::env::vars_os().map(|(name, _)| name);
    let names: Vec<_> = names.filter(|name| is_libpq_variable(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut anew = Command::new(std::env::current_exe()?);
    anew.args(std::env::args_os().skip(1));
    for name in names {
        anew.env_remove(name);
    }
    Err(anew.exec())
}

/// Runs the script, then stays up.
pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // Ctrl-C must take down what has been started, also in the middle of the script.
    let told = told_to_stop();
    tokio::pin!(told);
    let demo = tokio::select! {
        demo = Demo::start(&arguments.folder, arguments.settings.as_deref(), &context.environment) => demo?,
        _ = &mut told => bail!("interrupted"),
    };
    let outcome = tokio::select! {
        outcome = show(&demo, arguments.exit) => outcome,
        _ = &mut told => Err(anyhow::anyhow!("interrupted")),
    };
    let outcome = match outcome {
        Ok(Some(mut events)) => {
            if !arguments.exit {
                say("\nIt stays up until Ctrl-C.");
                tokio::select! {
                    () = events.show_more() => {}
                    _ = &mut told => {}
                }
                say(format_args!("\n{}", events.summary()));
            }
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) => Err(anyhow::anyhow!(
            "some decisions were not the expected ones; see {}",
            arguments.folder.display()
        )),
        Err(error) => Err(error),
    };
    demo.show_kept();
    demo.stop().await;
    outcome
}

/// Plays the script; the events that follow, if everything came as expected.
async fn show(demo: &Demo, exits: bool) -> anyhow::Result<Option<Events>> {
    if !script::play(demo).await? {
        // A case that did not settle may never have an event.
        return Ok(None);
    }
    let events = Events::show(demo, script::CASES.len()).await?;
    if !exits {
        demo.invite().await?;
    }
    Ok(Some(events))
}
