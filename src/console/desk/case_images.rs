//! `GET /assignments/{id}/images/{side}`: a picture of the case in one's hands. The reading is on
//! record first, with a purpose that the server sets. Bytes are passed on as they are.

use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};

use super::faces::Side;
use super::verdicts;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::domain::case::{Ended, Kind};
use crate::domain::ids::{AssignmentId, VerificationId};
use crate::domain::scope::Scope;
use crate::http::images;
use crate::http::problem::{Code, Problem};
use crate::store::assignments::{About, Assignment};
use crate::store::audit::AuditContext;

/// The only headers that are passed on, so that the pictures of golden pairs and of cases look alike.
const KEPT: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY];

pub(super) async fn read(
    State(console): State<Console>,
    who: SignedIn,
    Path((id, side)): Path<(String, String)>,
) -> Result<Response, Refused> {
    who.must_have(Scope::ReviewsWrite)?;
    who.must_have(Scope::ImagesRead)?;
    let id: AssignmentId = id.parse().map_err(|_| Refused::not_found())?;
    let side = Side::parse(&side).ok_or_else(Refused::not_found)?;
    let found = console.api.store.assignments().find(id, who.user).await?;
    let assignment = found.filter(is_shown).ok_or_else(Refused::not_found)?;
    let purpose = format!("review of case {id}");
    let context = who.audit_context(Some(&purpose), console.api.clock.now());
    let mut response = match assignment.about {
        About::Golden(pair) => verdicts::golden_image(&console, pair, side, &context).await?,
        About::Case { verification, .. } => {
            case_image(&console, verification, side, &context).await?
        }
    };
    let kept: HeaderMap = KEPT
        .into_iter()
        .filter_map(|name| response.headers().get(&name).cloned().map(|value| (name, value)))
        .collect();
    *response.headers_mut() = kept;
    Ok(response)
}

/// In the reviewer's hands, or a golden pair that was just judged.
fn is_shown(assignment: &Assignment) -> bool {
    match assignment.ended {
        None => true,
        Some((ended, _)) => assignment.kind == Kind::Golden && ended == Ended::Judged,
    }
}

/// The best image that there is of this side.
async fn case_image(
    console: &Console,
    verification: VerificationId,
    side: Side,
    context: &AuditContext,
) -> Result<Response, Refused> {
    for kind in side.kinds() {
        match images::serve(&console.api, verification, *kind, context, &HeaderMap::new()).await {
            Err(problem) if problem.code() == Code::NoImage => {}
            served => return Ok(served?),
        }
    }
    Err(Problem::no_image().into())
}
