//! Deciding the past once more, to see that nothing differs.

use std::collections::HashSet;

use policy::decide;
use tokio::time::Instant;
use uuid::Uuid;

use super::range::{Pace, Range};
use crate::domain::ids::earliest;
use crate::policies::cache::PolicyCache;
use crate::store::history::PAGE;
use crate::store::{self, Store};

/// The result of deciding the past once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions made once more.
    pub decisions: u64,
    /// Policies that made them.
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
    cache: &PolicyCache,
    range: &Range,
    pace: Pace,
    mut tell: impl FnMut(u64),
) -> store::Result<Replayed> {
    let mut policies = HashSet::new();
    let mut replayed = Replayed::default();
    // The process that decided may have had another clock than the process that fetched.
    let mut after =
        range.since.and_then(|at| at.checked_sub(CLOCKS_DIFFER)).map_or(Uuid::nil(), earliest);
    loop {
        let worked = Instant::now();
        let batch = store.history().past_in_full_after(after, PAGE).await?;
        let Some(end) = batch.end else { break };
        after = end;
        for past in batch.items.iter().filter(|past| range.holds(past.result, &past.biz_type)) {
            if past.erased {
                replayed.erased += 1;
                continue;
            }
            let policy = cache.get(store, &past.policy).await?;
            policies.insert(past.policy.clone());
            let policy = policy.as_deref();
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

/// Largest difference between the clocks of two processes: the search for a decision begins this
/// long before its answer.
const CLOCKS_DIFFER: time::Duration = time::Duration::hours(1);
