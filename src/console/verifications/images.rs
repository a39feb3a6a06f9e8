//! `GET /verifications/{id}/images/{kind}?purpose=…`: one picture. The reading is on record first.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::HeaderMap;

use super::one::find;
use super::pictures::{serve, with_few_headers};
use super::reveal::{self, For};
use crate::console::form;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::domain::image::ImageKind;
use crate::domain::scope::Scope;
use crate::http::problem::Problem;

pub async fn read(
    State(console): State<Console>,
    who: SignedIn,
    Path((id, kind)): Path<(String, String)>,
    Query(wanted): Query<For>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    who.must_have(Scope::DecisionsRead)?;
    who.must_have(Scope::ImagesRead)?;
    form::must_not_be_another_sites(&headers)?;
    let kind: ImageKind = kind.parse().map_err(|_| Refused::not_found())?;
    let found = find(&console, &who, &id).await?;
    let purpose = reveal::listed(&console.api.reviews, &wanted.purpose);
    let purpose = purpose.ok_or_else(Problem::purpose_missing)?;
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    Ok(with_few_headers(serve(&console, found.id, kind, &context).await?))
}
