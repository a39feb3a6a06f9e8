//! `verdict policy`: checks, tries, adds and activates policies, and looks at the past with them.

mod past;

pub(super) use past::moment;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use time::format_description::well_known::Rfc3339;
use verdict::app::load_policy;
use verdict::domain::byte_order_mark;
use verdict::domain::callback::BizType;
use verdict::domain::purpose;
use verdict::domain::visible;
use verdict::lanes::policy_work;
use verdict::policy::{self, Policy, decide, missing_evidence, render};
use verdict::store::Store;
use verdict::store::policies::{Changed, Use};

use super::{Context, Usage, say, say_done};

/// What to do about policies.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check a policy file: exit code 0 only without errors.
    #[command(after_help = "Example: verdict policy check candidate.toml")]
    Check {
        /// The file; the configured one if not given.
        file: Option<PathBuf>,
    },
    /// Print a policy: the one with that digest, or the one that seeds an empty database.
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
        /// The policy; the configured one if not given.
        #[arg(long)]
        policy: Option<PathBuf>,
        /// A JSON file with one case, `fields` or `evidence` of an item of /results; - for standard
        /// input.
        #[arg(long)]
        evidence: PathBuf,
    },
    /// Policies in the database, and where they decide.
    #[command(after_help = "Example: verdict policy list --config verdict.toml")]
    List,
    /// Which policy was used when, by whom and why, newest first.
    #[command(after_help = "Example: verdict policy history --config verdict.toml")]
    History,
    /// Add a checked file to the database; it decides nothing yet. Prints its digest.
    #[command(after_help = "Example: verdict policy add candidate.toml")]
    Add {
        /// The file.
        file: PathBuf,
    },
    /// What differs between two policies, line by line.
    #[command(after_help = "Example: verdict policy diff sha256:3897 candidate.toml")]
    Diff {
        /// A file, or the digest of a policy in the database.
        old: String,
        /// The same.
        new: String,
    },
    /// Have a policy decide from now on.
    #[command(
        after_help = "Example: verdict policy activate sha256:3897 --purpose 'CR 12: fewer reviews'"
    )]
    Activate(Change),
    /// Have a policy decide beside the active one.
    #[command(after_help = "Example: verdict policy shadow sha256:3897 --biz-type onboarding")]
    Shadow(Change),
    /// End a shadow.
    #[command(after_help = "Example: verdict policy end-shadow --biz-type onboarding")]
    EndShadow(Scene),
    /// Make the shadow the active policy.
    #[command(after_help = "Example: verdict policy promote --purpose 'CR 12'")]
    Promote(Scene),
    /// Activate again what was active before.
    #[command(after_help = "Example: verdict policy rollback --purpose 'CR 12 undone'")]
    Rollback(Scene),
    /// Take a scene's own policy away: what decides where there is none decides there again.
    #[command(
        after_help = "Example: verdict policy deactivate --biz-type onboarding --purpose 'CR 12'"
    )]
    Deactivate(OwnScene),
    /// What the shadow makes of live traffic, against what counts.
    #[command(after_help = "Example: verdict policy compare sha256:3897")]
    Compare {
        /// `sha256:…`, or its beginning.
        digest: String,
    },
    /// Try a policy on the decisions of the past.
    #[command(
        after_help = "Example: verdict policy backtest candidate.toml --since 2026-10-01 --html report.html"
    )]
    Backtest(past::BacktestArguments),
    /// Decide the past once more with its own policies, and see that nothing differs.
    #[command(after_help = "Example: verdict policy replay --since 2026-11-01")]
    Replay(past::RangeArguments),
    /// Decide standing decisions anew with the policies active now; the old ones stay as history.
    #[command(after_help = "Example: verdict policy redecide --since 2026-11-01 --purpose 'CR 12'")]
    Redecide(past::RedecideArguments),
    /// Scores over time, what a threshold means, and what moving it flips.
    #[command(
        after_help = "Example: verdict policy calibrate --since 2026-10-01 --threshold 90 --moved-to 85"
    )]
    Calibrate(past::CalibrateArguments),
}

/// A policy, and where.
#[derive(Debug, clap::Args)]
pub struct Change {
    /// `sha256:…`, or its beginning.
    digest: String,
    #[command(flatten)]
    scene: Scene,
}

/// Where, and why.
#[derive(Debug, clap::Args)]
pub struct Scene {
    /// Only for this `biz_type`; else for all that have no policy of their own.
    #[arg(long, value_parser = scene)]
    biz_type: Option<String>,
    /// Why; kept in the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
}

/// One scene, and why.
#[derive(Debug, clap::Args)]
pub struct OwnScene {
    /// The scene.
    #[arg(long, value_parser = scene)]
    biz_type: String,
    /// Why; kept in the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
}

