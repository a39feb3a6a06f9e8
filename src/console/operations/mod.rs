//! `GET /operations`: the state of the installation, a section for whatever an alert can be about.
//!
//! A part that cannot be read now says so, and hides none of the others.

mod alerts;
mod dead_letters;
mod endpoint;
mod parts;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::frame;
use super::frame::layout::{Layout, Section};
use super::frame::page::page;
use super::refused::Refused;
use super::signed_in::SignedIn;
use super::state::Console;
use super::texts::Texts;
use crate::domain::scope::Scope;
use parts::{
    Backlog, Checked, Deliveries, Erasing, HeldNow, Images, Keys, Letters, Processes, Provider,
};

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/operations", get(page_of))
        .route("/operations/dead-letters", get(dead_letters::list).post(dead_letters::confirm))
        .route("/webhook-endpoints/{id}", get(endpoint::page_of).post(endpoint::act))
}

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    t: &'static Texts,
    layout: Layout,
    backlog: Option<Backlog>,
    provider: Option<Provider>,
    letters: Option<Vec<Letters>>,
    deliveries: Option<Vec<Deliveries>>,
    images: Option<Images>,
    keys: Option<Keys>,
    erasing: Option<Erasing>,
    held: Option<Vec<HeldNow>>,
    processes: Option<Vec<Processes>>,
    checks: Vec<Checked>,
}

async fn page_of(State(console): State<Console>, who: SignedIn) -> Result<Response, Refused> {
    who.must_have(Scope::OperationsRead)?;
    let layout = frame::of(&console, &who, Section::Operations);
    let moments = frame::moments(&console, &who);
    let scenes = who.scenes.limit();
    let (backlog, provider, letters, deliveries, images) = tokio::join!(
        parts::backlog(&console, &moments),
        parts::provider(&console, &moments),
        parts::letters(&console, scenes.as_deref(), &moments),
        parts::deliveries(&console, &who.scenes, &moments),
        parts::images(&console, &moments),
    );
    let (keys, erasing, held, processes, checks) = tokio::join!(
        parts::keys(&console, &moments),
        parts::erasing(&console, &moments),
        parts::held(&console, &who.scenes, &moments),
        parts::processes(&console, &moments),
        parts::checks(&console, layout.t),
    );
    page(&OperationsPage {
        t: layout.t,
        layout,
        backlog,
        provider,
        letters,
        deliveries,
        images,
        keys,
        erasing,
        held,
        processes,
        checks,
    })
}
