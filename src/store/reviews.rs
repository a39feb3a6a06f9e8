//! Verdicts of persons, and the decisions they make.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::api_keys::key_works;
use super::audit::AuditContext;
use super::{Error, Result, Store};
use crate::domain::decision::Outcome;
use crate::domain::ids::{ApiKeyId, DecisionId, ReviewId, VerificationId};
use crate::domain::review::StoredReview;

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
    /// The API key that it came with.
    pub key: ApiKeyId,
    /// The person whom the key names.
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
    /// `key:` and the API key's id.
    pub reviewer: String,
    /// The person whom that key named.
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

impl Store {
    /// Keeps a verdict and, if it counts, the decision it makes, in one commit.
    pub async fn review(&self, review: &NewReview, doing: &AuditContext) -> Result<Reviewed> {
        match self.write_review(review, doing, true).await? {
            // Two who agreed at the same moment did not see each other; now each sees both.
            Reviewed::Proposed => match self.write_review(review, doing, false).await? {
                // The other one has decided it.
                Reviewed::Outdated => Ok(Reviewed::Proposed),
                outcome => Ok(outcome),
            },
            outcome => Ok(outcome),
        }
    }

    async fn write_review(
        &self,
        review: &NewReview,
        doing: &AuditContext,
        is_new: bool,
    ) -> Result<Reviewed> {
        let (found, decided): (bool, bool) = self
            .once(async {
                sqlx::query_as(REVIEW)
                    .bind(review.verification.0)
                    .bind(review.about.0)
                    .bind(review.id.0)
                    .bind(review.outcome.as_str())
                    .bind(&review.reason)
                    .bind(&review.note)
                    .bind(&doing.actor)
                    .bind(doing.at)
                    .bind(review.decision.0)
                    .bind(review.needs_another)
                    .bind(&doing.purpose)
                    .bind(is_new)
                    .bind(review.key.0)
                    .bind(&review.person)
                    .fetch_one(&self.pool)
                    .await
            })
            .await?;
        Ok(match (found, decided) {
            (false, _) => Reviewed::Outdated,
            (true, true) => Reviewed::Decided,
            (true, false) => Reviewed::Proposed,
        })
    }

    /// All verdicts about a verification, oldest first, without their notes.
    pub async fn reviews_of(&self, id: VerificationId) -> Result<Vec<StoredReview>> {
        let rows: Vec<SealedReview> = self
            .run(|| async {
                sqlx::query_as(
                    "select id, about, outcome, reason, note, reviewer, person, reviewed_at, decision_id,
                        null as key_id, null as wrapped
                     from reviews where verification_id = $1 order by id",
                )
                .bind(id.0)
                .fetch_all(&self.pool)
                .await
            })
            .await?;
        rows.iter().map(StoredReview::try_from).collect()
    }

    /// The same with their notes; that they were read is recorded by the same statement.
    pub async fn read_reviews(
        &self,
        id: VerificationId,
        doing: &AuditContext,
    ) -> Result<Vec<SealedReview>> {
        // reviews::read: a note may name the person, so nobody reads one without a record of it.
        self.once(async {
            sqlx::query_as(
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
                 where note is null or exists (select from recorded) order by id",
            )
            .bind(id.0)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(&doing.purpose)
            .fetch_all(&self.pool)
            .await
        })
        .await
    }

    /// The wrapped data key of a verification (id of the wrapping key, bytes), if it has one.
    pub async fn data_key_of(&self, id: VerificationId) -> Result<Option<(String, Vec<u8>)>> {
        self.run(|| async {
            sqlx::query_as("select key_id, wrapped from data_keys where verification_id = $1")
                .bind(id.0)
                .fetch_optional(&self.pool)
                .await
        })
        .await
    }
}

/// `reviews::review`. The standing decision must still be the one that was looked at; verdict,
/// decision, standing and record commit together (invariant 2). A person's approval or rejection
/// closes the verification: what a phone says later does not undo it, and whoever is asking the
/// provider at this moment loses the lease, so that no older answer lands on top. Of the first of
/// two who must agree only the verdict is kept: the second is another person, however many keys the
/// first holds, and a vote counts only while its key works. `$12`: the verdict is new; otherwise it is kept
/// already, and only whether it counts by now is looked at.
const REVIEW: &str = concat!(
    "
with looked_at as (
    select v.id, d.result_id, d.policy_digest
    from verifications v cross join lateral (
        select result_id, policy_digest from decisions where id = v.decision_id limit 1) d
    where v.id = $1 and v.decision_id = $2 and v.state <> 'erased'
    for no key update of v
), counts as (
    select * from looked_at
    where not $10 or exists (
        select from reviews r
        where r.verification_id = $1 and r.about = $2 and r.outcome = $4 and r.person <> $14
            and exists (select from api_keys k where 'key:' || k.id = r.reviewer and ",
    key_works!(),
    "))
), decided as materialized (
    select verdict_person_decides($9, id, result_id, policy_digest, $4, $5, $8) as id from counts
), standing as (
    update verifications v set
        decision_id = $9,
        updated_at = greatest(v.updated_at, $8),
        closed = v.closed or $4 <> 'retry',
        state = case when $4 = 'retry' and v.due_at is not null then v.state else 'decided' end,
        due_at = case when $4 = 'retry' then v.due_at end,
        lease_token = case when $4 = 'retry' then v.lease_token end,
        lease_until = case when $4 = 'retry' then v.lease_until end
    from counts where v.id = counts.id
), kept as (
    insert into reviews (id, verification_id, about, outcome, reason, note, reviewer, person,
        reviewed_at, decision_id)
    select $3, id, $2, $4, $5, $6, 'key:' || $13::uuid, $14::text, $8, (select id from decided)
    from looked_at where $12
), recorded as (
    insert into audit (at, actor, action, subject, purpose, details)
    select $8, $7, 'verification.review', id, $11,
        json_build_object('review', $3::uuid, 'outcome', $4::text, 'reason', $5::text,
            'decision', (select id from decided))::text
    from looked_at where $12 or exists (select from decided)
)
select exists (select from looked_at), exists (select from decided)"
);

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
