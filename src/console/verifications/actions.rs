//! `POST /verifications/{id}/…`: asking again, legal holds, erasing. Each ends at the page of the
//! verification, which says what was done.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::one::find;
use crate::console::form::Form;
use crate::console::frame::page::see;
use crate::console::purposes::{optional, required};
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::domain::ids::{DecisionId, VerificationId};
use crate::domain::proposal::Call;
use crate::domain::review::{FourEyes, Reviewer};
use crate::domain::scope::Scope;
use crate::http::problem::{Code, Problem};
use crate::http::{erasure, four_eyes, refetch};
use crate::store::audit::AuditContext;
use crate::store::legal_holds::Placed;
use crate::store::proposals::{Second, Voter};
use crate::store::verifications::Reopening;

/// Why something is done.
#[derive(Debug, Deserialize)]
pub struct WithPurpose {
    #[serde(default)]
    purpose: String,
}

#[derive(Debug, Deserialize)]
pub struct Erase {
    #[serde(default)]
    purpose: String,
    /// The box that says that this cannot be undone.
    #[serde(default)]
    sure: String,
}

fn back(id: VerificationId, done: &str) -> Response {
    see(&format!("/verifications/{id}?done={done}"))
}

pub async fn refetch(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<WithPurpose>,
) -> Result<Response, Refused> {
    who.must_have(Scope::VerificationsWrite)?;
    let found = find(&console, &who, &id).await?;
    let purpose = optional(&form.purpose)?;
    let context = who.audit_context(purpose, console.api.clock.now());
    let reopening = match console.api.store.verifications().closed_by_person(found.id).await? {
        None => None,
        Some(decision) => {
            match second_person(&console, &who, found.id, decision, &context).await? {
                Consent::Proposed => return Ok(back(found.id, "proposed")),
                Consent::Given(second) => Some(Reopening { decision, second }),
            }
        }
    };
    refetch::make_due(&console.api, found.id, reopening, &context).await?;
    tracing::info!(verification = %found.id, user = %who.user, "refetch in the console");
    Ok(back(found.id, "refetched"))
}

enum Consent {
    Proposed,
    /// By this second person, where two must agree.
    Given(Option<Second>),
}

/// Reopening what a review has closed needs the right to review, a purpose and, with four eyes, a
/// second person.
async fn second_person(
    console: &Console,
    who: &SignedIn,
    verification: VerificationId,
    decision: DecisionId,
    context: &AuditContext,
) -> Result<Consent, Refused> {
    who.must_have(Scope::ReviewsWrite)?;
    if context.purpose.is_none() {
        return Err(Problem::purpose_missing().into());
    }
    if console.api.four_eyes == FourEyes::Off {
        return Ok(Consent::Given(None));
    }
    let call = Call::Refetch { verification, decision };
    let voter = Voter { by: Reviewer::User(who.user), person: &who.name };
    Ok(match four_eyes::propose(&console.api, &call, voter, context).await? {
        four_eyes::Consent::Proposed(_) => Consent::Proposed,
        four_eyes::Consent::Given(second) => Consent::Given(Some(second)),
    })
}

pub async fn hold(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<WithPurpose>,
) -> Result<Response, Refused> {
    who.must_have(Scope::ErasuresWrite)?;
    let found = find(&console, &who, &id).await?;
    let purpose = required(&form.purpose)?;
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    let hold: Uuid = console.api.ids.next(context.at);
    match console.api.store.legal_holds().place(hold, found.id, &context).await? {
        Placed::New => Ok(back(found.id, "held")),
        Placed::Already => Ok(back(found.id, "held-before")),
        Placed::Erased => Err(Problem::erased().into()),
        Placed::NotFound => Err(Refused::not_found()),
    }
}

pub async fn lift_hold(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<WithPurpose>,
) -> Result<Response, Refused> {
    who.must_have(Scope::ErasuresWrite)?;
    let found = find(&console, &who, &id).await?;
    let purpose = required(&form.purpose)?;
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    // Another person may have lifted it a moment ago, which is the wanted state.
    console.api.store.legal_holds().lift(found.id, &context).await?;
    Ok(back(found.id, "lifted"))
}

pub async fn erase(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<Erase>,
) -> Result<Response, Refused> {
    who.must_have(Scope::ErasuresWrite)?;
    let found = find(&console, &who, &id).await?;
    who.must_have_confirmed()?;
    let purpose = required(&form.purpose)?;
    if form.sure != "yes" {
        return Err(Problem::invalid_field().into());
    }
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    match erasure::erase(&console.api, found.id, &context).await {
        Ok(_) => Ok(back(found.id, "erased")),
        Err(problem) if problem.code() == Code::OnHold => Ok(back(found.id, "on-hold")),
        Err(problem) => Err(problem.into()),
    }
}
