//! `verdict audit`: who read, erased or changed what, and whether the record is whole.

mod ask;
mod heads;
mod installation;
mod proofs;

use std::fmt::Display;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use merkle_log::note::VerifyingKey;
use uuid::Uuid;
use verdict::audit_log::heads::known_heads;
use verdict::audit_log::{self, Known, link};
use verdict::domain::audit_chain::{Export, Line, Place, WholeExport};
use verdict::domain::audit_details::Details;
use verdict::domain::audit_heads::KnownHead;
use verdict::domain::byte_order_mark;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::store::Store;
use verdict::store::audit::AuditCheckpoint;
use verdict::store::audit_cuts::AuditCut;
use verdict::vault::AuditSeal;

use crate::context::Context;
use crate::output::{say, say_styled};
use crate::progress::Progress;
use crate::terminal::{Table, relative};
use installation::Installation;
use proofs::CheckArguments;

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
        /// A head that is kept elsewhere, as `audit head` prints it, or the state file of a witness.
        /// Fails unless the rows are those of the head. May be repeated.
        #[arg(long, value_name = "FILE")]
        head: Vec<PathBuf>,
        /// Get the newest head from each of audit.witnesses. Without it, the heads that the database
        /// keeps of them are taken: after an old backup was restored, those are old, too.
        #[arg(long, conflicts_with = "file")]
        ask_witnesses: bool,
        /// Fail if a signature of a checkpoint was not checked: `vault.keys` are required. Anybody can
        /// compute the digests of a rewritten chain, but not the signatures. Fail, too, if
        /// audit.witnesses are configured and no head was compared.
        #[arg(long)]
        strict: bool,
        #[arg(
            long,
            help = r#"Print { "rows", "dropped", "checkpoints", "signatures_checked", "signed_to", "head", "heads" }"#
        )]
        json: bool,
    },
    /// Print the newest head of the audit's Merkle tree: its name, its rows, the root over all of them,
    /// and the signature of the log. A signed note of c2sp.org/tlog-checkpoint.
    #[command(after_help = "Example: verdict audit head --cosigned > audit.head")]
    Head {
        /// The newest head that a witness signed, with the signatures of witnesses.
        #[arg(long, conflicts_with = "key")]
        cosigned: bool,
        /// Print the public key of the log instead: witnesses and `audit check` need it.
        #[arg(long)]
        key: bool,
    },
    /// Prove that a row is in the audit, or that the audit begins with an older head. Prints a proof with
    /// the head that it leads to: the newest that a witness signed, else one that is signed now.
    #[command(after_help = "Example: verdict audit prove 12 > row-12.json")]
    Prove {
        /// The position of the row. The proof has the row itself, unless retention dropped it.
        #[arg(
            required_unless_present = "from", conflicts_with = "from",
            value_parser = clap::value_parser!(i64).range(1..)
        )]
        position: Option<i64>,
        /// Rows of the older head.
        #[arg(long, value_name = "ROWS")]
        from: Option<u64>,
    },
    /// Verify a proof. Needs neither a database nor the configuration.
    #[command(after_help = "Example: verdict audit check row-12.json --key \"$LOG_KEY\"")]
    Check {
        /// The proof, as `audit prove` prints it.
        file: PathBuf,
        /// The public key of the log, as `audit head --key` prints it.
        #[arg(long)]
        key: String,
        /// The public key of a witness that must have signed the head. May be repeated.
        #[arg(long, value_name = "KEY")]
        witness: Vec<String>,
        /// A head that you keep: the proof must continue it, or lead to it.
        #[arg(long, value_name = "FILE")]
        head: Option<PathBuf>,
        /// Print { "position", "older", "rows", "root", "witnesses" }.
        #[arg(long)]
        json: bool,
    },
}

/// Rows held in memory at once.
const PAGE: i64 = 1000;

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::List { subject, json } => list(context, subject, json).await,
        Command::Verify { file: Some(file), expect, head, strict, json, .. } => {
            verify_export(context, &file, (&expect, &head), strict, json).await
        }
        Command::Verify { file: None, expect, head, ask_witnesses, strict, json } => {
            verify(context, (&expect, &head), ask_witnesses, strict, json).await
        }
        Command::Head { cosigned, key } => heads::run(context, cosigned, key).await,
        Command::Prove { position: Some(position), .. } => {
            proofs::prove_row(context, position).await
        }
        Command::Prove { position: None, from } => {
            proofs::prove_from(context, from.unwrap_or_default()).await
        }
        Command::Check { file, key, witness, head, json } => {
            proofs::check(&CheckArguments { file, key, witness, head, json })
        }
    }
}

