//! Why a verification waits, in one sentence or two.

use crate::console::frame::moments::Moments;
use crate::console::texts::Texts;
use crate::domain::verification::State;
use crate::http::waiting::Waits;
use crate::store::standing::{AccountStanding, OpenFetch, OpenTask};

/// The sentences about its fetch and its follow-up work; empty only if nothing waits.
pub fn sentences(
    state: State,
    fetch: &OpenFetch,
    tasks: &[OpenTask],
    account: Option<&AccountStanding>,
    moments: &Moments,
) -> Vec<String> {
    let t = &moments.t.verification;
    let full = |at| moments.full(at);
    let mut said = match Waits::of(fetch, account) {
        Waits::Nothing | Waits::Closed if state == State::Erased => Vec::new(),
        Waits::Nothing => vec![t.waits_callback.to_string()],
        Waits::Closed => vec![t.waits_closed.to_string()],
        Waits::Fetching => vec![t.waits_fetching.to_string()],
        Waits::Breaker { cause, probe_at } => {
            let cause = cause_of(moments.t, &cause);
            let mut said = vec![t.waits_breaker.with("cause", cause).to_string()];
            said.extend(probe_at.map(|at| t.waits_probe.with("time", full(at)).to_string()));
            said
        }
        Waits::Budget { seconds } => {
            let span = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
            vec![t.waits_budget.with("span", moments.span(span)).to_string()]
        }
        Waits::Worker { since } => vec![t.waits_worker.with("time", full(since)).to_string()],
        Waits::Retry { failures, at } => {
            vec![t.waits_retry.with("n", failures).with("time", full(at)).to_string()]
        }
        Waits::Poll { at, until } => {
            vec![t.waits_poll.with("time", full(at)).with("until", full(until)).to_string()]
        }
        Waits::Start { at } => vec![t.waits_start.with("time", full(at)).to_string()],
    };
    said.extend(tasks.iter().map(|task| {
        let name = match (task.kind.as_str(), task.asked_again) {
            ("archive", true) => t.task_links,
            ("archive", false) => t.task_archive,
            _ => t.task_delete,
        };
        if task.is_leased {
            t.waits_task_now.with("task", name).to_string()
        } else {
            t.waits_task.with("task", name).with("time", full(task.due_at)).to_string()
        }
    }));
    said
}

/// Why the breaker is open, in words.
pub fn cause_of(t: &'static Texts, breaker: &str) -> String {
    match breaker {
        "credentials" => t.operations.cause_credentials.to_string(),
        "clock" => t.operations.cause_clock.to_string(),
        "outage" => t.operations.cause_outage.to_string(),
        other => other.to_owned(),
    }
}
