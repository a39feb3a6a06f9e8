//! `verdict golden`: pairs of pictures whose answer is known, mixed among the cases of reviewers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use time::format_description::well_known::Rfc3339;
use verdict::domain::clock::Clock;
use verdict::domain::ids::{GoldenId, Ids};
use verdict::images::format::{Format, Recognised};
use verdict::store::Store;
use verdict::store::golden_pairs::NewPair;
use verdict::vault::{SealedAt, Vault};

use crate::arguments::purpose;
use crate::context::{Context, Usage, store_and_vault};
use crate::output::{say, say_done};
use crate::terminal::{Table, relative, relative_or, say_table};

/// Largest picture, in bytes.
const MAX_BYTES: u64 = 5 << 20;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Add a pair. Its pictures are sealed in the database; use pictures that you may use for this.
    #[command(
        after_help = "Example: verdict golden add --live selfie.jpg --reference card.jpg --different"
    )]
    Add(NewArguments),
    /// List all pairs, with how often they were judged and how often wrongly.
    #[command(after_help = "Example: verdict golden list --json")]
    List {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Retire a pair: no reviewer gets it again, and its pictures are destroyed.
    #[command(after_help = "Example: verdict golden retire 01a20a63-7ca9-718d-ac24-e6d7c9a1c998")]
    Retire {
        /// Its id, as `golden list` shows it.
        id: String,
        /// The purpose, for the audit.
        #[arg(long, value_parser = purpose)]
        purpose: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("answer").required(true).args(["same", "different"])))]
pub struct NewArguments {
    /// The live face: a file, JPEG, PNG or WebP.
    #[arg(long, value_name = "FILE")]
    live: PathBuf,
    /// The reference picture: the portrait side of a card, cut to its edges.
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Both show one person.
    #[arg(long)]
    same: bool,
    /// They show two persons.
    #[arg(long)]
    different: bool,
    /// The purpose, for the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Add(arguments) => {
            let live = picture("--live", &arguments.live)?;
            let reference = picture("--reference", &arguments.reference)?;
            let (store, vault) = store_and_vault(context).await?;
            let doing = Context::doing(arguments.purpose.as_deref());
            let id = add(&store, &vault, (live, reference), arguments.same, &doing).await?;
            say(format_args!("{id}"));
        }
        Command::List { json } => list(&context.store().await?, json).await?,
        Command::Retire { id, purpose } => {
            let id: GoldenId = id.parse().map_err(|_| Usage("no such id".to_owned()))?;
            let doing = Context::doing(purpose.as_deref());
            if !context.store().await?.golden_pairs().retire(id, &doing).await? {
                return Err(Usage(format!("{id} is no golden pair, or is retired")).into());
            }
            say_done(format_args!("{id} is retired"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A picture and its format.
pub(crate) type Picture = (Vec<u8>, Format);

/// Seals a pair and adds it.
pub(crate) async fn add(
    store: &Store,
    vault: &Vault,
    (live, reference): (Picture, Picture),
    same_person: bool,
    doing: &verdict::store::audit::AuditContext,
) -> anyhow::Result<GoldenId> {
    let id: GoldenId = Ids::random().next(Clock::system().now());
    let (key, wrapped) = vault.new_golden_key(id)?;
    store.vault_keys().use_vault_key(&wrapped.key_id, doing.at).await?;
    let pair = NewPair {
        id,
        same_person,
        key_id: wrapped.key_id,
        wrapped: wrapped.bytes,
        live: key.seal(SealedAt::GoldenLive(id), &live.0)?,
        live_type: live.1.media_type(),
        reference: key.seal(SealedAt::GoldenReference(id), &reference.0)?,
        reference_type: reference.1.media_type(),
    };
    store.golden_pairs().add(&pair, doing).await?;
    Ok(id)
}

fn picture(option: &str, path: &Path) -> anyhow::Result<Picture> {
    let wrong = |problem: &str| Usage(format!("{option}: {} {problem}", path.display()));
    let size = std::fs::metadata(path).map_err(|_| wrong("cannot be read"))?.len();
    if size > MAX_BYTES {
        return Err(wrong("is larger than 5 MiB").into());
    }
    let bytes = std::fs::read(path).map_err(|_| wrong("cannot be read"))?;
    match Recognised::of(&bytes) {
        Some(Recognised {
            format: format @ (Format::Jpeg | Format::Png | Format::Webp),
            unusual,
        }) if unusual.is_empty() => Ok((bytes, format)),
        _ => Err(wrong("is no plain JPEG, PNG or WebP picture").into()),
    }
}

async fn list(store: &Store, json: bool) -> anyhow::Result<()> {
    let pairs = store.golden_pairs().list().await?;
    let at = |time: time::OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
    if json {
        let rows: Vec<_> = pairs
            .iter()
            .map(|pair| {
                serde_json::json!({
                    "id": pair.id, "same_person": pair.same_person, "added_at": at(pair.added_at),
                    "added_by": pair.added_by, "retired_at": pair.retired_at.map(at),
                    "judged": pair.judged, "wrong": pair.wrong,
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let now = Clock::system().now();
    let mut table = Table::new(["ID", "ANSWER", "JUDGED", "WRONG", "ADDED", "BY", "RETIRED"]);
    for pair in pairs {
        let answer = if pair.same_person { "same" } else { "different" };
        table.add([
            pair.id.to_string(),
            answer.to_owned(),
            pair.judged.to_string(),
            pair.wrong.to_string(),
            relative(pair.added_at, now),
            pair.added_by,
            relative_or(pair.retired_at, now, ""),
        ]);
    }
    say_table(table, "there is no golden pair");
    Ok(())
}
