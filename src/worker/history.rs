//! Going through the past: trying another policy on it, deciding it once more to see that nothing
//! differs, deciding it anew, and looking at its scores.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::policies::Policies;
use crate::domain::clock::Clock;
use crate::domain::decision::{DecidedBy, Decision, Outcome, Reason, StoredDecision};
use crate::domain::evidence::Evidence;
use crate::domain::ids::{Ids, ResultId, earliest};
use crate::lanes::policy_work;
use crate::policy::calibration::Calibration;
use crate::policy::compare::Comparison;
use crate::policy::report::Flip;
use crate::policy::{Policy, decide};
use crate::store::history::{PAGE, Page, Past, PastAnswer, Standing};
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

/// Which part of the past, by when the provider's answers came.
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
    fn is_over(&self, answer: Uuid) -> bool {
        self.end().is_some_and(|end| answer >= end)
    }

    /// Whether an answer lies in it.
    fn holds(&self, answer: Uuid, biz_type: &str) -> bool {
        answer >= self.start() && !self.is_over(answer) && self.fits(biz_type)
    }

    fn fits(&self, biz_type: &str) -> bool {
        self.biz_type.as_deref().is_none_or(|wanted| wanted == biz_type)
    }
}

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
    /// What came of it so far.
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
        let mut next = self.store.past_after(self.after, PAGE).await?;
        while let Page { items, end: Some(end), looked_at } = next {
            let worked = Instant::now();
            let over = self.range.is_over(end);
            let (fetched, flips) = tokio::join!(
                async {
                    if over { Ok(None) } else { self.store.past_after(end, PAGE).await.map(Some) }
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

/// What of a page is in the range and tried, and how many answers were skipped because their persons
/// were erased. Off the runtime: a page is a thousand decisions, by a policy that may be an
/// expensive one.
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

/// What came of deciding the past once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions made once more.
    pub decisions: u64,
    /// Policies that had made them.
    pub policies: usize,
    /// Decisions that came out otherwise, or could not be made once more, the first hundred.
    pub different: Vec<String>,
    /// How many.
    pub differences: u64,
    /// Of those, how many rest on an answer that is gone.
    pub without_answer: u64,
    /// And how many on a policy whose text is gone, was changed, or cannot be compiled.
    pub without_policy: u64,
    /// Decisions about erased persons, which cannot be made once more and were skipped.
    pub erased: u64,
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
    // Whoever decided may have had another clock than who fetched.
    let mut after =
        range.since.and_then(|at| at.checked_sub(CLOCKS_DIFFER)).map_or(Uuid::nil(), earliest);
    loop {
        let worked = Instant::now();
        let batch = store.past_in_full_after(after, PAGE).await?;
        let Some(end) = batch.end else { break };
        after = end;
        for past in batch.items.iter().filter(|past| range.holds(past.result, &past.biz_type)) {
            if past.erased {
                replayed.erased += 1;
                continue;
            }
            if !policies.contains_key(&past.policy) {
                let text = store.policy_text(&past.policy).await?;
                // A text that was changed is another policy.
                let policy = text
                    .and_then(|text| Policy::load_stored(&text.body))
                    .filter(|policy| policy.digest() == past.policy);
                policies.insert(past.policy.clone(), policy);
            }
            let policy = policies.get(&past.policy).and_then(Option::as_ref);
            let again = policy
                .zip(past.evidence.as_ref())
                .map(|(policy, evidence)| decide(policy, evidence));
            let same = again.is_some_and(|again| {
                again.outcome.as_str() == past.outcome
                    && serde_json::to_value(&again.reasons).is_ok_and(|new| new == past.reasons)
            });
            replayed.decisions += 1;
            replayed.without_answer += u64::from(past.evidence.is_none());
            replayed.without_policy += u64::from(policy.is_none());
            if !same {
                replayed.differences += 1;
                if replayed.different.len() < 100 {
                    replayed.different.push(past.id.to_string());
                }
            }
        }
        tell(replayed.decisions);
        pace.rest(worked).await;
    }
    replayed.policies = policies.len();
    Ok(replayed)
}

/// By how much the clocks of two processes may differ at most: a decision is looked for from that
/// long before its answer.
const CLOCKS_DIFFER: time::Duration = time::Duration::hours(1);

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
    /// About erased persons, and skipped.
    pub erased: u64,
    /// The last answer that is done with.
    pub after: Uuid,
    /// Why it did not come to its end, if it did not.
    pub stopped: Option<Stopped>,
}

/// Why deciding anew was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// What is in use was changed meanwhile: nothing was decided by what is not in use any more.
    PoliciesChanged,
    /// Whoever wanted it wants no more.
    Told,
}

