//! `GET /v1/verifications/{id}/waiting`: the next step of a verification, and its time.

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::api::Api;
use super::api_key_auth::Scope;
use super::openapi::{VerificationPath, refusals};
use super::problem::Problem;
use crate::causes::Cause;
use crate::domain::ids::VerificationId;
use crate::store::standing::{AccountStanding, OpenFetch, OpenTask};
use crate::store::{self, Store};

/// The next step of a verification.
#[derive(Serialize, ToSchema)]
pub(super) struct WaitingView {
    verification_id: VerificationId,
    /// The first obstacle: `nothing`, `closed`, `answer`, `breaker`, `budget`, `worker`, `retry`,
    /// `poll` or `callback`.
    waits_for: &'static str,
    text: &'static str,
    /// When the provider is asked next; `null`: not by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    next_try_at: Option<OffsetDateTime>,
    /// Polling ends then.
    #[serde(with = "time::serde::rfc3339::option")]
    give_up_at: Option<OffsetDateTime>,
    /// Failed calls in a row.
    failures: i32,
    /// Why calls are stopped: `credentials`, `clock` or `outage`. Else `null`.
    breaker: Option<String>,
    /// Follow-up work.
    tasks: Vec<TaskView>,
}

/// A process that only accepts may not read the rest. Neither may one whose database has the
/// config/roles.sql of an earlier version.
fn or_nothing<T: Default>(read: store::Result<T>) -> store::Result<T> {
    match read {
        Err(error) if error.cause() == Cause::MissingRight => Ok(T::default()),
        read => read,
    }
}

/// Follow-up work of a verification.
#[derive(Serialize, ToSchema)]
struct TaskView {
    /// `archive`, `delete-images` or `retire-images`.
    kind: String,
    #[serde(with = "time::serde::rfc3339")]
    due_at: OffsetDateTime,
    /// A worker is doing it now.
    running: bool,
    attempts: i32,
}

impl From<OpenTask> for TaskView {
    fn from(of: OpenTask) -> Self {
        Self { kind: of.kind, due_at: of.due_at, running: of.is_leased, attempts: of.attempts }
    }
}

refusals!(WaitingRefusals = [NotFound] + API_KEY);

/// The next step of a verification: the obstacle that it waits for, and the time of the next try.
#[utoipa::path(
    get, path = "/v1/verifications/{id}/waiting", operation_id = "get-waiting",
    tag = "verifications", params(VerificationPath),
    responses((status = 200, body = WaitingView), WaitingRefusals),
    security(("api-key" = ["decisions:read"])),
)]
pub(super) async fn handler(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<WaitingView>, Problem> {
    let caller = api.keys.require(&headers, Scope::DecisionsRead).await?;
    let id = api.visible_verification(&caller, &id).await?;
    view(&api.store, &api.account, id).await?.map(Json).ok_or_else(Problem::not_found)
}

pub(super) async fn view(
    store: &Store,
    account: &str,
    id: VerificationId,
) -> store::Result<Option<WaitingView>> {
    let Some(fetch) = store.open_work().fetch_of(id).await? else { return Ok(None) };
    let tasks = or_nothing(store.open_work().tasks_of(id).await)?;
    let account = or_nothing(store.open_work().account(account).await)?;
    let waits = Waits::of(&fetch, account.as_ref());
    let (next_try_at, give_up_at) = match &waits {
        Waits::Nothing | Waits::Closed | Waits::Fetching => (None, None),
        Waits::Breaker { probe_at, .. } => (*probe_at, None),
        Waits::Poll { at, until } => (Some(*at), Some(*until)),
        _ => (fetch.due_at, None),
    };
    let (waits_for, text) = waits.says();
    let breaker = match waits {
        Waits::Breaker { cause, .. } => Some(cause),
        _ => None,
    };
    Ok(Some(WaitingView {
        verification_id: id,
        waits_for,
        text,
        next_try_at,
        give_up_at,
        failures: fetch.failures,
        breaker,
        tasks: tasks.into_iter().map(TaskView::from).collect(),
    }))
}

/// The next step before the provider is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Waits {
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
    pub fn of(fetch: &OpenFetch, account: Option<&AccountStanding>) -> Self {
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

    /// The code, and a sentence.
    const fn says(&self) -> (&'static str, &'static str) {
        match self {
            Self::Nothing => ("nothing", "Nothing is open. Another callback starts a new fetch."),
            Self::Closed => ("closed", "Nothing is open. Only a refetch asks the provider again."),
            Self::Fetching => ("answer", "A worker is asking the provider."),
            Self::Breaker { .. } => ("breaker", "Calls to the provider are stopped."),
            Self::Budget { .. } => ("budget", "The account's calls are spent for the moment."),
            Self::Worker { .. } => ("worker", "The fetch is due, and a worker must be free."),
            Self::Retry { .. } => ("retry", "Calls have failed. The next retry is scheduled."),
            Self::Poll { .. } => {
                ("poll", "The person has not finished. The next poll is scheduled.")
            }
            Self::Start { .. } => (
                "callback",
                "No callback has arrived. Without one, Verdict polls once when the token expires.",
            ),
        }
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