async fn list(context: &Context, subject: Option<Uuid>, json: bool) -> anyhow::Result<ExitCode> {
    if json && subject.is_none() {
        let audit = Installation::open(context).await?;
        return export(audit.store, audit.seal).await;
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

/// The heads that the audit is compared with: those of witnesses, and those in files.
async fn heads_to_compare(
    audit: &Installation,
    files: &[PathBuf],
    ask_witnesses: bool,
) -> anyhow::Result<Vec<KnownHead>> {
    let log = audit.log_key();
    let mut heads = heads_in(files, log.as_ref())?;
    if ask_witnesses {
        heads.extend(ask::newest_heads(audit, log.as_ref()).await?);
    }
    if audit.heads.has_witnesses() {
        let kept = audit.store.audit_tree().cosigned(audit.heads.name()).await?;
        heads.extend(known_heads(&kept, audit.heads.keys(), log.as_ref())?);
    }
    Ok(heads)
}

fn heads_in(files: &[PathBuf], log: Option<&VerifyingKey>) -> anyhow::Result<Vec<KnownHead>> {
    let heads = files.iter().map(|file| -> anyhow::Result<KnownHead> {
        let note = proofs::read(file)?;
        Ok(KnownHead::kept(&note, &proofs::which(file), log)?)
    });
    heads.collect()
}

async fn verify(
    context: &Context,
    (expect, files): (&[Place], &[PathBuf]),
    ask_witnesses: bool,
    strict: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let audit = Installation::open(context).await?;
    let (store, seal) = (&audit.store, audit.seal.as_ref());
    if strict && seal.is_none() {
        bail!(NOT_CHECKED);
    }
    // Before the rows: what is signed meanwhile is beyond them.
    let heads = heads_to_compare(&audit, files, ask_witnesses).await?;
    if strict && heads.is_empty() && !audit.heads.witnesses.is_empty() {
        bail!("no witness of audit.witnesses has signed a head yet: run a worker, and see its log");
    }
    let mut progress = Progress::new("rows", json);
    let mut report = |position, last| {
        progress.expect(last);
        progress.at(position);
    };
    let against = Known { seal, expect, heads: &heads };
    let whole = audit_log::verify_with(store, &against, &mut report).await;
    progress.clear();
    let whole = whole?;
    let good = whole.checkpoints;
    if strict && good == 0 {
        bail!("no row is signed yet: run a worker, which signs the newest row about every 15 s");
    }
    if json {
        let signatures = (good, seal.is_some(), whole.covered);
        say(verified(&whole.last, whole.dropped, signatures, &heads));
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
    say_heads(&heads);
    say(format_args!("store elsewhere, for --expect: {}", whole.last));
    Ok(ExitCode::SUCCESS)
}

/// The result for programs. `head` is for `--expect`. `signatures`: how many checkpoints, whether they
/// were checked, and the last position.
fn verified(
    last: &Place,
    dropped: i64,
    (checkpoints, signatures_checked, signed_to): (usize, bool, i64),
    heads: &[KnownHead],
) -> serde_json::Value {
    let heads: Vec<serde_json::Value> = heads
        .iter()
        .map(|head| serde_json::json!({ "rows": head.size, "root": head.root.to_base64() }))
        .collect();
    serde_json::json!({
        "rows": last.position, "dropped": dropped, "checkpoints": checkpoints,
        "signatures_checked": signatures_checked, "signed_to": signed_to, "head": last.to_string(),
        "heads": heads,
    })
}

fn say_heads(heads: &[KnownHead]) {
    for KnownHead { which, size, .. } in heads {
        say(format_args!("agrees with the head {which}, of {}", rows(size)));
    }
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
    (expect, files): (&[Place], &[PathBuf]),
    strict: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let heads = heads_in(files, None)?;
    let seal = if strict { Some(seal_of_installation(context).await?) } else { None };
    let lines = std::io::BufReader::new(
        std::fs::File::open(file).with_context(|| format!("{} cannot be read", file.display()))?,
    )
    .lines();
    let mut progress = Progress::new("lines", json);
    let mut export = Export::against(heads.clone());
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
        say(verified(last, *dropped, (*checkpoints, strict, *checkpointed_to), &heads));
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
    say_heads(&heads);
    say(format_args!("store elsewhere, for --expect: {}", whole.last));
    Ok(ExitCode::SUCCESS)
}

/// The key that signs checkpoints is kept in the database, wrapped by the key ring.
async fn seal_of_installation(context: &Context) -> anyhow::Result<AuditSeal> {
    // Without a key nothing can be checked, whatever else the configuration says.
    if !context.config_without_warnings().context(NOT_CHECKED)?.has_vault_keys() {
        bail!(NOT_CHECKED);
    }
    let audit = Installation::open(context).await.context(NOT_CHECKED)?;
    audit.seal.context(NOT_CHECKED)
}
