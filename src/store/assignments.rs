//! Assignments: a case, or a golden pair, in the hands of one reviewer.
//!
//! A reviewer has one at a time, and a case is in one reviewer's hands: two unique indexes see to
//! it. It is leased by the database's clock. A lease that ended is still good until somebody else
//! gets the case; whoever lost it changes nothing. A verdict waits for its commit time and can be
//! undone until then; `verdicts.rs` commits it.
//!
//! Transactions that lock several rows lock the verification first, then the case, then assignments,
//! as the triggers on verifications do.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use crate::domain::case::{Ended, Judgement, Kind};
use crate::domain::ids::{AssignmentId, DecisionId, GoldenId, ReviewId, UserId, VerificationId};
use policy::decision::Outcome;

/// For how long a person does not get a case again that they skipped, in seconds.
const SKIPPED_FOR: f64 = 30.0 * 60.0;

/// A verdict that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub reason: String,
    pub review: ReviewId,
    pub given_at: OffsetDateTime,
    /// `None`: it cannot be undone any more.
    pub commits_in: Option<Duration>,
    /// The case was decided otherwise meanwhile, so the verdict takes no effect.
    pub is_superseded: bool,
}

/// One assignment, as its reviewer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub id: AssignmentId,
    pub kind: Kind,
    pub about: About,
    pub claimed_at: OffsetDateTime,
    /// `None`: the lease is over.
    pub lease_left: Option<Duration>,
    pub judgement: Option<Judgement>,
    pub verdict: Option<Verdict>,
    pub ended: Option<(Ended, OffsetDateTime)>,
}

/// What is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Case {
        decision: DecisionId,
        verification: VerificationId,
        biz_type: String,
        opened_at: OffsetDateTime,
        /// Why somebody else has escalated it.
        escalation: Option<String>,
    },
    Golden(GoldenId),
}

impl Assignment {
    /// The case; `None`: a golden pair.
    pub const fn case(&self) -> Option<(DecisionId, VerificationId)> {
        match &self.about {
            About::Case { decision, verification, .. } => Some((*decision, *verification)),
            About::Golden(_) => None,
        }
    }
}

/// Whether an assignment is still in the reviewer's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Held,
    /// How it ended; `None`: it is not this person's.
    Lost(Option<Ended>),
}

/// What is in the hands of reviewers.
#[derive(Clone, Copy, Debug)]
pub struct Assignments<'a>(pub(super) &'a Store);

impl Store {
    pub fn assignments(&self) -> Assignments<'_> {
        Assignments(self)
    }
}

impl Assignments<'_> {
    /// The assignment that the person has and has not finished.
    pub async fn open(self, user: UserId) -> Result<Option<AssignmentId>> {
        let open: Option<Uuid> =
            self.0.run(|| find_open(user.0).fetch_optional(&self.0.pool)).await?;
        Ok(open.map(AssignmentId))
    }

    /// `None`: there is none of this id that is or was this person's.
    pub async fn find(self, id: AssignmentId, user: UserId) -> Result<Option<Assignment>> {
        let row: Option<AssignmentRow> =
            self.0.run(|| find(id.0, user.0).fetch_optional(&self.0.pool)).await?;
        row.map(Assignment::try_from).transpose()
    }

    /// Lengthens the lease: it lasts so long from now.
    pub async fn renew(self, id: AssignmentId, user: UserId, lease: Duration) -> Result<Hold> {
        let renewed = self
            .0
            .run(|| async { renew(id.0, user.0, lease.as_secs_f64()).execute(&self.0.pool).await })
            .await?;
        if renewed.rows_affected() > 0 {
            Ok(Hold::Held)
        } else {
            self.lost(id, user).await.map(Hold::Lost)
        }
    }

    /// Gives the case back; the person does not get it again for half an hour. `false`: it is not in
    /// these hands any more, or a verdict is given.
    pub async fn skip(self, id: AssignmentId, user: UserId) -> Result<bool> {
        self.0
            .once(skip(id.0, user.0, SKIPPED_FOR).fetch_optional(&self.0.pool))
            .await
            .map(|kind| count_if_ended(kind, Ended::Skipped))
    }

    /// Gives the case back. `false` as above.
    pub async fn release(self, id: AssignmentId, user: UserId) -> Result<bool> {
        self.0
            .once(release(id.0, user.0).fetch_optional(&self.0.pool))
            .await
            .map(|kind| count_if_ended(kind, Ended::Released))
    }

    /// Gives the case to somebody else, for a reason. `false` as above.
    pub async fn escalate(self, id: AssignmentId, user: UserId, reason: &str) -> Result<bool> {
        let kind = self.0.once(async {
            let mut transaction = self.0.pool.begin().await?;
            // The case before the assignment, as everywhere.
            lock_case_of(id.0, user.0).fetch_optional(&mut transaction).await?;
            let ended = end_escalated(id.0, user.0).fetch_optional(&mut transaction).await?;
            if ended.is_some() {
                note_escalation(id.0, user.0, reason).execute(&mut transaction).await?;
            }
            transaction.commit().await?;
            Ok(ended)
        });
        Ok(count_if_ended(kind.await?, Ended::Escalated))
    }

    /// How an assignment ended; `None`: it is not this person's.
    pub(super) async fn lost(self, id: AssignmentId, user: UserId) -> Result<Option<Ended>> {
        Ok(self.find(id, user).await?.and_then(|found| found.ended).map(|(ended, _)| ended))
    }
}

