//! Going through the past: trying another policy on it, deciding it once more to see that nothing
//! differs, deciding it anew, and looking at its scores.

use std::collections::HashMap;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::policies::Policies;
use crate::domain::clock::Clock;
use crate::domain::decision::{DecidedBy, Reason, StoredDecision};
use crate::domain::ids::{Ids, ResultId, earliest};
use crate::policy::calibration::Calibration;
use crate::policy::compare::Comparison;
use crate::policy::report::Flip;
use crate::policy::{Policy, decide};
use crate::store::history::{PAGE, Past, Standing};
use crate::store::{self, Store};

/// How much of the machine it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Rests three times as long as it works: those who serve hardly notice.
    Polite,
    /// All there is.
    Full,
}

impl Pace {
    async fn rest(self, worked: Instant) {
        if self == Self::Polite {
            tokio::time::sleep((worked.elapsed() * 3).min(LONGEST_REST)).await;
        }
    }
}

/// However slow a page was.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Which part of the past.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Only what was decided, or answered, since then.
    pub since: Option<OffsetDateTime>,
    /// Only before.
    pub until: Option<OffsetDateTime>,
    /// Only this scene.
    pub biz_type: Option<String>,
}

impl Range {
    fn start(&self) -> Uuid {
        self.since.map_or(Uuid::nil(), earliest)
    }

    /// Whether an id, which begins with its time, lies behind the end.
    fn is_over(&self, id: Uuid) -> bool {
        self.until.is_some_and(|until| id >= earliest(until))
    }

    fn fits(&self, biz_type: &str) -> bool {
        self.biz_type.as_deref().is_none_or(|wanted| wanted == biz_type)
    }
}

/// A backtest on its way: a page at a time.
#[derive(Debug)]
pub struct Backtest<'a> {
    store: &'a Store,
    candidate: &'a Policy,
    range: Range,
    pace: Pace,
    /// The last decision seen.
    pub after: Uuid,
    /// What came of it so far.
    pub comparison: Comparison,
}

impl<'a> Backtest<'a> {
    /// From the beginning of a range.
    pub fn new(store: &'a Store, candidate: &'a Policy, range: Range, pace: Pace) -> Self {
        let after = range.start();
        Self { store, candidate, range, pace, after, comparison: Comparison::default() }
    }

    /// From where an earlier one stopped.
    #[must_use]
    pub fn resume(self, after: Uuid, comparison: Comparison) -> Self {
        Self { after, comparison, ..self }
    }

    /// Tries all that is left, telling after each page how far it is and what flipped. `tell`
    /// answers whether to go on.
    pub async fn run(
        &mut self,
        mut tell: impl FnMut(&Comparison, Vec<Flip>) -> bool,
    ) -> store::Result<()> {
        // The next page comes while this one is decided.
        let mut next = self.fetch(self.after).await?;
        while let Some((page, end)) = next {
            let worked = Instant::now();
            let over = self.range.is_over(end);
            let (fetched, flips) = tokio::join!(
                async { if over { Ok(None) } else { self.store_fetch(end).await } },
                async { try_on(self.candidate, &self.range, page) },
            );
            let mut found = Vec::new();
            for case in flips {
                let day = case.fetched_at.date();
                let new = &case.new;
                if self.comparison.add(case.old, new, &case.evidence, day) {
                    found.push(Flip {
                        verification: case.verification,
                        old: case.old,
                        new: new.outcome,
                        reason: new.reasons.first().map(|r| r.code.clone()).unwrap_or_default(),
                    });
                }
            }
            self.after = end;
            if !tell(&self.comparison, found) {
                return Ok(());
            }
            next = fetched?;
            self.pace.rest(worked).await;
        }
        Ok(())
    }

    async fn fetch(&self, after: Uuid) -> store::Result<Option<(Vec<Past>, Uuid)>> {
        self.store_fetch(after).await
    }

    async fn store_fetch(&self, after: Uuid) -> store::Result<Option<(Vec<Past>, Uuid)>> {
        let page = self.store.past_after(after, PAGE).await?;
        // A full page ends with its last row; one with gaps has to be asked for its end.
        let full = i64::try_from(page.len()).is_ok_and(|rows| rows == PAGE);
        let end = if full {
            page.last().map(|past| past.id)
        } else {
            self.store.past_page_end(after, PAGE).await?
        };
        Ok(end.map(|end| (page, end)))
    }
}

/// One case, tried.
struct Tried {
    verification: String,
    old: crate::domain::decision::Outcome,
    new: crate::domain::decision::Decision,
    evidence: crate::domain::evidence::Evidence,
    fetched_at: OffsetDateTime,
}

fn try_on(candidate: &Policy, range: &Range, page: Vec<Past>) -> Vec<Tried> {
    page.into_iter()
        .filter(|past| !range.is_over(past.id) && range.fits(&past.evidence.biz_type))
        .map(|past| Tried {
            new: decide(candidate, &past.evidence),
            verification: past.verification.to_string(),
            old: past.outcome,
            evidence: past.evidence,
            fetched_at: past.fetched_at,
        })
        .collect()
}

