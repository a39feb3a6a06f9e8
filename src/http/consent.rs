//! Four eyes: the first person's call becomes a proposal, an identical one by another person within
//! 24 hours carries it out.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Api;
use super::auth::{Caller, Scope};
use super::problem::Problem;
use crate::domain::proposal::Call;
use crate::store::audit::Doing;
use crate::store::proposals::{Proposed, Second, Voter};

/// It waits for another person.
#[derive(Serialize, ToSchema)]
pub(super) struct ProposedView {
    /// The proposal; an identical call by another person within 24 hours carries it out.
    proposed: Uuid,
}

/// What follows from a call that needs two persons.
pub(super) enum Consent {
    /// Another person has proposed it.
    Given(Second),
    /// It was proposed; the answer.
    Waits(Response),
}

/// Proposes a call, or finds another person's consent.
pub(super) async fn of_two(
    api: &Api,
    (caller, scope): (&Caller, Scope),
    headers: &HeaderMap,
    call: &Call<'_>,
    doing: &Doing,
) -> Result<Consent, Problem> {
    let person = caller.must_be_person()?;
    // A key that was revoked a moment ago does not vote.
    api.keys.require_still(headers, scope, std::time::Duration::ZERO).await?;
    let voter = Voter { key: caller.key_id, person };
    let id = api.ids.next(doing.at);
    Ok(match api.store.propose(id, call, voter, doing).await? {
        Proposed::Seconded(second) => Consent::Given(second),
        Proposed::Waits(proposed) => {
            tracing::info!(key = %caller.key_id, action = call.action(), "proposed");
            Consent::Waits((StatusCode::ACCEPTED, Json(ProposedView { proposed })).into_response())
        }
    })
}
