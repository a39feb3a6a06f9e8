//! Starts whose call is billed and must not be repeated: what was asked, and what came of it.
//!
//! The process that calls the provider holds the lease of the verification under the token of its
//! call. If it dies, the lease ends and the outcome of the call stays unknown: nobody repeats it.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::Result;
use super::pool::Store;
use super::statements::statements;
use crate::domain::callback::{BizId, BizType, CertifyId};
use crate::domain::ids::{LeaseToken, VerificationId};
use crate::domain::starting::Starting;

/// One call of the provider.
#[derive(Clone, Copy, Debug)]
pub struct StartCall {
    /// Nobody else has it.
    pub token: LeaseToken,
    /// SHA-256 of the token for the provider's callback, if one is asked for.
    pub callback_token: Option<[u8; 32]>,
    pub at: OffsetDateTime,
    /// When the provider's id will have lived out its time.
    pub expires_at: OffsetDateTime,
    /// How long the process may take.
    pub lease: Duration,
    /// How long the verification is polled.
    pub window: Duration,
}

/// A verification that is started for the first time.
#[derive(Clone, Copy, Debug)]
pub struct FirstStart<'a> {
    pub id: VerificationId,
    pub starting: &'a Starting,
    pub source: Option<&'a str>,
    /// Sealed digest of the parameters.
    pub parameters: &'a [u8],
    /// The wrapped data key, and the id of the key that wraps it.
    pub data_key: (&'a str, &'a [u8]),
    /// Blind index of the person, if the start names a number.
    pub person: Option<&'a [u8; 32]>,
}

/// A verification, and the start that is on record for it.
#[derive(Clone, Debug, FromRow)]
pub struct StoredStart {
    pub verification_id: Uuid,
    pub product: String,
    pub erased: bool,
    /// Known from a callback, where the answer of the start was lost.
    pub certify_id: Option<String>,
    /// `None`: the verification was not started here.
    pub parameters: Option<Vec<u8>>,
    pub key_id: Option<String>,
    pub wrapped: Option<Vec<u8>>,
    /// `None`: nothing was sent, so the provider may be called.
    pub call_token: Option<Uuid>,
    /// The call may still be running.
    pub calling: bool,
    pub answer: Option<Vec<u8>>,
    pub refused_code: Option<String>,
    pub expires_at: Option<OffsetDateTime>,
}

/// Starts on record.
#[derive(Clone, Copy, Debug)]
pub struct Starts<'a>(&'a Store);

impl Store {
    pub fn starts(&self) -> Starts<'_> {
        Starts(self)
    }
}

impl Starts<'_> {
    pub async fn find(self, biz_type: &BizType, biz_id: &BizId) -> Result<Option<StoredStart>> {
        self.0.run(|| find(biz_type.as_str(), biz_id.as_str()).fetch_optional(&self.0.pool)).await
    }

    /// Stores a start before the provider is called. `false`: there is such a verification.
    pub async fn begin(
        self,
        first: FirstStart<'_>,
        call: StartCall,
        doing: &AuditContext,
    ) -> Result<bool> {
        let starting = first.starting;
        let begun = self
            .0
            .run(|| {
                begin((
                    first.id.0,
                    starting.product.as_str(),
                    starting.biz_type.as_str(),
                    starting.biz_id.as_str(),
                    starting.reference.as_deref(),
                    first.source,
                    call.at,
                    call.window.as_secs_f64(),
                    call.token.0,
                    call.lease.as_secs_f64(),
                    first.data_key.0,
                    first.data_key.1,
                    first.parameters,
                    call.callback_token.as_ref().map(<[u8; 32]>::as_slice),
                    call.expires_at,
                    &doing.actor,
                    doing.purpose.as_deref(),
                    first.person.map(<[u8; 32]>::as_slice),
                ))
                .fetch_optional(&self.0.pool)
            })
            .await?;
        Ok(begun.is_some())
    }

    /// Takes a start for which nothing was sent. `false`: another request has taken it.
    pub async fn take(self, id: VerificationId, call: StartCall) -> Result<bool> {
        let taken = self
            .0
            .run(|| {
                take(
                    id.0,
                    call.token.0,
                    call.callback_token.as_ref().map(<[u8; 32]>::as_slice),
                    call.at,
                    call.expires_at,
                    call.lease.as_secs_f64(),
                )
                .fetch_optional(&self.0.pool)
            })
            .await?;
        Ok(taken.is_some())
    }

    /// Stores the provider's answer. `false`: the person was erased meanwhile. A callback that names
    /// nothing but the `CertifyId` may make a verification of it at this moment: then that one answers.
    pub async fn answered(
        self,
        id: VerificationId,
        call: StartCall,
        certify_id: &CertifyId,
        sealed: &[u8],
        at: OffsetDateTime,
    ) -> Result<bool> {
        let (token, window) = (call.token.0, call.window.as_secs_f64());
        let note = || {
            note_answer(id.0, token, sealed, at, certify_id.as_str(), window)
                .fetch_optional(&self.0.pool)
        };
        let stored = match self.0.run(note).await {
            Err(error) if error.violates("verifications_by_certify_id") => self.0.run(note).await?,
            stored => stored?,
        };
        Ok(stored.is_some())
    }

    /// Stores the provider's refusal: the verification has failed.
    pub async fn refused(
        self,
        id: VerificationId,
        call: StartCall,
        code: &str,
        at: OffsetDateTime,
    ) -> Result<()> {
        let note = || async {
            note_refusal(id.0, call.token.0, code, at).execute(&self.0.pool).await.map(drop)
        };
        self.0.run(note).await
    }

    /// Nothing was sent: a repeated request may call the provider.
    pub async fn not_sent(self, id: VerificationId, call: StartCall) -> Result<()> {
        let release =
            || async { release_unsent(id.0, call.token.0).execute(&self.0.pool).await.map(drop) };
        self.0.run(release).await
    }

    /// The outcome is unknown: nobody calls again.
    pub async fn unknown(self, id: VerificationId, call: StartCall) -> Result<()> {
        let release =
            || async { end_lease(id.0, call.token.0).execute(&self.0.pool).await.map(drop) };
        self.0.run(release).await
    }
}

