//! The range of past answers that a run reads, and its pace.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::ids::earliest;

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
    /// Only this scene.
    pub biz_type: Option<String>,
}

impl Range {
    /// Not later than the id of any answer in it.
    pub fn start(&self) -> Uuid {
        self.since.map_or(Uuid::nil(), earliest)
    }

    /// The first id of an answer behind it.
    pub fn end(&self) -> Option<Uuid> {
        self.until.map(earliest)
    }

    /// Whether an answer's id, which begins with its time, lies behind the end.
    pub(super) fn is_over(&self, answer: Uuid) -> bool {
        self.end().is_some_and(|end| answer >= end)
    }

    /// Whether an answer lies in it.
    pub(super) fn holds(&self, answer: Uuid, biz_type: &str) -> bool {
        answer >= self.start() && !self.is_over(answer) && self.fits(biz_type)
    }

    fn fits(&self, biz_type: &str) -> bool {
        self.biz_type.as_deref().is_none_or(|wanted| wanted == biz_type)
    }
}
