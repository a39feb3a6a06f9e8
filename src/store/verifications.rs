//! Reads verifications, starts and refetches one.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::AuditContext;
use super::error::{Error, Result};
use super::hot::group_commit::GroupCommit;
use super::ownership::{Claimant, shared_owners};
use super::pool::Store;
use super::proposals::{Second, consents};
use super::statements::statements;
use super::transaction::{Done, Transaction};
use crate::causes::Cause;
use crate::domain::answer::{ErrorClass, shown_code};
use crate::domain::callback::{BizId, BizType, CertifyId};
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::ids::{DecisionId, ResultId, VerificationId};
use crate::domain::source::SourceAccess;
use crate::domain::starting::Starting;
use crate::domain::verification::{Failure, FailureReason, State, Verification};
use policy::decision::{Decision, Outcome, Reason};
use policy::product::Product;

macro_rules! columns {
    () => {
        "v.id, v.product, v.biz_type, v.biz_id, v.certify_id, v.answered_by, v.reference, v.source, v.state, v.created_at, v.updated_at, v.attempts,
         d.id as decision_id, d.result_id, d.policy_digest, d.outcome, d.reasons, d.decided_by,
         d.decided_at, d.simulated"
    };
}

macro_rules! verification_columns {
    () => {
        concat!(
            "select ",
            columns!(),
            " from verifications v left join lateral (
                select * from decisions where id = v.decision_id limit 1) d on true"
        )
    };
}

/// What [`verification`] reads, of a verification `v` and its decision `d`.
pub(super) const COLUMNS: &str = columns!();

/// Reads verifications, many with one query. Each query takes, checks and returns a connection, which
/// was most of the CPU of a read.
pub type VerificationLoader = GroupCommit<VerificationId, Result<Option<Verification>>>;

/// Most lookups of one query.
const MAX_LOOKUPS: usize = 128;

/// Why a verification cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartRefusal {
    /// The person was erased.
    Erased,
    /// It belongs to a source that this one may not read.
    OtherSource,
}

/// A person's decision that a refetch reopens.
#[derive(Clone, Debug)]
pub struct Reopening {
    /// It must still be the current one.
    pub decision: DecisionId,
    /// The second person, where two must agree.
    pub second: Option<Second>,
}

/// The outcome of a refetch.
#[derive(Clone, Debug)]
pub struct Refetched {
    pub verification: Verification,
    /// `false`: it is erased, or a person has closed it and the refetch did not name that decision.
    pub made_due: bool,
}

/// Verifications with their current decisions.
#[derive(Clone, Copy, Debug)]
pub struct Verifications<'a>(&'a Store);

impl Store {
    pub fn verifications(&self) -> Verifications<'_> {
        Verifications(self)
    }
}

