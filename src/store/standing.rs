//! Why a verification waits, and for what: the work that is open for it, by the database's clock.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;

/// The fetch of a verification.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct OpenFetch {
    /// `None`: nothing is to be fetched.
    pub due_at: Option<OffsetDateTime>,
    pub is_due: bool,
    /// A worker has it.
    pub is_leased: bool,
    /// Failed attempts in a row.
    pub failures: i32,
    /// Unfinished answers since the last callback.
    pub polls: i32,
    pub attempts: i32,
    pub callbacks: i32,
    pub give_up_at: OffsetDateTime,
    /// Nothing but a refetch makes it due again.
    pub closed: bool,
}

/// Open follow-up work.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct OpenTask {
    /// `archive`, `delete-images`, `retire-images`.
    pub kind: String,
    pub due_at: OffsetDateTime,
    pub is_leased: bool,
    /// Newer links have been asked for.
    pub asked_again: bool,
    pub attempts: i32,
}

/// The account's breaker and budget.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct AccountStanding {
    /// As in [`super::account_breaker::Breaker::as_str`].
    pub breaker: String,
    pub opened_at: Option<OffsetDateTime>,
    pub probe_at: Option<OffsetDateTime>,
    /// Faults in a row, over all verifications.
    pub failures: i32,
    /// Probes in a row that failed.
    pub trips: i32,
    /// How far the granted calls reach beyond now; 0: there is room.
    pub ahead_seconds: f64,
}

/// Open work.
#[derive(Clone, Copy, Debug)]
pub struct OpenWork<'a>(&'a Store);

impl Store {
    pub fn open_work(&self) -> OpenWork<'_> {
        OpenWork(self)
    }
}

impl OpenWork<'_> {
    pub async fn fetch_of(self, id: VerificationId) -> Result<Option<OpenFetch>> {
        self.0.run(|| find_fetch(id.0).fetch_optional(&self.0.pool)).await
    }

    /// Follow-up work about a verification.
    pub async fn tasks_of(self, id: VerificationId) -> Result<Vec<OpenTask>> {
        self.0.run(|| find_tasks(id.0).fetch_all(&self.0.pool)).await
    }

    /// `None`: no worker of this account has run yet.
    pub async fn account(self, account: &str) -> Result<Option<AccountStanding>> {
        self.0.run(|| find_account(account).fetch_optional(&self.0.pool)).await
    }
}

statements! {
    row find_fetch(verification: Uuid) -> OpenFetch =
        "select due_at, coalesce(due_at <= verdict_now(), false) as is_due,
             coalesce(lease_until > verdict_now(), false) as is_leased,
             failures, polls, attempts, callbacks, give_up_at, closed
         from verifications where id = $1";

    row find_tasks(verification: Uuid) -> OpenTask =
        "select kind, due_at, coalesce(lease_until > verdict_now(), false) as is_leased,
             asked_again_at is not null as asked_again, attempts
         from tasks where verification_id = $1 order by kind, id";

    row find_account(account: &str) -> AccountStanding =
        "select a.breaker, a.opened_at, a.probe_at, a.failures, a.trips,
             coalesce((select extract(epoch from greatest(spent_to, verdict_now()) - verdict_now())
                       from budgets where account = a.account order by draws desc limit 1), 0)::float8
                 as ahead_seconds
         from accounts a where a.account = $1";
}
