//! `verdict policy backtest`, `replay`, `redecide` and `calibrate`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use policy::Policy;
use policy::calibration::{Calibration, FalseAccepts, SCORES, false_accepts, stability};
use policy::compare::Comparison;
use policy::decision::Outcome;
use policy::visible;
use uuid::Uuid;
use verdict::console::comparisons::report::{self, Subject};
use verdict::console::comparisons::sentence;
use verdict::domain::clock::Clock;
use verdict::domain::counted::counted;
use verdict::domain::ids::Ids;
use verdict::domain::user::Language;
use verdict::policies::active::PolicySnapshot;
use verdict::policies::cache::PolicyCache;
use verdict::policies::operations::{self, PolicyError, Turn};
use verdict::policies::past::{self, Backtest, Pace, Range, Stopped};
use verdict::store::Store;
use verdict::store::backtests::Cancelled;

use super::text::either;
use crate::arguments::{moment, purpose, scene};
use crate::context::{Context, Usage, told_to_stop};
use crate::output::{say, say_done};
use crate::progress::Progress;

/// Flips that a report lists.
const LISTED: usize = 1000;

#[derive(Debug, clap::Args)]
pub struct RangeArguments {
    /// Only results since this day or time: 2026-10-01 or 2026-10-01T00:00:00Z.
    #[arg(long)]
    since: Option<String>,
    /// Only results before this day or time.
    #[arg(long)]
    until: Option<String>,
    /// Only this scene (`biz_type`).
    #[arg(long, value_parser = scene)]
    biz_type: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Run as fast as possible; default: pause most of the time, to leave capacity to the service.
    #[arg(long)]
    full_speed: bool,
}

impl RangeArguments {
    fn pace(&self) -> Pace {
        if self.full_speed { Pace::Full } else { Pace::Polite }
    }

    fn range(&self) -> anyhow::Result<Range> {
        Ok(Range {
            since: self.since.as_deref().map(|text| moment("--since", text)).transpose()?,
            until: self.until.as_deref().map(|text| moment("--until", text)).transpose()?,
            last: None,
            biz_type: self.biz_type.clone(),
        })
    }
}

#[derive(Debug, clap::Args)]
pub struct BacktestArguments {
    /// A file, or the digest of a policy in the database.
    candidate: String,
    #[command(flatten)]
    range: RangeArguments,
    /// Also write an HTML page with charts to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write every flipped verification to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    flips: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct RedecideArguments {
    #[command(flatten)]
    range: RangeArguments,
    /// The purpose, for the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
    /// Continue an interrupted run, at the place that it printed.
    #[arg(long, value_name = "ID", default_value_t = Uuid::nil(), hide_default_value = true)]
    after: Uuid,
}

#[derive(Debug, clap::Args)]
pub struct CalibrateArguments {
    #[command(flatten)]
    range: RangeArguments,
    /// A threshold to evaluate.
    #[arg(long, default_value_t = 90.0)]
    threshold: f64,
    /// A new value for the threshold.
    #[arg(long)]
    moved_to: Option<f64>,
}

