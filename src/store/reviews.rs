//! Verdicts of persons, and the decisions they make.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::{Error, Result};
use super::pool::Store;
use super::proposals::reviewer_counts;
use super::statements::statements;
use super::transaction::{Done, Transaction};
use crate::domain::ids::{DecisionId, ReviewId, VerificationId};
use crate::domain::review::{Reviewer, StoredReview};
use policy::decision::Outcome;

/// One verdict to be kept.
#[derive(Clone, Debug)]
pub struct NewReview {
    /// Its id.
    pub id: ReviewId,
    /// What was looked at.
    pub verification: VerificationId,
    /// The standing decision it is about.
    pub about: DecisionId,
    /// The verdict.
    pub outcome: Outcome,
    /// Why, as a code.
    pub reason: String,
    /// In the reviewer's words, sealed.
    pub note: Option<Vec<u8>>,
    /// The id that a decision gets.
    pub decision: DecisionId,
    /// Another person has to agree.
    pub needs_another: bool,
    /// Who gives it.
    pub reviewer: Reviewer,
    /// The person behind that key or user.
    pub person: Option<String>,
}

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// It made a decision, which stands.
    Decided,
    /// It is kept; another person has to agree.
    Proposed,
    /// Another decision stands by now, or the person was erased: nothing was kept.
    Outdated,
}

/// One verdict with its sealed note.
#[derive(Clone, Debug, FromRow)]
pub struct SealedReview {
    /// Its id.
    pub id: Uuid,
    /// The decision it is about.
    pub about: Uuid,
    /// The verdict.
    pub outcome: String,
    /// Why, as a code.
    pub reason: String,
    /// Ciphertext.
    pub note: Option<Vec<u8>>,
    /// A [`Reviewer`].
    pub reviewer: String,
    /// The person behind it.
    pub person: Option<String>,
    /// When.
    pub reviewed_at: OffsetDateTime,
    /// The decision it made.
    pub decision_id: Option<Uuid>,
    /// Which key wraps the data key, and the wrapped key; `None` once the person is erased.
    pub key_id: Option<String>,
    /// The wrapped data key.
    pub wrapped: Option<Vec<u8>>,
}

/// Reviews by persons.
#[derive(Clone, Copy, Debug)]
pub struct Reviews<'a>(&'a Store);

impl Store {
    /// Reviews by persons.
    pub fn reviews(&self) -> Reviews<'_> {
        Reviews(self)
    }
}

impl Reviews<'_> {
    /// Stores a verdict and, if it counts, the decision it makes, in one commit.
    ///
    /// The current decision must still be the one that the person reviewed. Its row is locked: if
    /// two persons agree at the same time, the second sees the first one's verdict. If two persons
    /// must agree, the first one's call stores only a verdict. The second must be another person,
    /// however many keys the first holds. A vote counts only while its key works.
    pub async fn review(self, review: &NewReview, doing: &AuditContext) -> Result<Reviewed> {
        self.0
            .once(async {
                let mut transaction = self.0.pool.begin().await?;
                let outcome = write(&mut transaction, review, doing).await?;
                transaction.commit().await?;
                Ok(outcome)
            })
            .await
    }

    /// All verdicts about a verification, oldest first, without their notes.
    pub async fn reviews_of(self, id: VerificationId) -> Result<Vec<StoredReview>> {
        let rows: Vec<SealedReview> = self.0.run(|| list(id.0).fetch_all(&self.0.pool)).await?;
        rows.iter().map(StoredReview::try_from).collect()
    }

    /// The same with their notes; that they were read is recorded by the same statement.
    pub async fn read_reviews(
        self,
        id: VerificationId,
        doing: &AuditContext,
    ) -> Result<Vec<SealedReview>> {
        // A note may name the person, so nobody reads one without a record of it.
        self.0
            .once(
                read_all(id.0, doing.at, &doing.actor, doing.purpose.as_deref())
                    .fetch_all(&self.0.pool),
            )
            .await
    }

    /// The wrapped data key of a verification (id of the wrapping key, bytes), if it has one.
    pub async fn data_key_of(self, id: VerificationId) -> Result<Option<(String, Vec<u8>)>> {
        self.0.run(|| find_data_key(id.0).fetch_optional(&self.0.pool)).await
    }
}

/// Writes the review, and the decision that it makes if it counts.
pub(super) async fn write(
    transaction: &mut Transaction,
    review: &NewReview,
    doing: &AuditContext,
) -> Done<Reviewed> {
    let (verification, about) = (review.verification.0, review.about.0);
    let (outcome, person) = (review.outcome.as_str(), review.person.as_deref());
    let current = lock_current(verification, about).fetch_optional(&mut *transaction).await?;
    let Some((result, policy)) = current else { return Ok(Reviewed::Outdated) };
    let counts = !review.needs_another
        || another_agrees(verification, about, outcome, person)
            .fetch_one(&mut *transaction)
            .await?;
    let mut decision = None;
    if counts {
        let (id, reason) = (review.decision.0, &review.reason);
        decide(id, verification, result, &policy, outcome, reason, doing.at)
            .fetch_one(&mut *transaction)
            .await?;
        let update = if review.outcome == Outcome::Retry { keep_open } else { close };
        update(verification, id, doing.at).execute(&mut *transaction).await?;
        decision = Some(id);
    }
    // The record comes before the review: the database refuses a review that is not on record.
    let (id, reason, at) = (review.id.0, &review.reason, doing.at);
    let purpose = doing.purpose.as_deref();
    record((at, &doing.actor, verification, purpose, id, outcome, reason, decision))
        .execute(&mut *transaction)
        .await?;
    let (note, reviewer) = (review.note.as_deref(), review.reviewer.to_string());
    add((id, verification, about, outcome, reason, note, &reviewer, person, at, decision))
        .execute(&mut *transaction)
        .await?;
    Ok(if counts { Reviewed::Decided } else { Reviewed::Proposed })
}

