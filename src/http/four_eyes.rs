//! Four eyes: the first person's call becomes a proposal, an identical one by another person within
//! 24 hours carries it out.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::api::Api;
use super::api_key_auth::{Caller, Scope};
use super::problem::Problem;
use crate::domain::proposal::Call;
use crate::domain::review::Reviewer;
use crate::store::audit::AuditContext;
use crate::store::proposals::{Proposed, Second, Voter};

#[derive(Serialize, ToSchema)]
pub(super) struct ProposedView {
    /// The proposal's id; an identical call by another person within 24 hours carries it out.
    proposed: Uuid,
}

/// The outcome of a call that needs two persons.
pub(super) enum Consent {
    /// Another person has proposed it.
    Given(Second),
    /// The call is the first; the response names the proposal.
    Proposed(Response),
}

/// Proposes a call, or finds that another person has proposed it.
pub(super) async fn require_second_person(
    api: &Api,
    (caller, scope): (&Caller, Scope),
    headers: &HeaderMap,
    call: &Call<'_>,
    context: &AuditContext,
) -> Result<Consent, Problem> {
    let person = caller.must_be_person()?;
    // A key revoked a moment ago must not vote, so the cached keys are not enough.
    api.keys.require_still(headers, scope, std::time::Duration::ZERO).await?;
    let voter = Voter { by: Reviewer::Key(caller.key_id), person };
    let id = api.ids.next(context.at);
    Ok(match api.store.proposals().propose(id, call, voter, context).await? {
        Proposed::Seconded(second) => Consent::Given(second),
        Proposed::Waits(proposed) => {
            tracing::info!(key = %caller.key_id, action = call.action(), "proposed");
            Consent::Proposed(
                (StatusCode::ACCEPTED, Json(ProposedView { proposed })).into_response(),
            )
        }
    })
}
