//! `verdict watch`: follows one verification until it is settled, or the event log.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Duration, Instant};
use verdict::domain::clock::Clock;

use crate::access::{Access, AccessArguments, LONGEST_WAIT, Question, Refusal, Way, is_settled};
use crate::context::{Context, told_to_stop};
use crate::output::{not_written, say, say_styled};
use crate::show::find;
use crate::terminal::{member, styled};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict watch demo/pass-88.5-hello")]
pub struct Arguments {
    /// The verification, named as for `verdict show`: ends when it is decided (exit code 0), or is
    /// expired, failed or erased (exit code 1). Left out: follows the event log until Ctrl-C.
    #[arg(value_name = "WHAT")]
    what: Option<String>,
    /// Gives up on a verification after this many seconds (exit code 1).
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    #[command(flatten)]
    access: AccessArguments,
    /// Print each state of the verification, or each event, as JSON on one line.
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let access = Access::open(context, &arguments.access).await?;
    let following = async {
        match &arguments.what {
            Some(what) => {
                let found = find(&access, what).await?;
                let [only] = &found[..] else {
                    bail!("several verifications match: `verdict show` lists their ids");
                };
                let id = only["id"].as_str().context("a verification without an id")?;
                let limit = Duration::from_secs(arguments.timeout);
                Ok(match follow(&access, id, limit, arguments.json).await? {
                    Some(last) if last["state"] == "decided" => ExitCode::SUCCESS,
                    _ => ExitCode::FAILURE,
                })
            }
            None => follow_events(&access, arguments.json).await,
        }
    };
    tokio::select! {
        ended = following => ended,
        _ = told_to_stop() => Ok(ExitCode::SUCCESS),
    }
}

/// Prints each state of the verification until it is settled; `None` if that takes too long.
pub(crate) async fn follow(
    access: &Access,
    id: &str,
    limit: Duration,
    json: bool,
) -> anyhow::Result<Option<Value>> {
    let end = Instant::now() + limit;
    let mut shown = Value::Null;
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        // The state as it is comes first.
        let wait = if shown.is_null() { 0 } else { left.clamp(1, LONGEST_WAIT) };
        let found = access.ask(&Question::Verification(id, wait)).await?;
        if found != shown {
            if json {
                say(&found);
            } else {
                say_styled(line(&found));
            }
        }
        if is_settled(&found) {
            return Ok(Some(found));
        }
        if left == 0 || not_written().is_some() {
            return Ok(None);
        }
        shown = found;
    }
}

/// The state of a verification in one line.
fn line(verification: &Value) -> String {
    let now = Clock::system().now().replace_nanosecond(0).ok();
    let now = now.and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default();
    let own = |of: &Value, name| member(of, name).unwrap_or_default();
    let state = own(verification, "state");
    let decision = &verification["decision"];
    let mut line = format!("{now}  {}", styled(&state));
    if state == "decided" {
        let (outcome, reasons) = (own(decision, "outcome"), own(decision, "reasons"));
        line = format!("{line}  {}  {reasons}", styled(&outcome));
    } else if let Some(code) = member(&verification["failure"], "code") {
        line = format!("{line}  {code}: {}", own(&verification["failure"], "text"));
    } else {
        line = format!("{line}  attempts {}", own(verification, "attempts"));
    }
    line
}

async fn follow_events(access: &Access, json: bool) -> anyhow::Result<ExitCode> {
    let mut after = newest(access).await?;
    loop {
        let part = access.ask(&Question::Events(after, LONGEST_WAIT)).await?;
        for event in part["items"].as_array().into_iter().flatten() {
            if json {
                say(event);
            } else {
                say_styled(event_line(event));
            }
        }
        if not_written().is_some() {
            return Ok(ExitCode::FAILURE);
        }
        after = part["next_after"].as_i64().context("the answer has no next_after")?;
    }
}

/// Where the log ends.
async fn newest(access: &Access) -> anyhow::Result<i64> {
    let part = match access.ask(&Question::Events(0, 0)).await {
        Err(error) => match error.downcast_ref::<Refusal>() {
            // The beginning has been deleted.
            Some(Refusal { oldest: Some(oldest), .. }) => {
                access.ask(&Question::Events(oldest - 1, 0)).await?
            }
            _ => return Err(error),
        },
        part => part?,
    };
    part["head"].as_i64().context("the answer has no head")
}

/// An event in one line.
pub(crate) fn event_line(event: &Value) -> String {
    let own = |of: &Value, name| member(of, name).unwrap_or_default();
    let data = &event["data"];
    let outcome = own(data, "outcome");
    let what = match member(data, "biz_id") {
        Some(biz_id) => format!("{}/{biz_id}", own(data, "biz_type")),
        None => own(data, "verification_id"),
    };
    let line = format!(
        "{:>6}  {}  {:22} {what}  {} {}",
        own(event, "sequence"),
        own(event, "timestamp"),
        own(event, "type"),
        styled(&outcome),
        own(data, "reasons")
    );
    line.trim_end().to_owned()
}
