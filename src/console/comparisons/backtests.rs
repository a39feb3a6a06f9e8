//! `/policies/{digest}/backtests`: the backtests of a policy, newest first, and starting one.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::numbers::grouped;
use super::sentence;
use super::words::{period, scene_text, short};
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::{page, see};
use crate::console::purposes::optional;
use crate::console::refused::{Refused, marked};
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::callback::BizType;
use crate::domain::scope::Scope;
use crate::http::backtests::{self as api, Begun, Period};
use crate::http::problem::{Code, Problem};
use crate::store::backtests::Backtest;
use policy::compare::Comparison;

/// Rows of a page.
const PAGE: usize = 30;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    before: Option<Uuid>,
}

/// The form, as it was typed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    scene: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    purpose: String,
}

#[derive(Template)]
#[template(path = "backtests.html")]
struct BacktestsPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    digest: String,
    name: String,
    rows: Vec<Row>,
    next_page: Option<String>,
    /// The scenes that the person is limited to.
    scenes: Option<Vec<String>>,
    typed: Start,
    running: Option<Uuid>,
}

struct Row {
    id: Uuid,
    at: String,
    machine: String,
    scene: String,
    period: String,
    state: Phrase,
    tone: &'static str,
    decisions: String,
    says: String,
}

/// How far a backtest is, with the class of its colour.
pub(super) fn state_text(t: &'static Texts, state: &str) -> (Phrase, &'static str) {
    let t = &t.comparison;
    match state {
        "done" => (t.done, "good"),
        "failed" => (t.failed, "bad"),
        "cancelled" => (t.cancelled, "warn"),
        _ => (t.running, "accent"),
    }
}

pub(super) async fn list(
    State(console): State<Console>,
    who: SignedIn,
    Path(digest): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let layout = frame::of(&console, &who, Section::Policies);
    shown(&console, &who, (&digest, asked.before), layout, (Start::default(), None)).await
}

async fn shown(
    console: &Console,
    who: &SignedIn,
    (digest, before): (&str, Option<Uuid>),
    layout: Layout,
    (typed, running): (Start, Option<Uuid>),
) -> Result<Response, Refused> {
    let moments = frame::moments(console, who);
    let policy = console.api.policies().text(digest, &who.scenes).await.map_err(Problem::from)?;
    let name = console.api.policy_cache.get(&console.api.store, &policy.digest).await?;
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let scenes = who.scenes.names();
    let backtests = console.api.store.backtests();
    let mut found = backtests.list(digest, scenes.as_deref(), (before, limit)).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next_page = found
        .last()
        .filter(|_| more)
        .map(|last| format!("/policies/{digest}/backtests?before={}", last.id));
    page(&BacktestsPage {
        form_token: who.form_token.clone(),
        digest: digest.to_owned(),
        name: name.map_or_else(|| short(digest), |policy| policy.name().to_owned()),
        rows: found.into_iter().map(|run| row(run, &moments, who)).collect(),
        next_page,
        scenes: scenes.map(|scenes| scenes.into_iter().map(ToOwned::to_owned).collect()),
        typed,
        running,
        t: layout.t,
        layout,
    })
}

fn row(run: Backtest, moments: &Moments, who: &SignedIn) -> Row {
    let t = moments.t;
    let (state, tone) = state_text(t, &run.state);
    let comparison: Comparison = serde_json::from_value(run.comparison.0).unwrap_or_default();
    Row {
        id: run.id,
        at: moments.full(run.created_at),
        machine: Moments::machine(run.created_at),
        scene: scene_text(&t.comparison, run.biz_type.as_deref()),
        period: period(moments, (run.since, run.until)),
        state,
        tone,
        decisions: grouped(comparison.decisions),
        says: sentence::decisions(who.language, &comparison),
    }
}

/// The field that cannot be read.
enum Wrong {
    Scene,
    Day,
}

/// `POST /policies/{digest}/backtests`: starts one, by the rules of the API.
pub(super) async fn start(
    State(console): State<Console>,
    who: SignedIn,
    Path(digest): Path<String>,
    Form(typed): Form<Start>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let purpose = optional(&typed.purpose)?;
    let layout = frame::of(&console, &who, Section::Policies);
    let t = &layout.t.comparison;
    let (scene, period) = match (scene(&typed), days(&who, &typed)) {
        (Ok(scene), Ok(period)) => (scene, period),
        (Err(wrong), _) | (_, Err(wrong)) => {
            let text = match wrong {
                Wrong::Scene => t.wrong_scene,
                Wrong::Day => t.wrong_day,
            };
            return again(&console, &who, &digest, layout, (typed, text, None), INVALID).await;
        }
    };
    who.must_reach(scene.as_ref().map_or("", BizType::as_str))?;
    let context = who.audit_context(purpose, console.api.clock.now());
    let asked = (digest.as_str(), scene.as_ref(), period);
    match api::start(&console.api, &who.scenes, asked, &context).await {
        Ok(Begun::Yes(id)) => {
            tracing::info!(backtest = %id, user = %who.user, "backtest started in the console");
            Ok(see(&format!("/backtests/{id}")))
        }
        Ok(Begun::Running(running)) => {
            let said = (typed, t.busy, running);
            again(&console, &who, &digest, layout, said, Code::BacktestRunning).await
        }
        Err(problem) if problem.code() == INVALID => {
            let said = (typed, t.wrong_period, None);
            again(&console, &who, &digest, layout, said, INVALID).await
        }
        Err(problem) => Err(problem.into()),
    }
}

const INVALID: Code = Code::InvalidField;

/// The page with what was typed, and why nothing was started.
async fn again(
    console: &Console,
    who: &SignedIn,
    digest: &str,
    mut layout: Layout,
    (typed, why, running): (Start, Phrase, Option<Uuid>),
    code: Code,
) -> Result<Response, Refused> {
    layout.say(Tone::Failed, why.to_string());
    let page = shown(console, who, (digest, None), layout, (typed, running)).await?;
    Ok(marked(page, code.status(), code.as_str()))
}

fn scene(typed: &Start) -> Result<Option<BizType>, Wrong> {
    match typed.scene.trim() {
        "" => Ok(None),
        scene => BizType::parse(scene).map(Some).map_err(|_| Wrong::Scene),
    }
}

/// From the beginning of the first day to the end of the last, in the person's zone.
fn days(who: &SignedIn, typed: &Start) -> Result<Period, Wrong> {
    let day =
        |text: &str, of: fn(&crate::domain::zone::Zone, &str) -> Option<OffsetDateTime>| match text
            .trim()
        {
            "" => Ok(None),
            day => of(&who.zone, day).map(Some).ok_or(Wrong::Day),
        };
    let start = crate::domain::zone::Zone::start_of;
    let end = crate::domain::zone::Zone::end_of;
    Ok((day(&typed.since, start)?, day(&typed.until, end)?))
}
