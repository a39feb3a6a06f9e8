//! Proposals: what needs two persons, between the first call and the second.
//!
//! One proposal of a call is open at a time (a unique index sees to it), so of two persons who call
//! at the same moment one proposes and the other carries out. Carrying out closes the proposal in
//! the very transaction that acts (`consents`).

use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::api_keys::key_works;
use super::audit::AuditContext;
use super::error::{Error, Result};
use super::pool::Store;
use super::statements::statements;
use super::transaction::{Done, Transaction};
use crate::domain::proposal::Call;
use crate::domain::review::Reviewer;
use time::OffsetDateTime;

/// Whether the voice of a reviewer, written as [`Reviewer`], still counts: the key works, or the
/// user may sign in.
macro_rules! reviewer_counts {
    ($reviewer:literal) => {
        concat!(
            "(exists (select from api_keys k where 'key:' || k.id = ",
            $reviewer,
            " and ",
            $crate::store::api_keys::key_works!(),
            ") or exists (select from users u where 'user:' || u.id = ",
            $reviewer,
            " and u.disabled_at is null))"
        )
    };
}
pub(super) use reviewer_counts;

/// The person whose call it is.
#[derive(Clone, Copy, Debug)]
pub struct Voter<'a> {
    /// Must still count when the call is carried out.
    pub by: Reviewer,
    /// The person behind that key or user.
    pub person: &'a str,
}

/// A second person's consent, for the statement that carries out.
#[derive(Clone, Debug)]
pub struct Second {
    /// What another person has proposed.
    pub proposal: Uuid,
    /// The second person's key or user.
    pub by: Reviewer,
    /// Not the proposer.
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

/// Closes the proposal that a call carries out, in the transaction that acts. `false`: the second
/// person's consent does not count any more. Where one person is enough, nothing is closed. A
/// proposal counts once, for a day, and only while its key works or its user may sign in.
pub(super) async fn consents(transaction: &mut Transaction, second: Option<&Second>) -> Done<bool> {
    let Some(Second { proposal, by, person }) = second else { return Ok(true) };
    let (key, user) = (by.key().map(|id| id.0), by.user().map(|id| id.0));
    let closed = close_seconded(*proposal, key, user, person).execute(transaction).await?;
    Ok(closed.rows_affected() > 0)
}

/// Whether the one who made a proposal `p` still counts.
macro_rules! proposer_counts {
    () => {
        concat!(
            "(exists (select from api_keys k where k.id = p.key_id and ",
            key_works!(),
            ") or exists (select from users u where u.id = p.user_id and u.disabled_at is null))"
        )
    };
}

/// A proposal that waits for another person.
#[derive(Clone, Debug, FromRow)]
pub struct OpenProposal {
    pub id: Uuid,
    /// The audit's word for it once it is carried out.
    pub action: String,
    pub person: String,
    pub purpose: Option<String>,
    pub proposed_at: OffsetDateTime,
    /// The members of the call; `None`: an older version wrote the row.
    pub details: Option<Json<serde_json::Value>>,
}

impl OpenProposal {
    /// A member of the call.
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.as_ref()?.0.get(name)?.as_str()
    }
}

/// Proposals that a list shows.
const MOST_SHOWN: i64 = 100;

/// Another may be carried out between two looks; more often than that something is wrong.
const MAX_LOOKS: usize = 5;

/// Calls that wait for a second person.
#[derive(Clone, Copy, Debug)]
pub struct Proposals<'a>(&'a Store);

impl Store {
    /// Calls that wait for a second person.
    pub fn proposals(&self) -> Proposals<'_> {
        Proposals(self)
    }
}