/// As the API takes it.
fn scene(text: &str) -> Result<String, &'static str> {
    BizType::parse(text).map(|scene| scene.as_str().to_owned())
}

/// The same.
pub(super) fn purpose(text: &str) -> Result<String, &'static str> {
    purpose::parse(text).map(ToOwned::to_owned)
}

impl Scene {
    fn name(&self) -> &str {
        self.biz_type.as_deref().unwrap_or_default()
    }
}

/// Does it.
pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    super::quiet_log();
    match command {
        Command::Check { file } => {
            let name = file.as_ref().map_or("policy.toml".to_owned(), |f| f.display().to_string());
            return Ok(check(read(context, file)?, name).await);
        }
        Command::Show { digest: None } => say(context.config()?.policy_text()?),
        Command::Show { digest: Some(digest) } => {
            let store = open(context).await?;
            let digest = whole_digest(&store, &digest).await?;
            say(text_of(&store, &digest).await?);
        }
        Command::Try { policy, evidence } => try_one(context, policy, &evidence).await?,
        Command::List => list(&open(context).await?).await?,
        Command::History => history(&open(context).await?).await?,
        Command::Add { file } => add(context, file).await?,
        Command::Diff { old, new } => {
            let (old, new) = (either(context, &old).await?, either(context, &new).await?);
            return Ok(policy_work(move || diff(&old, &new)).await);
        }
        Command::Activate(change) => {
            alone_with_purpose(context, change.scene.purpose.as_deref())?;
            use_policy(context, Use::Active, &change).await?;
        }
        Command::Shadow(change) => use_policy(context, Use::Shadow, &change).await?,
        Command::EndShadow(scene) => {
            let (store, doing) = (open(context).await?, Context::doing(scene.purpose.as_deref()));
            let name = scene.name();
            match store.use_policy(Use::Shadow, name, None, None, &doing).await? {
                Changed::Before => say("there is no shadow to end: nothing was changed"),
                _ => say_done("the shadow has ended"),
            }
        }
        Command::Promote(scene) => {
            alone_with_purpose(context, scene.purpose.as_deref())?;
            let (store, doing) = (open(context).await?, Context::doing(scene.purpose.as_deref()));
            let Some(digest) = store.promote_shadow(scene.name(), None, &doing).await? else {
                bail!("there is no shadow to promote");
            };
            say_done(format_args!("active: {digest}"));
        }
        Command::Rollback(scene) => {
            let (store, doing) = (open(context).await?, Context::doing(scene.purpose.as_deref()));
            let Some(digest) = store.roll_back_policy(scene.name(), &doing).await? else {
                bail!("there is nothing to go back to");
            };
            match digest {
                Some(digest) => say_done(format_args!("active: {digest}")),
                None => say_done("the scene has no policy of its own again"),
            }
        }
        Command::Deactivate(OwnScene { biz_type, purpose }) => {
            alone_with_purpose(context, purpose.as_deref())?;
            let (store, doing) = (open(context).await?, Context::doing(purpose.as_deref()));
            if !store.deactivate_policy(&biz_type, None, &doing).await? {
                bail!("the scene has no policy of its own");
            }
            say_done("the scene has no policy of its own any more");
        }
        Command::Compare { digest } => compare(&open(context).await?, &digest).await?,
        Command::Backtest(arguments) => past::backtest(context, arguments).await?,
        Command::Replay(arguments) => return past::replay(context, arguments).await,
        Command::Redecide(arguments) => return past::redecide(context, arguments).await,
        Command::Calibrate(arguments) => past::calibrate(context, arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The command line acts with the rights of the database's owner, who could change any row: a second
/// person cannot be demanded of it. Under four eyes it is the way in for emergencies, and says why.
fn alone_with_purpose(context: &Context, purpose: Option<&str>) -> anyhow::Result<()> {
    let says_why = purpose.is_some_and(|purpose| !purpose.is_empty());
    if context.config()?.policies_need_two()? && !says_why {
        let why = "policies.four_eyes is on: say with --purpose why one person changes this alone";
        return Err(Usage(why.to_owned()).into());
    }
    Ok(())
}

fn read(context: &Context, file: Option<PathBuf>) -> anyhow::Result<String> {
    match file {
        None => Ok(context.config()?.policy_text()?),
        Some(file) => {
            Ok(std::fs::read_to_string(&file).map(byte_order_mark::removed).map_err(|error| {
                Usage(format!("{}: {}", file.display(), verdict::causes::of_io(&error)))
            })?)
        }
    }
}

async fn open(context: &Context) -> anyhow::Result<Store> {
    context.migrated_store(&context.config()?).await
}

/// A digest may be cut short as long as it is clear which is meant.
async fn whole_digest(store: &Store, start: &str) -> anyhow::Result<String> {
    let digests = store.policies().await?.into_iter().map(|policy| policy.digest);
    let start = start.strip_prefix("sha256:").unwrap_or(start);
    let fits =
        |digest: &String| digest.strip_prefix("sha256:").is_some_and(|d| d.starts_with(start));
    let mut fitting = digests.filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(digest), None) if !start.is_empty() => Ok(digest),
        (Some(_), _) => bail!("several policies begin like that: say more of the digest"),
        (None, _) => bail!("there is no such policy: see `verdict policy list`"),
    }
}

