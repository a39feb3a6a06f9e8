//! `verdict person`: all that is held of a person.

use std::process::ExitCode;

use serde_json::json;
use time::format_description::well_known::Rfc3339;
use verdict::app;
use verdict::persons::Export;

use crate::context::{Context, required_purpose};
use crate::output::say;
use crate::person_number;
use crate::progress::Progress;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print all that is held of a person, opened, as JSON. The identity number is typed at a prompt
    /// or comes on standard input: the command line does not take it, because other users of this
    /// machine can read that, and the shell keeps it.
    #[command(
        after_help = "Example: verdict person export --purpose 'request 4711' < number.txt > person.json"
    )]
    Export {
        /// The purpose, for the audit. No name, no number.
        #[arg(long)]
        purpose: String,
        /// List the images without their bytes.
        #[arg(long)]
        without_images: bool,
    },
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let Command::Export { purpose, without_images } = command;
    let audit = Context::doing(Some(required_purpose(&purpose)?));
    let archive = if without_images { None } else { app::archive(&context.config()?)? };
    let found = person_number::look_up(context, &audit).await?;
    let export = Export {
        store: &found.store,
        vault: &found.vault,
        archive: archive.as_ref(),
        with_bodies: true,
    };
    let mut verifications = Vec::with_capacity(found.ids.len());
    let mut progress = Progress::of_export("verifications");
    progress.expect(found.ids.len());
    for (number, id) in (1_u64..).zip(found.ids) {
        progress.at(number);
        verifications.extend(export.of(id, &audit).await?);
    }
    progress.clear();
    let document = json!({
        "exported_at": audit.at.format(&Rfc3339)?,
        "exported_by": audit.actor,
        "purpose": audit.purpose,
        "verifications": verifications,
    });
    say(serde_json::to_string_pretty(&document)?);
    Ok(ExitCode::SUCCESS)
}
