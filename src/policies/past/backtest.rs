//! Trying another policy on the past.

use std::sync::Arc;

use policy::compare::Comparison;
use policy::decision::{Decision, Outcome};
use policy::evidence::Evidence;
use policy::report::Flip;
use policy::{Policy, decide};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::range::{Pace, Range};
use crate::domain::ids::VerificationId;
use crate::lanes::policy_work;
use crate::policies::operations::{PolicyError, Turn};
use crate::store::history::{PAGE, Page, Past};
use crate::store::{self, Store};

/// Pages of answers that one search for flips goes through at most.
const FLIP_PAGES: usize = 10;

/// A backtest on its way: a page at a time.
#[derive(Debug)]
pub struct Backtest<'a> {
    store: &'a Store,
    candidate: Arc<Policy>,
    range: Range,
    pace: Pace,
    /// The last answer seen.
    pub after: Uuid,
    /// Answers seen so far, of all scenes.
    pub looked_at: u64,
    /// Of the answers seen so far.
    pub comparison: Comparison,
}

impl<'a> Backtest<'a> {
    /// From the beginning of a range.
    pub fn new(store: &'a Store, candidate: Arc<Policy>, range: Range, pace: Pace) -> Self {
        let (after, comparison) = (range.start(), Comparison::default());
        Self { store, candidate, range, pace, after, looked_at: 0, comparison }
    }

    /// From where an earlier one stopped.
    #[must_use]
    pub fn resume(self, after: Uuid, looked_at: u64, comparison: Comparison) -> Self {
        Self { after: after.max(self.after), looked_at, comparison, ..self }
    }

    /// Tries all that is left, telling after each page how far it is and what flipped. `tell`
    /// answers whether to go on.
    pub async fn run(
        &mut self,
        mut tell: impl FnMut(&Self, Vec<Flip>) -> bool,
    ) -> store::Result<()> {
        // The next page comes while this one is decided.
        let mut next = self.store.history().past_after(self.after, PAGE).await?;
        while let Page { items, end: Some(end), looked_at } = next {
            let worked = Instant::now();
            let over = self.range.is_over(end);
            let (fetched, flips) = tokio::join!(
                async {
                    if over {
                        Ok(None)
                    } else {
                        self.store.history().past_after(end, PAGE).await.map(Some)
                    }
                },
                try_on(Arc::clone(&self.candidate), self.range.clone(), items),
            );
            let mut found = Vec::new();
            let (flips, erased) = flips;
            self.comparison.erased += erased;
            for case in flips {
                let day = case.fetched_at.date();
                if self.comparison.add(case.old, &case.new, &case.evidence, day) {
                    found.push(case.flip());
                }
            }
            self.after = end;
            self.looked_at += looked_at;
            if !tell(self, found) {
                return Ok(());
            }
            let Some(page) = fetched? else { return Ok(()) };
            next = page;
            self.pace.rest(worked).await;
        }
        Ok(())
    }
}

/// One case, tried.
struct Tried {
    verification: String,
    old: Outcome,
    new: Decision,
    evidence: Evidence,
    fetched_at: OffsetDateTime,
}

impl Tried {
    fn flip(&self) -> Flip {
        Flip {
            verification: self.verification.clone(),
            old: self.old,
            new: self.new.outcome,
            reason: self.new.reasons.first().map(|r| r.code.clone()).unwrap_or_default(),
        }
    }
}

/// Applies the candidate to the answers of a page that are in the range. Also counts the answers
/// that were skipped because their persons were erased. Runs off the runtime: a page is a thousand
/// decisions, by a policy that may be expensive.
async fn try_on(candidate: Arc<Policy>, range: Range, page: Vec<Past>) -> (Vec<Tried>, u64) {
    let tried = move |past: Past| Tried {
        new: decide(&candidate, &past.evidence),
        verification: past.verification.to_string(),
        old: past.outcome,
        evidence: past.evidence,
        fetched_at: past.fetched_at,
    };
    policy_work(move || {
        let in_range = |past: &Past| range.holds(past.id, &past.evidence.biz_type);
        let (erased, page): (Vec<_>, Vec<_>) =
            page.into_iter().filter(in_range).partition(|past| past.erased);
        let tried = page.into_iter().map(tried).collect();
        (tried, u64::try_from(erased.len()).unwrap_or(u64::MAX))
    })
    .await
}

/// One verification that a policy would decide otherwise.
#[derive(Clone, Debug)]
pub struct FoundFlip {
    /// The answer.
    pub answer: Uuid,
    pub verification: VerificationId,
    /// The stored outcome.
    pub old: Outcome,
    /// The candidate's outcome.
    pub new: Outcome,
    /// The new reason that weighs most.
    pub reason: String,
}

/// A page of flips.
#[derive(Clone, Debug)]
pub struct FlipPage {
    /// Oldest answer first.
    pub flips: Vec<FoundFlip>,
    /// The answer to go on after; `None`: there are no more.
    pub next: Option<Uuid>,
}

/// The next flips of a policy against what was decided, at most `limit`, among the answers of a
/// scene after one and up to another. Looks at a bounded number of answers, so that it may find none
/// and yet have to go on.
pub async fn flips(
    store: &Store,
    candidate: &Arc<Policy>,
    scene: Option<&str>,
    (mut after, last): (Uuid, Uuid),
    (limit, turn): (usize, Turn),
) -> Result<FlipPage, PolicyError> {
    let mut flips: Vec<FoundFlip> = Vec::new();
    for _ in 0..FLIP_PAGES {
        let page = store.history().past_after(after, PAGE).await?;
        let Some(end) = page.end else { return Ok(FlipPage { flips, next: None }) };
        let mut items = page.items;
        items.retain(|past| {
            past.id <= last
                && !past.erased
                && scene.is_none_or(|scene| scene == past.evidence.biz_type)
        });
        let (candidate, wanted) = (Arc::clone(candidate), limit - flips.len());
        let decide_page = move || -> Vec<_> {
            items.iter().filter_map(|past| flip(&candidate, past)).take(wanted).collect()
        };
        flips.extend(turn.compute(decide_page).await?);
        if flips.len() == limit {
            let next = flips.last().map(|flip| flip.answer);
            return Ok(FlipPage { flips, next });
        }
        if end >= last {
            return Ok(FlipPage { flips, next: None });
        }
        after = end;
    }
    Ok(FlipPage { flips, next: Some(after) })
}

fn flip(candidate: &Policy, past: &Past) -> Option<FoundFlip> {
    let new = decide(candidate, &past.evidence);
    (new.outcome != past.outcome).then(|| FoundFlip {
        answer: past.id,
        verification: past.verification,
        old: past.outcome,
        new: new.outcome,
        reason: new.reasons.into_iter().next().map(|r| r.code).unwrap_or_default(),
    })
}
