//! The provider account's shared state, which all replicas use: its breaker and its budget.

use std::time::Duration;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;

/// Why no calls go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// They do.
    Closed,
    /// Credentials, permission or the account itself were refused.
    Credentials,
    /// The provider finds our clock wrong.
    Clock,
    /// The provider has been failing for everybody.
    Outage,
}

impl Breaker {
    /// The stable spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Credentials => "credentials",
            Self::Clock => "clock",
            Self::Outage => "outage",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "credentials" => Self::Credentials,
            "clock" => Self::Clock,
            "outage" => Self::Outage,
            _ => Self::Closed,
        }
    }
}

/// The provider account's breaker and budget.
#[derive(Clone, Copy, Debug)]
pub struct Accounts<'a>(&'a Store);

impl Store {
    /// The provider account's breaker and budget.
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts(self)
    }
}

impl Accounts<'_> {
    /// Makes sure the account has a row, and lets an open breaker probe at once: a process that
    /// has just started may have come with better credentials.
    pub async fn open_account(self, account: &str) -> Result<()> {
        self.0
            .run(|| async {
                // One budget row for each account, whoever comes first; the
                // account's row is made last, so that one without a budget cannot be seen.
                open(account).execute(&self.0.pool).await.map(drop)
            })
            .await
    }

    /// Where the breaker stands.
    pub async fn breaker(self, account: &str) -> Result<Breaker> {
        let breaker: Option<String> =
            self.0.run(|| breaker(account).fetch_optional(&self.0.pool)).await?;
        Ok(breaker.as_deref().map_or(Breaker::Closed, Breaker::parse))
    }

    /// A good answer: calls may go out again. Only called when something is on record, so the
    /// happy path does not touch this row.
    pub async fn account_is_well(self, account: &str) -> Result<()> {
        self.0.run(|| async { close_breaker(account).execute(&self.0.pool).await.map(drop) }).await
    }

    /// Opens the breaker, or keeps it open after a failed probe (`probing`). The next probe waits
    /// `first_probe`, doubled with every probe that failed, up to `longest`. `false`: it was open
    /// already.
    pub async fn trip(
        self,
        account: &str,
        why: Breaker,
        probing: bool,
        first_probe: Duration,
        longest: Duration,
    ) -> Result<bool> {
        // Answers to calls sent before it opened must not push the probe away, so
        // while it is open only a failed probe counts as another trip.
        self.0
            .once(async {
                trip(
                    account,
                    why.as_str(),
                    first_probe.as_secs_f64(),
                    longest.as_secs_f64(),
                    probing,
                )
                .execute(&self.0.pool)
                .await
                .map(|done| done.rows_affected() == 1)
            })
            .await
    }

    /// A probe brought no verdict on the account: the next one may go soon.
    pub async fn probe_again(self, account: &str, wait: Duration) -> Result<()> {
        self.0
            .once(async {
                probe_again(account, wait.as_secs_f64()).execute(&self.0.pool).await.map(drop)
            })
            .await
    }

    /// Counts one passing fault; answers how many came in a row.
    pub async fn count_fault(self, account: &str) -> Result<i32> {
        self.0.once(count_fault(account).fetch_one(&self.0.pool)).await
    }

    /// The provider throttled us: nobody calls for this long.
    pub async fn pause(self, account: &str, pause: Duration) -> Result<()> {
        self.0
            .run(|| async {
                pause_budget(account, pause.as_secs_f64()).execute(&self.0.pool).await.map(drop)
            })
            .await
    }
}

statements! {
    execute open(account: &str) =
        "with budget as (
             insert into budgets (account)
             select $1 where not exists (select from budgets where account = $1)
             on conflict do nothing
         )
         insert into accounts (account) values ($1)
         on conflict (account) do update set probe_at = verdict_now(), trips = 0
         where accounts.breaker <> 'closed'";

    scalar breaker(account: &str) -> String = "select breaker from accounts where account = $1";

    execute close_breaker(account: &str) =
        "update accounts set breaker = 'closed', failures = 0, trips = 0, probe_at = null,
             opened_at = null
         where account = $1 and (breaker <> 'closed' or failures > 0)";

    execute trip(account: &str, breaker: &str, first_probe: f64, longest: f64, probing: bool) =
        "update accounts set breaker = $2,
             opened_at = coalesce(opened_at, verdict_now()),
             trips = least(trips + 1, 30),
             probe_at = verdict_now()
                 + make_interval(secs => least($3 * power(2, least(trips, 20)), $4))
         where account = $1 and (breaker = 'closed' or $5)";

    execute probe_again(account: &str, wait: f64) =
        "update accounts set probe_at = verdict_now() + make_interval(secs => $2)
         where account = $1 and breaker <> 'closed'";

    scalar count_fault(account: &str) -> i32 =
        "update accounts set failures = least(failures + 1, 1000000)
         where account = $1 returning failures";

    execute pause_budget(account: &str, pause: f64) =
        "update budgets
         set draws = draws + 1,
             spent_to = greatest(spent_to, verdict_now() + make_interval(secs => $2))
         where account = $1
             and draws >= (select max(draws) from budgets where account = $1)";
}
