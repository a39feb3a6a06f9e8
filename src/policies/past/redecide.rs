//! Deciding current decisions anew with the active policies.

use policy::decide;
use policy::decision::Reason;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::range::{Pace, Range};
use crate::domain::clock::Clock;
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::ids::{Ids, ResultId};
use crate::policies::active::PolicySnapshot;
use crate::store::history::Standing;
use crate::store::{self, Store};

/// The result of deciding anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redecided {
    /// Current decisions looked at.
    pub looked_at: u64,
    /// New decisions written, because outcome or reasons differ.
    pub new: u64,
    /// Decisions that would be the same.
    pub same: u64,
    /// Received another decision meanwhile, and left unchanged.
    pub overtaken: u64,
    /// About erased persons, and skipped.
    pub erased: u64,
    /// The last answer that is done with.
    pub after: Uuid,
    /// Why it did not come to its end, if it did not.
    pub stopped: Option<Stopped>,
}

/// Why deciding anew stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The policies in use were changed meanwhile: no decision rests on one that is not in use any
    /// more.
    PoliciesChanged,
    /// The caller asked for it.
    Told,
}

/// Decides current decisions anew with the policies of a snapshot. Old decisions stay as history; a
/// decision that would be the same is not written again. Stops when policies are changed meanwhile,
/// or when `tell` says so; `after` resumes where an earlier run stopped.
pub async fn redecide(
    store: &Store,
    policies: &PolicySnapshot,
    (range, after): (&Range, Uuid),
    (clock, ids, pace): (&Clock, &Ids, Pace),
    mut tell: impl FnMut(&Redecided) -> bool,
) -> store::Result<Redecided> {
    let mut done = Redecided { after: after.max(range.start()), ..Redecided::default() };
    loop {
        let worked = Instant::now();
        let batch = store.history().standing_after(done.after, STANDING_PAGE).await?;
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
        let Some(written) =
            store.history().decide_again(&new, policies.newest_activation(), now).await?
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
    policies: &PolicySnapshot,
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