pub(super) async fn backtest(
    context: &Context,
    arguments: BacktestArguments,
) -> anyhow::Result<()> {
    let text = either(context, &arguments.candidate).await?;
    // One in the database was checked when it was added; a file is checked now.
    let checked = operations::check(text, Turn::Wait).await?;
    let candidate = match checked.policy {
        Ok(policy) => policy,
        Err(diagnostics) => Policy::load_stored(&checked.text)
            .filter(|policy| policy.digest() == arguments.candidate)
            .ok_or(PolicyError::Refused(diagnostics))?,
    };
    let candidate = Arc::new(candidate);
    let store = context.store().await?;
    let last = Some(store.history().newest_answer().await?);
    let range = Range { last, ..arguments.range.range()? };
    let active = PolicySnapshot::load(&store, &PolicyCache::default())
        .await?
        .map(|policies| Arc::clone(policies.active(range.biz_type.as_deref().unwrap_or_default())));
    let mut progress = progress_of(&store, &range, arguments.range.json).await?;
    let mut written = match &arguments.flips {
        Some(file) => Some(std::io::BufWriter::new(
            std::fs::File::create(file)
                .with_context(|| format!("{} cannot be written", file.display()))?,
        )),
        None => None,
    };
    let mut listed = Vec::new();
    let mut failed = None;
    let pace = arguments.range.pace();
    let mut backtest = Backtest::new(&store, Arc::clone(&candidate), range.clone(), pace);
    backtest
        .run(|so_far, flips| {
            progress.at(so_far.looked_at);
            if let Some(file) = &mut written {
                for flip in &flips {
                    let line = serde_json::json!({ "verification": flip.verification,
                        "old": flip.old, "new": flip.new, "reason": flip.reason() });
                    if let Err(error) = writeln!(file, "{line}") {
                        failed = Some(error);
                        return false;
                    }
                }
            }
            let room = LISTED.saturating_sub(listed.len());
            listed.extend(flips.into_iter().take(room));
            true
        })
        .await?;
    progress.clear();
    if let Some(error) = failed {
        return Err(error).context("--flips");
    }
    if let Some(mut file) = written {
        file.flush().context("--flips")?;
    }
    let comparison = &backtest.comparison;
    let subject = Subject { candidate: &candidate, active: active.as_deref(), range: &range };
    if let Some(file) = &arguments.html {
        let html = report::html(subject, comparison, &listed)?;
        std::fs::write(file, html)
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if arguments.range.json {
        let mut shown = serde_json::to_value(comparison)?;
        shown["matrix_by_name"] = serde_json::to_value(comparison.by_name())?;
        say(serde_json::to_string_pretty(&shown)?);
    } else {
        say(visible::shown(&report::subject_line(subject)));
        print_comparison(comparison, progress.rate(comparison.decisions));
    }
    Ok(())
}

pub(super) async fn cancel_backtest(
    context: &Context,
    id: Uuid,
    purpose: Option<&str>,
) -> anyhow::Result<()> {
    let store = context.store().await?;
    match store.backtests().cancel(id, &Context::doing(purpose)).await? {
        Cancelled::Yes => say_done(format_args!("{id} is cancelled")),
        Cancelled::TooLate => say_done(format_args!("{id} had ended before: nothing was changed")),
        Cancelled::NotFound => bail!("there is no backtest {id}"),
    }
    Ok(())
}

fn print_comparison(comparison: &Comparison, rate: f64) {
    say(sentence::decisions(Language::En, comparison));
    if let Some(people) = sentence::people(Language::En, comparison.people.as_ref()) {
        say(people);
    }
    say(format_args!(
        "{}, {} with another outcome; {rate:.0} a second",
        counted(comparison.decisions, "decision", "decisions"),
        comparison.flips
    ));
    say_erased(comparison.erased);
    let names = Outcome::ALL.map(|outcome| format!("{outcome:>10}"));
    say(format_args!("{:>10}{}   (rows: old, columns: new)", "", names.concat()));
    for (row, name) in comparison.matrix.iter().zip(&names) {
        let [approve, retry, review, reject] = row;
        say(format_args!("{name}{approve:>10}{retry:>10}{review:>10}{reject:>10}"));
    }
    let mut kinds: Vec<_> = comparison.kinds.iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (kind, count) in kinds {
        say(format_args!("{count:>10}  {kind}"));
    }
}

/// Reports skipped rows, if any.
fn say_erased(erased: u64) {
    if erased > 0 {
        let (one, many) = (
            "more was skipped: the person was erased",
            "more were skipped: their persons were erased",
        );
        say(counted(erased, one, many));
    }
}

pub(super) async fn replay(
    context: &Context,
    arguments: RangeArguments,
) -> anyhow::Result<ExitCode> {
    let store = context.store().await?;
    let range = arguments.range()?;
    let mut progress = progress_of(&store, &range, arguments.json).await?;
    let replayed =
        past::replay(&store, &PolicyCache::default(), &range, arguments.pace(), |decisions| {
            progress.at(decisions);
        })
        .await?;
    progress.clear();
    if arguments.json {
        say(serde_json::json!({ "decisions": replayed.decisions, "policies": replayed.policies,
            "differences": replayed.differences, "different": replayed.different,
            "without_answer": replayed.without_answer, "without_policy": replayed.without_policy,
            "erased": replayed.erased }));
    } else {
        say(format_args!(
            "{} of {} decided again: {}",
            counted(replayed.decisions, "decision", "decisions"),
            counted(replayed.policies, "policy", "policies"),
            counted(replayed.differences, "differs", "differ")
        ));
        say_erased(replayed.erased);
        for (count, what) in [
            (replayed.without_answer, "a result that was deleted"),
            (replayed.without_policy, "a policy that was deleted or changed"),
        ] {
            if count > 0 {
                say(format_args!("  {} {what}", counted(count, "of them needs", "of them need")));
            }
        }
        for id in &replayed.different {
            say(format_args!("  decision {id}"));
        }
    }
    Ok(if replayed.differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) async fn redecide(
    context: &Context,
    arguments: RedecideArguments,
) -> anyhow::Result<ExitCode> {
    let store = context.store().await?;
    let policies = PolicySnapshot::load(&store, &PolicyCache::default())
        .await?
        .context("no policy is active")?;
    let range = arguments.range.range()?;
    let asked = serde_json::json!({ "policy": policies.general().digest(),
        "activation": policies.newest_activation(), "since": arguments.range.since,
        "until": arguments.range.until, "biz_type": arguments.range.biz_type,
        "after": arguments.after });
    let purpose = arguments.purpose.as_deref();
    let record = async |action, details: serde_json::Value| {
        store
            .audit()
            .record(&Context::doing(purpose), action, None, Some(&details.to_string()))
            .await
    };
    record("policy.redecide", asked).await?;
    let mut progress = progress_of(&store, &range, arguments.range.json).await?;
    let (clock, ids, pace) = (Clock::system(), Ids::random(), arguments.range.pace());
    let stop = Arc::new(AtomicBool::new(false));
    tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let _ = told_to_stop().await;
            stop.store(true, Ordering::Relaxed);
        }
    });
    let mut reached = arguments.after;
    let over = past::redecide(
        &store,
        &policies,
        (&range, arguments.after),
        (&clock, &ids, pace),
        |done| {
            reached = done.after;
            progress.at(done.looked_at);
            !stop.load(Ordering::Relaxed)
        },
    )
    .await;
    progress.clear();
    let done = over.with_context(|| format!("broken off; to go on: --after {reached}"))?;
    let said = serde_json::json!({ "looked_at": done.looked_at, "new": done.new, "same": done.same,
        "overtaken": done.overtaken, "erased": done.erased, "after": done.after, "whole": done.stopped.is_none() });
    record("policy.redecided", said.clone()).await?;
    if arguments.range.json {
        say(said);
    } else {
        say(format_args!(
            "{}: {} replaced, {} as before, {} decided otherwise meanwhile",
            counted(done.looked_at, "current decision", "current decisions"),
            done.new,
            done.same,
            done.overtaken
        ));
        say_erased(done.erased);
    }
    match done.stopped {
        None => Ok(ExitCode::SUCCESS),
        Some(Stopped::PoliciesChanged) => bail!(
            "policies were changed meanwhile, so this stopped. To continue with those that are active now: \
             --after {}. To begin again with them: without --after",
            done.after
        ),
        Some(Stopped::Told) => bail!("broken off; to go on: --after {}", done.after),
    }
}

