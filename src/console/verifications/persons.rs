//! `/persons`: finds a person's verifications by the identity number, and exports what is held. The
//! number is typed, hashed and dropped: it is in no address, log or table.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::list::{Row, row, visible};
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section};
use crate::console::frame::page::page;
use crate::console::purposes::required;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::folding;
use crate::domain::ids::VerificationId;
use crate::domain::purpose;
use crate::domain::scope::Scope;
use crate::http::problem::Problem;
use crate::persons::{self, Export, NUMBER_CHARS};
use crate::vault::Vault;

#[derive(Template)]
#[template(path = "persons.html")]
struct PersonsPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    wrong: Option<Phrase>,
    purpose: String,
    /// `None`: no search.
    rows: Option<Vec<Row>>,
}

#[derive(Deserialize)]
pub struct LookUp {
    #[serde(default)]
    number: String,
    #[serde(default)]
    purpose: String,
}

pub async fn form(State(console): State<Console>, who: SignedIn) -> Result<Response, Refused> {
    shown(&console, &who, None, String::new(), None)
}

fn shown(
    console: &Console,
    who: &SignedIn,
    wrong: Option<Phrase>,
    purpose: String,
    rows: Option<Vec<Row>>,
) -> Result<Response, Refused> {
    who.must_have(Scope::MaterialRead)?;
    let layout = frame::of(console, who, Section::Persons);
    let form_token = who.form_token.clone();
    page(&PersonsPage { t: layout.t, layout, form_token, wrong, purpose, rows })
}

/// `POST /persons`. The answer is the page itself: an address would have to hold the number.
pub async fn look_up(
    State(console): State<Console>,
    who: SignedIn,
    Form(form): Form<LookUp>,
) -> Result<Response, Refused> {
    who.must_have(Scope::MaterialRead)?;
    let t = &Texts::of(who.language).persons;
    let number = Zeroizing::new(form.number);
    let Ok(purpose) = purpose::parse(&form.purpose).map(ToOwned::to_owned) else {
        return shown(&console, &who, Some(t.bad_purpose), String::new(), None);
    };
    if purpose.is_empty() {
        return shown(&console, &who, Some(t.bad_purpose), purpose, None);
    }
    let folded = folding::number(&number).filter(|it| NUMBER_CHARS.contains(&it.len()));
    if folded.is_none() {
        return shown(&console, &who, Some(t.bad_number), purpose, None);
    }
    let store = &console.api.store;
    let index = persons::person_index(store, vault(&console)?).await.map_err(|error| {
        tracing::error!(%error, "person index cannot be opened");
        Problem::internal()
    })?;
    let context = who.audit_context(Some(&purpose), console.api.clock.now());
    let ids = match index.and_then(|index| index.digest(&number)) {
        Some(person) => store.persons().look_up(&person, &context).await?,
        None => Vec::new(),
    };
    let moments = frame::moments(&console, &who);
    let found = visible(&console, &who, &ids).await?;
    let rows = found.iter().map(|found| row(Texts::of(who.language), found, &moments)).collect();
    shown(&console, &who, None, purpose, Some(rows))
}

#[derive(Deserialize)]
pub struct ExportThese {
    #[serde(default, rename = "id")]
    ids: Vec<VerificationId>,
    #[serde(default)]
    purpose: String,
}

/// `POST /persons/export`: what is held of these verifications, as a file. Each is recorded.
pub async fn export(
    State(console): State<Console>,
    who: SignedIn,
    Form(form): Form<ExportThese>,
) -> Result<Response, Refused> {
    who.must_have(Scope::MaterialRead)?;
    let purpose = required(&form.purpose)?;
    let context = who.audit_context(Some(purpose), console.api.clock.now());
    // Bodies are for the owner of the database; images are on the page of the verification.
    let (store, vault) = (&console.api.store, vault(&console)?);
    let export = Export { store, vault, archive: None, with_bodies: false };
    let mut verifications = Vec::new();
    for found in visible(&console, &who, &form.ids).await? {
        let held = export.of(found.id, &context).await.map_err(|error| {
            tracing::error!(%error, verification = %found.id, "person not exported");
            Problem::internal()
        })?;
        verifications.extend(held);
    }
    let document = json!({
        "exported_at": context.at.format(&Rfc3339).map_err(|_| Problem::internal())?,
        "exported_by": context.actor,
        "purpose": context.purpose,
        "verifications": verifications,
    });
    let text = serde_json::to_string_pretty(&document).map_err(|_| Problem::internal())?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CONTENT_DISPOSITION, "attachment; filename=\"person.json\""),
    ];
    Ok((headers, text).into_response())
}

fn vault(console: &Console) -> Result<&Vault, Refused> {
    let vault = console.api.vault.as_deref();
    vault.ok_or_else(|| Refused::from(Problem::unavailable()))
}
