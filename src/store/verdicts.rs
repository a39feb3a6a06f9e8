//! What a reviewer says of a case: the judgement of the faces, then the verdict; and how verdicts
//! are committed.
//!
//! A verdict is stored at once and committed by a worker when its time has come. The commit and an
//! undo lock the assignment: one of them wins. A worker that was killed has committed all of it or
//! nothing.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::assignments::{
    Assignment, Assignments, count_ended, count_if_ended, ended, judgement, outcome,
};
use super::audit::AuditContext;
use super::error::{Error, Result};
use super::reviews::{self, NewReview, Reviewed};
use super::statements::statements;
use super::transaction::{Done, Transaction};
use crate::domain::case::{Ended, Judgement, Kind};
use crate::domain::ids::{AssignmentId, DecisionId, ReviewId, UserId, VerificationId};
use crate::domain::review::{FourEyes, Reviewer};
use policy::decision::Outcome;

/// A given verdict keeps its case for so long after its commit time, in seconds: a worker that is
/// late must not lose it.
const COMMIT_GRACE: f64 = 24.0 * 3600.0;

/// The outcome of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The case goes on with its second step.
    Continues,
    /// It ended with that: a golden pair, or a decided case. See [`Assignments::feedback`].
    Ended,
    /// It was judged before, and that counts.
    Before(Judgement),
    /// How it ended; `None`: it is not this person's.
    Lost(Option<Ended>),
}

/// What a reviewer learns after judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// The answer of a golden pair.
    Golden { judgement: Judgement, same_person: bool },
    /// What became of a decided case.
    Again {
        judgement: Judgement,
        outcome: Outcome,
        /// What the first reviewer said of the two faces, if they said it in the console.
        first: Option<Judgement>,
    },
}

/// A verdict to be given.
#[derive(Clone, Debug)]
pub struct NewVerdict {
    pub id: AssignmentId,
    pub user: UserId,
    pub outcome: Outcome,
    pub reason: String,
    /// Sealed, as the note of `review`.
    pub note: Option<Vec<u8>>,
    /// The id of the review that it becomes.
    pub review: ReviewId,
}

/// The outcome of giving a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    Taken,
    /// The faces have to be judged first.
    NotJudged,
    /// A verdict was given before, and that counts.
    Before,
    /// How it ended; `None`: it is not this person's, or needs no verdict.
    Lost(Option<Ended>),
}

/// A verdict that can still be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingVerdict {
    pub assignment: AssignmentId,
    pub verification: VerificationId,
    pub outcome: Outcome,
    pub commits_in: Duration,
}

/// A verdict that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    pub assignment: AssignmentId,
    pub verification: VerificationId,
    pub outcome: Outcome,
    pub ended: Ended,
}

