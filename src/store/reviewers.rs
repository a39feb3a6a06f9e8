//! How reviewers work: how many cases, how fast, and how often they are right.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::case::Rate;
use crate::domain::ids::UserId;

/// The figures of one reviewer.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub user: UserId,
    pub name: String,
    /// Verdicts that were committed.
    pub cases: i64,
    /// From the claim to the verdict; `None`: there is none.
    pub median: Option<Duration>,
    /// Judgements of a case on the same side as another reviewer's, among those where neither was
    /// unsure.
    pub agreement: Rate,
    /// Golden pairs of two persons that were taken for one.
    pub false_accepts: Rate,
    /// Golden pairs of one person that were taken for two.
    pub false_rejects: Rate,
    /// Golden pairs about which the reviewer was not sure.
    pub unsure: Rate,
}

/// How reviewers work.
#[derive(Clone, Copy, Debug)]
pub struct Reviewers<'a>(&'a Store);

impl Store {
    pub fn reviewers(&self) -> Reviewers<'_> {
        Reviewers(self)
    }
}

impl Reviewers<'_> {
    /// The figures of everybody who got a case or a golden pair since then, by name.
    pub async fn figures(self, since: OffsetDateTime) -> Result<Vec<Figures>> {
        let rows: Vec<Row> = self.0.run(|| find_figures(since).fetch_all(&self.0.pool)).await?;
        Ok(rows.into_iter().map(Figures::from).collect())
    }
}

#[derive(FromRow)]
struct Row {
    user_id: Uuid,
    name: String,
    cases: i64,
    median_seconds: Option<f64>,
    compared: i64,
    agreed: i64,
    different: i64,
    false_accepts: i64,
    same: i64,
    false_rejects: i64,
    unsure: i64,
}

impl From<Row> for Figures {
    fn from(row: Row) -> Self {
        let rate = |hits, of| {
            let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
            Rate { hits: count(hits), of: count(of) }
        };
        let median = row.median_seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default());
        Self {
            user: UserId(row.user_id),
            name: row.name,
            cases: row.cases,
            median,
            agreement: rate(row.agreed, row.compared),
            false_accepts: rate(row.false_accepts, row.different),
            false_rejects: rate(row.false_rejects, row.same),
            unsure: rate(row.unsure, row.different + row.same),
        }
    }
}

statements! {
    row find_figures(since: OffsetDateTime) -> Row = include_str!("sql/reviewers_find_figures.sql");
}
