//! The range of past answers that a run reads, and its pace.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::ids::earliest;
use crate::store::backtests::Backtest;

/// How much of the machine a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Rests three times as long as it works, so that requests hardly notice.
    Polite,
    /// Never rests.
    Full,
}

impl Pace {
    /// Waits after a page that took since `worked`.
    pub(super) async fn rest(self, worked: Instant) {
        if self == Self::Polite {
            tokio::time::sleep((worked.elapsed() * 3).min(LONGEST_REST)).await;
        }
    }
}

/// Longest rest, however slow a page was.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// A part of the past, by the time at which the provider's answers arrived.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Only answers since then.
    pub since: Option<OffsetDateTime>,
    /// Only before.
    pub until: Option<OffsetDateTime>,
    /// Only up to this answer: later ones may come while it is gone through.
    pub last: Option<Uuid>,
    /// Only this scene.
    pub biz_type: Option<String>,
}

impl Range {
    /// The range of a stored backtest.
    pub fn of_backtest(run: &Backtest) -> Self {
        let Backtest { since, until, last, .. } = *run;
        Self { since, until, last, biz_type: run.biz_type.clone() }
    }

    /// Not later than the id of any answer in it.
    pub fn start(&self) -> Uuid {
        self.since.map_or(Uuid::nil(), earliest)
    }

    /// The first id of an answer behind it.
    pub fn end(&self) -> Option<Uuid> {
        self.until.map(earliest)
    }

    /// The greatest id that an answer in it may have.
    pub fn newest(&self) -> Uuid {
        let before = self.end().map(|end| Uuid::from_u128(end.as_u128().saturating_sub(1)));
        let ends = before.into_iter().chain(self.last);
        ends.min().unwrap_or(Uuid::max())
    }

    /// Whether nothing that comes after this answer lies in it. Ids begin with their time.
    pub(super) fn is_over(&self, answer: Uuid) -> bool {
        answer >= self.newest()
    }

    /// Whether an answer lies in it.
    pub(super) fn holds(&self, answer: Uuid, biz_type: &str) -> bool {
        answer >= self.start() && answer <= self.newest() && self.fits(biz_type)
    }

    fn fits(&self, biz_type: &str) -> bool {
        self.biz_type.as_deref().is_none_or(|wanted| wanted == biz_type)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn both_ends_are_where_they_are_said_to_be() {
        let (since, until) = (datetime!(2026-11-01 00:00 UTC), datetime!(2026-11-02 00:00 UTC));
        let range = Range { since: Some(since), until: Some(until), ..Range::default() };
        let next = |id: Uuid, by: i8| {
            Uuid::from_u128(id.as_u128().checked_add_signed(by.into()).expect("an id"))
        };
        let (first, end) = (earliest(since), earliest(until));
        for (answer, holds) in
            [(next(first, -1), false), (first, true), (next(end, -1), true), (end, false)]
        {
            assert_eq!(range.holds(answer, "any"), holds, "{answer}");
        }
        assert!(range.is_over(next(end, -1)) && !range.is_over(next(end, -2)));
        // The last answer that there was is one of them, and the nearer end counts.
        let early = Range { last: Some(first), ..range.clone() };
        assert!(early.holds(first, "any") && !early.holds(next(first, 1), "any"));
        assert_eq!(Range { last: Some(next(end, 5)), ..range }.newest(), next(end, -1));
        assert_eq!(Range::default().newest(), Uuid::max());
    }
}