impl Verifications<'_> {
    /// Starts a loader. The query of a lookup always begins after the lookup was requested, so a read
    /// after a write sees the write.
    pub fn start_loader(self) -> (VerificationLoader, tokio::task::JoinHandle<()>) {
        let store = self.0.clone();
        GroupCommit::start_refusing(MAX_LOOKUPS, MAX_LOOKUPS * 64, move |ids| {
            let store = store.clone();
            async move { store.verifications().find_all(&ids).await }
        })
    }

    /// Each with its current decision, in the order of the ids. A row that cannot be read is an error
    /// for its own reader only.
    pub async fn find_all(
        self,
        ids: &[VerificationId],
    ) -> Result<Vec<Result<Option<Verification>>>> {
        let keys: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = self.0.run(|| find_all(&keys).fetch_all(&self.0.pool)).await?;
        let found: HashMap<Uuid, &PgRow> =
            rows.iter().map(|row| Ok((row.try_get("id")?, row))).collect::<Result<_>>()?;
        let mut all: Vec<Result<Option<Verification>>> = ids
            .iter()
            .map(|id| found.get(&id.0).map(|row| verification(row)).transpose())
            .collect();
        self.explain_failures(all.iter_mut().flatten().flatten()).await?;
        Ok(all)
    }

    /// Adds the reason to those that are `failed`. They are few, so nothing is joined for the others.
    pub(super) async fn explain_failures(
        self,
        all: impl Iterator<Item = &mut Verification>,
    ) -> Result<()> {
        let mut failed: HashMap<Uuid, &mut Verification> =
            all.filter(|of| of.state == State::Failed).map(|of| (of.id.0, of)).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = failed.keys().copied().collect();
        let asked: Result<Vec<NewestAnswer>> =
            self.0.run(|| find_newest_answers(&ids).fetch_all(&self.0.pool)).await;
        let rows = match asked {
            // config/roles.sql of this version was not run yet.
            Err(error) if error.cause() == Cause::MissingRight => return Ok(()),
            asked => asked?,
        };
        for row in rows {
            if let Some(of) = failed.get_mut(&row.id) {
                of.failure = Some(row.failure(of.attempts)?);
            }
        }
        Ok(())
    }

    pub async fn find(self, id: VerificationId) -> Result<Option<Verification>> {
        let found = self.0.run(|| find(id.0).fetch_optional(&self.0.pool)).await?;
        let mut found = found.as_ref().map(verification).transpose()?;
        self.explain_failures(found.iter_mut()).await?;
        Ok(found)
    }

    /// Whether a start of this pair for this source would be refused.
    pub async fn start_refusal(
        self,
        biz_type: &BizType,
        biz_id: &BizId,
        source: Option<&SourceAccess>,
        at: OffsetDateTime,
    ) -> Result<Option<StartRefusal>> {
        let claimant = Claimant { biz_type, biz_id, source: None, at };
        self.0.owners().assign(&[claimant]).await?;
        let refusal: Option<(bool, bool)> = self
            .0
            .run(|| {
                find_start_refusal(
                    biz_type.as_str(),
                    biz_id.as_str(),
                    source.map(|source| source.name.as_str()),
                    &shared_owners(source.into_iter()),
                )
                .fetch_optional(&self.0.pool)
            })
            .await?;
        Ok(match refusal {
            Some((_, false)) => Some(StartRefusal::OtherSource),
            Some((true, true)) => Some(StartRefusal::Erased),
            _ => None,
        })
    }

    /// Returns the settled ones of these verifications, with one query for all long polls.
    pub async fn settled_among(self, ids: &[VerificationId]) -> Result<Vec<VerificationId>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<Uuid> = self.0.run(|| find_settled(&ids).fetch_all(&self.0.pool)).await?;
        Ok(rows.into_iter().map(VerificationId).collect())
    }

    /// The decision by which a person closed it, unless it was reopened since.
    pub async fn closed_by_person(self, id: VerificationId) -> Result<Option<DecisionId>> {
        let decision: Option<Uuid> =
            self.0.run(|| find_closing_decision(id.0).fetch_optional(&self.0.pool)).await?;
        Ok(decision.map(DecisionId))
    }

    /// Makes a verification due now. Unlike a callback, this also reopens one that is `failed`,
    /// `expired` or closed by the provider's result. One that a person closed is reopened only if the
    /// call names the person's decision. An erased one stays as it is. `None`: it does not exist.
    pub async fn refetch(
        self,
        id: VerificationId,
        window: Duration,
        reopening: Option<&Reopening>,
        doing: &AuditContext,
    ) -> Result<Option<Refetched>> {
        let made_due = self
            .0
            .run(|| async {
                let mut transaction = self.0.pool.begin().await?;
                let may = may_refetch(&mut transaction, id, reopening).await?;
                if may {
                    record_refetch_of(&mut transaction, id, reopening, doing).await?;
                    make_due(id.0, window.as_secs_f64(), doing.at)
                        .execute(&mut transaction)
                        .await?;
                }
                transaction.commit().await?;
                Ok(may)
            })
            .await?;
        Ok(self.find(id).await?.map(|verification| Refetched { verification, made_due }))
    }

    /// Stores a verification that the provider has started. It falls due when the provider's token
    /// expires (`token_lives`), so that a lost callback costs time and not the verification. One that
    /// exists already falls due then as well, unless it is due earlier or closed. It belongs to the
    /// named source, else to its present one, else to the source of its first callback. `None`: the
    /// start is refused ([`Self::start_refusal`]).
    pub async fn started(
        self,
        id: VerificationId,
        starting: &Starting,
        source: Option<&SourceAccess>,
        token_lives: Duration,
        doing: &AuditContext,
    ) -> Result<Option<Verification>> {
        let shared = shared_owners(source.into_iter());
        let id: Option<Uuid> = self
            .0
            .run(|| {
                start((
                    id.0,
                    starting.biz_type.as_str(),
                    starting.biz_id.as_str(),
                    starting.reference.as_deref(),
                    doing.at,
                    token_lives.as_secs_f64(),
                    &doing.actor,
                    doing.purpose.as_deref(),
                    source.map(|source| source.name.as_str()),
                    &shared,
                ))
                .fetch_optional(&self.0.pool)
            })
            .await?;
        match id {
            None => Ok(None),
            Some(id) => self.find(VerificationId(id)).await,
        }
    }
}

