//! Why a verification waits, in one sentence or two.

use time::OffsetDateTime;

use crate::console::frame::moments::Moments;
use crate::console::texts::Texts;
use crate::domain::verification::State;
use crate::store::standing::{AccountStanding, OpenFetch, OpenTask};

/// The next step before the provider is asked.
#[derive(Clone, Debug, PartialEq)]
enum Waits {
    /// Nothing is to be done.
    Nothing,
    /// Nothing is to be done, and a callback changes nothing either.
    Closed,
    /// It is being asked.
    Fetching,
    /// Calls are stopped.
    Breaker { cause: String, probe_at: Option<OffsetDateTime> },
    /// The account's calls are spent.
    Budget { seconds: f64 },
    /// A worker has to be free.
    Worker { since: OffsetDateTime },
    /// Calls have failed.
    Retry { failures: i32, at: OffsetDateTime },
    /// The person has not finished.
    Poll { at: OffsetDateTime, until: OffsetDateTime },
    /// It was started, and no callback has come.
    Start { at: OffsetDateTime },
}

impl Waits {
    fn of(fetch: &OpenFetch, account: Option<&AccountStanding>) -> Self {
        let Some(due_at) = fetch.due_at else {
            return if fetch.closed { Self::Closed } else { Self::Nothing };
        };
        if fetch.is_leased {
            return Self::Fetching;
        }
        if fetch.is_due {
            return match account {
                Some(account) if account.breaker != "closed" => {
                    Self::Breaker { cause: account.breaker.clone(), probe_at: account.probe_at }
                }
                Some(account) if account.ahead_seconds > 1.0 => {
                    Self::Budget { seconds: account.ahead_seconds }
                }
                _ => Self::Worker { since: due_at },
            };
        }
        if fetch.failures > 0 {
            return Self::Retry { failures: fetch.failures, at: due_at };
        }
        if fetch.attempts == 0 {
            return Self::Start { at: due_at };
        }
        Self::Poll { at: due_at, until: fetch.give_up_at }
    }
}

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

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-27 08:30 UTC);

    fn fetch(due_at: Option<OffsetDateTime>) -> OpenFetch {
        OpenFetch {
            due_at,
            is_due: due_at.is_some_and(|at| at <= NOW),
            is_leased: false,
            failures: 0,
            polls: 0,
            attempts: 1,
            callbacks: 1,
            give_up_at: NOW + time::Duration::HOUR,
            closed: false,
        }
    }

    fn account(breaker: &str, ahead_seconds: f64) -> AccountStanding {
        AccountStanding {
            breaker: breaker.to_owned(),
            opened_at: None,
            probe_at: Some(NOW),
            failures: 0,
            trips: 0,
            ahead_seconds,
        }
    }

    #[test]
    fn the_first_obstacle_is_the_one_that_is_named() {
        let due = fetch(Some(NOW));
        let later = fetch(Some(NOW + time::Duration::MINUTE));
        let open = account("outage", 9.0);
        assert_eq!(Waits::of(&fetch(None), None), Waits::Nothing);
        assert_eq!(Waits::of(&OpenFetch { closed: true, ..fetch(None) }, None), Waits::Closed);
        assert_eq!(
            Waits::of(&OpenFetch { is_leased: true, ..due.clone() }, Some(&open)),
            Waits::Fetching
        );
        let stopped = Waits::Breaker { cause: "outage".to_owned(), probe_at: Some(NOW) };
        assert_eq!(Waits::of(&due, Some(&open)), stopped);
        assert_eq!(Waits::of(&due, Some(&account("closed", 9.0))), Waits::Budget { seconds: 9.0 });
        for room in [None, Some(&account("closed", 0.0))] {
            assert_eq!(Waits::of(&due, room), Waits::Worker { since: NOW });
        }
        let at = NOW + time::Duration::MINUTE;
        assert_eq!(
            Waits::of(&OpenFetch { failures: 3, ..later.clone() }, Some(&open)),
            Waits::Retry { failures: 3, at }
        );
        assert_eq!(
            Waits::of(&OpenFetch { attempts: 0, ..later.clone() }, None),
            Waits::Start { at }
        );
        assert_eq!(Waits::of(&later, None), Waits::Poll { at, until: later.give_up_at });
    }
}