/// Counts an assignment that ended, for the metrics.
pub(super) fn count_ended(kind: Option<Kind>, ended: Ended) {
    let kind = kind.map_or("other", Kind::as_str);
    metrics::counter!("verdict_assignments_total", "kind" => kind, "ended" => ended.as_str())
        .increment(1);
}

pub(super) fn count_if_ended(kind: Option<String>, ended: Ended) -> bool {
    let Some(kind) = kind else { return false };
    count_ended(kind.parse().ok(), ended);
    true
}

pub(super) fn outcome(text: &str) -> Result<Outcome> {
    Outcome::parse(text).ok_or(Error::Inconsistent("assignments.outcome"))
}

pub(super) fn ended(text: &str) -> Result<Ended> {
    text.parse().map_err(|_| Error::Inconsistent("assignments.ended_as"))
}

pub(super) fn judgement(number: i16) -> Result<Judgement> {
    Judgement::of(number).ok_or(Error::Inconsistent("assignments.judgement"))
}

#[derive(FromRow)]
struct AssignmentRow {
    id: Uuid,
    kind: String,
    decision_id: Option<Uuid>,
    verification_id: Option<Uuid>,
    golden_id: Option<Uuid>,
    claimed_at: OffsetDateTime,
    lease_left: f64,
    judgement: Option<i16>,
    outcome: Option<String>,
    reason: Option<String>,
    review_id: Option<Uuid>,
    given_at: Option<OffsetDateTime>,
    commits_in: Option<f64>,
    ended_at: Option<OffsetDateTime>,
    ended_as: Option<String>,
    biz_type: Option<String>,
    opened_at: Option<OffsetDateTime>,
    case_closed_at: Option<OffsetDateTime>,
    escalation: Option<String>,
}

impl TryFrom<AssignmentRow> for Assignment {
    type Error = Error;

    fn try_from(row: AssignmentRow) -> Result<Self> {
        let verdict = row.verdict()?;
        let about = match (row.golden_id, row.decision_id, row.verification_id) {
            (Some(golden), ..) => About::Golden(GoldenId(golden)),
            (None, Some(decision), Some(verification)) => About::Case {
                decision: DecisionId(decision),
                verification: VerificationId(verification),
                biz_type: row
                    .biz_type
                    .ok_or(Error::Inconsistent("assignments: its case is gone"))?,
                opened_at: row.opened_at.unwrap_or(row.claimed_at),
                escalation: row.escalation,
            },
            _ => return Err(Error::Inconsistent("assignments: about nothing")),
        };
        let ended_as = row.ended_as.as_deref().map(ended).transpose()?;
        Ok(Self {
            id: AssignmentId(row.id),
            kind: row.kind.parse().map_err(|_| Error::Inconsistent("assignments.kind"))?,
            about,
            claimed_at: row.claimed_at,
            lease_left: seconds_left(row.lease_left),
            judgement: row.judgement.map(judgement).transpose()?,
            verdict,
            ended: ended_as.zip(row.ended_at),
        })
    }
}