impl Assignments<'_> {
    /// Stores what the person says of the two faces, once.
    pub async fn judge(
        self,
        id: AssignmentId,
        user: UserId,
        judgement: Judgement,
        lease: Duration,
    ) -> Result<Judged> {
        let kind: Option<String> = self
            .0
            .run(|| {
                judge(id.0, user.0, judgement.number(), lease.as_secs_f64())
                    .fetch_optional(&self.0.pool)
            })
            .await?;
        match kind.as_deref().map(str::parse) {
            Some(Ok(Kind::Review)) => return Ok(Judged::Continues),
            Some(_) => {
                count_if_ended(kind, Ended::Judged);
                return Ok(Judged::Ended);
            }
            None => {}
        }
        Ok(match self.find(id, user).await? {
            Some(Assignment { judgement: Some(before), .. }) => Judged::Before(before),
            found => Judged::Lost(found.and_then(|found| found.ended).map(|(ended, _)| ended)),
        })
    }

    /// What the person learns after judging a golden pair or a decided case; `None`: nothing, or it
    /// is not judged yet.
    pub async fn feedback(self, id: AssignmentId, user: UserId) -> Result<Option<Feedback>> {
        let row: Option<FeedbackRow> =
            self.0.run(|| find_feedback(id.0, user.0).fetch_optional(&self.0.pool)).await?;
        row.map(Option::<Feedback>::try_from).transpose().map(Option::flatten)
    }

    /// Stores a verdict. A worker commits it after `undo`.
    pub async fn give(self, verdict: &NewVerdict, undo: Duration) -> Result<Given> {
        let (id, user) = (verdict.id, verdict.user);
        let given = self
            .0
            .run(|| async {
                give((
                    id.0,
                    user.0,
                    verdict.outcome.as_str(),
                    &verdict.reason,
                    verdict.note.as_deref(),
                    verdict.review.0,
                    undo.as_secs_f64(),
                    COMMIT_GRACE,
                ))
                .execute(&self.0.pool)
                .await
            })
            .await?;
        if given.rows_affected() > 0 {
            return Ok(Given::Taken);
        }
        let Some(found) = self.find(id, user).await? else { return Ok(Given::Lost(None)) };
        Ok(match found {
            Assignment { ended: Some((ended, _)), .. } => Given::Lost(Some(ended)),
            // Stored by the first try of this very call, or by an earlier one.
            Assignment { verdict: Some(known), .. } if known.review == verdict.review => {
                Given::Taken
            }
            Assignment { verdict: Some(_), .. } => Given::Before,
            Assignment { kind: Kind::Review, judgement: None, .. } => Given::NotJudged,
            Assignment { kind: Kind::Review, .. } => {
                // Decided otherwise a moment ago: the trigger that ends it has not run yet, or ran
                // before it was undone.
                Given::Lost(self.end_outdated(id, user).await?)
            }
            _ => Given::Lost(None),
        })
    }

    /// Takes a verdict back before it is committed: the case is in the person's hands again. What
    /// they were given meanwhile is released.
    pub async fn undo(self, id: AssignmentId, user: UserId, lease: Duration) -> Result<bool> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let undone = take_back(&mut transaction, id, user, lease).await?;
                transaction.commit().await?;
                Ok(undone)
            })
            .await
    }

    /// The person's newest verdict that can still be undone. One whose case was decided meanwhile
    /// takes no effect, and there is nothing to undo.
    pub async fn pending(self, user: UserId) -> Result<Option<PendingVerdict>> {
        let row: Option<PendingRow> =
            self.0.run(|| find_pending(user.0).fetch_optional(&self.0.pool)).await?;
        row.map(|row| {
            Ok(PendingVerdict {
                assignment: AssignmentId(row.id),
                verification: VerificationId(row.verification_id),
                outcome: outcome(&row.outcome)?,
                commits_in: Duration::from_secs_f64(row.commits_in.max(0.0)),
            })
        })
        .transpose()
    }

    /// Verdicts that were not taken, and of which the person was not told yet.
    pub async fn untold(self, user: UserId) -> Result<Vec<Untold>> {
        let rows: Vec<UntoldRow> =
            self.0.run(|| find_untold(user.0).fetch_all(&self.0.pool)).await?;
        rows.iter()
            .map(|row| {
                Ok(Untold {
                    assignment: AssignmentId(row.id),
                    verification: VerificationId(row.verification_id),
                    outcome: outcome(&row.outcome)?,
                    ended: ended(&row.ended_as)?,
                })
            })
            .collect()
    }

    /// The person was told.
    pub async fn told(self, ids: &[AssignmentId], user: UserId) -> Result<()> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.0.run(|| async { note_told(&ids, user.0).execute(&self.0.pool).await.map(drop) }).await
    }

    /// What reviewers said of the faces of a case, oldest first, with their names. Not for somebody
    /// who has not given their own verdict.
    pub async fn judgements(
        self,
        case: DecisionId,
    ) -> Result<Vec<(String, Judgement, OffsetDateTime)>> {
        let rows: Vec<(String, i16, OffsetDateTime)> =
            self.0.run(|| find_judgements(case.0).fetch_all(&self.0.pool)).await?;
        rows.into_iter().map(|(name, number, at)| Ok((name, judgement(number)?, at))).collect()
    }

    async fn end_outdated(self, id: AssignmentId, user: UserId) -> Result<Option<Ended>> {
        let ended_as: Option<String> =
            self.0.run(|| end_outdated(id.0, user.0).fetch_optional(&self.0.pool)).await?;
        match ended_as {
            Some(text) => {
                let ended = ended(&text)?;
                count_ended(Some(Kind::Review), ended);
                Ok(Some(ended))
            }
            None => self.lost(id, user).await,
        }
    }
}

