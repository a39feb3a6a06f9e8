//! `verdict review`: the cases that wait for a person, and a review of one.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use policy::decision::Outcome;
use serde_json::Value;
use time::OffsetDateTime;
use verdict::domain::clock::Clock;
use verdict::domain::review;

use crate::access::{Access, AccessArguments, OpenCases, Review, Way};
use crate::arguments::{purpose, scene};
use crate::context::{Context, Usage};
use crate::output::{say, say_done, say_styled};
use crate::progress::Progress;
use crate::show::find;
use crate::terminal::{Table, member, relative_text};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the cases that wait for a person, oldest first. Over HTTP the list has neither targets
    /// nor reviewers: the API does not tell them.
    #[command(after_help = "Example: verdict review list --biz-type onboarding")]
    List(ListArguments),
    /// Review the current decision of a verification, over HTTP with the API key of the reviewer. The
    /// review is refused if the verification changes meanwhile.
    #[command(
        after_help = "Example: verdict review decide demo/pass-88.5-hello approve --reason faces-match"
    )]
    Decide(DecideArguments),
}

#[derive(Debug, clap::Args)]
pub struct ListArguments {
    /// Only of this scene (`biz_type`).
    #[arg(long, value_parser = scene)]
    biz_type: Option<String>,
    /// At most this many, from 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
    #[command(flatten)]
    access: AccessArguments,
    /// Print { "items", "more" }.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DecideArguments {
    /// The verification, named as for `verdict show`.
    #[arg(value_name = "WHAT")]
    what: String,
    /// The outcome: approve, retry or reject.
    #[arg(value_parser = review::outcome)]
    outcome: Outcome,
    /// The reason, a code: `verdict explain` lists those of the default configuration as
    /// review-reason. The API takes any other code as well.
    #[arg(long, value_name = "CODE", value_parser = review::reason)]
    reason: String,
    /// A note in your words, which is stored sealed; - reads it from standard input. Other users of
    /// this machine can read the command line: use - for a note that says something of the person.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// The purpose, for the audit.
    #[arg(long, value_parser = purpose)]
    purpose: Option<String>,
    /// Review a decision that is no open case, for example to correct an earlier review.
    #[arg(long)]
    overrule: bool,
    #[command(flatten)]
    access: AccessArguments,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    match command {
        Command::List(arguments) => list(context, &arguments).await?,
        Command::Decide(arguments) => decide(context, &arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, arguments: &ListArguments) -> anyhow::Result<()> {
    let access = Access::open(context, &arguments.access).await?;
    let mut progress = Progress::new("open cases", arguments.json);
    let wanted = OpenCases { biz_type: arguments.biz_type.as_deref(), limit: arguments.limit };
    let found = access.open_cases(&wanted, &mut progress).await;
    progress.clear();
    let found = found?;
    if arguments.json {
        say(serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    let cases = found["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if cases.is_empty() {
        say("no case waits for a person");
        return Ok(());
    }
    let now = Clock::system().now();
    let table = match access {
        Access::Database(_) => queue(cases, now),
        Access::Service(_) => without_queue(cases, now),
    };
    say_styled(table.render());
    if found["more"] == true {
        say("\nmore cases wait: --limit shows up to 100");
    }
    if let Access::Service(_) = access {
        let _ = writeln!(
            std::io::stderr(),
            "Targets, and who works on a case, are shown with --config: the API does not tell them."
        );
    }
    Ok(())
}

/// Cases of the database, with target and reviewer.
fn queue(cases: &[Value], now: OffsetDateTime) -> Table {
    let mut table = Table::new([
        "VERIFICATION",
        "BIZ_TYPE",
        "BIZ_ID",
        "OPENED",
        "AGE",
        "DUE",
        "REVIEWER",
        "REMARKS",
    ]);
    for case in cases {
        let own = |name| member(case, name).unwrap_or_default();
        let holder = &case["holder"];
        let reviewer = member(holder, "name").map(|name| {
            format!(
                "{name}, since {}",
                relative_text(&member(holder, "since").unwrap_or_default(), now)
            )
        });
        let mut remarks = Vec::new();
        remarks.extend(member(case, "escalation").map(|code| format!("escalated: {code}")));
        if case["reviews"].as_i64() > Some(0) {
            remarks.push("needs a second person".to_owned());
        }
        table.add([
            own("verification_id"),
            own("biz_type"),
            own("biz_id"),
            relative_text(&own("opened_at"), now),
            own("age"),
            relative_text(&own("due_at"), now),
            reviewer.unwrap_or_else(|| "nobody".to_owned()),
            remarks.join(", "),
        ]);
    }
    table
}

/// Cases of the API, which are verifications.
fn without_queue(cases: &[Value], now: OffsetDateTime) -> Table {
    let mut table = Table::new(["VERIFICATION", "BIZ_TYPE", "BIZ_ID", "OPENED"]);
    for case in cases {
        let own = |name| member(case, name).unwrap_or_default();
        table.add([
            own("verification_id"),
            own("biz_type"),
            own("biz_id"),
            relative_text(&own("opened_at"), now),
        ]);
    }
    table
}

async fn decide(context: &Context, arguments: &DecideArguments) -> anyhow::Result<()> {
    let access = Access::open(context, &arguments.access).await?;
    let Access::Service(service) = &access else {
        let why = "a review needs the API key of the reviewer: set VERDICT_API_KEY, and VERDICT_URL \
            where the service is, and leave out --config";
        return Err(Usage(why.to_owned()).into());
    };
    let note = arguments.note.as_deref().map(note).transpose()?;
    let found = find(&access, &arguments.what).await?;
    let [only] = &found[..] else {
        bail!("several verifications are named so: `verdict show` lists their ids");
    };
    let id = only["id"].as_str().context("a verification without an id")?;
    let (seen, tag) = service.verification_with_tag(id).await?;
    if let Some(current) = member(&seen["decision"], "outcome")
        && current != "review"
        && !arguments.overrule
    {
        let by = member(&seen["decision"], "by").unwrap_or_default();
        bail!(
            "no case is open: the current decision is {current}, by {by}; --overrule reviews it all \
             the same"
        );
    }
    let DecideArguments { outcome, reason, purpose, .. } = arguments;
    let outcome = outcome.as_str();
    let review = Review { outcome, reason, note: note.as_deref(), purpose: purpose.as_deref() };
    let answer = service.review(id, &tag, &review).await?;
    if arguments.json {
        say_done(serde_json::to_string_pretty(&answer)?);
    } else if answer["decided"] == true {
        say_done(format_args!("{id} is decided: {outcome}, {reason}"));
    } else {
        say_done(format_args!(
            "{id}: the review is stored; it counts when a second person makes the same one"
        ));
    }
    Ok(())
}

fn note(given: &str) -> anyhow::Result<String> {
    let text = if given == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        text.trim_end().to_owned()
    } else {
        given.to_owned()
    };
    Ok(review::note(&text).map_err(|problem| Usage(format!("--note {problem}")))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn queue_shows_age_target_and_reviewer() {
        let now = datetime!(2026-11-27 12:00 UTC);
        let case = |age: &str, holder: Value| {
            json!({ "verification_id": "one", "biz_type": "demo", "biz_id": "order-1",
                "opened_at": "2026-11-27T07:00:00Z", "due_at": "2026-11-27T11:00:00Z", "age": age,
                "holder": holder, "escalation": "needs-expert", "reviews": 1 })
        };
        let anna = json!({ "name": "anna", "since": "2026-11-27T11:57:00Z" });
        let table = queue(&[case("late", anna), case("soon", Value::Null)], now).render();
        let shown = anstream::adapter::strip_str(&table).to_string();
        for expected in [
            "one           demo      order-1  5 h ago  late  60 min ago  anna, since 3 min ago  ",
            "escalated: needs-expert, needs a second person",
            "soon  60 min ago  nobody",
        ] {
            assert!(shown.contains(expected), "{expected:?} in:\n{shown}");
        }
    }
}
