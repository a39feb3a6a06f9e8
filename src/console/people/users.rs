//! `/users`: who may use the console, with which rights.
//!
//! The link of an invitation is shown once, by the answer to the form that asked for it: it stands in
//! no address, and only its digest is kept. Sent again, the form makes another link.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;

use crate::console::form::{Form, NoFields};
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::page::{page, see};
use crate::console::refused::{Reason, Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::ids::UserId;
use crate::domain::scenes::Scenes;
use crate::domain::scope::Scope;
use crate::domain::user::{self, Language, Theme, User};
use crate::domain::zone::Zone;
use crate::http::problem::Problem;
use crate::store::audit::AuditContext;
use crate::store::users::{Change, ListedUser};
use crate::vault::token;

/// One person, as the list shows it.
struct Row {
    id: String,
    name: String,
    rights: Vec<Phrase>,
    scenes: String,
    is_disabled: bool,
    status: String,
    signs_in_by: String,
    seen: String,
}

/// One right that can be given.
struct Right {
    scope: &'static str,
    text: Phrase,
    is_given: bool,
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    rows: Vec<Row>,
    rights: Vec<Right>,
    zones: Vec<String>,
    zone: String,
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    row: Row,
    since: String,
    is_own: bool,
    rights: Vec<Right>,
    scenes: String,
}

#[derive(Template)]
#[template(path = "user_link.html")]
struct LinkPage {
    t: &'static Texts,
    layout: Layout,
    name: String,
    link: String,
    id: String,
}

pub(super) async fn list(
    State(console): State<Console>,
    who: SignedIn,
) -> Result<Response, Refused> {
    who.must_have(Scope::UsersWrite)?;
    list_page(&console, &who, None).await
}

async fn list_page(
    console: &Console,
    who: &SignedIn,
    failed: Option<Phrase>,
) -> Result<Response, Refused> {
    let mut layout = frame::of(console, who, Section::Users);
    let t = layout.t;
    if let Some(failed) = failed {
        layout.say(Tone::Failed, failed.to_string());
    }
    let users = console.api.store.users().list().await?;
    let response = page(&UsersPage {
        t,
        layout,
        form_token: who.form_token.clone(),
        rows: users.iter().map(|user| row(t, user, &who.zone)).collect(),
        rights: rights(t, &[]),
        zones: Zone::names(),
        zone: who.zone.name().to_owned(),
    })?;
    Ok(if failed.is_some() {
        marked(response, http::StatusCode::UNPROCESSABLE_ENTITY, "invalid-field")
    } else {
        response
    })
}

fn row(t: &Texts, listed: &ListedUser, zone: &Zone) -> Row {
    let users = &t.users;
    let given = rights(t, &listed.user.scopes).into_iter().filter(|right| right.is_given);
    let status = match (listed.disabled_at, listed.invited_until) {
        (Some(_), _) => users.disabled.to_string(),
        (None, Some(until)) => users.invited_until.with("time", zone.minute(until)).to_string(),
        (None, None) if !listed.has_password && listed.issuer.is_none() => users.never.to_string(),
        (None, None) => users.active.to_string(),
    };
    let password = match (listed.has_password, listed.has_codes) {
        (false, _) => None,
        (true, false) => Some(users.by_password.to_string()),
        (true, true) => Some(users.by_password_and_codes.to_string()),
    };
    let ways: Vec<String> = password.into_iter().chain(listed.issuer.clone()).collect();
    Row {
        id: listed.user.id.to_string(),
        name: listed.user.name.clone(),
        rights: given.map(|right| right.text).collect(),
        scenes: listed.user.scenes.names().map_or_else(String::new, |names| names.join(", ")),
        is_disabled: listed.disabled_at.is_some(),
        status,
        signs_in_by: if ways.is_empty() { "–".to_owned() } else { ways.join(", ") },
        seen: listed.seen_at.map_or_else(|| "–".to_owned(), |at| zone.minute(at)),
    }
}

fn rights(t: &Texts, given: &[Scope]) -> Vec<Right> {
    let users = &t.users;
    let text = |scope| match scope {
        Scope::DecisionsRead => users.right_decisions,
        Scope::ResultsRead => users.right_results,
        Scope::MaterialRead => users.right_material,
        Scope::ImagesRead => users.right_images,
        Scope::ReviewsWrite => users.right_reviews,
        Scope::VerificationsWrite => users.right_verifications,
        Scope::PoliciesWrite => users.right_policies,
        Scope::ErasuresWrite => users.right_erasures,
        Scope::EventsRead => users.right_events,
        Scope::WebhooksWrite => users.right_webhooks,
        Scope::UsersWrite => users.right_people,
        Scope::AuditRead => users.right_audit,
        Scope::OperationsRead => users.right_operations,
    };
    Scope::ALL
        .into_iter()
        .map(|scope| Right {
            scope: scope.as_str(),
            text: text(scope),
            is_given: given.contains(&scope),
        })
        .collect()
}

#[derive(Deserialize)]
pub(super) struct New {
    name: String,
    language: String,
    zone: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    scenes: String,
}

/// Adds a person, and shows the link that lets the person in.
pub(super) async fn add(
    State(console): State<Console>,
    who: SignedIn,
    Form(new): Form<New>,
) -> Result<Response, Refused> {
    who.must_have(Scope::UsersWrite)?;
    who.must_have_confirmed()?;
    let texts = &Texts::of(who.language).users;
    let user = match read(&console, &new) {
        Ok(user) => user,
        Err(Wrong::Name) => return list_page(&console, &who, Some(texts.name_wrong)).await,
        Err(Wrong::Zone) => return list_page(&console, &who, Some(texts.zone_wrong)).await,
        Err(Wrong::Scenes) => return list_page(&console, &who, Some(texts.scenes_wrong)).await,
        Err(Wrong::Form) => return Err(Problem::invalid_field().into()),
    };
    must_reach_all(&who, &user.scenes)?;
    let context = who.audit_context(None, console.api.clock.now());
    let users = console.api.store.users();
    if users.is_another_spelling(&user.name).await? || !users.add(&user, &context).await? {
        return list_page(&console, &who, Some(texts.name_taken)).await;
    }
    link_page(&console, &who, user.id, user.name).await
}

enum Wrong {
    Name,
    Zone,
    Scenes,
    /// The console's own pages never send this.
    Form,
}

fn read(console: &Console, new: &New) -> Result<User, Wrong> {
    let language: Language = new.language.parse().map_err(|_| Wrong::Form)?;
    Ok(User {
        id: console.api.ids.next(console.api.clock.now()),
        name: user::name(new.name.trim()).map_err(|_| Wrong::Name)?,
        language,
        theme: Theme::Auto,
        zone: Zone::parse(new.zone.trim()).map_err(|_| Wrong::Zone)?,
        scopes: scopes(&new.scopes).ok_or(Wrong::Form)?,
        scenes: scenes(&new.scenes).ok_or(Wrong::Scenes)?,
    })
}

fn scopes(given: &[String]) -> Option<Vec<Scope>> {
    let mut scopes: Vec<Scope> =
        given.iter().map(|scope| Scope::parse(scope)).collect::<Option<_>>()?;
    scopes.sort_unstable();
    scopes.dedup();
    Some(scopes)
}

/// An empty text is every scene.
fn scenes(text: &str) -> Option<Scenes> {
    let names = text.split([',', '，']).map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<&str> = names.collect();
    if names.is_empty() { Some(Scenes::EVERY) } else { Scenes::only(names).ok() }
}

/// Makes a link, and shows it once.
async fn link_page(
    console: &Console,
    who: &SignedIn,
    id: UserId,
    name: String,
) -> Result<Response, Refused> {
    let token = token::generate().map_err(|_| Problem::internal())?;
    let context = who.audit_context(None, console.api.clock.now());
    let invited = console.api.store.users().invite(id, &token::digest(&token), &context).await?;
    if invited == Change::Nothing {
        return Err(Refused::not_found());
    }
    let layout = frame::of(console, who, Section::Users);
    let link = format!("{}invitations/{}", console.url(), *token);
    page(&LinkPage { t: layout.t, layout, name, link, id: id.to_string() })
}

/// One person.
pub(super) async fn one(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    who.must_have(Scope::UsersWrite)?;
    user_page(&console, &who, &id, None).await
}

async fn user_page(
    console: &Console,
    who: &SignedIn,
    id: &str,
    wrong: Option<Phrase>,
) -> Result<Response, Refused> {
    let listed = find(console, id).await?;
    let mut layout = frame::of(console, who, Section::Users);
    let t = layout.t;
    if let Some(wrong) = wrong {
        layout.say(Tone::Failed, wrong.to_string());
    }
    let row = row(t, &listed, &who.zone);
    let response = page(&UserPage {
        t,
        layout,
        form_token: who.form_token.clone(),
        scenes: row.scenes.clone(),
        row,
        since: who.zone.minute(listed.created_at),
        is_own: listed.user.id == who.user,
        rights: rights(t, &listed.user.scopes),
    })?;
    Ok(if wrong.is_some() {
        marked(response, http::StatusCode::UNPROCESSABLE_ENTITY, "invalid-field")
    } else {
        response
    })
}

async fn find(console: &Console, id: &str) -> Result<ListedUser, Refused> {
    let id: UserId = id.parse().map_err(|_| Refused::not_found())?;
    console.api.store.users().find(id).await?.ok_or_else(Refused::not_found)
}

/// Another person, whom this one may change now.
async fn other(console: &Console, who: &SignedIn, id: &str) -> Result<ListedUser, Refused> {
    who.must_have(Scope::UsersWrite)?;
    who.must_have_confirmed()?;
    let listed = find(console, id).await?;
    if listed.user.id == who.user {
        return Err(Reason::OwnRights.into());
    }
    must_reach_all(who, &listed.user.scenes)?;
    Ok(listed)
}

/// A person who is limited to scenes lets nobody into others: whoever makes a link can use it.
fn must_reach_all(who: &SignedIn, scenes: &Scenes) -> Result<(), Refused> {
    if who.scenes.include_all(scenes) { Ok(()) } else { Err(Reason::OtherScene.into()) }
}

/// The same with the record of the change.
async fn changing(
    console: &Console,
    who: &SignedIn,
    id: &str,
) -> Result<(User, AuditContext), Refused> {
    let listed = other(console, who, id).await?;
    Ok((listed.user, who.audit_context(None, console.api.clock.now())))
}

fn to_page_of(user: UserId) -> Response {
    see(&format!("/users/{user}"))
}

#[derive(Deserialize)]
pub(super) struct Rights {
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    scenes: String,
}

pub(super) async fn change_rights(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(new): Form<Rights>,
) -> Result<Response, Refused> {
    let (user, context) = changing(&console, &who, &id).await?;
    let scopes = scopes(&new.scopes).ok_or_else(Problem::invalid_field)?;
    let Some(scenes) = scenes(&new.scenes) else {
        let wrong = Texts::of(who.language).users.scenes_wrong;
        return user_page(&console, &who, &id, Some(wrong)).await;
    };
    must_reach_all(&who, &scenes)?;
    console.api.store.users().change_rights(user.id, &scopes, &scenes, &context).await?;
    Ok(to_page_of(user.id))
}

pub(super) async fn invite(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let listed = other(&console, &who, &id).await?;
    link_page(&console, &who, listed.user.id, listed.user.name).await
}

pub(super) async fn disable(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let (user, context) = changing(&console, &who, &id).await?;
    console.api.store.users().disable(user.id, &context).await?;
    Ok(to_page_of(user.id))
}

pub(super) async fn enable(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let (user, context) = changing(&console, &who, &id).await?;
    console.api.store.users().enable(user.id, &context).await?;
    Ok(to_page_of(user.id))
}

pub(super) async fn reset(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(NoFields {}): Form<NoFields>,
) -> Result<Response, Refused> {
    let (user, context) = changing(&console, &who, &id).await?;
    console.api.store.users().reset(user.id, &context).await?;
    link_page(&console, &who, user.id, user.name).await
}