async fn take_back(
    transaction: &mut Transaction,
    id: AssignmentId,
    user: UserId,
    lease: Duration,
) -> Done<bool> {
    // From here on no worker commits it.
    if lock_undoable(id.0, user.0).fetch_optional(&mut *transaction).await?.is_none() {
        return Ok(false);
    }
    let released = release_others(user.0).fetch_all(&mut *transaction).await?;
    for kind in released {
        count_if_ended(Some(kind), Ended::Released);
    }
    let ended = clear_verdict(id.0, lease.as_secs_f64()).fetch_optional(transaction).await?;
    count_if_ended(ended, Ended::DecisionChanged);
    Ok(true)
}

/// What became of a verdict whose time had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub assignment: AssignmentId,
    pub verification: VerificationId,
    pub user: UserId,
    pub outcome: Outcome,
    pub ended: Ended,
}

/// The result of one attempt to commit a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Done(Committed),
    /// It was undone, or another worker has committed it, a moment ago.
    Gone,
    /// None is due, or others are committing those that are.
    Nothing,
}

impl Assignments<'_> {
    /// Commits the verdict that has been due for longest, except these. If it counts, it becomes the
    /// decision of this id.
    pub async fn commit_verdict(
        self,
        four_eyes: FourEyes,
        decision: DecisionId,
        at: OffsetDateTime,
        except: &[AssignmentId],
    ) -> Result<Commit> {
        let except: Vec<Uuid> = except.iter().map(|id| id.0).collect();
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let commit = commit_one(&mut transaction, four_eyes, decision, at, &except).await?;
                transaction.commit().await?;
                if let Commit::Done(done) = commit {
                    count_ended(Some(Kind::Review), done.ended);
                }
                Ok(commit)
            })
            .await
    }

    /// Counts the assignments that triggers have ended, for the metrics.
    pub async fn count_ended_by_triggers(self) -> Result<()> {
        for (kind, ended_as) in self.0.once(take_uncounted().fetch_all(&self.0.pool)).await? {
            count_ended(kind.parse().ok(), ended(&ended_as)?);
        }
        Ok(())
    }

    /// The verdict that the last failed commit was about, for [`Self::commit_verdict`] to pass over.
    pub async fn first_due(self, except: &[AssignmentId]) -> Result<Option<AssignmentId>> {
        let except: Vec<Uuid> = except.iter().map(|id| id.0).collect();
        let due: Option<Uuid> =
            self.0.run(|| find_first_due(&except).fetch_optional(&self.0.pool)).await?;
        Ok(due.map(AssignmentId))
    }

    /// How long until the next verdict is to be committed; zero: one is due. `None`: there is none.
    pub async fn next_commit(self) -> Result<Option<Duration>> {
        let seconds: Option<f64> =
            self.0.run(|| find_next_commit().fetch_one(&self.0.pool)).await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }
}

async fn commit_one(
    transaction: &mut Transaction,
    four_eyes: FourEyes,
    decision: DecisionId,
    at: OffsetDateTime,
    except: &[Uuid],
) -> Done<Commit> {
    // The verification first, as everything does that locks both.
    let due = lock_first_due(except).fetch_optional(&mut *transaction).await?;
    let Some(id) = due else { return Ok(Commit::Nothing) };
    let locked: Option<DueRow> = lock_verdict(id).fetch_optional(&mut *transaction).await?;
    let Some(row) = locked else { return Ok(Commit::Gone) };
    let outcome = Outcome::parse(&row.outcome)
        .ok_or_else(|| sqlx::Error::Decode("assignments.outcome is no outcome".into()))?;
    let user = UserId(row.user_id);
    let verification = VerificationId(row.verification_id);
    let ended = match row.person {
        None => Ended::Lapsed,
        Some(person) => {
            let reviewer = Reviewer::User(user);
            let actor = format!("{reviewer} person:{person}");
            let review = NewReview {
                id: ReviewId(row.review_id),
                verification,
                about: DecisionId(row.decision_id),
                outcome,
                reason: row.reason,
                note: row.note,
                decision,
                needs_another: four_eyes.apply_to(outcome),
                reviewer,
                person: Some(person),
            };
            let context = AuditContext { actor, purpose: None, at };
            match reviews::write(&mut *transaction, &review, &context).await? {
                Reviewed::Decided => Ended::Decided,
                Reviewed::Proposed => Ended::Proposed,
                Reviewed::Outdated => Ended::DecisionChanged,
            }
        }
    };
    let ended_as = end_committed(id, ended.as_str()).fetch_one(transaction).await?;
    let ended = ended_as.parse().unwrap_or(ended);
    Ok(Commit::Done(Committed { assignment: AssignmentId(id), verification, user, outcome, ended }))
}

