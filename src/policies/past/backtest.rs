//! Trying another policy on the past.

use std::sync::Arc;

use policy::compare::Comparison;
use policy::decision::{Decision, Outcome, Reason};
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
        let (after, comparison) = (range.start(), Comparison::default().with_people());
        Self { store, candidate, range, pace, after, looked_at: 0, comparison }
    }

    /// From where an earlier one stopped.
    #[must_use]
    pub fn resume(self, after: Uuid, looked_at: u64, comparison: Comparison) -> Self {
        let comparison = comparison.with_people();
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
            let (fetched, tried) = tokio::join!(
                async {
                    if over {
                        Ok(None)
                    } else {
                        self.store.history().past_after(end, PAGE).await.map(Some)
                    }
                },
                try_on(Arc::clone(&self.candidate), self.range.clone(), items),
            );
            let (tried, erased) = tried;
            self.comparison.erased += erased;
            let found = self.count(tried).await?;
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

    /// Counts the cases of a page, and the persons whose last case is among them; answers the flips.
    async fn count(&mut self, tried: Vec<Tried>) -> store::Result<Vec<Flip>> {
        let answers: Vec<_> =
            tried.iter().map(|case| (case.past.id, case.past.verification)).collect();
        let among = (self.range.newest(), self.range.biz_type.as_deref());
        let last = self.store.history().last_about_persons(&answers, among).await?;
        let mut flips = Vec::new();
        for Tried { past, new } in tried {
            if last.contains(&past.id) {
                self.comparison.add_person(past.outcome, new.outcome);
            }
            let day = past.fetched_at.date();
            if self.comparison.add(past.outcome, &new, &past.evidence, day) {
                flips.push(Flip::of(past, new));
            }
        }
        Ok(flips)
    }
}

/// One case, tried.
struct Tried {
    past: Past,
    new: Decision,
}

/// Applies the candidate to the answers of a page that are in the range. Also counts the answers
/// that were skipped because their persons were erased. Runs off the runtime: a page is a thousand
/// decisions, by a policy that may be expensive.
async fn try_on(candidate: Arc<Policy>, range: Range, page: Vec<Past>) -> (Vec<Tried>, u64) {
    let tried = move |past: Past| Tried { new: decide(&candidate, &past.evidence), past };
    policy_work(move || {
        let in_range = |past: &Past| range.holds(past.id, &past.evidence.biz_type);
        let (erased, page): (Vec<_>, Vec<_>) =
            page.into_iter().filter(in_range).partition(|past| past.erased);
        let tried = page.into_iter().map(tried).collect();
        (tried, u64::try_from(erased.len()).unwrap_or(u64::MAX))
    })
    .await
}

/// One result that a policy would decide otherwise.
#[derive(Clone, Debug)]
pub struct Flip {
    /// The answer.
    pub answer: Uuid,
    pub verification: VerificationId,
    /// When the answer came.
    pub at: OffsetDateTime,
    /// The stored outcome, and the reason that weighed most.
    pub old: Outcome,
    pub old_reason: String,
    /// The candidate's outcome and reasons; the one that weighs most comes first.
    pub new: Outcome,
    pub reasons: Vec<Reason>,
}

impl Flip {
    fn of(past: Past, new: Decision) -> Self {
        Self {
            answer: past.id,
            verification: past.verification,
            at: past.fetched_at,
            old: past.outcome,
            old_reason: past.reason,
            new: new.outcome,
            reasons: new.reasons,
        }
    }

    /// The new reason that weighs most.
    pub fn reason(&self) -> &str {
        self.reasons.first().map_or("", |reason| &reason.code)
    }
}

/// A page of flips.
#[derive(Clone, Debug)]
pub struct FlipPage {
    /// Oldest answer first.
    pub flips: Vec<Flip>,
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
    let mut flips: Vec<Flip> = Vec::new();
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
            items.into_iter().filter_map(|past| flip(&candidate, past)).take(wanted).collect()
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

fn flip(candidate: &Policy, past: Past) -> Option<Flip> {
    let new = decide(candidate, &past.evidence);
    (new.outcome != past.outcome).then(|| Flip::of(past, new))
}
