//! `verdict show`: everything about one verification, by whatever names it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};
use time::OffsetDateTime;
use verdict::domain::clock::Clock;

use crate::access::{Access, AccessArguments, Question, Way, is_refused};
use crate::context::Context;
use crate::list::table_of;
use crate::output::{say, say_styled};
use crate::terminal::{BOLD, DIM, Table, member, relative_text, short_digest, styled};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: verdict show demo/pass-88.5-hello")]
pub struct Arguments {
    /// An id (of the verification, a result, a decision, a review or an event), `biz_type/biz_id`, a
    /// `biz_id` alone, a `certify_id`, a reference, or the id of a callback's message.
    #[arg(value_name = "WHAT")]
    what: String,
    #[command(flatten)]
    access: AccessArguments,
    /// Print { "verification", "waiting", "decisions", "timeline" }, as the API answers; if several
    /// verifications match, { "items" }.
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    crate::context::quiet_log();
    let access = Access::open(context, &arguments.access).await?;
    let found = find(&access, &arguments.what).await?;
    let now = Clock::system().now();
    let [only] = &found[..] else {
        if arguments.json {
            say(serde_json::to_string_pretty(&json!({ "items": found }))?);
        } else {
            say_styled(table_of(&found, now).render());
            note("Several verifications match: show one of them by its id.");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let id = only["id"].as_str().unwrap_or_default();
    let waiting = access.ask(&Question::Waiting(id)).await?;
    let decisions = access.ask(&Question::Decisions(id)).await?;
    let timeline = match access.ask(&Question::Timeline(id)).await {
        Err(error) if is_refused(&error, "scope-missing") => {
            note("The timeline is left out: the API key lacks the scope results:read.");
            Value::Null
        }
        answer => answer?,
    };
    let shown = json!({
        "verification": only, "waiting": waiting, "decisions": decisions["items"],
        "timeline": timeline["items"],
    });
    if arguments.json {
        say(serde_json::to_string_pretty(&shown)?);
    } else {
        say_styled(text(&shown, now));
    }
    Ok(ExitCode::SUCCESS)
}

/// The verifications that the text names; at least one.
pub(crate) async fn find(access: &Access, what: &str) -> anyhow::Result<Vec<Value>> {
    let items = |page: Value| page["items"].as_array().cloned().unwrap_or_default();
    if let Some((scene, id)) = what.split_once('/') {
        let filters = [("biz_type", scene.to_owned()), ("biz_id", id.to_owned())];
        let found = items(access.ask(&Question::List(&filters)).await?);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let found = items(access.ask(&Question::Search(what)).await?);
    if found.is_empty() {
        bail!("no verification has this id, biz_type/biz_id, reference or message id");
    }
    Ok(found)
}

/// For people: standard output has the result and nothing else.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn text(shown: &Value, now: OffsetDateTime) -> String {
    let verification = &shown["verification"];
    let time = |of: &Value, name: &str| {
        member(of, name).map(|at| format!("{} ({at})", relative_text(&at, now)))
    };
    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    let own = |name| member(verification, name);
    add("state", own("state").map(|state| styled(&state)));
    add("biz_type", own("biz_type"));
    add("biz_id", own("biz_id"));
    add("certify_id", own("certify_id"));
    add("product", own("product"));
    add("reference", own("reference"));
    add("source", own("source"));
    add("created", time(verification, "created_at"));
    add("updated", time(verification, "updated_at"));
    add("attempts", own("attempts"));
    add("answered by", own("answered_by"));
    let waiting = &shown["waiting"];
    add("waiting", member(waiting, "text"));
    add("next try", time(waiting, "next_try_at"));
    add("polls until", time(waiting, "give_up_at"));
    add("stopped by", member(waiting, "breaker"));
    for task in waiting["tasks"].as_array().into_iter().flatten() {
        let when = time(task, "due_at").unwrap_or_default();
        let running = if task["running"] == true { "running" } else { "due" };
        add("task", member(task, "kind").map(|kind| format!("{kind}, {running} {when}")));
    }
    let failure = &verification["failure"];
    add("failure", member(failure, "code"));
    add("to do", member(failure, "text"));
    add("provider", member(failure, "provider_code"));
    let id = own("id").unwrap_or_default();
    let mut lines = vec![format!("{BOLD}verification {id}{BOLD:#}")];
    lines.extend(facts.into_iter().map(|(name, value)| format!("  {name:12} {value}")));
    lines.extend(decision_lines(shown, now));
    lines.extend(timeline_lines(shown, now));
    lines.join("\n")
}

/// The current decision, with the texts of its reasons.
fn decision_lines(shown: &Value, now: OffsetDateTime) -> Vec<String> {
    let decisions = shown["decisions"].as_array();
    let Some(decision) = decisions.and_then(|all| all.last()) else { return Vec::new() };
    let own = |name| member(decision, name).unwrap_or_default();
    let simulated = if decision["simulated"] == true { ", of a simulated provider" } else { "" };
    let mut lines = vec![
        String::new(),
        format!("{BOLD}decision{BOLD:#} {}{simulated}", styled(&own("outcome"))),
        format!(
            "  by {} with {}, {}",
            own("by"),
            short_digest(&own("policy")),
            relative_text(&own("decided_at"), now)
        ),
    ];
    for reason in decision["explanation"].as_array().into_iter().flatten() {
        let code = member(reason, "code").unwrap_or_default();
        let told = member(&reason["text"], "en").or_else(|| member(reason, "detail"));
        lines.push(format!("  {code:28} {}", told.unwrap_or_default()).trim_end().to_owned());
        let observed = reason["observed"].as_array().into_iter().flatten().map(|observed| {
            let value = member(observed, "value").unwrap_or_else(|| "missing".to_owned());
            format!("{} = {value}", member(observed, "field").unwrap_or_default())
        });
        let observed: Vec<String> = observed.collect();
        if !observed.is_empty() {
            lines.push(format!("  {:28} {DIM}{}{DIM:#}", "", observed.join(", ")));
        }
    }
    lines
}

/// Members that every item has, or that are its time or its name.
const SHOWN_ELSEWHERE: [&str; 2] = ["at", "event"];

fn timeline_lines(shown: &Value, now: OffsetDateTime) -> Vec<String> {
    let Some(items) = shown["timeline"].as_array() else { return Vec::new() };
    let mut table = Table::new(["WHEN", "EVENT", "DETAILS"]);
    for item in items {
        let members = item.as_object().into_iter().flatten().filter_map(|(name, _)| {
            let is_detail = !SHOWN_ELSEWHERE.contains(&name.as_str()) && !name.ends_with("_id");
            let value = is_detail.then(|| member(item, name)).flatten()?;
            Some(format!("{}={}", name.replace('_', "-"), short_digest(&value)))
        });
        table.add([
            relative_text(&member(item, "at").unwrap_or_default(), now),
            member(item, "event").unwrap_or_default(),
            members.collect::<Vec<_>>().join(" "),
        ]);
    }
    if table.is_empty() { Vec::new() } else { vec![String::new(), table.render()] }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn verification_is_shown_with_its_next_try_and_its_reasons() {
        let now = datetime!(2026-11-27 12:00 UTC);
        let shown = json!({
            "verification": { "id": "one", "state": "decided", "biz_type": "demo", "failure": null },
            "waiting": {
                "text": "The next retry is scheduled.", "next_try_at": "2026-11-27T12:05:00Z",
                "tasks": [{ "kind": "archive", "due_at": "2026-11-27T11:59:00Z", "running": false }],
            },
            "decisions": [{
                "outcome": "review", "by": "policy", "policy": format!("sha256:{}", "0".repeat(64)),
                "decided_at": "2026-11-27T11:58:00Z", "explanation": [{
                    "code": "score-too-low", "text": { "en": "A face score is low." },
                    "observed": [{ "field": "lowest_score", "value": 85 }],
                }],
            }],
            "timeline": [
                { "at": "2026-11-27T11:58:00Z", "event": "decided", "by": "policy" },
                {
                    "at": "2026-11-27T11:59:00Z", "event": "removed-by-retention",
                    "what": "results", "before": "2026-10-01T00:00:00Z", "after_days": 30,
                },
            ],
        });
        let told = anstream::adapter::strip_str(&text(&shown, now)).to_string();
        for expected in [
            "  state        decided\n",
            "  next try     in 5 min (2026-11-27T12:05:00Z)\n",
            "  task         archive, due 60 s ago (2026-11-27T11:59:00Z)\n",
            "decision review\n  by policy with sha256:00000000, 2 min ago\n",
            "  score-too-low                A face score is low.\n",
            "lowest_score = 85",
            "2 min ago  decided ",
            "removed-by-retention  after-days=30 before=2026-10-01T00:00:00Z what=results",
        ] {
            assert!(told.contains(expected), "{expected:?} in:\n{told}");
        }
        assert!(!told.contains("failure"), "{told}");
    }
}
