//! `verdict events`: upkeep of the event log.

use std::process::ExitCode;

use uuid::Uuid;
use verdict::domain::ids::Ids;

use crate::context::{Context, required_purpose};
use crate::output::say_done;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Begin a new epoch: the sequence starts again with 1, and readers see that they have to start
    /// again. Do this once after the database was restored from a backup: the newest events are
    /// missing in it, and other events would get their sequences.
    #[command(
        after_help = "Example: verdict events new-epoch --purpose 'restored the backup of 26 November'"
    )]
    NewEpoch(NewEpoch),
}

#[derive(Debug, clap::Args)]
pub struct NewEpoch {
    /// The purpose, for the audit.
    #[arg(long)]
    purpose: String,
    /// Print { "epoch" }.
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let Command::NewEpoch(NewEpoch { purpose, json }) = command;
    let purpose = required_purpose(&purpose)?;
    let store = context.store().await?;
    let doing = Context::doing(Some(purpose));
    let id: Uuid = Ids::random().next(doing.at);
    let epoch = store.events().begin_epoch(id, &doing).await?;
    if json {
        say_done(serde_json::json!({ "epoch": epoch.epoch }));
    } else {
        say_done(format_args!("epoch {}: the next event has sequence 1", epoch.epoch));
    }
    Ok(ExitCode::SUCCESS)
}
