//! The partitions of `results` and `decisions`: one for each month of the time in their ids.
//! [0034](../../docs/decisions/0034-results-and-decisions-by-month.md) says why.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::time_of;

/// Months after the current one that have their partitions.
const AHEAD: i32 = 2;
/// Rows of no month that are counted.
const COUNTED: i32 = 1_000;

/// A table whose partitions are months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonthlyTable {
    Results,
    Decisions,
}

impl MonthlyTable {
    pub const ALL: [Self; 2] = [Self::Results, Self::Decisions];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Decisions => "decisions",
        }
    }
}

/// How far the partitions of a table reach.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub table: MonthlyTable,
    /// The end of the last month; `None`: there is no partition with an end.
    pub until: Option<OffsetDateTime>,
    /// Rows in the default partition, at most 1,000.
    pub of_no_month: i64,
}

#[derive(FromRow)]
struct ReachRow {
    upper: Option<Uuid>,
    of_no_month: i64,
}

/// A month, or the first partition, all of which is older than its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldMonth {
    pub table: MonthlyTable,
    /// The partition.
    pub name: String,
}

/// The outcome of dropping an old month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropOutcome {
    /// With so many rows.
    Dropped(u64),
    /// A verification that is not erased, or an event, needs it.
    Needed,
    /// Another process dropped it.
    Gone,
}

/// The partitions by month.
#[derive(Clone, Copy, Debug)]
pub struct Months<'a>(&'a Store);

impl Store {
    pub fn months(&self) -> Months<'_> {
        Months(self)
    }
}

impl Months<'_> {
    /// Makes the partitions that are missing for this month and the next ones, and returns how
    /// many. Several processes may do it at once.
    pub async fn make_ahead(self) -> Result<i32> {
        let mut made = 0;
        for table in MonthlyTable::ALL {
            // One at a time, so that nobody waits for several.
            while self.0.run(|| make(table.as_str(), AHEAD).fetch_one(&self.0.pool)).await? > 0 {
                made += 1;
            }
        }
        Ok(made)
    }

    /// As [`Self::make_ahead`], for `verdict migrate`. A worker tries again where a long reader has the
    /// lock, or where this role has no right to it.
    pub(super) async fn try_to_make_ahead(self) -> Result<()> {
        const LEFT_TO_WORKERS: [&str; 3] = ["55P03", "42501", "42883"];
        match self.make_ahead().await {
            Err(Error::Refused { code, .. }) if LEFT_TO_WORKERS.contains(&code.as_str()) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// The months of a table that ended so many days ago, the oldest first.
    pub async fn older_than(self, table: MonthlyTable, days: i32) -> Result<Vec<OldMonth>> {
        let names: Vec<String> =
            self.0.run(|| find_old(table.as_str(), days).fetch_all(&self.0.pool)).await?;
        Ok(names.into_iter().map(|name| OldMonth { table, name }).collect())
    }

    /// Drops a month, unless the database finds that something still needs it. Recorded in the audit.
    ///
    /// Reading a month takes longer than other statements may.
    pub async fn drop_old(self, month: &OldMonth, days: i32) -> Result<DropOutcome> {
        let dropping = async {
            let mut transaction = self.0.pool.begin().await?;
            set_long_timeout().execute(&mut transaction).await?;
            let dropped: Option<i64> = drop_month(month.table.as_str(), &month.name, days)
                .fetch_one(&mut transaction)
                .await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(dropped)
        };
        Ok(match dropping.await.map_err(Error::from)? {
            Some(rows) => u64::try_from(rows).map_or(DropOutcome::Needed, DropOutcome::Dropped),
            None => DropOutcome::Gone,
        })
    }

    /// How far the partitions of each table reach.
    pub async fn reach(self) -> Result<[Reach; 2]> {
        let [results, decisions] = MonthlyTable::ALL;
        Ok([self.reach_of(results).await?, self.reach_of(decisions).await?])
    }

    async fn reach_of(self, table: MonthlyTable) -> Result<Reach> {
        let row: ReachRow =
            self.0.run(|| reach(table.as_str(), COUNTED).fetch_one(&self.0.pool)).await?;
        Ok(Reach { table, until: row.upper.and_then(time_of), of_no_month: row.of_no_month })
    }
}

statements! {
    scalar find_old(table: &str, days: i32) -> String =
        "select name from verdict_old_months($1, $2)";

    execute set_long_timeout() = "set local statement_timeout = '10min'";

    scalar drop_month(table: &str, month: &str, days: i32) -> Option<i64> =
        "select verdict_drop_month($1, $2, $3)";

    scalar make(table: &str, ahead: i32) -> i32 = "select verdict_make_months($1, $2)";

    row reach(table: &str, most: i32) -> ReachRow =
        "select (select upper from verdict_months($1) order by upper desc nulls last limit 1) as upper,
             verdict_rows_of_no_month($1, $2) as of_no_month";
}
