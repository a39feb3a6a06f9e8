//! `verdict hold`: legal holds, which keep verifications from erasure and retention.

use std::process::ExitCode;

use clap::ArgGroup;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use verdict::domain::clock::Clock;
use verdict::domain::ids::{Ids, VerificationId};
use verdict::store::Store;
use verdict::store::audit::AuditContext;
use verdict::store::legal_holds::{LegalHold, Placed};

use crate::context::{Context, required_purpose};
use crate::output::{say, say_done, say_styled};
use crate::person_number;
use crate::terminal::{Table, relative};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Keep verifications as they are: no erasure and no retention touches them.
    #[command(
        after_help = "Example: verdict hold place --verification 01a20a63-7ca9-718d-ac24-e6d7c9a1c998 --purpose 'court order 7'"
    )]
    Place(Which),
    /// Let erasure and retention touch them again.
    #[command(
        after_help = "Example: verdict hold lift --person --purpose 'case 7 is closed' < number.txt"
    )]
    Lift(Which),
    /// List holds, the newest first.
    #[command(after_help = "Example: verdict hold list --all --json")]
    List {
        /// Include lifted holds.
        #[arg(long)]
        all: bool,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["verification", "person"]))]
pub struct Which {
    /// This verification.
    #[arg(long)]
    verification: Option<VerificationId>,
    /// All verifications of a person, by the identity number, which is typed at a prompt or comes on
    /// standard input.
    #[arg(long)]
    person: bool,
    /// The purpose, for the audit. No name, no number.
    #[arg(long)]
    purpose: String,
}

/// Holds that are read at once.
const PAGE: i64 = 500;

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Place(which) => place(context, &which).await,
        Command::Lift(which) => lift(context, &which).await,
        Command::List { all, json } => list(context, all, json).await,
    }
}

async fn place(context: &Context, which: &Which) -> anyhow::Result<ExitCode> {
    let audit = Context::doing(Some(required_purpose(&which.purpose)?));
    let (store, ids) = of(context, which, &audit).await?;
    let mut erased = 0;
    for id in &ids {
        let hold: Uuid = Ids::random().next(audit.at);
        match store.legal_holds().place(hold, *id, &audit).await? {
            Placed::New => say_done(format_args!("{id} is under a legal hold")),
            Placed::Already => say_done(format_args!("{id} was under a legal hold before")),
            Placed::Erased => {
                erased += 1;
                say_done(format_args!("{id} was erased before: there is nothing to hold"));
            }
            Placed::NotFound => anyhow::bail!("there is no verification {id}"),
        }
    }
    Ok(if erased == ids.len() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn lift(context: &Context, which: &Which) -> anyhow::Result<ExitCode> {
    let audit = Context::doing(Some(required_purpose(&which.purpose)?));
    let (store, ids) = of(context, which, &audit).await?;
    let mut lifted = 0;
    for id in &ids {
        if store.legal_holds().lift(*id, &audit).await? {
            lifted += 1;
            say_done(format_args!("{id} is no longer under a legal hold"));
        }
    }
    if lifted == 0 {
        anyhow::bail!("there was no legal hold to lift");
    }
    Ok(ExitCode::SUCCESS)
}

async fn of(
    context: &Context,
    which: &Which,
    audit: &AuditContext,
) -> anyhow::Result<(Store, Vec<VerificationId>)> {
    if let Some(id) = which.verification {
        return Ok((context.store().await?, vec![id]));
    }
    let found = person_number::look_up(context, audit).await?;
    Ok((found.store, found.ids))
}

async fn list(context: &Context, all: bool, json: bool) -> anyhow::Result<ExitCode> {
    let store = context.store().await?;
    let now = Clock::system().now();
    let mut table = Table::new(["VERIFICATION", "NAMED", "PLACED", "BY", "STATE", "PURPOSE"]);
    let mut before = None;
    loop {
        let page = store.legal_holds().list(before, all, PAGE).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        if json {
            page.iter().try_for_each(|hold| object(hold).map(say))?;
        } else {
            for hold in &page {
                table.add(row(hold, now));
            }
            say_styled(table.next_page());
        }
    }
    if before.is_none() && !json {
        say("there is no legal hold");
    }
    Ok(ExitCode::SUCCESS)
}

fn object(hold: &LegalHold) -> anyhow::Result<String> {
    let object = serde_json::json!({
        "id": hold.id,
        "verification_id": hold.verification_id,
        "biz_type": hold.biz_type,
        "biz_id": hold.biz_id,
        "purpose": hold.purpose,
        "placed_at": hold.placed_at.format(&Rfc3339)?,
        "placed_by": hold.placed_by,
        "lifted_at": hold.lifted_at.map(|at| at.format(&Rfc3339)).transpose()?,
        "lifted_by": hold.lifted_by,
    });
    Ok(object.to_string())
}

fn row(hold: &LegalHold, now: OffsetDateTime) -> [String; 6] {
    let LegalHold { verification_id, biz_type, biz_id, purpose, placed_by, .. } = hold;
    let lifted = match (hold.lifted_at, &hold.lifted_by) {
        (Some(at), Some(by)) => format!("lifted {} by {by}", relative(at, now)),
        _ => "held".to_owned(),
    };
    [
        verification_id.to_string(),
        format!("{biz_type}/{biz_id}"),
        relative(hold.placed_at, now),
        placed_by.clone(),
        lifted,
        purpose.clone(),
    ]
}
