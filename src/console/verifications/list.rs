//! `GET /verifications`: finds verifications by whatever names them, or lists the newest.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::one::outcome_text;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::{page, see};
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::ids::VerificationId;
use crate::domain::scope::Scope;
use crate::domain::verification::{State as Standing, Verification};
use crate::http::search;
use crate::store::listing::Filter;

/// Verifications of a page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    before: Option<VerificationId>,
}

#[derive(Template)]
#[template(path = "verifications.html")]
struct VerificationsPage {
    t: &'static Texts,
    layout: Layout,
    q: String,
    /// `None`: no search.
    found: Option<usize>,
    states: Vec<Choice>,
    rows: Vec<Row>,
    next_page: Option<String>,
    is_later_page: bool,
    first_page: String,
}

struct Choice {
    text: Phrase,
    href: String,
    is_chosen: bool,
}

/// One verification of a list.
pub struct Row {
    pub id: VerificationId,
    pub scene: String,
    pub biz_id: String,
    pub reference: String,
    pub state: Phrase,
    pub is_failed: bool,
    pub outcome: Option<(Phrase, &'static str)>,
    pub began: String,
    pub machine: String,
}

pub async fn list(
    State(console): State<Console>,
    who: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::DecisionsRead)?;
    let layout = frame::of(&console, &who, Section::Verifications);
    let moments = frame::moments(&console, &who);
    let q = asked.q.trim();
    let state = Standing::parse(&asked.state);
    let (found, all) = if q.is_empty() {
        (None, newest(&console, &who, state, asked.before).await?)
    } else {
        let all = search(&console, &who, q).await?;
        if let [only] = &all[..] {
            return Ok(see(&format!("/verifications/{}", only.id)));
        }
        (Some(all.len()), all)
    };
    let more = found.is_none() && all.len() > PAGE;
    let next = all.get(PAGE - 1).filter(|_| more).map(|last| href(state, Some(last.id)));
    page(&VerificationsPage {
        q: q.to_owned(),
        found,
        states: choices(layout.t, state),
        rows: all.iter().take(PAGE).map(|found| row(layout.t, found, &moments)).collect(),
        next_page: next,
        is_later_page: asked.before.is_some(),
        first_page: href(state, None),
        t: layout.t,
        layout,
    })
}

async fn newest(
    console: &Console,
    who: &SignedIn,
    state: Option<Standing>,
    before: Option<VerificationId>,
) -> Result<Vec<Verification>, Refused> {
    let filter = Filter { state, scenes: who.scenes.limit(), ..Filter::default() };
    // One more shows whether there are more.
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    Ok(console.api.store.listing().list(&filter, before, limit).await?)
}

pub async fn search(
    console: &Console,
    who: &SignedIn,
    text: &str,
) -> Result<Vec<Verification>, Refused> {
    let sources = console.api.sources.names();
    Ok(search::find(&console.api.store, &who.scenes, &sources, text).await?)
}

/// Those of these verifications that the person may know of.
pub async fn visible(
    console: &Console,
    who: &SignedIn,
    ids: &[VerificationId],
) -> Result<Vec<Verification>, Refused> {
    let mut all = Vec::with_capacity(ids.len());
    for found in console.api.store.verifications().find_all(ids).await? {
        all.extend(found?.filter(|found| who.scenes.include(&found.biz_type)));
    }
    Ok(all)
}

pub fn row(t: &'static Texts, found: &Verification, moments: &Moments) -> Row {
    Row {
        id: found.id,
        scene: found.biz_type.as_str().to_owned(),
        biz_id: found.biz_id.as_str().to_owned(),
        reference: found.reference.clone().unwrap_or_default(),
        state: t.words.state(found.state),
        is_failed: found.state == Standing::Failed,
        outcome: found.decision.as_ref().map(|decision| outcome_text(t, decision.decision.outcome)),
        began: moments.short(found.created_at),
        machine: Moments::machine(found.created_at),
    }
}

fn choices(t: &'static Texts, chosen: Option<Standing>) -> Vec<Choice> {
    let all = Choice {
        text: t.verification.any_state,
        href: href(None, None),
        is_chosen: chosen.is_none(),
    };
    let states = Standing::ALL.into_iter().map(|state| Choice {
        text: t.words.state(state),
        href: href(Some(state), None),
        is_chosen: chosen == Some(state),
    });
    std::iter::once(all).chain(states).collect()
}

fn href(state: Option<Standing>, before: Option<VerificationId>) -> String {
    let mut query = Serializer::new(String::new());
    if let Some(state) = state {
        query.append_pair("state", state.as_str());
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    match query.finish() {
        query if query.is_empty() => "/verifications".to_owned(),
        query => format!("/verifications?{query}"),
    }
}
