//! `verdict audit`: who read, erased or changed what, and whether the record is whole.

use std::fmt::Display;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use uuid::Uuid;
use verdict::audit_log::{self, link};
use verdict::config::Keys;
use verdict::domain::audit_chain::{Export, Line, Place, WholeExport};
use verdict::domain::audit_details::Details;
use verdict::domain::byte_order_mark;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::store::Store;
use verdict::store::audit::AuditCheckpoint;
use verdict::store::audit_cuts::AuditCut;
use verdict::vault::{AuditSeal, Vault};

use crate::context::{Context, migrated_store};
use crate::output::{say, say_styled};
use crate::progress::Progress;
use crate::terminal::{Table, relative};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the audit, oldest row first.
    #[command(after_help = "Example: verdict audit list --json > audit.jsonl")]
    List {
        /// Only rows about this verification or key.
        #[arg(long)]
        subject: Option<Uuid>,
        /// One JSON object a line: the export that `audit verify --file` reads, with checkpoints, with
        /// cuts and digests of dropped rows, and, at its end, the head of the chain (with --subject it
        /// is no chain, and has no head).
        #[arg(long)]
        json: bool,
    },
    /// Find any row that was changed, removed, inserted or moved. Ends with the head of the chain:
    /// store it outside the database and pass it to --expect the next time. Without it, a superuser
    /// of the database can remove the newest rows unnoticed.
    #[command(after_help = "Example: verdict audit verify --file audit.jsonl")]
    Verify {
        /// Verify an export instead of the database. Needs no database, and the configuration only
        /// with --strict.
        #[arg(long)]
        file: Option<PathBuf>,
        /// A head from an earlier `audit verify` or from the log (`audit checkpoint`): fails unless
        /// this row is still there, unchanged, or was dropped by retention with the same digest. May
        /// be repeated.
        #[arg(long, value_name = "POSITION:DIGEST")]
        expect: Vec<Place>,
        /// Fail if a signature of a checkpoint was not checked: `vault.keys` are required. Anybody can
        /// compute the digests of a rewritten chain, but not the signatures.
        #[arg(long)]
        strict: bool,
        #[arg(
            long,
            help = r#"Print { "rows", "dropped", "checkpoints", "signatures_checked", "signed_to", "head" }"#
        )]
        json: bool,
    },
}

/// Rows held in memory at once.
const PAGE: i64 = 1000;

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::List { subject, json } => list(context, subject, json).await,
        Command::Verify { file: Some(file), expect, strict, json } => {
            verify_export(context, &file, &expect, strict, json).await
        }
        Command::Verify { file: None, expect, strict, json } => {
            verify(context, &expect, strict, json).await
        }
    }
}

