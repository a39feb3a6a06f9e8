//! `/audit`: who read, erased or changed what; whether the record is whole; its export.

use std::time::Duration;

use askama::Template;
use axum::BoxError;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use super::form::Form;
use super::frame;
use super::frame::layout::{Layout, Section};
use super::frame::moments::Moments;
use super::frame::page::page;
use super::refused::Refused;
use super::signed_in::SignedIn;
use super::state::Console;
use super::texts::Texts;
use crate::audit_log::heads::known_heads;
use crate::audit_log::{self, Fault, Known, Whole};
use crate::domain::audit_chain::{Line, Place};
use crate::domain::scope::Scope;
use crate::http::problem::Problem;
use crate::store::audit::{AuditRow, Found, Wanted};
use crate::vault::AuditSeal;

/// Rows of a page.
const PAGE: i64 = 50;
/// A chain that takes longer is for the command line.
const LIMIT: Duration = Duration::from_secs(30);
/// One at a time: it reads everything.
static VERIFYING: Semaphore = Semaphore::const_new(1);

/// The filters: what the URL says.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    before: Option<i64>,
}

impl Asked {
    fn is_filtered(&self) -> bool {
        [&self.actor, &self.action, &self.subject, &self.since, &self.until]
            .iter()
            .any(|text| !text.trim().is_empty())
    }

    fn href(&self, before: Option<i64>) -> String {
        let mut query = Serializer::new(String::new());
        let members = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("subject", &self.subject),
            ("since", &self.since),
            ("until", &self.until),
        ];
        for (name, value) in members.into_iter().filter(|(_, value)| !value.trim().is_empty()) {
            query.append_pair(name, value.trim());
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        match query.finish() {
            query if query.is_empty() => "/audit".to_owned(),
            query => format!("/audit?{query}"),
        }
    }