/// Locks the verification, and answers whether it may be made due. An erased one may not. A person's
/// decision is reopened only by a call that names it, so that nobody reopens a newer one unseen.
async fn may_refetch(
    transaction: &mut Transaction,
    id: VerificationId,
    reopening: Option<&Reopening>,
) -> Done<bool> {
    let second = reopening.and_then(|reopening| reopening.second.as_ref());
    let consented = consents(transaction, second).await?;
    let row = lock_for_refetch(id.0).fetch_optional(&mut *transaction).await?;
    let Some((closed, decision)) = row else { return Ok(false) };
    let Some(decision) = decision.filter(|_| closed) else { return Ok(true) };
    let named = reopening.is_some_and(|reopening| reopening.decision.0 == decision);
    let by = decided_by(decision).fetch_optional(&mut *transaction).await?;
    Ok(by.as_deref() == Some("policy") || named && consented)
}

/// The record comes before the change: the database refuses to reopen what is not on record.
async fn record_refetch_of(
    transaction: &mut Transaction,
    id: VerificationId,
    reopening: Option<&Reopening>,
    doing: &AuditContext,
) -> Done<()> {
    let reopened = reopening.map(|reopening| reopening.decision.0);
    let second = reopening.and_then(|reopening| reopening.second.as_ref());
    let proposal = second.map(|second| second.proposal);
    record_refetch(doing.at, &doing.actor, id.0, doing.purpose.as_deref(), reopened, proposal)
        .execute(transaction)
        .await
        .map(drop)
}

/// A row of [`COLUMNS`].
pub(super) fn verification(row: &PgRow) -> Result<Verification> {
    Ok(Verification {
        id: VerificationId(row.try_get("id")?),
        product: product_of(row)?,
        biz_type: BizType::parse(row.try_get("biz_type")?)
            .map_err(|_| Error::Inconsistent("verifications.biz_type"))?,
        biz_id: BizId::parse(row.try_get("biz_id")?)
            .map_err(|_| Error::Inconsistent("verifications.biz_id"))?,
        certify_id: certify_id_of(row)?,
        answered_by: row.try_get::<Option<Uuid>, _>("answered_by")?.map(VerificationId),
        reference: row.try_get("reference")?,
        source: row.try_get("source")?,
        state: State::parse(row.try_get("state")?)
            .ok_or(Error::Inconsistent("verifications.state"))?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        attempts: row.try_get("attempts")?,
        decision: decision_of(row)?,
        failure: None,
    })
}

pub(super) fn product_of(row: &PgRow) -> Result<Product> {
    Product::parse(row.try_get("product")?).ok_or(Error::Inconsistent("verifications.product"))
}

pub(super) fn certify_id_of(row: &PgRow) -> Result<Option<CertifyId>> {
    let id: Option<&str> = row.try_get("certify_id")?;
    id.map(CertifyId::parse)
        .transpose()
        .map_err(|_| Error::Inconsistent("verifications.certify_id"))
}

/// The newest answer about a verification; all but its id are null where none came.
#[derive(sqlx::FromRow)]
struct NewestAnswer {
    id: Uuid,
    attempt: Option<i32>,
    error_class: Option<String>,
    error_code: Option<String>,
    /// The provider refused to start it.
    refused_code: Option<String>,
}

impl NewestAnswer {
    /// Why a verification with that many attempts failed.
    fn failure(self, attempts: i32) -> Result<Failure> {
        if let Some(code) = self.refused_code {
            let reason = FailureReason::RefusedByProvider;
            return Ok(Failure { reason, provider_code: Some(code) });
        }
        // The last attempts brought no answer at all.
        if self.attempt.is_none_or(|attempt| attempt < attempts) {
            return Ok(Failure { reason: FailureReason::NoAnswer, provider_code: None });
        }
        let class = self.error_class.as_deref().map(|class| {
            ErrorClass::parse(class).ok_or(Error::Inconsistent("results.error_class"))
        });
        let reason = FailureReason::of_class(class.transpose()?);
        Ok(Failure { reason, provider_code: self.error_code.as_deref().map(shown_code) })
    }
}

/// The decision joined to a row, if there is one.
pub(super) fn decision_of(row: &PgRow) -> Result<Option<StoredDecision>> {
    let Some(id) = row.try_get::<Option<Uuid>, _>("decision_id")? else {
        return Ok(None);
    };
    let outcome: &str = row.try_get("outcome")?;
    let Json(reasons): Json<Vec<Reason>> = row.try_get("reasons")?;
    let by: &str = row.try_get("decided_by")?;
    Ok(Some(StoredDecision {
        id: DecisionId(id),
        result_id: ResultId(row.try_get("result_id")?),
        policy: row.try_get("policy_digest")?,
        by: if by == "person" { DecidedBy::Person } else { DecidedBy::Policy },
        decided_at: row.try_get("decided_at")?,
        simulated: row.try_get("simulated")?,
        decision: Decision {
            outcome: Outcome::parse(outcome).ok_or(Error::Inconsistent("decisions.outcome"))?,
            reasons,
        },
    }))
}