async fn list(context: &Context, subject: Option<Uuid>, json: bool) -> anyhow::Result<ExitCode> {
    if json && subject.is_none() {
        let (store, seal) = store_and_seal(context).await?;
        return export(store, seal).await;
    }
    let store = context.store().await?;
    let now = Clock::system().now();
    let mut table =
        Table::new(["ROW", "WHEN", "ACTOR", "ACTION", "SUBJECT", "PURPOSE", "AS", "DETAILS"]);
    let mut after = 0;
    loop {
        let rows = store.audit().audit_after(after, subject, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = last.position;
        for link in rows.into_iter().map(link) {
            if json {
                say(serde_json::to_string(&link)?);
                continue;
            }
            table.add([
                link.position.to_string(),
                relative(link.at, now),
                link.actor,
                link.action,
                link.subject.map(|id| id.to_string()).unwrap_or_default(),
                link.purpose.unwrap_or_default(),
                link.database_user.unwrap_or_default(),
                link.details.map(|Details(more)| more).unwrap_or_default(),
            ]);
        }
        if !json {
            say_styled(table.next_page());
        }
    }
    if after == 0 && !json {
        say("the audit has no such row");
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(store: Store, seal: Option<AuditSeal>) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::of_export("rows");
    progress.expect(store.audit().audit_head().await?.0);
    let mut export = audit_log::Export::open(store, seal, Clock::system().now()).await?;
    while let Some(lines) = export.next().await? {
        for line in lines {
            if let Line::Row(row) = &line {
                progress.at(row.position);
            }
            say(serde_json::to_string(&line)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(
    context: &Context,
    expect: &[Place],
    strict: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (store, seal) = store_and_seal(context).await?;
    if strict && seal.is_none() {
        bail!(NOT_CHECKED);
    }
    let mut progress = Progress::new("rows", json);
    let mut report = |position, last| {
        progress.expect(last);
        progress.at(position);
    };
    let whole = audit_log::verify_with(&store, seal.as_ref(), expect, &mut report).await;
    progress.clear();
    let whole = whole?;
    let good = whole.checkpoints;
    if strict && good == 0 {
        bail!("no row is signed yet: run a worker, which signs the newest row about every 15 s");
    }
    if json {
        say(verified(&whole.last, whole.dropped, good, seal.is_some(), whole.covered));
        return Ok(ExitCode::SUCCESS);
    }
    let signatures = if seal.is_some() { "" } else { " (not their signatures: no vault.keys)" };
    say(format_args!(
        "whole: {}{}, {}{signatures}, {} after the last one",
        rows(whole.last.position),
        dropped(whole.dropped),
        checkpoints(good),
        rows(whole.last.position - whole.covered)
    ));
    say(format_args!("store elsewhere, for --expect: {}", whole.last));
    Ok(ExitCode::SUCCESS)
}

/// The result for programs. `head` is for `--expect`.
fn verified(
    last: &Place,
    dropped: i64,
    checkpoints: usize,
    signatures_checked: bool,
    signed_to: i64,
) -> serde_json::Value {
    serde_json::json!({
        "rows": last.position, "dropped": dropped, "checkpoints": checkpoints,
        "signatures_checked": signatures_checked, "signed_to": signed_to, "head": last.to_string(),
    })
}

fn rows(count: impl Display) -> String {
    counted(count, "row", "rows")
}

/// Nothing where nothing was dropped.
fn dropped(count: i64) -> String {
    match count {
        0 => String::new(),
        count => format!(" (the first {count} dropped by retention)"),
    }
}

fn checkpoints(count: impl Display) -> String {
    counted(count, "checkpoint", "checkpoints")
}

fn signed(seal: &AuditSeal, checkpoint: &AuditCheckpoint) -> anyhow::Result<()> {
    if !audit_log::is_signed(seal, checkpoint) {
        return Err(audit_log::Fault::Forged(checkpoint.position).into());
    }
    Ok(())
}

fn signed_cut(seal: &AuditSeal, cut: &AuditCut) -> anyhow::Result<()> {
    if !audit_log::is_cut_signed(seal, cut) {
        return Err(audit_log::Fault::ForgedCut(cut.position).into());
    }
    Ok(())
}

const NOT_CHECKED: &str = "the signatures of the checkpoints cannot be checked: give the \
    configuration of this installation, with its vault.keys and its database, or leave out --strict";

async fn verify_export(
    context: &Context,
    file: &PathBuf,
    expect: &[Place],
    strict: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let seal = if strict { Some(seal_of_installation(context).await?) } else { None };
    let lines = std::io::BufReader::new(
        std::fs::File::open(file).with_context(|| format!("{} cannot be read", file.display()))?,
    )
    .lines();
    let mut progress = Progress::new("lines", json);
    let mut export = Export::default();
    for (number, line) in lines.enumerate() {
        progress.at(number);
        let not_of_an_export = || anyhow::anyhow!("line {} is not of an export", number + 1);
        let line = line.with_context(|| format!("{} cannot be read", file.display()))?;
        let line = if number == 0 { byte_order_mark::skipped(&line) } else { line.as_str() };
        // Editors and mails leave blank lines behind; they say nothing.
        if line.trim().is_empty() {
            continue;
        }
        let line = Line::parse(line).ok_or_else(not_of_an_export)?;
        export.follow(&line, expect)?;
        let Some(seal) = &seal else { continue };
        let bytes = |hex: &str| hex::decode(hex).map_err(|_| not_of_an_export());
        match line {
            Line::Checkpoint { checkpoint } => {
                let (digest, mac) = (bytes(&checkpoint.digest)?, bytes(&checkpoint.mac)?);
                let (position, at) = (checkpoint.position, checkpoint.at);
                signed(seal, &AuditCheckpoint { position, at, digest, mac })?;
            }
            Line::Cut { cut } => {
                let (digest, leaves) = (bytes(&cut.digest)?, bytes(&cut.leaves)?);
                let (position, at, mac) = (cut.position, cut.at, bytes(&cut.mac)?);
                signed_cut(seal, &AuditCut { position, digest, at, leaves, mac })?;
            }
            _ => {}
        }
    }
    progress.clear();
    let whole = export.end(expect)?;
    let unsigned = whole.last.position - whole.checkpointed_to;
    if strict && unsigned > 0 {
        bail!(
            "no signature is behind the last {}: export anew with the configuration of the \
             installation, which signs the last row",
            rows(unsigned)
        );
    }
    if json {
        let WholeExport { last, checkpoints, checkpointed_to, dropped } = &whole;
        say(verified(last, *dropped, *checkpoints, strict, *checkpointed_to));
        return Ok(ExitCode::SUCCESS);
    }
    let signatures = if strict {
        ", all of them signed by this installation"
    } else {
        " (not their signatures: see --strict)"
    };
    say(format_args!(
        "whole: {}{}, {}{signatures}",
        rows(whole.last.position),
        dropped(whole.dropped),
        checkpoints(whole.checkpoints)
    ));
    say(format_args!("store elsewhere, for --expect: {}", whole.last));
    Ok(ExitCode::SUCCESS)
}

/// The key that signs checkpoints is kept in the database, wrapped by the key ring.
async fn seal_of_installation(context: &Context) -> anyhow::Result<AuditSeal> {
    // Without a key nothing can be checked, whatever else the configuration says.
    if !context.config_without_warnings().context(NOT_CHECKED)?.has_vault_keys() {
        bail!(NOT_CHECKED);
    }
    let (_, seal) = store_and_seal(context).await.context(NOT_CHECKED)?;
    seal.context(NOT_CHECKED)
}

/// No seal where no keys are configured, or none was ever made.
async fn store_and_seal(context: &Context) -> anyhow::Result<(Store, Option<AuditSeal>)> {
    let mut settings = context.settings(Keys::Optional)?;
    let keys = settings.keys.take();
    let store = migrated_store(&settings).await?;
    let seal = match keys {
        Some(keys) => audit_log::seal(&store, &Vault::new(keys)).await?,
        None => None,
    };
    Ok((store, seal))
}
