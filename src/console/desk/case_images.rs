//! `GET /assignments/{id}/images/{side}`: a picture of the claimed case. The reading is on record
//! first. The server sets the purpose of the two faces; a whole card takes one of the list, and shows
//! only once the faces are judged, because name and number are printed on it.
//!
//! The reference is a whole card as well, of which a page shows a part. So it is served only into a page,
//! as a picture: neither to a tab nor as a download.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::HeaderMap;

use super::faces::{self, Side};
use super::verdicts;
use crate::console::form;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::verifications::pictures::{self, with_few_headers};
use crate::console::verifications::reveal::{self, For};
use crate::domain::case::{Ended, Kind};
use crate::domain::ids::{AssignmentId, VerificationId};
use crate::domain::image::ImageKind;
use crate::domain::scope::Scope;
use crate::http::problem::{Code, Problem};
use crate::store::assignments::{About, Assignment};
use crate::store::audit::AuditContext;

/// The side of the card that a revealed case shows whole.
pub(super) const WHOLE_CARD: ImageKind = ImageKind::CardFront;

pub(super) async fn read(
    State(console): State<Console>,
    who: SignedIn,
    Path((id, side)): Path<(String, String)>,
    Query(wanted): Query<For>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    who.must_have(Scope::ReviewsWrite)?;
    who.must_have(Scope::ImagesRead)?;
    form::must_not_be_another_sites(&headers)?;
    let id: AssignmentId = id.parse().map_err(|_| Refused::not_found())?;
    let found = console.api.store.assignments().find(id, who.user).await?;
    let assignment = found.filter(is_shown).ok_or_else(Refused::not_found)?;
    let Some(side) = Side::parse(&side) else {
        if side != WHOLE_CARD.to_string() {
            return Err(Refused::not_found());
        }
        return whole_card(&console, &who, &assignment, &wanted).await;
    };
    if side.is_shown_in_part() && !form::is_for_a_picture(&headers) {
        return Err(Refused::not_found());
    }
    let purpose = format!("review of case {id}");
    let context = who.audit_context(Some(&purpose), console.api.clock.now());
    let response = match assignment.about {
        About::Golden(pair) => verdicts::golden_image(&console, pair, side, &context).await?,
        About::Case { verification, .. } => {
            case_image(&console, verification, side, &context).await?
        }
    };
    Ok(with_few_headers(response))
}

/// In the reviewer's hands, or a golden pair that was just judged.
fn is_shown(assignment: &Assignment) -> bool {
    match assignment.ended {
        None => true,
        Some((ended, _)) => assignment.kind == Kind::Golden && ended == Ended::Judged,
    }
}

/// The whole portrait side.
async fn whole_card(
    console: &Console,
    who: &SignedIn,
    assignment: &Assignment,
    wanted: &For,
) -> Result<Response, Refused> {
    who.must_have(Scope::MaterialRead)?;
    let (Some((_, verification)), Some(_), None) =
        (assignment.case(), assignment.judgement, assignment.ended)
    else {
        return Err(Refused::not_found());
    };
    let purpose = reveal::listed(&console.api.reviews, &wanted.purpose);
    let purpose = purpose.ok_or_else(Problem::purpose_missing)?;
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    Ok(with_few_headers(pictures::serve(console, verification, WHOLE_CARD, &context).await?))
}

/// The best image that there is of this side.
async fn case_image(
    console: &Console,
    verification: VerificationId,
    side: Side,
    context: &AuditContext,
) -> Result<Response, Refused> {
    if side.is_shown_in_part() {
        let rows = console.api.store.images().images_of(verification).await?;
        let newest = faces::newest(&rows, side).ok_or_else(Problem::no_image)?;
        if !pictures::is_shown_in_a_page(newest) {
            return Err(Refused::not_found());
        }
    }
    for kind in side.kinds() {
        match pictures::serve(console, verification, *kind, context).await {
            Err(problem) if problem.code() == Code::NoImage => {}
            served => return Ok(served?),
        }
    }
    Err(Problem::no_image().into())
}