impl Proposals<'_> {
    /// Proposes a call, or finds that another person has proposed it. The same person again finds
    /// their own proposal, however many keys they hold.
    pub async fn propose(
        self,
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
                    let (by, person) = (voter.by, voter.person.to_owned());
                    Proposed::Seconded(Second { proposal, by, person })
                });
            }
        }
        Err(Error::Timeout(std::time::Duration::ZERO))
    }

    /// Proposals to change policies that still count, newest first.
    pub async fn about_policies(self) -> Result<Vec<OpenProposal>> {
        self.0.run(|| list_about_policies(MOST_SHOWN).fetch_all(&self.0.pool)).await
    }

    /// The open proposal of exactly this call that still counts.
    pub async fn of_call(self, call: &Call<'_>) -> Result<Option<OpenProposal>> {
        self.0.run(|| find_of_call(&call.digest()[..]).fetch_optional(&self.0.pool)).await
    }

    /// Closes a proposal that nobody is to agree to any more, on record. `false`: it is closed.
    pub async fn withdraw(self, id: Uuid, doing: &AuditContext) -> Result<bool> {
        self.0
            .once(
                withdraw(id, doing.at, &doing.actor, doing.purpose.as_deref())
                    .fetch_one(&self.0.pool),
            )
            .await
    }

    /// Makes room for a new one: what is a day old, or was proposed with a key that has ended or by a
    /// user who was disabled, does not count any more.
    async fn close_lapsed_proposals(self, call: &Call<'_>) -> Result<()> {
        self.0
            .run(|| async {
                close_lapsed(&call.digest()[..]).execute(&self.0.pool).await.map(drop)
            })
            .await
    }

    /// `false`: an identical one is open.
    async fn add_proposal(
        self,
        id: Uuid,
        call: &Call<'_>,
        voter: Voter<'_>,
        doing: &AuditContext,
    ) -> Result<bool> {
        let members = call.details();
        let mut details = members.clone();
        details["proposal"] = id.to_string().into();
        // The proposal and the record of it commit together.
        self.0
            .once(
                add((
                    id,
                    &call.digest()[..],
                    call.action(),
                    call.subject(),
                    voter.by.key().map(|id| id.0),
                    voter.by.user().map(|id| id.0),
                    voter.person,
                    doing.purpose.as_deref(),
                    doing.at,
                    &doing.actor,
                    Json(details),
                    Json(members),
                ))
                .fetch_one(&self.0.pool),
            )
            .await
    }

    async fn open_proposal(self, call: &Call<'_>) -> Result<Option<(Uuid, String)>> {
        self.0.run(|| find_open(&call.digest()[..]).fetch_optional(&self.0.pool)).await
    }
}

statements! {
    execute close_seconded(
        proposal: Uuid,
        key: Option<Uuid>,
        user: Option<Uuid>,
        person: &str,
    ) =
        concat!(
            "update proposals p
             set closed_at = verdict_now(), seconded_by = $2, seconded_user = $3,
                 seconded_person = $4
             where p.id = $1 and p.closed_at is null and p.person <> $4
                 and p.proposed_at > verdict_now() - interval '24 hours' and ",
            proposer_counts!()
        );

    execute close_lapsed(call: &[u8]) =
        concat!(
            "update proposals p set closed_at = verdict_now()
             where p.call = $1 and p.closed_at is null
                 and (p.proposed_at <= verdict_now() - interval '24 hours' or not ",
            proposer_counts!(),
            ")"
        );

    scalar add((
        id: Uuid,
        call: &[u8],
        action: &str,
        subject: Option<Uuid>,
        key: Option<Uuid>,
        user: Option<Uuid>,
        person: &str,
        purpose: Option<&str>,
        at: OffsetDateTime,
        actor: &str,
        details: Json<serde_json::Value>,
        members: Json<serde_json::Value>,
    )) -> bool =
        "with added as (
             insert into proposals (id, call, action, subject, key_id, user_id, person, purpose,
                 proposed_at, details)
             values ($1, $2, $3, $4, $5, $6, $7, $8, verdict_now(), $12)
             on conflict (call) where closed_at is null do nothing
             returning subject
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose, details)
             select $9, $10, 'proposal.create', subject, $8, ($11::jsonb)::text from added
         )
         select exists (select from added)";

    row list_about_policies(most: i64) -> OpenProposal =
        concat!(
            "select p.id, p.action, p.person, p.purpose, p.proposed_at, p.details from proposals p
             where p.closed_at is null and p.action like 'policy.%'
                 and p.proposed_at > verdict_now() - interval '24 hours' and ",
            proposer_counts!(),
            " order by p.proposed_at desc, p.id limit $1"
        );

    row find_of_call(call: &[u8]) -> OpenProposal =
        concat!(
            "select p.id, p.action, p.person, p.purpose, p.proposed_at, p.details from proposals p
             where p.call = $1 and p.closed_at is null
                 and p.proposed_at > verdict_now() - interval '24 hours' and ",
            proposer_counts!()
        );

    scalar withdraw(id: Uuid, at: OffsetDateTime, actor: &str, purpose: Option<&str>) -> bool =
        "with withdrawn as (
             update proposals set closed_at = verdict_now()
             where id = $1 and closed_at is null returning id, action, subject
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose, details)
             select $2, $3, 'proposal.withdraw', subject, $4,
                 json_build_object('proposal', id, 'call', action)::text
             from withdrawn
         )
         select exists (select from withdrawn)";

    row find_open(call: &[u8]) -> (Uuid, String) =
        "select id, person from proposals where call = $1 and closed_at is null";
}
