//! `verdict policy`: checks, tries, adds and activates policies, and looks at the past with them.

mod listings;
mod new;
mod on_database;
mod past;
mod text;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use policy::{Policy, decide, missing_evidence, render};
use uuid::Uuid;
use verdict::config::Keys;
use verdict::domain::byte_order_mark;
use verdict::lanes::policy_work;
use verdict::policies::operations::{self, Applied, Change, PolicyError, Turn};
use verdict::store::Store;
use verdict::store::policies::Use;

use crate::arguments::{purpose, scene};
use crate::context::{Context, Usage};
use crate::output::{say, say_done};
use on_database::{failed, operations};
use text::{either, read, text_of, whole_digest};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check a policy file; exit code 0 only without errors.
    #[command(after_help = "Example: verdict policy check candidate.toml")]
    Check {
        /// The file; default: the configured one.
        file: Option<PathBuf>,
    },
    /// Write a policy with comments and test cases to a new file, as a beginning.
    #[command(after_help = "Example: verdict policy new candidate.toml --name stricter")]
    New {
        /// The file, which must not exist yet.
        file: PathBuf,
        /// The name of the policy.
        #[arg(long, default_value = "candidate")]
        name: String,
    },
    /// Print the policy with this digest; default: the one that seeds an empty database.
    #[command(after_help = "Example: verdict policy show sha256:3897")]
    Show {
        /// `sha256:…`, or its beginning.
        digest: Option<String>,
    },
    /// Decide one case.
    #[command(
        after_help = "Example: verdict policy try --policy candidate.toml --evidence case.json"
    )]
    Try {
        /// The policy; default: the configured one.
        #[arg(long)]
        policy: Option<PathBuf>,
        /// A JSON file with one case, `fields` or `evidence` of an item of /results; - for standard
        /// input.
        #[arg(long)]
        evidence: PathBuf,
    },
    /// List the policies in the database, and where each is active.
    #[command(after_help = "Example: verdict policy list --config verdict.toml")]
    List(Listing),
    /// List which policy was active when, by whom and why, newest first.
    #[command(after_help = "Example: verdict policy history --config verdict.toml")]
    History(Listing),
    /// Check a file and add it to the database, without activating it. Prints its digest.
    #[command(after_help = "Example: verdict policy add candidate.toml")]
    Add {
        /// The file.
        file: PathBuf,
    },
    /// Compare two policies line by line; exit code 1 if they differ.
    #[command(after_help = "Example: verdict policy diff sha256:3897 candidate.toml")]
    Diff {
        /// A file, or the digest of a policy in the database.
        old: String,
        /// A file, or the digest of a policy in the database.
        new: String,
        /// Print a JSON array of { "change", "line", "text" }.
        #[arg(long)]
        json: bool,
    },
    /// Activate a policy.
    #[command(
        after_help = "Example: verdict policy activate sha256:3897 --purpose 'CR 12: fewer reviews'"
    )]
    Activate(ChangeArguments),
    /// Run a policy in shadow, beside the active one.
    #[command(after_help = "Example: verdict policy shadow sha256:3897 --biz-type onboarding")]
    Shadow(ChangeArguments),
    /// End a shadow.
    #[command(after_help = "Example: verdict policy end-shadow --biz-type onboarding")]
    EndShadow(Scene),
    /// Make the shadow the active policy.
    #[command(after_help = "Example: verdict policy promote --purpose 'CR 12'")]
    Promote(Scene),
    /// Activate the previous policy again.
    #[command(after_help = "Example: verdict policy rollback --purpose 'CR 12 undone'")]
    Rollback(Scene),
    /// Remove a scene's policy. The scene falls back to the general policy.
    #[command(
        after_help = "Example: verdict policy deactivate --biz-type onboarding --purpose 'CR 12'"
    )]
    Deactivate(OwnScene),
    /// Compare the shadow's decisions on live traffic with the active policy's.
    #[command(after_help = "Example: verdict policy compare sha256:3897")]
    Compare {
        /// `sha256:…`, or its beginning.
        digest: String,
        /// Print a JSON object, as the API answers.
        #[arg(long)]
        json: bool,
    },
    /// Decide the past again with a policy, and report what would change.
    #[command(
        after_help = "Example: verdict policy backtest candidate.toml --since 2026-10-01 --html report.html"
    )]
    Backtest(past::BacktestArguments),
    /// End a backtest that was started over the API or in the console; what it found stays.
    #[command(
        after_help = "Example: verdict policy cancel-backtest 01a20a63-7ca9-718d-ac24-e6d7c9a1c998"
    )]
    CancelBacktest {
        /// Its id. The refusal `backtest-running` names it.
        id: Uuid,
        /// The purpose, for the audit.
        #[arg(long, value_parser = purpose)]
        purpose: Option<String>,
    },
    /// Decide the past again with the policies of that time; reports any difference.
    #[command(after_help = "Example: verdict policy replay --since 2026-11-01")]
    Replay(past::RangeArguments),
    /// Replace current decisions by those of the policies active now; old ones stay as history.
    #[command(after_help = "Example: verdict policy redecide --since 2026-11-01 --purpose 'CR 12'")]
    Redecide(past::RedecideArguments),
    /// Show scores over time, what a threshold means, and what moving it would flip.
    #[command(
        after_help = "Example: verdict policy calibrate --since 2026-10-01 --threshold 90 --moved-to 85"
    )]
    Calibrate(past::CalibrateArguments),
}