/// Decides standing decisions anew with the policies that are active now. Old decisions stay as
/// history; what is the same is not written again. It ends where policies are changed meanwhile,
/// or `tell` says so, and goes on from `after`.
pub async fn decide_anew(
    store: &Store,
    policies: &Policies,
    (range, after): (&Range, Uuid),
    (clock, ids, pace): (&Clock, &Ids, Pace),
    mut tell: impl FnMut(&DecidedAnew) -> bool,
) -> store::Result<DecidedAnew> {
    let mut done = DecidedAnew { after: after.max(range.start()), ..DecidedAnew::default() };
    loop {
        let worked = Instant::now();
        let batch = store.standing_after(done.after, STANDING_PAGE).await?;
        let Some(end) = batch.end else { break };
        let now = clock.now();
        let (mut new, mut same) = (Vec::new(), 0);
        for standing in batch.items {
            if range.holds(standing.result, &standing.evidence.biz_type) {
                if standing.erased {
                    done.erased += 1;
                    continue;
                }
                match anew(policies, standing, now, ids) {
                    Some(pair) => new.push(pair),
                    None => same += 1,
                }
            }
        }
        let different = u64::try_from(new.len()).unwrap_or(0);
        // Also where nothing differs: what does not, by another policy might.
        let Some(written) = store.decide_again(&new, policies.newest_activation(), now).await?
        else {
            done.stopped = Some(Stopped::PoliciesChanged);
            break;
        };
        done.looked_at += same + different;
        done.same += same;
        done.new += written;
        done.overtaken += different.saturating_sub(written);
        done.after = end;
        if !tell(&done) {
            done.stopped = Some(Stopped::Told);
            break;
        }
        if range.is_over(end) {
            break;
        }
        pace.rest(worked).await;
    }
    Ok(done)
}

/// Few enough for one statement that writes all of them.
const STANDING_PAGE: i64 = 500;

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
        // The database knows, from the answer's row.
        simulated: false,
        decision,
    };
    Some((standing, stored))
}

/// Histograms of the scores in a range.
pub async fn calibrate(
    store: &Store,
    range: &Range,
    mut calibration: Calibration,
    pace: Pace,
    mut tell: impl FnMut(u64),
) -> store::Result<Calibration> {
    let mut after = range.start();
    loop {
        let worked = Instant::now();
        let batch = store.answers_after(after, PAGE).await?;
        let Some(last) = batch.last() else { break };
        after = last.id;
        count(&mut calibration, range, &batch);
        tell(calibration.answers);
        pace.rest(worked).await;
        if range.is_over(after) {
            break;
        }
    }
    Ok(calibration)
}

/// Histograms of the scores of some answers of a time, which is cut into as many equal parts as
/// are wanted: the first answers of each part, so that no hour speaks for all.
pub async fn sample(
    store: &Store,
    (from, to): (OffsetDateTime, OffsetDateTime),
    (parts, of_each): (u32, i64),
    pace: Pace,
) -> store::Result<Calibration> {
    let mut calibration = Calibration::default();
    let part = (to - from) / parts;
    for n in 0..parts {
        let worked = Instant::now();
        let since = from + part * n;
        let range = Range { since: Some(since), until: Some(since + part), biz_type: None };
        let batch = store.answers_after(range.start(), of_each).await?;
        count(&mut calibration, &range, &batch);
        pace.rest(worked).await;
    }
    Ok(calibration)
}

fn count(calibration: &mut Calibration, range: &Range, batch: &[PastAnswer]) {
    for answer in batch.iter().filter(|a| range.holds(a.id, &a.evidence.biz_type)) {
        if answer.erased {
            calibration.erased += 1;
            continue;
        }
        calibration.add(&answer.evidence, answer.fetched_at.date());
    }
}