    /// `None`: it names something that no row can be about.
    fn wanted(&self, who: &SignedIn) -> Option<Wanted> {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let subject = match text(&self.subject) {
            Some(id) => Some(id.parse::<Uuid>().ok()?),
            None => None,
        };
        let day = |text: &str| match text.trim() {
            "" => Some(None),
            day => who.zone.start_of(day).map(Some),
        };
        // To the end of that day.
        let until = match self.until.trim() {
            "" => None,
            day => Some(who.zone.end_of(day)?),
        };
        Some(Wanted {
            actor: text(&self.actor),
            action: text(&self.action),
            subject,
            since: day(&self.since)?,
            until,
        })
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    asked: Asked,
    is_filtered: bool,
    rows: Vec<Row>,
    /// Says from when on rows exist, if older ones were dropped.
    begins: Option<String>,
    /// Rows further back were not looked at yet.
    searched_to: Option<i64>,
    earlier: Option<String>,
    newest: Option<String>,
    outcome: Option<Outcome>,
}

struct Row {
    position: i64,
    at: String,
    machine: String,
    actor: String,
    action: String,
    subject: Option<Uuid>,
    is_verification: bool,
    purpose: String,
    details: String,
    user: Option<String>,
}

/// The result of verifying the audit.
enum Outcome {
    Whole { rows: String, place: String, is_unsigned: bool },
    Failed(String),
}

pub async fn list(
    State(console): State<Console>,
    who: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    shown(&console, &who, asked, None).await
}

async fn shown(
    console: &Console,
    who: &SignedIn,
    asked: Asked,
    outcome: Option<Outcome>,
) -> Result<Response, Refused> {
    who.must_have(Scope::AuditRead)?;
    let layout = frame::of(console, who, Section::Audit);
    let moments = frame::moments(console, who);
    let found = match asked.wanted(who) {
        Some(wanted) => console.api.store.audit().search(&wanted, asked.before, PAGE).await?,
        None => Found::default(),
    };
    let begins = console.api.store.audit_cuts().begins().await?;
    page(&AuditPage {
        begins: begins.map(|first| {
            let said = layout.t.audit.begins.with("n", first.position);
            said.with("at", moments.full(first.at)).to_string()
        }),
        form_token: who.form_token.clone(),
        is_filtered: asked.is_filtered(),
        earlier: found.next.map(|before| asked.href(Some(before))),
        searched_to: found.next.filter(|_| found.rows.len() < usize::try_from(PAGE).unwrap_or(0)),
        newest: asked.before.map(|_| asked.href(None)),
        rows: found.rows.into_iter().map(|row| row_shown(row, &moments)).collect(),
        asked,
        outcome,
        t: layout.t,
        layout,
    })
}

fn row_shown(row: AuditRow, moments: &Moments) -> Row {
    let about_a_verification =
        ["verification.", "material.", "image.", "hold.", "person.", "reviews.", "review."];
    Row {
        position: row.position,
        at: moments.full(row.at),
        machine: Moments::machine(row.at),
        actor: row.actor,
        is_verification: about_a_verification.iter().any(|begin| row.action.starts_with(begin)),
        action: row.action,
        subject: row.subject,
        purpose: row.purpose.unwrap_or_default(),
        details: row.details.unwrap_or_default(),
        user: row.database_user,
    }
}

#[derive(Debug, Deserialize)]
pub struct Verify {
    #[serde(default)]
    expect: String,
}

/// `POST /audit/verify`. It changes nothing, but takes long, so it is a form and no link.
pub async fn verify(
    State(console): State<Console>,
    who: SignedIn,
    Form(form): Form<Verify>,
) -> Result<Response, Refused> {
    who.must_have(Scope::AuditRead)?;
    let t = Texts::of(who.language);
    let typed = form.expect.trim();
    let place: Option<Place> = typed.parse().ok();
    if place.is_none() && !typed.is_empty() {
        let outcome = Outcome::Failed(t.audit.bad_place.to_string());
        return shown(&console, &who, Asked::default(), Some(outcome)).await;
    }
    let expect: Vec<Place> = place.into_iter().collect();
    let outcome = match VERIFYING.try_acquire() {
        Err(_) => Outcome::Failed(t.audit.busy.to_string()),
        Ok(_permit) => {
            let seal = seal(&console).await?;
            let whole = compared(&console, seal.as_ref(), &expect);
            match tokio::time::timeout(LIMIT, whole).await {
                Err(_) => Outcome::Failed(t.audit.too_long.to_string()),
                Ok(Ok(whole)) => said_whole(t, &whole, seal.is_none()),
                Ok(Err(Fault::Store(error))) => return Err(error.into()),
                Ok(Err(fault)) => Outcome::Failed(t.audit.broken.with("fault", fault).to_string()),
            }
        }
    };
    shown(&console, &who, Asked::default(), Some(outcome)).await
}

/// Follows the chain, and compares it with the heads that witnesses signed.
async fn compared(
    console: &Console,
    seal: Option<&AuditSeal>,
    expect: &[Place],
) -> Result<Whole, Fault> {
    let (store, settings) = (&console.api.store, &console.settings.audit);
    let mut heads = Vec::new();
    if settings.has_witnesses() {
        let kept = store.audit_tree().cosigned(settings.name()).await?;
        heads = known_heads(&kept, settings.keys(), settings.log_key(seal).as_ref())?;
    }
    let against = Known { seal, expect, heads: &heads };
    audit_log::verify_with(store, &against, &mut |_, _| ()).await
}

fn said_whole(t: &'static Texts, whole: &Whole, is_unsigned: bool) -> Outcome {
    let rows = match whole.dropped {
        0 => t.audit.whole_rows.with("n", whole.last.position),
        dropped => t.audit.whole_cut.with("n", whole.last.position).with("dropped", dropped),
    };
    let rows = rows
        .with("checkpoints", whole.checkpoints)
        .with("behind", whole.last.position - whole.covered);
    Outcome::Whole { rows: rows.to_string(), place: whole.last.to_string(), is_unsigned }
}

/// The key that signs checkpoints; `None`: this process has no keys, or there is none yet.
async fn seal(console: &Console) -> Result<Option<AuditSeal>, Refused> {
    let Some(vault) = &console.api.vault else { return Ok(None) };
    audit_log::seal(&console.api.store, vault).await.map_err(|error| {
        tracing::error!(%error, "audit seal cannot be opened");
        Problem::internal().into()
    })
}

/// `GET /audit/export`: as `verdict audit list --json`.
pub async fn export(State(console): State<Console>, who: SignedIn) -> Result<Response, Refused> {
    who.must_have(Scope::AuditRead)?;
    let (seal, now) = (seal(&console).await?, console.api.clock.now());
    let export = audit_log::Export::open(console.api.store.clone(), seal, now).await?;
    let pages = stream::try_unfold(export, |mut export| async move {
        let Some(lines) = export
            .next()
            .await
            .inspect_err(|error| tracing::warn!(%error, "audit export ended early"))?
        else {
            return Ok::<_, BoxError>(None);
        };
        Ok(Some((Bytes::from(text(&lines)?), export)))
    });
    let headers = [
        (CONTENT_TYPE, "application/jsonl"),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

/// One line for each.
fn text(lines: &[Line]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}
