//! JSON of answers that several endpoints share.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::decision::{DecidedBy, StoredDecision};
use crate::domain::ids::{DecisionId, ResultId, VerificationId};
use crate::domain::verification::{Failure, State, Verification};
use policy::card_days::highest_edge_reached;
use policy::decision::{Datum, Observation, Outcome};
use policy::field::Field;
use policy::product::Product;
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
    product: Product,
    biz_type: String,
    biz_id: String,
    /// Of face-verify, once known: the provider's id of the verification. Else `null`.
    certify_id: Option<String>,
    /// Another verification has the `certify_id` of this start, and gets its decision: a callback
    /// named nothing but that id before the start knew it. Else `null`.
    answered_by: Option<VerificationId>,
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
            product: of.product,
            biz_type: of.biz_type.as_str().to_owned(),
            biz_id: of.biz_id.as_str().to_owned(),
            certify_id: of.certify_id.map(|id| id.as_str().to_owned()),
            answered_by: of.answered_by,
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