statements! {
    read(verification) find_all(ids: &[Uuid]) =
        concat!(verification_columns!(), " where v.id = any ($1)");

    row find_newest_answers(ids: &[Uuid]) -> NewestAnswer =
        "select v.id, r.attempt, r.error_class, r.error_code, s.refused_code
         from verifications v left join lateral (
             select attempt, error_class, error_code from results
             where id = v.result_id limit 1) r on true
             left join starts s on s.verification_id = v.id
         where v.id = any ($1)";

    read(verification) find(id: Uuid) = concat!(verification_columns!(), " where v.id = $1");

    row find_start_refusal(
        biz_type: &str,
        biz_id: &str,
        source: Option<&str>,
        shared: &[String],
    ) -> (bool, bool) =
        "select state = 'erased', $3::text is null or source is null or source = $3
             or source || ' ' || $3 = any ($4)
         from verifications where biz_type = $1 and biz_id = $2";

    scalar find_settled(ids: &[Uuid]) -> Uuid =
        "select id from verifications
         where id = any($1) and state not in ('pending', 'unfinished')";

    scalar find_closing_decision(id: Uuid) -> Uuid =
        "select d.id from verifications v cross join lateral (
             select id, decided_by from decisions where id = v.decision_id limit 1) d
         where v.id = $1 and v.closed and v.state <> 'erased'
             and d.decided_by = 'person'";

    row lock_for_refetch(id: Uuid) -> (bool, Option<Uuid>) =
        "select closed, decision_id from verifications
         where id = $1 and state <> 'erased' for no key update";

    scalar decided_by(decision: Uuid) -> String =
        "select decided_by from decisions where id = $1";

    execute record_refetch(
        at: OffsetDateTime,
        actor: &str,
        verification: Uuid,
        purpose: Option<&str>,
        reopened: Option<Uuid>,
        proposal: Option<Uuid>,
    ) =
        "insert into audit (at, actor, action, subject, purpose, details)
         values ($1, $2, 'verification.refetch', $3, $4,
             case when $5::uuid is not null then json_strip_nulls(json_build_object(
                 'reopened', $5::uuid, 'proposal', $6::uuid))::text end)";

    /// Counts as a hint, so that a fetch under way does not swallow it.
    execute make_due(id: Uuid, window: f64, at: OffsetDateTime) =
        "update verifications
         set state = 'pending', closed = false, failures = 0, polls = 0,
             callbacks = callbacks + 1, updated_at = greatest(updated_at, $3),
             due_at = least(due_at, verdict_now()),
             give_up_at = verdict_now() + make_interval(secs => $2)
         where id = $1";

    scalar start((
        id: Uuid,
        biz_type: &str,
        biz_id: &str,
        reference: Option<&str>,
        at: OffsetDateTime,
        token_lives: f64,
        actor: &str,
        purpose: Option<&str>,
        source: Option<&str>,
        shared: &[String],
    )) -> Uuid =
        "with started as (
             insert into verifications as v (id, biz_type, biz_id, reference, state,
                 created_at, updated_at, due_at, give_up_at, source)
             values ($1, $2, $3, $4, 'unfinished', $5, $5,
                 verdict_now() + make_interval(secs => $6),
                 verdict_now() + make_interval(secs => $6), $9)
             on conflict (biz_type, biz_id) do update set
                 reference = coalesce(v.reference, excluded.reference),
                 updated_at = greatest(v.updated_at, excluded.updated_at),
                 state = case when v.closed or v.state = 'pending' then v.state
                             else 'unfinished' end,
                 due_at = case when v.closed then v.due_at
                              else least(v.due_at, excluded.due_at) end,
                 give_up_at = greatest(v.give_up_at, excluded.give_up_at),
                 failures = case when v.closed then v.failures else 0 end,
                 polls = case when v.closed then v.polls else 0 end,
                 source = coalesce(v.source, excluded.source)
             where v.state <> 'erased' and (excluded.source is null or v.source is null
                 or v.source = excluded.source
                 or v.source || ' ' || excluded.source = any ($10))
             returning id
         ), recorded as (
             insert into audit (at, actor, action, subject, purpose)
             select $5, $7, 'verification.start', id, $8 from started
         )
         select id from started";
}