#[derive(FromRow)]
struct DueRow {
    user_id: Uuid,
    decision_id: Uuid,
    verification_id: Uuid,
    outcome: String,
    reason: String,
    note: Option<Vec<u8>>,
    review_id: Uuid,
    /// `None`: the user was disabled, or may not decide this any more.
    person: Option<String>,
}

#[derive(FromRow)]
struct PendingRow {
    id: Uuid,
    verification_id: Uuid,
    outcome: String,
    commits_in: f64,
}

#[derive(FromRow)]
struct UntoldRow {
    id: Uuid,
    verification_id: Uuid,
    outcome: String,
    ended_as: String,
}

#[derive(FromRow)]
struct FeedbackRow {
    judgement: i16,
    same_person: Option<bool>,
    outcome: Option<String>,
    first: Option<i16>,
}

impl TryFrom<FeedbackRow> for Option<Feedback> {
    type Error = Error;

    fn try_from(row: FeedbackRow) -> Result<Self> {
        let said = judgement(row.judgement)?;
        Ok(match (row.same_person, row.outcome) {
            (Some(same_person), _) => Some(Feedback::Golden { judgement: said, same_person }),
            (None, Some(decided)) => Some(Feedback::Again {
                judgement: said,
                outcome: outcome(&decided)?,
                first: row.first.map(judgement).transpose()?,
            }),
            (None, None) => None,
        })
    }
}

