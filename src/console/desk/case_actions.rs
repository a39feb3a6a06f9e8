//! Actions on the claimed case: judge, decide, undo, skip, give back, escalate, and see the person's
//! data.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::case::{Opened, decide_page, ended_page};
use super::case_images::WHOLE_CARD;
use super::facts::Personal;
use super::queue;
use super::verdict_form::Draft;
use super::verdicts;
use crate::console::form::{Form, NoFields};
use crate::console::frame::layout::milliseconds;
use crate::console::frame::page::see;
use crate::console::refused::{Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::Phrase;
use crate::console::verifications::person;
use crate::console::verifications::pictures::{self, Picture};
use crate::console::verifications::reveal;
use crate::domain::case::Judgement;
use crate::domain::ids::{AssignmentId, VerificationId};
use crate::domain::review;
use crate::domain::scope::Scope;
use crate::http::material;
use crate::http::problem::{Code, Problem};
use crate::store::assignments::Hold;
use crate::store::verdicts::{Given, Judged};
use policy::decision::Outcome;

/// The queue, once the case was given away; `false`: the click came too late.
fn given_away(done: bool, said: &str) -> Response {
    see(&format!("/cases?said={}", if done { said } else { "lost" }))
}

fn id_of(who: &SignedIn, id: &str) -> Result<AssignmentId, Refused> {
    who.must_have(Scope::ReviewsWrite)?;
    id.parse().map_err(|_| Refused::not_found())
}

fn here(id: AssignmentId) -> Response {
    see(&format!("/assignments/{id}"))
}

#[derive(Deserialize)]
pub(super) struct JudgementForm {
    judgement: String,
}

/// Stores the person's judgement of the two faces, once.
pub(super) async fn judge(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<JudgementForm>,
) -> Result<Response, Refused> {
    let id = id_of(&who, &id)?;
    let judgement =
        Judgement::parse(&form.judgement).map_err(|_| Refused::from(Problem::invalid_field()))?;
    let lease = console.api.reviews.claim;
    let judged = console.api.store.assignments().judge(id, who.user, judgement, lease).await?;
    match judged {
        Judged::Lost(None) => Err(Refused::not_found()),
        // The page of the assignment explains it.
        Judged::Continues | Judged::Ended | Judged::Before(_) | Judged::Lost(Some(_)) => {
            Ok(here(id))
        }
    }
}

/// Gives the verdict. An incomplete form comes back with everything that was typed.
pub(super) async fn verdict(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(draft): Form<Draft>,
) -> Result<Response, Refused> {
    let opened = Opened::find(console, who, &id).await?;
    let id = opened.assignment.id;
    let Some(judgement) = opened.assignment.judgement else { return Ok(here(id)) };
    if opened.assignment.ended.is_some() || opened.assignment.verdict.is_some() {
        return Ok(here(id));
    }
    let outcome = match checked(&opened, &draft) {
        Ok(outcome) => outcome,
        Err(wrong) => {
            let again = decide_page(&opened, judgement, &draft, Personal::Masked, Some(wrong));
            let mut response = again.await?;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            return Ok(response);
        }
    };
    let Opened { console, who, .. } = &opened;
    let note = Some(draft.note()).filter(|note| !note.trim().is_empty());
    match verdicts::give(console, who, &opened.assignment, (outcome, draft.reason.clone()), note)
        .await?
    {
        Given::Taken if draft.then == "next" => {
            queue::claim_next(console, who, "/cases?said=given").await
        }
        Given::Taken | Given::NotJudged | Given::Before | Given::Lost(Some(_)) => Ok(here(id)),
        Given::Lost(None) => Err(Refused::not_found()),
    }
}

/// The outcome, if a reason that fits is chosen and the note can be kept.
fn checked(opened: &Opened, draft: &Draft) -> Result<Outcome, Phrase> {
    let case = &opened.moments.t.case;
    let outcome = review::outcome(&draft.outcome).map_err(|_| case.choose_an_outcome)?;
    let reasons = &opened.console.api.reviews.reasons;
    reasons.check(outcome, &draft.reason).map_err(|_| case.choose_reason)?;
    review::note(&draft.note()).map_err(|_| case.note_wrong)?;
    Ok(outcome)
}

/// Shows the person's data on the case's page. The reading is on record before.
pub(super) async fn reveal(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(draft): Form<Draft>,
) -> Result<Response, Refused> {
    let opened = Opened::find(console, who, &id).await?;
    let Opened { console, who, moments, assignment, .. } = &opened;
    who.must_have(Scope::MaterialRead)?;
    let (Some(judgement), None, None) =
        (assignment.judgement, &assignment.ended, &assignment.verdict)
    else {
        return Ok(here(assignment.id));
    };
    let (_, verification) = assignment.case().ok_or_else(Refused::not_found)?;
    let Some(purpose) = reveal::listed(&console.api.reviews, &draft.purpose) else {
        let wrong = Some(moments.t.facts.choose_purpose);
        let mut again = decide_page(&opened, judgement, &draft, Personal::Masked, wrong).await?;
        *again.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(again);
    };
    let context = who.audit_context(Some(purpose), moments.now);
    let shown = match material::open(&console.api, verification, &context).await {
        Ok(material) => Personal::Shown {
            rows: person::rows(&material.person, moments.t),
            until: moments.clock(moments.now + person::SHOWN_FOR),
            left: milliseconds(person::SHOWN_FOR),
            card: whole_card(&opened, verification, purpose).await?,
            mark: pictures::mark(who, moments),
        },
        Err(problem) if problem.code() == Code::NoMaterial => Personal::Nothing,
        Err(problem) => return Err(problem.into()),
    };
    decide_page(&opened, judgement, &draft, shown, None).await
}

/// The whole portrait side of the card, if the person may see pictures.
async fn whole_card(
    opened: &Opened,
    verification: VerificationId,
    purpose: &str,
) -> Result<Vec<Picture>, Refused> {
    if !opened.who.has(Scope::ImagesRead) {
        return Ok(Vec::new());
    }
    let rows = opened.console.api.store.images().images_of(verification).await?;
    let below = (opened.here.as_str(), purpose);
    Ok(pictures::newest(opened.moments.t, &rows, &[WHOLE_CARD], below))
}

/// Takes a verdict back, as long as it has not taken effect.
pub(super) async fn undo(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let id = id_of(&who, &id)?;
    let lease = console.api.reviews.claim;
    let undone = console.api.store.assignments().undo(id, who.user, lease).await?;
    Ok(if undone { here(id) } else { see("/cases?said=undo-late") })
}

/// Keeps the case longer. A script of the page sends it too, and stops when it is refused. The answer
/// to a claim that was lost says what became of the case.
pub(super) async fn renew(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let opened = Opened::find(console, who, &id).await?;
    let (id, assignments) = (opened.assignment.id, opened.console.api.store.assignments());
    match assignments.renew(id, opened.who.user, opened.console.api.reviews.claim).await? {
        Hold::Held => Ok(here(id)),
        Hold::Lost(Some(ended)) => {
            let page = ended_page(&opened, ended).await?;
            Ok(marked(page, StatusCode::PRECONDITION_FAILED, "claim-lost"))
        }
        Hold::Lost(None) => Err(Refused::not_found()),
    }
}

pub(super) async fn skip(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let id = id_of(&who, &id)?;
    let done = console.api.store.assignments().skip(id, who.user).await?;
    Ok(given_away(done, "skipped"))
}

pub(super) async fn release(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let id = id_of(&who, &id)?;
    let done = console.api.store.assignments().release(id, who.user).await?;
    Ok(given_away(done, "released"))
}

#[derive(Deserialize)]
pub(super) struct EscalationForm {
    #[serde(default)]
    reason: String,
}

pub(super) async fn escalate(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(form): Form<EscalationForm>,
) -> Result<Response, Refused> {
    let id = id_of(&who, &id)?;
    let reasons = &console.api.reviews.reasons;
    if reasons.check_escalation(&form.reason).is_err() {
        return Err(Problem::invalid_field().into());
    }
    let done = console.api.store.assignments().escalate(id, who.user, &form.reason).await?;
    Ok(given_away(done, "escalated"))
}