statements! {
    row find(biz_type: &str, biz_id: &str) -> StoredStart =
        "select v.id as verification_id, v.product, v.state = 'erased' as erased,
             coalesce(v.certify_id, (select o.certify_id from verifications o
                                     where o.id = v.answered_by)) as certify_id,
             s.parameters,
             k.key_id, k.wrapped, s.call_token,
             coalesce(v.lease_token = s.call_token and v.lease_until > verdict_now(), false)
                 as calling,
             s.answer, s.refused_code, s.expires_at
         from verifications v
             left join starts s on s.verification_id = v.id
             left join data_keys k on k.verification_id = v.id
         where v.biz_type = $1 and v.biz_id = $2";

    scalar begin((
        id: Uuid,
        product: &str,
        biz_type: &str,
        biz_id: &str,
        reference: Option<&str>,
        source: Option<&str>,
        at: OffsetDateTime,
        window: f64,
        token: Uuid,
        lease: f64,
        key_id: &str,
        wrapped: &[u8],
        parameters: &[u8],
        callback_token: Option<&[u8]>,
        expires_at: OffsetDateTime,
        actor: &str,
        purpose: Option<&str>,
        person: Option<&[u8]>,
    )) -> Uuid = include_str!("sql/starts_begin.sql");

    scalar take(
        id: Uuid,
        token: Uuid,
        callback_token: Option<&[u8]>,
        at: OffsetDateTime,
        expires_at: OffsetDateTime,
        lease: f64,
    ) -> Uuid =
        "with taken as (
             update starts
             set call_token = $2, callback_token = $3, asked_at = $4, expires_at = $5
             where verification_id = $1 and call_token is null
             returning verification_id
         )
         update verifications v
         set state = 'unfinished', updated_at = greatest(v.updated_at, $4), lease_token = $2,
             lease_until = verdict_now() + make_interval(secs => $6)
         from taken where v.id = taken.verification_id and v.state <> 'erased'
         returning v.id";

    /// The answer was paid for: it is stored even if the lease has ended. A callback that came
    /// meanwhile stays due.
    scalar note_answer(
        id: Uuid,
        token: Uuid,
        answer: &[u8],
        at: OffsetDateTime,
        certify_id: &str,
        window: f64,
    ) -> Uuid = include_str!("sql/starts_note_answer.sql");

    execute note_refusal(id: Uuid, token: Uuid, code: &str, at: OffsetDateTime) =
        "with refused as (
             update starts set refused_code = $3, answered_at = $4
             where verification_id = $1 and call_token = $2
             returning verification_id
         )
         update verifications v
         set state = 'failed', due_at = null, updated_at = greatest(v.updated_at, $4),
             lease_token = null, lease_until = null
         from refused
         where v.id = refused.verification_id and v.lease_token = $2 and v.state <> 'erased'";

    execute release_unsent(id: Uuid, token: Uuid) =
        "with released as (
             update starts set call_token = null, asked_at = null
             where verification_id = $1 and call_token = $2 and answered_at is null
             returning verification_id
         )
         update verifications v set lease_token = null, lease_until = null
         from released where v.id = released.verification_id and v.lease_token = $2";

    execute end_lease(id: Uuid, token: Uuid) =
        "update verifications set lease_token = null, lease_until = null
         where id = $1 and lease_token = $2";
}