async fn text_of(store: &Store, digest: &str) -> anyhow::Result<String> {
    Ok(store.policy_text(digest).await?.context("the policy is gone")?.body)
}

/// A file, or the digest of a policy in the database.
async fn either(context: &Context, what: &str) -> anyhow::Result<String> {
    if std::path::Path::new(what).exists() {
        return read(context, Some(what.into()));
    }
    let store = open(context).await?;
    let digest = whole_digest(&store, what).await?;
    text_of(&store, &digest).await
}

async fn check(text: String, name: String) -> ExitCode {
    let (rendered, good) = policy_work(move || {
        let (findings, good) = match Policy::load(&text) {
            Ok(policy) => (policy.warnings().to_vec(), Some(policy)),
            Err(findings) => (findings, None),
        };
        (render(&findings, &text, &name), good)
    })
    .await;
    if !rendered.is_empty() {
        say(rendered.trim_end());
    }
    let Some(policy) = good else { return ExitCode::FAILURE };
    say(format_args!("{} is good: {}", policy.name(), policy.digest()));
    ExitCode::SUCCESS
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

async fn list(store: &Store) -> anyhow::Result<()> {
    let in_use = store.policies_in_use().await?;
    for policy in store.policies().await? {
        let uses: Vec<String> = in_use
            .iter()
            .filter(|used| used.digest == policy.digest)
            .map(|used| match used.biz_type.as_str() {
                "" => used.kind.clone(),
                scene => format!("{} for {scene}", used.kind),
            })
            .collect();
        let added = policy.added_at.format(&Rfc3339)?;
        let name = visible::shown(&policy.name);
        say(format_args!("{}  {added}  {name}  {}", policy.digest, uses.join(", ")));
    }
    Ok(())
}

async fn history(store: &Store) -> anyhow::Result<()> {
    for change in store.activations().await? {
        let scene = if change.biz_type.is_empty() { "all scenes" } else { &change.biz_type };
        let digest = change.digest.as_deref().unwrap_or("none");
        let at = change.activated_at.format(&Rfc3339)?;
        let by = visible::shown(&change.activated_by);
        let purpose = change.purpose.as_deref().map(visible::shown);
        let purpose = purpose.map(|purpose| format!("  for: {purpose}")).unwrap_or_default();
        say(format_args!("{at}  {}  {scene}  {digest}  by {by}{purpose}", change.kind));
    }
    Ok(())
}

async fn add(context: &Context, file: PathBuf) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let text = read(context, Some(file))?;
    let policy = load_policy(&text).await?;
    if !policy.warnings().is_empty() {
        let _ = write!(std::io::stderr(), "{}", render(policy.warnings(), &text, &name));
    }
    let store = open(context).await?;
    store.add_policy(policy.digest(), policy.name(), &text, &Context::doing(None)).await?;
    say_done(policy.digest());
    Ok(())
}

async fn use_policy(context: &Context, kind: Use, change: &Change) -> anyhow::Result<()> {
    let store = open(context).await?;
    let digest = whole_digest(&store, &change.digest).await?;
    let doing = Context::doing(change.scene.purpose.as_deref());
    match store.use_policy(kind, change.scene.name(), Some(&digest), None, &doing).await? {
        Changed::Now => say_done(format_args!("{}: {digest}", kind.as_str())),
        Changed::Before => {
            say(format_args!(
                "already {}: {digest}; nothing was changed or recorded",
                kind.as_str()
            ));
        }
        Changed::Refused => bail!("there is no such policy: see `verdict policy list`"),
    }
    Ok(())
}

async fn compare(store: &Store, digest: &str) -> anyhow::Result<()> {
    let digest = whole_digest(store, digest).await?;
    let counts = store.shadow_counts(&digest, None).await?;
    if counts.is_empty() {
        say("nothing was decided by it beside the active policy yet");
    }
    for count in counts {
        let mark = if count.active_outcome == count.outcome { " " } else { "*" };
        say(format_args!(
            "{mark} {:>8} → {:<8} {}",
            count.active_outcome, count.outcome, count.count
        ));
    }
    Ok(())
}

/// Lines of one and not of the other; exit code 1 where they differ.
fn diff(old: &str, new: &str) -> ExitCode {
    let changes = policy::diff(old, new);
    for change in &changes {
        let mark = if change.added { '+' } else { '-' };
        say(format_args!("{:>5} {mark} {}", change.line, change.text));
    }
    if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
