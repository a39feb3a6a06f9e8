//! Legal holds: verifications that neither an erasure nor retention may touch.
//!
//! The triggers `verdict_keep_held` enforce a hold against every version and role. The statements of
//! retention skip what is held, so that it does not fill their batches.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::ids::VerificationId;

/// One hold, lifted or not.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct LegalHold {
    pub id: Uuid,
    pub verification_id: Uuid,
    pub biz_type: String,
    pub biz_id: String,
    pub purpose: String,
    pub placed_at: OffsetDateTime,
    pub placed_by: String,
    /// `None`: it holds.
    pub lifted_at: Option<OffsetDateTime>,
    pub lifted_by: Option<String>,
}

/// What became of placing a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    New,
    /// One was there already, and stays as it is.
    Already,
    /// The person was erased before: there is nothing left to hold.
    Erased,
    NotFound,
}

/// Legal holds.
#[derive(Clone, Copy, Debug)]
pub struct LegalHolds<'a>(&'a Store);

impl Store {
    pub fn legal_holds(&self) -> LegalHolds<'_> {
        LegalHolds(self)
    }
}

impl LegalHolds<'_> {
    /// Places a hold with a fresh id, on record. The purpose of the context is kept with it.
    pub async fn place(
        self,
        hold: Uuid,
        id: VerificationId,
        context: &AuditContext,
    ) -> Result<Placed> {
        let purpose = context.purpose.as_deref().unwrap_or_default();
        self.0
            .run(|| async {
                let mut transaction = self.0.pool.begin().await?;
                // Whoever erases at this moment has the row: then it is erased, or the hold is there
                // before the erasure can be.
                let placed = match lock(id.0).fetch_optional(&mut transaction).await? {
                    None => Placed::NotFound,
                    Some(true) => Placed::Erased,
                    Some(false) => {
                        let placed = place(hold, id.0, purpose, context.at, &context.actor)
                            .execute(&mut transaction)
                            .await?;
                        if placed.rows_affected() == 0 { Placed::Already } else { Placed::New }
                    }
                };
                transaction.commit().await?;
                Ok(placed)
            })
            .await
    }

    /// Lifts the hold of a verification, on record; `false`: there was none.
    pub async fn lift(self, id: VerificationId, context: &AuditContext) -> Result<bool> {
        let purpose = context.purpose.as_deref();
        self.0
            .once(async {
                lift(id.0, purpose, context.at, &context.actor)
                    .execute(&self.0.pool)
                    .await
                    .map(|lifted| lifted.rows_affected() > 0)
            })
            .await
    }

    /// All holds of a verification, the newest first.
    pub async fn of(self, id: VerificationId) -> Result<Vec<LegalHold>> {
        self.0.run(|| find_of(id.0).fetch_all(&self.0.pool)).await
    }

    /// Holds in the order of their placing, the newest first: those before this id, at most `limit`,
    /// with the lifted ones if asked for.
    pub async fn list(
        self,
        before: Option<Uuid>,
        with_lifted: bool,
        limit: i64,
    ) -> Result<Vec<LegalHold>> {
        self.0.run(|| list(before, with_lifted, limit).fetch_all(&self.0.pool)).await
    }
}

statements! {
    scalar lock(verification: Uuid) -> bool =
        "select state = 'erased' from verifications where id = $1 for update";

    execute place(
        id: Uuid,
        verification: Uuid,
        purpose: &str,
        at: OffsetDateTime,
        actor: &str,
    ) =
        "with placed as (
             insert into legal_holds (id, verification_id, purpose, placed_at, placed_by)
             values ($1, $2, $3, $4, $5)
             on conflict (verification_id) where lifted_at is null do nothing
             returning verification_id
         )
         insert into audit (at, actor, action, subject, purpose)
         select $4, $5, 'hold.place', verification_id, $3 from placed";

    execute lift(verification: Uuid, purpose: Option<&str>, at: OffsetDateTime, actor: &str) =
        "with lifted as (
             update legal_holds set lifted_at = $3, lifted_by = $4
             where verification_id = $1 and lifted_at is null
             returning verification_id
         )
         insert into audit (at, actor, action, subject, purpose)
         select $3, $4, 'hold.lift', verification_id, $2 from lifted";

    row find_of(verification: Uuid) -> LegalHold =
        "select h.id, h.verification_id, v.biz_type, v.biz_id, h.purpose, h.placed_at,
             h.placed_by, h.lifted_at, h.lifted_by
         from legal_holds h join verifications v on v.id = h.verification_id
         where h.verification_id = $1 order by h.id desc";

    row list(before: Option<Uuid>, with_lifted: bool, limit: i64) -> LegalHold =
        "select h.id, h.verification_id, v.biz_type, v.biz_id, h.purpose, h.placed_at,
             h.placed_by, h.lifted_at, h.lifted_by
         from legal_holds h join verifications v on v.id = h.verification_id
         where ($1::uuid is null or h.id < $1) and ($2 or h.lifted_at is null)
         order by h.id desc limit $3";
}
