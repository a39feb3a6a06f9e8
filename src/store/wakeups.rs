//! Unsigned hints that the provider may have a result of face-verify: users who return, and the
//! provider's own callback. Anybody can send them, so they cost one query for many, make a
//! verification due only while it waits for its result, at most once in 5 s, and change nothing else.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Error, Result};
use super::hot::group_commit::GroupCommit;
use super::pool::Store;
use super::statements::statements;
use crate::domain::callback::{BizType, CertifyId};
use crate::domain::ids::VerificationId;
use crate::domain::returning::CallbackToken;
use crate::domain::scenes::Scenes;
use crate::domain::source::SourceAccess;

/// Most hints of one query.
const MAX_BATCH: usize = 128;

/// Looks up and wakes in batches. While the database does not answer, hints are refused at once.
pub type Waking = GroupCommit<Wakeup, Woken>;

/// One hint.
#[derive(Clone, Debug)]
pub struct Wakeup {
    pub certify_id: CertifyId,
    pub sender: Sender,
    pub at: OffsetDateTime,
}

impl Wakeup {
    /// The digest of the token; empty without one.
    fn token(&self) -> &[u8] {
        match &self.sender {
            Sender::Provider(Some(token)) => token.digest(),
            Sender::Provider(None) | Sender::User(..) => &[],
        }
    }
}

/// Who sent a hint.
#[derive(Clone, Debug)]
pub enum Sender {
    /// A user, to the address of this source.
    User(SourceAccess, Scenes),
    /// The provider, or a stranger in its name.
    Provider(Option<CallbackToken>),
}

/// What became of a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    MadeDue(VerificationId),
    /// It has its result, or was woken a moment ago.
    Known(VerificationId),
    Unknown,
    /// The sender may not wake it.
    Refused,
}

/// Wakes verifications.
#[derive(Clone, Copy, Debug)]
pub struct Wakeups<'a>(&'a Store);

impl Store {
    pub fn wakeups(&self) -> Wakeups<'_> {
        Wakeups(self)
    }
}

/// A verification with one of the `CertifyId`s.
#[derive(Debug, sqlx::FromRow)]
struct Found {
    certify_id: String,
    id: Uuid,
    biz_type: String,
    source: Option<String>,
    can_be_woken: bool,
    started_here: bool,
    /// Digest of the token that the start gave the provider.
    callback_token: Option<Vec<u8>>,
}

impl Found {
    fn may_be_woken_by(&self, sender: &Sender) -> Result<bool> {
        match sender {
            Sender::User(source, scenes) => {
                let scene = BizType::parse(&self.biz_type)
                    .map_err(|_| Error::Inconsistent("verifications.biz_type"))?;
                let reached = self.source.as_deref().is_none_or(|owner| source.reaches(owner));
                Ok(reached && scenes.include(&scene))
            }
            // The token of a start elsewhere is not known here.
            Sender::Provider(_) if !self.started_here => Ok(true),
            Sender::Provider(token) => {
                let given = self.callback_token.as_deref().zip(token.as_ref());
                Ok(given.is_some_and(|(stored, token)| token.is_of(stored)))
            }
        }
    }
}