statements! {
    /// Golden pairs and decided cases end with the judgement.
    scalar judge(id: Uuid, user: Uuid, judgement: i16, lease: f64) -> String =
        "update assignments
         set judgement = $3, judged_at = verdict_now(),
             lease_until = greatest(lease_until, verdict_now() + make_interval(secs => $4)),
             ended_at = case when kind <> 'review' then verdict_now() end,
             ended_as = case when kind <> 'review' then 'judged' end
         where id = $1 and user_id = $2 and ended_at is null and judgement is null
         returning kind";

    row find_feedback(id: Uuid, user: Uuid) -> FeedbackRow =
        "select a.judgement, g.same_person, r.outcome, f.judgement as first
         from assignments a
         left join lateral (
             select same_person from golden_pairs where id = a.golden_id limit 1) g on true
         left join lateral (
             select outcome from reviews
             where verification_id = a.verification_id and about = a.decision_id
                 and decision_id is not null order by id limit 1) r on true
         left join lateral (
             select judgement from assignments
             where decision_id = a.decision_id and kind = 'review' and judgement is not null
                 and user_id <> a.user_id
             order by judged_at limit 1) f on true
         where a.id = $1 and a.user_id = $2 and a.kind <> 'review' and a.judgement is not null";

    execute give((
        id: Uuid,
        user: Uuid,
        outcome: &str,
        reason: &str,
        note: Option<&[u8]>,
        review: Uuid,
        undo: f64,
        grace: f64,
    )) =
        "update assignments a
         set outcome = $3, reason = $4, note = $5, review_id = $6, given_at = verdict_now(),
             commit_at = verdict_now() + make_interval(secs => $7),
             lease_until = verdict_now() + make_interval(secs => $7 + $8)
         where a.id = $1 and a.user_id = $2 and a.kind = 'review' and a.ended_at is null
             and a.outcome is null and a.judgement is not null
             and exists (select from cases
                 where decision_id = a.decision_id and closed_at is null)";

    /// Its case is closed.
    scalar end_outdated(id: Uuid, user: Uuid) -> String =
        "update assignments a
         set ended_at = verdict_now(), ended_as = case when exists (
             select from verifications where id = a.verification_id and state = 'erased')
             then 'erased' else 'decision-changed' end
         where a.id = $1 and a.user_id = $2 and a.kind = 'review' and a.ended_at is null
             and a.outcome is null and not exists (
                 select from cases where decision_id = a.decision_id and closed_at is null)
         returning ended_as";

    scalar lock_undoable(id: Uuid, user: Uuid) -> Uuid =
        "select id from assignments
         where id = $1 and user_id = $2 and ended_at is null and outcome is not null
             and commit_at > verdict_now()
         for update";

    /// A person has one at a time.
    scalar release_others(user: Uuid) -> String =
        "update assignments set ended_at = verdict_now(), ended_as = 'released'
         where user_id = $1 and ended_at is null and outcome is null
         returning kind";

    /// If the case was decided otherwise meanwhile, the assignment ends: its kind is returned.
    scalar clear_verdict(id: Uuid, lease: f64) -> String =
        "with cleared as (
             update assignments a
             set outcome = null, reason = null, note = null, review_id = null, given_at = null,
                 commit_at = null, lease_until = verdict_now() + make_interval(secs => $2),
                 ended_at = case when not open.is_open then verdict_now() end,
                 ended_as = case when not open.is_open then 'decision-changed' end
             from (select exists (select from cases c join assignments a using (decision_id)
                       where a.id = $1 and c.closed_at is null) as is_open) open
             where a.id = $1
             returning a.kind, a.ended_at
         )
         select kind from cleared where ended_at is not null";

    /// Each assignment that a trigger has ended, once.
    row take_uncounted() -> (String, String) =
        "update assignments set uncounted = false where uncounted returning kind, ended_as";

    row find_pending(user: Uuid) -> PendingRow =
        "select id, verification_id, outcome,
             extract(epoch from commit_at - verdict_now())::float8 as commits_in
         from assignments a
         where user_id = $1 and ended_at is null and outcome is not null
             and commit_at > verdict_now()
             and exists (select from cases c
                 where c.decision_id = a.decision_id and c.closed_at is null)
         order by commit_at desc limit 1";

    row find_untold(user: Uuid) -> UntoldRow =
        "select id, verification_id, outcome, ended_as from assignments
         where user_id = $1 and outcome is not null and told_at is null
             and ended_as in ('decision-changed', 'erased', 'lapsed')
         order by ended_at limit 20";

    execute note_told(ids: &[Uuid], user: Uuid) =
        "update assignments set told_at = verdict_now()
         where id = any ($1) and user_id = $2 and ended_at is not null and told_at is null";

    row find_judgements(case: Uuid) -> (String, i16, OffsetDateTime) =
        "select u.name, a.judgement, a.judged_at
         from assignments a join users u on u.id = a.user_id
         where a.decision_id = $1 and a.judgement is not null
         order by a.judged_at";

    scalar find_next_commit() -> Option<f64> =
        "select extract(epoch from min(commit_at) - verdict_now())::float8
         from assignments where ended_at is null and outcome is not null";

    scalar find_first_due(except: &[Uuid]) -> Uuid =
        "select id from assignments
         where ended_at is null and outcome is not null and commit_at <= verdict_now()
             and id <> all ($1)
         order by commit_at limit 1";

    scalar lock_first_due(except: &[Uuid]) -> Uuid =
        "select a.id
         from assignments a join verifications v on v.id = a.verification_id
         where a.ended_at is null and a.outcome is not null and a.commit_at <= verdict_now()
             and a.id <> all ($1)
         order by a.commit_at limit 1
         for no key update of v skip locked";

    row lock_verdict(id: Uuid) -> DueRow =
        "select a.user_id, a.decision_id, a.verification_id, a.outcome, a.reason, a.note,
             a.review_id, (select u.name from users u
                 where u.id = a.user_id and u.disabled_at is null
                     and 'reviews:write' = any (u.scopes)
                     and (u.scenes is null or exists (select from cases c
                         where c.decision_id = a.decision_id and c.biz_type = any (u.scenes))))
                 as person
         from assignments a
         where a.id = $1 and a.ended_at is null and a.outcome is not null
             and a.commit_at <= verdict_now()
         for update of a";

    scalar end_committed(id: Uuid, ended_as: &str) -> String =
        "update assignments a
         set ended_at = verdict_now(), note = null, ended_as = case
             when $2 = 'decision-changed' and exists (
                 select from verifications where id = a.verification_id and state = 'erased')
             then 'erased' else $2 end
         where a.id = $1
         returning ended_as";
}
