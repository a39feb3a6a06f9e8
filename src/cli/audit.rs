//! `verdict audit`: who read, erased or changed what, and whether the record is whole.

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use verdict::app;
use verdict::config::Config;
use verdict::domain::audit::{Chain, Link};
use verdict::store::Store;
use verdict::store::audit::AuditRow;

use super::{Context, say};

/// What to do with the audit.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List it, oldest first.
    #[command(after_help = "Example: verdict audit list --json > audit.jsonl")]
    List {
        /// Only what concerns this verification or key.
        #[arg(long)]
        subject: Option<Uuid>,
        /// One JSON object a line: the export that `audit verify --file` takes.
        #[arg(long)]
        json: bool,
    },
    /// Find any row that was changed, removed, inserted or moved.
    #[command(after_help = "Example: verdict audit verify --file audit.jsonl")]
    Verify {
        /// An export instead of the database; needs neither database nor configuration.
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

/// Rows held in memory at once.
const PAGE: i64 = 1000;

/// Does it.
pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    super::quiet_log();
    match command {
        Command::List { subject, json } => list(context, subject, json).await,
        Command::Verify { file: Some(file) } => verify_export(&file),
        Command::Verify { file: None } => verify(context).await,
    }
}

async fn list(context: &Context, subject: Option<Uuid>, json: bool) -> anyhow::Result<ExitCode> {
    let store = context.migrated_store(&context.config()?).await?;
    let mut after = 0;
    loop {
        let rows = store.audit_after(after, subject, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(ExitCode::SUCCESS) };
        after = last.position;
        for row in rows {
            let link = link(row);
            if json {
                say(serde_json::to_string(&link)?);
            } else {
                let at = link.at.format(&Rfc3339).unwrap_or_default();
                let subject = link.subject.map_or_else(String::new, |id| format!("  {id}"));
                let purpose = link.purpose.map_or_else(String::new, |why| format!("  {why}"));
                let details = link.details.map_or_else(String::new, |more| format!("  {more}"));
                say(format_args!(
                    "{}  {at}  {}  {}{subject}{purpose}{details}",
                    link.position, link.actor, link.action
                ));
            }
        }
    }
}

async fn verify(context: &Context) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let store = context.migrated_store(&config).await?;
    // Before the rows: what is added meanwhile is beyond it.
    let (head, head_digest) = store.audit_head().await?;
    let mut checkpoints = Checkpoints::open(&config, &store).await?;
    let mut chain = Chain::default();
    loop {
        let rows = store.audit_after(chain.position(), None, PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            chain.follow(&link(row))?;
            if chain.position() == head && chain.digest() != hex::encode(&head_digest) {
                bail!("row {head} is not the one that the chain's head names: it was replaced");
            }
            checkpoints.passed(&store, &chain).await?;
        }
    }
    if chain.position() < head {
        bail!("the newest rows are missing: {} is the last, {head} was written", chain.position());
    }
    checkpoints.all_passed()?;
    say(format_args!(
        "whole: {} rows, {}; the last one's digest is {}",
        chain.position(),
        checkpoints.said(),
        chain.digest()
    ));
    Ok(ExitCode::SUCCESS)
}

fn verify_export(file: &PathBuf) -> anyhow::Result<ExitCode> {
    let lines = std::io::BufReader::new(
        std::fs::File::open(file).with_context(|| format!("{} cannot be read", file.display()))?,
    )
    .lines();
    let mut chain = Chain::default();
    for (number, line) in lines.enumerate() {
        let link: Link = serde_json::from_str(&line?)
            .map_err(|_| anyhow::anyhow!("line {} is not a row of the audit", number + 1))?;
        chain.follow(&link)?;
    }
    say(format_args!(
        "whole: {} rows; the last one's digest is {}",
        chain.position(),
        chain.digest()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The checkpoints still ahead, in order.
struct Checkpoints {
    seal: Option<verdict::vault::AuditSeal>,
    page: std::collections::VecDeque<verdict::store::audit::AuditCheckpoint>,
    after: i64,
    good: usize,
}

impl Checkpoints {
    async fn open(config: &Config, store: &Store) -> anyhow::Result<Self> {
        let seal = app::audit_seal(config, store).await?;
        let mut checkpoints =
            Self { seal, page: std::collections::VecDeque::new(), after: 0, good: 0 };
        checkpoints.fill(store).await?;
        Ok(checkpoints)
    }

    async fn fill(&mut self, store: &Store) -> anyhow::Result<()> {
        if self.seal.is_some() && self.page.is_empty() {
            self.page = store.audit_checkpoints_after(self.after, PAGE).await?.into();
            self.after = self.page.back().map_or(self.after, |last| last.position);
        }
        Ok(())
    }

    async fn passed(&mut self, store: &Store, chain: &Chain) -> anyhow::Result<()> {
        let Some(seal) = &self.seal else { return Ok(()) };
        let Some(next) = self.page.front().filter(|next| next.position == chain.position()) else {
            return Ok(());
        };
        let position = next.position;
        let micros = i64::try_from(next.at.unix_timestamp_nanos() / 1000)?;
        if !seal.verifies(position, micros, &next.digest, &next.mac) {
            bail!("the checkpoint at row {position} was not made by this installation");
        }
        if hex::encode(&next.digest) != chain.digest() {
            bail!("the chain was written anew: row {position} is not the one of the checkpoint");
        }
        self.good += 1;
        self.page.pop_front();
        self.fill(store).await
    }

    fn all_passed(&self) -> anyhow::Result<()> {
        match self.page.front() {
            Some(next) => {
                bail!("the newest rows are missing: row {} was checkpointed", next.position)
            }
            None => Ok(()),
        }
    }

    fn said(&self) -> String {
        match self.seal {
            Some(_) => format!("{} checkpoints", self.good),
            None => "checkpoints not looked at (no vault.keys configured)".to_owned(),
        }
    }
}

fn link(row: AuditRow) -> Link {
    Link {
        position: row.position,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        purpose: row.purpose,
        details: row.details,
        previous: hex::encode(row.previous),
        digest: hex::encode(row.digest),
    }
}