impl Wakeups<'_> {
    pub fn start_waking(self) -> (Waking, tokio::task::JoinHandle<()>) {
        let store = self.0.clone();
        GroupCommit::start_refusing(MAX_BATCH, MAX_BATCH * 8, move |hints| {
            let store = store.clone();
            async move { store.wakeups().wake_all(&hints).await }
        })
    }

    async fn wake_all(self, hints: &[Wakeup]) -> Result<Vec<Woken>> {
        let ids: Vec<&str> = hints.iter().map(|hint| hint.certify_id.as_str()).collect();
        let found: Vec<Found> = self.0.run(|| find_waiting(&ids).fetch_all(&self.0.pool)).await?;
        let mut found: HashMap<String, Found> =
            found.into_iter().map(|found| (found.certify_id.clone(), found)).collect();
        let lost = self
            .lost(hints.iter().filter(|hint| {
                found.get(hint.certify_id.as_str()).is_none_or(|found| !found.started_here)
            }))
            .await?;
        let mut all = Vec::with_capacity(hints.len());
        for hint in hints {
            let woken = match found.get_mut(hint.certify_id.as_str()) {
                None if lost.contains(hint.token()) => self.teach(hint).await?,
                None => Woken::Unknown,
                Some(found) if !found.may_be_woken_by(&hint.sender)? => Woken::Refused,
                Some(found) => {
                    if lost.contains(hint.token()) {
                        self.answer_elsewhere(hint).await?;
                    }
                    let id = VerificationId(found.id);
                    // Once in a batch.
                    let tried = std::mem::take(&mut found.can_be_woken);
                    if tried && self.wake(id, hint.at).await? {
                        Woken::MadeDue(id)
                    } else {
                        Woken::Known(id)
                    }
                }
            };
            all.push(woken);
        }
        Ok(all)
    }

    /// The tokens that belong to starts whose answer a crash lost.
    async fn lost(self, unknown: impl Iterator<Item = &Wakeup>) -> Result<HashSet<Vec<u8>>> {
        let tokens: Vec<&[u8]> =
            unknown.map(Wakeup::token).filter(|token| !token.is_empty()).collect();
        if tokens.is_empty() {
            return Ok(HashSet::new());
        }
        let lost: Vec<Vec<u8>> = self.0.run(|| find_lost(&tokens).fetch_all(&self.0.pool)).await?;
        Ok(lost.into_iter().collect())
    }

    /// The right token tells the `CertifyId`.
    async fn teach(self, hint: &Wakeup) -> Result<Woken> {
        let certify_id = hint.certify_id.as_str();
        let taught: Result<Option<Uuid>> = self
            .0
            .run(|| teach(hint.token(), certify_id, hint.at).fetch_optional(&self.0.pool))
            .await;
        match taught {
            Ok(id) => Ok(id.map_or(Woken::Unknown, |id| Woken::MadeDue(VerificationId(id)))),
            // Another verification got it meanwhile.
            Err(error) if error.violates("verifications_by_certify_id") => {
                self.answer_elsewhere(hint).await?;
                Ok(Woken::Refused)
            }
            Err(error) => Err(error),
        }
    }

    /// The right token of a start whose `CertifyId` another verification has.
    async fn answer_elsewhere(self, hint: &Wakeup) -> Result<()> {
        let certify_id = hint.certify_id.as_str();
        self.0
            .run(|| async {
                answer_elsewhere(hint.token(), certify_id, hint.at)
                    .execute(&self.0.pool)
                    .await
                    .map(drop)
            })
            .await
    }

    /// One row at a time, so that it waits for no more than one other statement.
    async fn wake(self, id: VerificationId, at: OffsetDateTime) -> Result<bool> {
        let woken = self.0.run(|| wake(id.0, at).execute(&self.0.pool)).await?;
        Ok(woken.rows_affected() > 0)
    }
}

statements! {
    row find_waiting(certify_ids: &[&str]) -> Found =
        "select v.certify_id, v.id, v.biz_type, v.source,
             not v.closed and v.state in ('pending', 'unfinished')
                 and (v.woken_at is null or v.woken_at <= verdict_now() - interval '5 s')
                 as can_be_woken,
             s.verification_id is not null as started_here, s.callback_token
         from verifications v left join starts s on s.verification_id = v.id
         where v.certify_id = any ($1)";

    scalar find_lost(callback_tokens: &[&[u8]]) -> Vec<u8> =
        "select s.callback_token from starts s join verifications v on v.id = s.verification_id
         where s.callback_token = any ($1) and v.certify_id is null";

    scalar teach(callback_token: &[u8], certify_id: &str, at: OffsetDateTime) -> Uuid =
        "update verifications
         set certify_id = $2, state = 'pending', callbacks = callbacks + 1,
             updated_at = greatest(updated_at, $3), due_at = least(due_at, verdict_now()),
             woken_at = verdict_now()
         where id = (select verification_id from starts where callback_token = $1)
             and certify_id is null and not closed and state in ('pending', 'unfinished')
         returning id";

    /// Only a verification that a callback has made which named nothing but the id. The start expires
    /// when it is claimed.
    execute answer_elsewhere(callback_token: &[u8], certify_id: &str, at: OffsetDateTime) =
        "update verifications v
         set answered_by = o.id, updated_at = greatest(v.updated_at, $3),
             due_at = least(v.due_at, verdict_now())
         from verifications o
         where v.id = (select verification_id from starts where callback_token = $1)
             and v.certify_id is null and v.answered_by is null
             and not v.closed and v.state in ('pending', 'unfinished')
             and o.certify_id = $2 and o.biz_id = $2
             and (o.product, o.biz_type) = (v.product, v.biz_type)";

    /// Counts as a hint, so that a fetch under way does not swallow it. It prolongs nothing:
    /// `give_up_at` stays.
    execute wake(id: Uuid, at: OffsetDateTime) =
        "update verifications
         set state = 'pending', callbacks = callbacks + 1, updated_at = greatest(updated_at, $2),
             due_at = least(due_at, verdict_now()), woken_at = verdict_now()
         where id = $1 and not closed and state in ('pending', 'unfinished')
             and (woken_at is null or woken_at <= verdict_now() - interval '5 s')";
}