#[derive(Debug, clap::Args)]
pub struct Listing {
    /// Print a JSON array, with whole digests and times.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ChangeArguments {
    /// `sha256:…`, or its beginning.
    digest: String,
    #[command(flatten)]
    scene: Scene,
}

#[derive(Debug, clap::Args)]
pub struct Scene {
    /// Only for this scene (`biz_type`); default: all scenes without a policy of their own.
    #[arg(long, value_parser = scene)]
    biz_type: Option<String>,
    /// The purpose, for the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct OwnScene {
    /// The scene (`biz_type`).
    #[arg(long, value_parser = scene)]
    biz_type: String,
    /// The purpose, for the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
}

impl Scene {
    fn name(&self) -> &str {
        self.biz_type.as_deref().unwrap_or_default()
    }
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::Check { file } => {
            let name = file.as_ref().map_or("policy.toml".to_owned(), |f| f.display().to_string());
            return check(read(context, file)?, name).await;
        }
        Command::New { file, name } => new::write(&file, &name)?,
        Command::Show { digest: None } => say(context.config()?.seed_text()?),
        Command::Show { digest: Some(digest) } => {
            let store = context.store().await?;
            let digest = whole_digest(&store, &digest).await?;
            say(text_of(&store, &digest).await?);
        }
        Command::Try { policy, evidence } => try_one(context, policy, &evidence).await?,
        Command::List(Listing { json }) => listings::list(&context.store().await?, json).await?,
        Command::History(Listing { json }) => {
            listings::history(&context.store().await?, json).await?;
        }
        Command::Add { file } => add(context, file).await?,
        Command::Diff { old, new, json } => {
            let (old, new) = (either(context, &old).await?, either(context, &new).await?);
            return diff(old, new, json).await;
        }
        Command::Activate(arguments) => use_policy(context, Use::Active, &arguments).await?,
        Command::Shadow(arguments) => use_policy(context, Use::Shadow, &arguments).await?,
        Command::EndShadow(scene) => {
            let end = Change::EndShadow { scene: scene.name() };
            match change(context, &end, scene.purpose.as_deref()).await? {
                Applied::Already => say("there is no shadow to end: nothing was changed"),
                Applied::Now(_) => say_done("the shadow has ended"),
            }
        }
        Command::Promote(scene) => {
            let promote = Change::Promote { scene: scene.name() };
            let nothing = "there is no shadow to promote";
            say_in_use(change_or(context, &promote, scene.purpose.as_deref(), nothing).await?);
        }
        Command::Rollback(scene) => {
            let roll_back = Change::RollBack { scene: scene.name() };
            let nothing = "there is nothing to go back to";
            say_in_use(change_or(context, &roll_back, scene.purpose.as_deref(), nothing).await?);
        }
        Command::Deactivate(OwnScene { biz_type, purpose }) => {
            let deactivate = Change::Deactivate { scene: &biz_type };
            let nothing = "the scene has no policy of its own";
            change_or(context, &deactivate, purpose.as_deref(), nothing).await?;
            say_done("the scene has no policy of its own any more");
        }
        Command::Compare { digest, json } => {
            listings::compare(&context.store().await?, &digest, json).await?;
        }
        Command::Backtest(arguments) => past::backtest(context, arguments).await?,
        Command::CancelBacktest { id, purpose } => {
            past::cancel_backtest(context, id, purpose.as_deref()).await?;
        }
        Command::Replay(arguments) => return past::replay(context, arguments).await,
        Command::Redecide(arguments) => return past::redecide(context, arguments).await,
        Command::Calibrate(arguments) => past::calibrate(context, arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes what is in use. The command line acts with the rights of the database's owner, who could
/// change any row: a second person cannot be demanded of it. Where the API demands one, a purpose is
/// needed here: it is the way in for emergencies.
async fn change(
    context: &Context,
    change: &Change<'_>,
    purpose: Option<&str>,
) -> anyhow::Result<Applied> {
    require_purpose(context, change, purpose)?;
    apply(&context.store().await?, change, purpose).await
}

async fn apply(
    store: &Store,
    change: &Change<'_>,
    purpose: Option<&str>,
) -> anyhow::Result<Applied> {
    operations(store).change(change, None, &Context::doing(purpose)).await.map_err(failed)
}

fn require_purpose(
    context: &Context,
    change: &Change<'_>,
    purpose: Option<&str>,
) -> anyhow::Result<()> {
    let has_purpose = purpose.is_some_and(|purpose| !purpose.is_empty());
    if change.needs_two_persons()
        && context.settings(Keys::Unused)?.common.policies_need_two
        && !has_purpose
    {
        let why = "policies.four_eyes is on: say with --purpose why one person changes this alone";
        return Err(Usage(why.to_owned()).into());
    }
    Ok(())
}

/// The same; `nothing` is the error where nothing is in use that the change could act upon.
async fn change_or(
    context: &Context,
    wanted: &Change<'_>,
    purpose: Option<&str>,
    nothing: &'static str,
) -> anyhow::Result<Option<String>> {
    match change(context, wanted, purpose).await {
        Ok(Applied::Now(digest)) => Ok(digest),
        Ok(Applied::Already) => Ok(None),
        Err(error) => match error.downcast() {
            Ok(PolicyError::NothingToChange) => bail!(nothing),
            Ok(error) => Err(error.into()),
            Err(error) => Err(error),
        },
    }
}

fn say_in_use(digest: Option<String>) {
    match digest {
        Some(digest) => say_done(format_args!("active: {digest}")),
        None => say_done("the scene has no policy of its own again"),
    }
}

async fn check(text: String, name: String) -> anyhow::Result<ExitCode> {
    let checked = operations::check(text, Turn::Wait).await?;
    let rendered = render(checked.diagnostics(), &checked.text, &name);
    if !rendered.is_empty() {
        say(rendered.trim_end());
    }
    let Ok(policy) = checked.policy else { return Ok(ExitCode::FAILURE) };
    say(format_args!("{} is valid: {}", policy.name(), policy.digest()));
    Ok(ExitCode::SUCCESS)
}

async fn try_one(
    context: &Context,
    policy: Option<PathBuf>,
    evidence: &std::path::Path,
) -> anyhow::Result<()> {
    let name = policy.as_ref().map_or("policy.toml".to_owned(), |file| file.display().to_string());
    let policy_text = read(context, policy)?;
    let document = document(evidence)?;
    let shown = policy_work(move || tried(&policy_text, &name, &document)).await?;
    say(shown);
    Ok(())
}

/// The evidence's document.
fn document(evidence: &std::path::Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if evidence.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    } else {
        text = std::fs::read_to_string(evidence)
            .map_err(|error| Usage(format!("--evidence: {}", verdict::causes::of_io(&error))))?;
    }
    Ok(byte_order_mark::removed(text))
}

/// The decision about one case. A policy whose own examples fail is tried all the same, with a
/// warning: to find out why they fail is what trying is for.
fn tried(policy: &str, name: &str, document: &str) -> anyhow::Result<String> {
    let loaded = Policy::load_to_try(policy);
    let findings = loaded.as_ref().map_or_else(|findings| &findings[..], |p| p.warnings());
    if !findings.is_empty() {
        let _ = write!(std::io::stderr(), "{}", render(findings, policy, name));
    }
    let Ok(policy) = loaded else {
        return Err(Usage(format!("{name}: a policy with errors decides nothing")).into());
    };
    let evidence =
        policy::read_case(document).map_err(|why| Usage(format!("--evidence: {why}")))?;
    let decision = decide(&policy, &evidence);
    let mut shown = serde_json::to_value(&decision).context("decision")?;
    for (reason, view) in
        decision.reasons.iter().zip(shown["reasons"].as_array_mut().into_iter().flatten())
    {
        if let Some(detail) = missing_evidence(reason) {
            view["detail"] = detail.into();
        }
        if let Some(texts) = policy.texts_for(&reason.code) {
            view["text"] = serde_json::json!(texts);
        }
    }
    serde_json::to_string_pretty(&shown).context("decision")
}

async fn add(context: &Context, file: PathBuf) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let text = read(context, Some(file))?;
    // Before the database is asked for: a text that is refused needs none.
    let checked = operations::check(text, Turn::Wait).await?;
    let policy = checked.policy.map_err(PolicyError::Refused)?;
    if !policy.warnings().is_empty() {
        let _ = write!(std::io::stderr(), "{}", render(policy.warnings(), &checked.text, &name));
    }
    let store = context.store().await?;
    let added = operations(&store).add_checked(&policy, &Context::doing(None)).await;
    added.map_err(failed)?;
    say_done(policy.digest());
    Ok(())
}

async fn use_policy(
    context: &Context,
    kind: Use,
    arguments: &ChangeArguments,
) -> anyhow::Result<()> {
    let ChangeArguments { digest, scene } = arguments;
    let (scene, purpose) = (scene.name(), scene.purpose.as_deref());
    let of = |policy| match kind {
        Use::Active => Change::Activate { scene, policy },
        Use::Shadow => Change::Shadow { scene, policy },
    };
    // Before the database is asked which policy the digest begins.
    require_purpose(context, &of(digest), purpose)?;
    let store = context.store().await?;
    let digest = whole_digest(&store, digest).await?;
    match apply(&store, &of(&digest), purpose).await? {
        Applied::Now(_) => say_done(format_args!("{}: {digest}", kind.as_str())),
        Applied::Already => say(format_args!(
            "already {}: {digest}; nothing was changed or recorded",
            kind.as_str()
        )),
    }
    Ok(())
}

/// Lines of one and not of the other; exit code 1 where they differ.
async fn diff(old: String, new: String, json: bool) -> anyhow::Result<ExitCode> {
    let changes = operations::diff(old, new, Turn::Wait).await?;
    listings::changes(&changes, json);
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
