//! JSON of answers that several endpoints share.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::answer::{AnswerError, StoredResult};
use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::ids::{DecisionId, ResultId, VerificationId};
use crate::domain::verification::{Failure, State, Verification};
use policy::card_days::highest_edge_reached;
use policy::decision::{Datum, Observation, Outcome};
use policy::evidence::{Evidence, Scores};
use policy::field::{Field, by_name};
use policy::{Policy, missing_evidence};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// Oldest first in histories, newest first in lists.
    pub items: Vec<T>,
    /// Of the next page; `null`: there is none.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// All there is.
    pub fn whole(items: impl IntoIterator<Item = T>) -> Self {
        Self { items: items.into_iter().collect(), next_cursor: None }
    }
}

/// A verification with its current decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationView {
    id: VerificationId,
    biz_type: String,
    biz_id: String,
    reference: Option<String>,
    /// The source that it belongs to; `null` until the first callback of one that was started
    /// without a source.
    source: Option<String>,
    state: State,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
    attempts: i32,
    decision: Option<DecisionView>,
    /// `null` unless the state is `failed`.
    failure: Option<FailureView>,
}

/// Why a verification failed, and what to do.
#[derive(Debug, Serialize, ToSchema)]
struct FailureView {
    /// `no-answer`, `unreadable-answer`, `refused-by-provider`, `provider-fails` or
    /// `decision-not-kept`.
    code: &'static str,
    text: &'static str,
    /// The provider's own code, if it gave one.
    provider_code: Option<String>,
}

impl From<Failure> for FailureView {
    fn from(of: Failure) -> Self {
        Self { code: of.reason.code(), text: of.reason.text(), provider_code: of.provider_code }
    }
}

impl From<Verification> for VerificationView {
    fn from(of: Verification) -> Self {
        Self {
            id: of.id,
            biz_type: of.biz_type.as_str().to_owned(),
            biz_id: of.biz_id.as_str().to_owned(),
            reference: of.reference,
            source: of.source,
            state: of.state,
            created_at: of.created_at,
            updated_at: of.updated_at,
            attempts: of.attempts,
            decision: of.decision.as_ref().map(DecisionView::from),
            failure: of.failure.map(FailureView::from),
        }
    }
}

/// A decision: what, why (as codes), by whom.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecisionView {
    id: DecisionId,
    outcome: Outcome,
    reasons: Vec<String>,
    by: DecidedBy,
    policy: String,
    result_id: ResultId,
    #[serde(with = "time::serde::rfc3339")]
    decided_at: OffsetDateTime,
    /// The result came from a simulated provider: nobody was really verified.
    simulated: bool,
}

impl From<&StoredDecision> for DecisionView {
    fn from(of: &StoredDecision) -> Self {
        Self {
            id: of.id,
            outcome: of.decision.outcome,
            reasons: of.decision.codes(),
            by: of.by,
            policy: of.policy.clone(),
            result_id: of.result_id,
            decided_at: of.decided_at,
            simulated: of.simulated,
        }
    }
}

/// A decision in the history: with what each rule saw.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedDecisionView {
    #[serde(flatten)]
    decision: DecisionView,
    explanation: Vec<ReasonView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ReasonView {
    code: String,
    rule: Option<String>,
    outcome: Outcome,
    /// Why a rule could not be judged: which rule, for which fields, and what to do about it.
    detail: Option<String>,
    /// By language, as far as the policy has it. For support staff; nothing of a person.
    text: Option<BTreeMap<String, String>>,
    observed: Vec<Observation>,
}

impl ExplainedDecisionView {
    /// With the texts of the policy that decided.
    pub fn new(of: StoredDecision, policy: Option<&Policy>) -> Self {
        let decision = DecisionView::from(&of);
        let explanation = of
            .decision
            .reasons
            .into_iter()
            .map(|reason| ReasonView {
                detail: missing_evidence(&reason),
                text: policy.and_then(|policy| policy.texts_for(&reason.code)),
                code: reason.code,
                rule: reason.rule,
                outcome: reason.outcome,
                observed: reason.observed.into_iter().map(at_edge).collect(),
            })
            .collect();
        Self { decision, explanation }
    }
}

/// An observation with the card's days at an edge: versions before the edges stored the exact
/// number, from which the card's expiry date follows.
fn at_edge(mut observed: Observation) -> Observation {
    if observed.field == Field::CardDaysLeft.name()
        && let Some(Datum::Whole(days)) = &mut observed.value
    {
        *days = highest_edge_reached(*days);
    }
    observed
}

/// One result of the provider, without personal data.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultView {
    id: ResultId,
    attempt: i32,
    #[serde(with = "time::serde::rfc3339")]
    fetched_at: OffsetDateTime,
    request_id: Option<String>,
    verify_status: Option<i32>,
    scores: Scores,
    /// `null`: an error, or the person was erased.
    evidence: Option<Evidence>,
    /// The same evidence by the names that policies use, without what is absent: what an example of
    /// a policy and `verdict policy try` take.
    fields: Option<BTreeMap<&'static str, Datum>>,
    /// The person was erased: of the result only its status and its time are left.
    coarsened: bool,
    http_status: u16,
    error: Option<AnswerError>,
    /// A simulated provider answered: nobody was really verified.
    simulated: bool,
}

impl From<StoredResult> for ResultView {
    fn from(of: StoredResult) -> Self {
        let evidence = of.evidence.as_ref().filter(|_| !of.coarsened).cloned();
        let evidence = evidence.map(Evidence::with_card_days_at_edge);
        Self {
            id: of.id,
            attempt: of.attempt,
            fetched_at: of.fetched_at,
            request_id: of.request_id,
            verify_status: of.evidence.as_ref().and_then(|evidence| evidence.verify_status),
            scores: of.evidence.as_ref().map(|evidence| evidence.scores).unwrap_or_default(),
            fields: evidence.as_ref().map(by_name),
            evidence,
            coarsened: of.coarsened,
            http_status: of.http_status,
            error: of.error,
            simulated: of.simulated,
        }
    }
}