impl TryFrom<&SealedReview> for StoredReview {
    type Error = Error;

    fn try_from(row: &SealedReview) -> Result<Self> {
        Ok(Self {
            id: ReviewId(row.id),
            about: DecisionId(row.about),
            outcome: Outcome::parse(&row.outcome).ok_or(Error::Inconsistent("reviews.outcome"))?,
            reason: row.reason.clone(),
            reviewer: row.reviewer.clone(),
            person: row.person.clone(),
            reviewed_at: row.reviewed_at,
            decision: row.decision_id.map(DecisionId),
            has_note: row.note.is_some(),
        })
    }
}

statements! {
    row lock_current(verification: Uuid, about: Uuid) -> (Uuid, String) =
        "select d.result_id, d.policy_digest
         from verifications v cross join lateral (
             select result_id, policy_digest from decisions where id = v.decision_id limit 1) d
         where v.id = $1 and v.decision_id = $2 and v.state <> 'erased'
         for no key update of v";

    /// Of each person only the newest vote counts: a person may have changed their mind.
    scalar another_agrees(
        verification: Uuid,
        about: Uuid,
        outcome: &str,
        person: Option<&str>,
    ) -> bool =
        concat!(
            "select exists (
                 select from reviews r
                 where r.verification_id = $1 and r.about = $2 and r.outcome = $3 and r.person <> $4
                     and not exists (select from reviews newer
                         where newer.verification_id = $1 and newer.about = $2
                             and newer.person = r.person and newer.id > r.id)
                     and ",
            reviewer_counts!("r.reviewer"),
            ")"
        );

    scalar decide(
        id: Uuid,
        verification: Uuid,
        result: Uuid,
        policy: &str,
        outcome: &str,
        reason: &str,
        at: OffsetDateTime,
    ) -> Uuid = "select verdict_person_decides($1, $2, $3, $4, $5, $6, $7)";

    /// A person's approval or rejection closes the verification: a later callback does not undo it.
    /// A running fetch loses its lease, so that no older answer replaces the decision.
    execute close(verification: Uuid, decision: Uuid, at: OffsetDateTime) =
        "update verifications
         set decision_id = $2, updated_at = greatest(updated_at, $3), closed = true,
             state = 'decided', due_at = null, lease_token = null, lease_until = null
         where id = $1";

    /// A retry closes nothing: it is meant to be followed by another try.
    execute keep_open(verification: Uuid, decision: Uuid, at: OffsetDateTime) =
        "update verifications
         set decision_id = $2, updated_at = greatest(updated_at, $3),
             state = case when due_at is not null then state else 'decided' end
         where id = $1";

    execute record((
        at: OffsetDateTime,
        actor: &str,
        verification: Uuid,
        purpose: Option<&str>,
        review: Uuid,
        outcome: &str,
        reason: &str,
        decision: Option<Uuid>,
    )) =
        "insert into audit (at, actor, action, subject, purpose, details)
         values ($1, $2, 'verification.review', $3, $4,
             json_build_object('review', $5::uuid, 'outcome', $6::text, 'reason', $7::text,
                 'decision', $8::uuid)::text)";

    execute add((
        id: Uuid,
        verification: Uuid,
        about: Uuid,
        outcome: &str,
        reason: &str,
        note: Option<&[u8]>,
        reviewer: &str,
        person: Option<&str>,
        at: OffsetDateTime,
        decision: Option<Uuid>,
    )) =
        "insert into reviews (id, verification_id, about, outcome, reason, note, reviewer, person,
             reviewed_at, decision_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    row list(verification: Uuid) -> SealedReview =
        "select id, about, outcome, reason, note, reviewer, person, reviewed_at, decision_id,
             null as key_id, null::bytea as wrapped
         from reviews where verification_id = $1 order by id";

    row read_all(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) -> SealedReview =
        "with wanted as (
             select r.*, k.key_id, k.wrapped
             from reviews r left join data_keys k using (verification_id)
             where r.verification_id = $1
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose)
             select $2, $3, 'review.read', $1, $4
             where exists (select from wanted where note is not null) returning 1
         )
         select id, about, outcome, reason, note, reviewer, person, reviewed_at, decision_id,
             key_id, wrapped
         from wanted
         where note is null or exists (select from recorded) order by id";

    row find_data_key(verification: Uuid) -> (String, Vec<u8>) =
        "select key_id, wrapped from data_keys where verification_id = $1";
}