pub(super) async fn calibrate(
    context: &Context,
    arguments: CalibrateArguments,
) -> anyhow::Result<()> {
    let Some(rate) = false_accepts(arguments.threshold) else {
        return Err(Usage("--threshold must be from 0 to 100".to_owned()).into());
    };
    let moved = match arguments.moved_to {
        None => None,
        Some(to) => Some((
            to,
            false_accepts(to)
                .ok_or_else(|| Usage("--moved-to must be from 0 to 100".to_owned()))?,
        )),
    };
    let store = context.store().await?;
    let range = arguments.range.range()?;
    let mut progress = progress_of(&store, &range, arguments.range.json).await?;
    let empty = moved
        .map_or_else(Calibration::default, |(to, _)| Calibration::between(arguments.threshold, to));
    let calibration =
        past::calibrate(&store, &range, empty, arguments.range.pace(), |seen| progress.at(seen))
            .await?;
    progress.clear();
    if arguments.range.json {
        let items: Vec<_> = calibration
            .histograms
            .iter()
            .map(|(group, histogram)| serde_json::json!({ "group": group, "histogram": histogram }))
            .collect();
        say(
            serde_json::json!({ "answers": calibration.answers, "erased": calibration.erased, "threshold": arguments.threshold,
            "false_accepts": rate, "moved_to": arguments.moved_to, "moved": calibration.moved,
            "histograms": items }),
        );
        return Ok(());
    }
    say(counted(calibration.answers, "answer", "answers"));
    say_erased(calibration.erased);
    for score in SCORES {
        let of = |passed: bool| {
            calibration.sum(|group| group.score == score && group.passed == Some(passed))
        };
        let (passed, failed) = (of(true), of(false));
        if passed.iter().chain(&failed).all(|count| *count == 0) {
            continue;
        }
        let unit = if score == "attack" { "ten hundredths" } else { "ten points" };
        say(format_args!("\n{score}: passed and not passed, by {unit}"));
        for from in (0..=90).step_by(10) {
            let to = if from == 90 { 101 } else { from + 10 };
            let sum = |histogram: &[u64]| histogram[from..to].iter().sum::<u64>();
            say(format_args!("  {from:>3}… {:>10} {:>10}", sum(&passed), sum(&failed)));
        }
        if let Some((moved, _)) = moved.filter(|_| !["quality", "attack"].contains(&score)) {
            let flips = calibration.moved.get(score).copied().unwrap_or(0);
            say(format_args!(
                "  {} between {} and {moved}",
                counted(flips, "of the answers that passed lies", "of the answers that passed lie"),
                arguments.threshold
            ));
        }
        let weeks = calibration.by_week(score);
        for ((before, old), (now, new)) in weeks.iter().zip(weeks.iter().skip(1)) {
            if let Some(psi) = stability(old, new) {
                let mark = if psi >= 0.25 { "  drift" } else { "" };
                say(format_args!("  week of {before} to {now}: PSI {psi:.3}{mark}"));
            }
        }
    }
    say("");
    say_rate(arguments.threshold, rate);
    if let Some((moved, rate)) = moved {
        say_rate(moved, rate);
    }
    say(
        "By the vendor's table for the scores of verify-result (there is none for those of face-verify),\n\
         for comparisons with somebody else's face; how many such comparisons there are nobody knows. Between its lines the logarithm is taken to be linear; beyond them\n\
         nothing is known.",
    );
    Ok(())
}

fn say_rate(threshold: f64, rate: FalseAccepts) {
    let million = 1e6;
    match rate {
        FalseAccepts::Rate(rate) => say(format_args!(
            "threshold {threshold}: about {:.0} of a million impostors would reach it",
            rate * million
        )),
        FalseAccepts::Below(rate) => say(format_args!(
            "threshold {threshold}: fewer than {:.0} of a million impostors would reach it",
            rate * million
        )),
        FalseAccepts::Above(rate) => say(format_args!(
            "threshold {threshold}: more than {:.0} of a million impostors would reach it",
            rate * million
        )),
    }
}

/// Over the results of a range.
async fn progress_of(store: &Store, range: &Range, json: bool) -> anyhow::Result<Progress> {
    let mut progress = Progress::new("results", json);
    progress.expect(store.history().answers_roughly(range.start(), range.end()).await?);
    Ok(progress)
}
