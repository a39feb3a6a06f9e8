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
pub enum Consent {
    /// Another person has proposed it.
    Given(Second),
    /// The call is the first; the id of its proposal.
    Proposed(Uuid),
}

/// Proposes a call, or finds that another person has proposed it.
pub(super) async fn require_second_person(
    api: &Api,
    caller: (&Caller, Scope),
    headers: &HeaderMap,
    call: &Call<'_>,
    context: &AuditContext,
) -> Result<Consent, Problem> {
    propose(api, call, voter(api, caller, headers).await?, context).await
}

/// The person behind the key of a request. A key revoked a moment ago must not vote, so the cached
/// keys are not enough.
pub(super) async fn voter<'c>(
    api: &Api,
    (caller, scope): (&'c Caller, Scope),
    headers: &HeaderMap,
) -> Result<Voter<'c>, Problem> {
    let person = caller.must_be_person()?;
    api.keys.require_still(headers, scope, std::time::Duration::ZERO).await?;
    Ok(Voter { by: Reviewer::Key(caller.key_id), person })
}

/// The same for a person whose right was checked a moment ago.
pub async fn propose(
    api: &Api,
    call: &Call<'_>,
    voter: Voter<'_>,
    context: &AuditContext,
) -> Result<Consent, Problem> {
    let id = api.ids.next(context.at);
    let proposed = match api.store.proposals().propose(id, call, voter, context).await? {
        Proposed::Seconded(second) => return Ok(Consent::Given(second)),
        Proposed::Waits(proposed) => proposed,
    };
    match voter.by {
        Reviewer::Key(key) => tracing::info!(%key, action = call.action(), "proposed"),
        Reviewer::User(user) => {
            tracing::info!(%user, action = call.action(), "proposed in the console");
        }
    }
    Ok(Consent::Proposed(proposed))
}

/// The answer to the first call.
pub(super) fn proposed(proposed: Uuid) -> Response {
    (StatusCode::ACCEPTED, Json(ProposedView { proposed })).into_response()
}