/// What came of deciding the past once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions made once more.
    pub decisions: u64,
    /// Policies that had made them.
    pub policies: usize,
    /// Decisions that came out otherwise, the first hundred of them.
    pub different: Vec<String>,
    /// How many did.
    pub differences: u64,
}

/// Decides everything once more with the policy and evidence of its time, and compares outcome and
/// reasons with what is stored.
pub async fn replay(
    store: &Store,
    range: &Range,
    pace: Pace,
    mut tell: impl FnMut(u64),
) -> store::Result<Replayed> {
    let mut policies: HashMap<String, Option<Policy>> = HashMap::new();
    let mut replayed = Replayed::default();
    let mut after = range.start();
    loop {
        let worked = Instant::now();
        let batch = store.past_in_full_after(after, PAGE).await?;
        let Some(last) = batch.last() else { break };
        after = last.id;
        for past in &batch {
            if range.is_over(past.id) || !range.fits(&past.evidence.biz_type) {
                continue;
            }
            if !policies.contains_key(&past.policy) {
                let text = store.policy_text(&past.policy).await?;
                let policy = text.and_then(|text| Policy::load_stored(&text.body));
                policies.insert(past.policy.clone(), policy);
            }
            let again = policies
                .get(&past.policy)
                .and_then(Option::as_ref)
                .map(|policy| decide(policy, &past.evidence));
            let same = again.is_some_and(|again| {
                again.outcome.as_str() == past.outcome
                    && serde_json::to_value(&again.reasons).is_ok_and(|new| new == past.reasons)
            });
            replayed.decisions += 1;
            if !same {
                replayed.differences += 1;
                if replayed.different.len() < 100 {
                    replayed.different.push(past.id.to_string());
                }
            }
        }
        tell(replayed.decisions);
        pace.rest(worked).await;
        if range.is_over(after) {
            break;
        }
    }
    replayed.policies = policies.len();
    Ok(replayed)
}

/// What came of deciding anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecidedAnew {
    /// Standing decisions looked at.
    pub looked_at: u64,
    /// New decisions written, because outcome or reasons differ.
    pub new: u64,
    /// Decisions that would be the same.
    pub same: u64,
    /// Decided upon by somebody else meanwhile, and left alone.
    pub overtaken: u64,
}

/// Decides standing decisions anew with the policies that are active now. Old decisions stay as
/// history; what is the same is not written again. It can be broken off and begun anew: what was
/// done is found to be the same.
pub async fn decide_anew(
    store: &Store,
    policies: &Policies,
    range: &Range,
    (clock, ids, pace): (&Clock, &Ids, Pace),
    mut tell: impl FnMut(&DecidedAnew),
) -> store::Result<DecidedAnew> {
    let mut done = DecidedAnew::default();
    let mut after = range.start();
    loop {
        let worked = Instant::now();
        let (batch, last) = store.standing_after(after, 500).await?;
        let Some(last) = last else { break };
        after = last;
        let now = clock.now();
        let mut new = Vec::new();
        for standing in batch {
            if range.is_over(standing.verification.0) || !range.fits(&standing.evidence.biz_type) {
                continue;
            }
            done.looked_at += 1;
            match anew(policies, standing, now, ids) {
                Some(pair) => new.push(pair),
                None => done.same += 1,
            }
        }
        if !new.is_empty() {
            let written = store.decide_again(&new, now).await?;
            done.new += written;
            done.overtaken += u64::try_from(new.len()).unwrap_or(0).saturating_sub(written);
        }
        tell(&done);
        pace.rest(worked).await;
        if range.is_over(after) {
            break;
        }
    }
    Ok(done)
}

fn anew(
    policies: &Policies,
    standing: Standing,
    now: OffsetDateTime,
    ids: &Ids,
) -> Option<(Standing, StoredDecision)> {
    let policy = policies.active(&standing.evidence.biz_type);
    let decision = decide(policy, &standing.evidence);
    let same = |reasons: &[Reason]| {
        serde_json::to_value(reasons).is_ok_and(|reasons| reasons == standing.reasons)
    };
    if same(&decision.reasons) {
        return None;
    }
    let stored = StoredDecision {
        id: ids.next(now),
        result_id: ResultId(standing.result),
        policy: policy.digest().to_owned(),
        by: DecidedBy::Policy,
        decided_at: now,
        decision,
    };
    Some((standing, stored))
}

/// Histograms of the scores in a range.
pub async fn calibrate(
    store: &Store,
    range: &Range,
    most: Option<u64>,
    pace: Pace,
    mut tell: impl FnMut(u64),
) -> store::Result<Calibration> {
    let mut calibration = Calibration::default();
    let mut after = range.start();
    loop {
        let worked = Instant::now();
        let batch = store.answers_after(after, PAGE).await?;
        let Some(last) = batch.last() else { break };
        after = last.id;
        for answer in &batch {
            if !range.is_over(answer.id) && range.fits(&answer.evidence.biz_type) {
                calibration.add(&answer.evidence, answer.fetched_at.date());
            }
        }
        tell(calibration.answers);
        pace.rest(worked).await;
        if range.is_over(after) || most.is_some_and(|most| calibration.answers >= most) {
            break;
        }
    }
    Ok(calibration)
}
