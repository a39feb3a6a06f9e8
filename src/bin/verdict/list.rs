//! `verdict list`: verifications, newest first.

use std::process::ExitCode;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use verdict::domain::clock::Clock;

use crate::access::{Access, AccessArguments, Question, Way};
use crate::arguments::moment;
use crate::context::Context;
use crate::output::{say, say_styled};
use crate::terminal::{Table, member, relative_text};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict list --state failed --since 2026-11-01")]
pub struct Arguments {
    /// Only of this scene (`biz_type`).
    #[arg(long)]
    biz_type: Option<String>,
    /// Only with this `biz_id`.
    #[arg(long)]
    biz_id: Option<String>,
    /// Only of this product: verify-result or face-verify.
    #[arg(long)]
    product: Option<String>,
    /// Only with this `certify_id`.
    #[arg(long)]
    certify_id: Option<String>,
    /// Only with this reference of yours.
    #[arg(long)]
    reference: Option<String>,
    /// Only in this state: pending, unfinished, decided, expired, failed or erased.
    #[arg(long)]
    state: Option<String>,
    /// Only if the current decision is this: approve, retry, review or reject.
    #[arg(long)]
    outcome: Option<String>,
    /// Only those created since then: a day (2026-11-01) or a time.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those created before then.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// At most this many, from 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u8,
    /// Continue after another page: the cursor that it printed, with the same filters.
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    access: AccessArguments,
    #[arg(long, help = r#"Print { "items", "next_cursor" }, as the API answers"#)]
    json: bool,
}

impl Arguments {
    fn filters(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let time = |option: &str, text: &Option<String>| -> anyhow::Result<Option<String>> {
            let text = text.as_deref();
            let at = text.map(|text| moment(option, text)).transpose()?;
            Ok(at.map(|at| at.format(&Rfc3339)).transpose()?)
        };
        let filters = [
            ("biz_type", self.biz_type.clone()),
            ("biz_id", self.biz_id.clone()),
            ("product", self.product.clone()),
            ("certify_id", self.certify_id.clone()),
            ("reference", self.reference.clone()),
            ("state", self.state.clone()),
            ("outcome", self.outcome.clone()),
            ("created_after", time("--since", &self.since)?),
            ("created_before", time("--before", &self.before)?),
            ("limit", Some(self.limit.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        Ok(filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let filters = arguments.filters()?;
    let access = Access::open(context, &arguments.access).await?;
    let page = access.ask(&Question::List(&filters)).await?;
    if arguments.json {
        say(serde_json::to_string_pretty(&page)?);
        return Ok(ExitCode::SUCCESS);
    }
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        say("no verification matches");
        return Ok(ExitCode::SUCCESS);
    }
    say_styled(table_of(items, Clock::system().now()).render());
    if let Some(cursor) = member(&page, "next_cursor") {
        say(format_args!("\nmore with --cursor {cursor}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// One row each.
pub(crate) fn table_of(items: &[Value], now: OffsetDateTime) -> Table {
    let mut table =
        Table::new(["ID", "BIZ_TYPE", "BIZ_ID", "STATE", "OUTCOME", "REASONS", "CREATED"]);
    for item in items {
        let own = |name| member(item, name).unwrap_or_default();
        let decision = |name| member(&item["decision"], name).unwrap_or_default();
        let why = member(&item["failure"], "code").unwrap_or_else(|| decision("reasons"));
        table.add([
            own("id"),
            own("biz_type"),
            own("biz_id"),
            own("state"),
            decision("outcome"),
            why,
            relative_text(&own("created_at"), now),
        ]);
    }
    table
}
