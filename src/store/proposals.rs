//! Proposals: what needs two persons, between the first call and the second.
//!
//! One proposal of a call is open at a time (a unique index sees to it), so of two persons who call
//! at the same moment one proposes and the other carries out. Carrying out closes the proposal in
//! the very statement that acts: `seconded` is a part of it.

use sqlx::types::Json;
use uuid::Uuid;

use super::api_keys::key_works;
use super::audit::AuditContext;
use super::{Error, Result, Store};
use crate::domain::ids::ApiKeyId;
use crate::domain::proposal::Call;

/// The person whose call it is, by the key that named them.
#[derive(Clone, Copy, Debug)]
pub struct Voter<'a> {
    /// Must still work when the call is carried out.
    pub key: ApiKeyId,
    /// As the key names them.
    pub person: &'a str,
}

/// A second person's consent, for the statement that carries out.
#[derive(Clone, Debug)]
pub struct Second {
    /// What another person has proposed.
    pub proposal: Uuid,
    /// The second person's key.
    pub key: ApiKeyId,
    /// As the key names them: not the proposer.
    pub person: String,
}

/// What became of a call that needs two persons.
#[derive(Clone, Debug)]
pub enum Proposed {
    /// It waits for another person.
    Waits(Uuid),
    /// Another person has proposed it: it may be carried out.
    Seconded(Second),
}

/// The beginning of a statement that carries out what may need two persons, by three parameters: the
/// proposal, and the key and person of the second, all null where one is enough. The statement acts
/// only if `consent` has a row. A proposal counts once, for a day, and only while its key works.
macro_rules! seconded {
    ($proposal:literal, $key:literal, $person:literal) => {
        concat!(
            "seconded as (
                update proposals p
                set closed_at = verdict_now(), seconded_by = ",
            $key,
            "::uuid, seconded_person = ",
            $person,
            "::text
                where p.id = ",
            $proposal,
            "::uuid and p.closed_at is null and p.person <> ",
            $person,
            "::text and p.proposed_at > verdict_now() - interval '24 hours'
                    and exists (select from api_keys k where k.id = p.key_id and ",
            crate::store::api_keys::key_works!(),
            ")
                returning p.id
             ), consent as (
                select 1 as given
                where ",
            $proposal,
            "::uuid is null or exists (select from seconded)
             )"
        )
    };
}
pub(super) use seconded;

/// Another may be carried out between two looks; more often than that something is wrong.
const MAX_LOOKS: usize = 5;

impl Store {
    /// Proposes a call, or finds that another person has proposed it. The same person again finds
    /// their own proposal, however many keys they hold.
    pub async fn propose(
        &self,
        id: Uuid,
        call: &Call<'_>,
        voter: Voter<'_>,
        doing: &AuditContext,
    ) -> Result<Proposed> {
        for _ in 0..MAX_LOOKS {
            self.close_lapsed_proposals(call).await?;
            if self.add_proposal(id, call, voter, doing).await? {
                return Ok(Proposed::Waits(id));
            }
            if let Some((proposal, person)) = self.open_proposal(call).await? {
                return Ok(if person == voter.person {
                    Proposed::Waits(proposal)
                } else {
                    let (key, person) = (voter.key, voter.person.to_owned());
                    Proposed::Seconded(Second { proposal, key, person })
                });
            }
        }
        Err(Error::Timeout(std::time::Duration::ZERO))
    }

    /// Makes room for a new one: what is a day old, or was proposed with a key that was revoked or
    /// has expired, does not count any more.
    async fn close_lapsed_proposals(&self, call: &Call<'_>) -> Result<()> {
        self.run(|| async {
            sqlx::query(concat!(
                "update proposals p set closed_at = verdict_now()
                 where p.call = $1 and p.closed_at is null
                    and (p.proposed_at <= verdict_now() - interval '24 hours'
                        or not exists (select from api_keys k where k.id = p.key_id and ",
                key_works!(),
                "))"
            ))
            .bind(&call.digest()[..])
            .execute(&self.pool)
            .await
            .map(drop)
        })
        .await
    }

    /// `false`: an identical one is open.
    async fn add_proposal(
        &self,
        id: Uuid,
        call: &Call<'_>,
        voter: Voter<'_>,
        doing: &AuditContext,
    ) -> Result<bool> {
        let mut details = call.details();
        details["proposal"] = id.to_string().into();
        // proposals::add: the proposal and the record of it commit together.
        self.once(async {
            sqlx::query_scalar(
                "with added as (
                    insert into proposals (id, call, action, subject, key_id, person, purpose,
                        proposed_at)
                    values ($1, $2, $3, $4, $5, $6, $7, verdict_now())
                    on conflict (call) where closed_at is null do nothing
                    returning subject
                 ), recorded as (
                    insert into audit (at, actor, action, subject, purpose, details)
                    select $8, $9, 'proposal.create', subject, $7, ($10::jsonb)::text from added
                 )
                 select exists (select from added)",
            )
            .bind(id)
            .bind(&call.digest()[..])
            .bind(call.action())
            .bind(call.subject())
            .bind(voter.key.0)
            .bind(voter.person)
            .bind(&doing.purpose)
            .bind(doing.at)
            .bind(&doing.actor)
            .bind(Json(details))
            .fetch_one(&self.pool)
            .await
        })
        .await
    }

    async fn open_proposal(&self, call: &Call<'_>) -> Result<Option<(Uuid, String)>> {
        self.run(|| async {
            sqlx::query_as("select id, person from proposals where call = $1 and closed_at is null")
                .bind(&call.digest()[..])
                .fetch_optional(&self.pool)
                .await
        })
        .await
    }
}
