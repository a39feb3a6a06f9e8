//! `verdict erasures`: the list of erasures outside the database, and its use after a restore.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use verdict::audit_log;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::domain::ids::VerificationId;
use verdict::persons::erasure_list::{self, Pages, Writer};
use verdict::store::Store;
use verdict::store::erasure::Erased;
use verdict::vault::AuditSeal;

use crate::context::{Context, required_purpose, store_and_vault};
use crate::output::{say, say_done};
use crate::progress::Progress;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the erasures as JSON lines, signed with the key of the audit's checkpoints. The list
    /// holds ids and times, no personal data. Keep it outside the database: a backup contains the
    /// persons who were erased after it.
    #[command(after_help = "Example: verdict erasures export > erasures.jsonl")]
    Export {
        /// Only erasures that were requested at this time (RFC 3339) or later.
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<OffsetDateTime>,
    },
    /// Erase in a restored database, before it serves, what the list says. It can be repeated.
    #[command(
        after_help = "Example: verdict erasures reapply erasures.jsonl --purpose 'restored the backup of 26 November'"
    )]
    Reapply {
        /// A list from `erasures export`. It is refused as a whole if any line is missing or not
        /// signed by this installation.
        file: PathBuf,
        /// The purpose, for the audit.
        #[arg(long)]
        purpose: String,
    },
}

fn time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "must be a time such as 2026-11-26T12:00:00Z".to_owned())
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Export { since } => export(context, since).await,
        Command::Reapply { file, purpose } => reapply(context, &file, &purpose).await,
    }
}

async fn export(context: &Context, since: Option<OffsetDateTime>) -> anyhow::Result<ExitCode> {
    let (store, seal) = store_and_seal(context).await?;
    // Before the first page: an erasure that is requested meanwhile may be missing.
    let listed_at = Clock::system().now();
    let (mut writer, mut pages) = (Writer::new(&seal), Pages::new(&store, since));
    let (mut progress, mut count) = (Progress::of_export("erasures"), 0_u64);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            count += 1;
            progress.at(count);
            say(writer.line(&row)?);
        }
    }
    say(writer.end(listed_at)?);
    Ok(ExitCode::SUCCESS)
}

async fn reapply(context: &Context, file: &PathBuf, purpose: &str) -> anyhow::Result<ExitCode> {
    let audit = Context::doing(Some(required_purpose(purpose)?));
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let (store, seal) = store_and_seal(context).await?;
    // All of it, before anything is erased.
    let erasures = erasure_list::read(&seal, text.lines())?;
    let (mut again, mut before, mut unknown, mut on_hold) = (0, 0, 0, Vec::new());
    let mut progress = Progress::new("erasures", false);
    progress.expect(erasures.len());
    for (number, erasure) in (1_u64..).zip(&erasures) {
        progress.at(number);
        let id = VerificationId(erasure.verification_id);
        if store.erasures().receipt(id).await?.is_some() {
            before += 1;
            continue;
        }
        match store.erasures().erase(id, &audit).await? {
            Erased::Done(_) => again += 1,
            Erased::NotFound => unknown += 1,
            Erased::OnHold => on_hold.push(id),
        }
    }
    progress.clear();
    say_done(format_args!(
        "{} in the list: {again} erased again, {before} erased already, {unknown} not in this database",
        counted(erasures.len(), "erasure", "erasures")
    ));
    if !on_hold.is_empty() {
        for id in &on_hold {
            say_done(format_args!("under a legal hold, not erased: {id}"));
        }
        bail!(
            "{} not erased: this database has a legal hold that was lifted later. Lift it \
             (`verdict hold lift`) and run the command again",
            counted(on_hold.len(), "verification is", "verifications are")
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn store_and_seal(context: &Context) -> anyhow::Result<(Store, AuditSeal)> {
    let (store, vault) = store_and_vault(context).await?;
    let seal = audit_log::seal(&store, &vault).await?;
    let seal = seal.context(
        "this database has no key to sign with yet: a worker makes it when it starts. A backup from \
         before that holds nobody",
    )?;
    Ok((store, seal))
}