impl AssignmentRow {
    fn verdict(&self) -> Result<Option<Verdict>> {
        let (Some(text), Some(reason), Some(review), Some(given_at), Some(commits_in)) =
            (&self.outcome, &self.reason, self.review_id, self.given_at, self.commits_in)
        else {
            return Ok(None);
        };
        let commits_in = if self.ended_at.is_some() { None } else { seconds_left(commits_in) };
        Ok(Some(Verdict {
            outcome: outcome(text)?,
            reason: reason.clone(),
            review: ReviewId(review),
            given_at,
            commits_in,
            is_superseded: self.ended_at.is_none() && self.case_closed_at.is_some(),
        }))
    }
}

/// `None`: the time is over.
fn seconds_left(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|left| !left.is_zero())
}

statements! {
    scalar find_open(user: Uuid) -> Uuid =
        "select id from assignments
         where user_id = $1 and ended_at is null and outcome is null";

    row find(id: Uuid, user: Uuid) -> AssignmentRow =
        "select a.id, a.kind, a.decision_id, a.verification_id, a.golden_id, a.claimed_at,
             extract(epoch from a.lease_until - verdict_now())::float8 as lease_left,
             a.judgement, a.outcome, a.reason, a.review_id, a.given_at,
             extract(epoch from a.commit_at - verdict_now())::float8 as commits_in,
             a.ended_at, a.ended_as, c.biz_type, c.opened_at, c.closed_at as case_closed_at,
             c.escalation
         from assignments a left join lateral (
             select biz_type, opened_at, closed_at, escalation from cases
             where decision_id = a.decision_id limit 1) c on true
         where a.id = $1 and a.user_id = $2";

    execute renew(id: Uuid, user: Uuid, lease: f64) =
        "update assignments
         set lease_until = greatest(lease_until, verdict_now() + make_interval(secs => $3))
         where id = $1 and user_id = $2 and ended_at is null";

    scalar skip(id: Uuid, user: Uuid, skipped_for: f64) -> String =
        "with ended as (
             update assignments set ended_at = verdict_now(), ended_as = 'skipped'
             where id = $1 and user_id = $2 and ended_at is null and outcome is null
             returning kind, user_id, decision_id
         ), noted as (
             insert into case_skips (user_id, decision_id, skipped_at, until)
             select user_id, decision_id, verdict_now(),
                 verdict_now() + make_interval(secs => $3)
             from ended where kind = 'review'
             on conflict (user_id, decision_id)
             do update set skipped_at = excluded.skipped_at, until = excluded.until
         )
         select kind from ended";

    scalar release(id: Uuid, user: Uuid) -> String =
        "update assignments set ended_at = verdict_now(), ended_as = 'released'
         where id = $1 and user_id = $2 and ended_at is null and outcome is null
         returning kind";

    scalar lock_case_of(id: Uuid, user: Uuid) -> Uuid =
        "select c.decision_id from cases c
         where c.decision_id = (select decision_id from assignments
             where id = $1 and user_id = $2 and kind = 'review')
         for no key update";

    scalar end_escalated(id: Uuid, user: Uuid) -> String =
        "update assignments set ended_at = verdict_now(), ended_as = 'escalated'
         where id = $1 and user_id = $2 and ended_at is null and outcome is null
         returning kind";

    execute note_escalation(id: Uuid, user: Uuid, reason: &str) =
        "update cases set escalated_at = verdict_now(), escalated_by = $2, escalation = $3
         where closed_at is null and decision_id = (select decision_id from assignments
             where id = $1 and user_id = $2 and kind = 'review')";
}
