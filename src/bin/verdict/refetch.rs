//! `verdict refetch`: asks the provider again about many failed or expired verifications.

use std::process::ExitCode;

use verdict::config::Keys;
use verdict::domain::callback::BizType;
use verdict::domain::verification::State;
use verdict::store::listing::Filter;

use crate::arguments::{moment, purpose};
use crate::context::{Context, Usage, migrated_store};
use crate::output::{say, say_done};
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: verdict refetch --config verdict.toml --state failed --error-code NoPermission --dry-run"
)]
pub struct Arguments {
    /// Verifications in this state: failed or expired.
    #[arg(long, value_name = "STATE", value_parser = ["failed", "expired"])]
    state: String,
    /// Only of this scene (`biz_type`).
    #[arg(long)]
    biz_type: Option<String>,
    /// Only those whose newest result has this error code of the provider.
    #[arg(long, value_name = "CODE")]
    error_code: Option<String>,
    /// Only those created since then: a day (2026-11-01) or a time.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those created before then.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Count them, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The purpose, for the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
    /// Print { "refetched" }.
    #[arg(long)]
    json: bool,
}

/// Counted up to here by `--dry-run`.
const MOST_COUNTED: i64 = 1_000_000;

/// 500 at a time. If interrupted, it can be started again.
pub async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let biz_type = arguments
        .biz_type
        .as_deref()
        .map(BizType::parse)
        .transpose()
        .map_err(|problem| Usage(format!("--biz-type {problem}")))?;
    let filter = Filter {
        state: State::parse(&arguments.state),
        biz_type,
        error_code: arguments.error_code,
        created_after: arguments
            .since
            .as_deref()
            .map(|text| moment("--since", text))
            .transpose()?,
        created_before: arguments
            .before
            .as_deref()
            .map(|text| moment("--before", text))
            .transpose()?,
        ..Filter::default()
    };
    let settings = context.settings(Keys::Unused)?;
    let store = migrated_store(&settings).await?;
    let doing = Context::doing(arguments.purpose.as_deref());
    let refetched = if arguments.dry_run {
        store.listing().count_refetchable(&filter, doing.at, MOST_COUNTED).await?
    } else {
        let mut refetched = 0;
        let mut progress = Progress::new("verifications", arguments.json);
        loop {
            let some =
                store.listing().refetch_many(&filter, settings.common.window, &doing).await?.len();
            refetched += i64::try_from(some)?;
            progress.at(refetched);
            if some == 0 {
                break refetched;
            }
        }
    };
    if arguments.json {
        say_done(serde_json::json!({ "refetched": refetched, "dry_run": arguments.dry_run }));
    } else if arguments.dry_run {
        say(format_args!("{refetched} would be refetched"));
    } else {
        say_done(format_args!("{refetched} refetched"));
    }
    Ok(ExitCode::SUCCESS)
}
