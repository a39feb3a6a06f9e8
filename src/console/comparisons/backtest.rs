//! `/backtests/{id}`: how far a backtest is, what would change, and the decisions that would. A running
//! one can be cancelled here.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::backtests::state_text;
use super::chart;
use super::flips::{self, Listed};
use super::numbers::grouped;
use super::shown::{Policies, Shown};
use super::words::{period, scene_text, short};
use crate::console::form::Form;
use crate::console::frame;
use crate::console::frame::layout::{Layout, Section, Tone};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::{page, see};
use crate::console::purposes::optional;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::scope::Scope;
use crate::http::backtests as api;
use crate::http::problem::Code;
use crate::policies::active::PolicySnapshot;
use policy::compare::Comparison;

/// A page that shows one that runs loads itself again after these seconds.
const RELOAD: u64 = 4;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    after: Option<Uuid>,
    #[serde(default)]
    said: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Cancel {
    #[serde(default)]
    purpose: String,
}

#[derive(Template)]
#[template(path = "backtest.html")]
struct BacktestPage {
    t: &'static Texts,
    layout: Layout,
    form_token: String,
    id: Uuid,
    digest: String,
    candidate: String,
    active: Option<String>,
    is_readable: bool,
    state: &'static str,
    state_text: (Phrase, &'static str),
    sentence: String,
    /// Results seen, and about how many there are.
    seen: i64,
    of: i64,
    progress: String,
    reload: Option<u64>,
    scene: String,
    period: String,
    started: String,
    shown: Shown,
    listed: Listed,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let id: Uuid = id.parse().map_err(|_| Refused::not_found())?;
    let run = api::reached(&console.api, &who.scenes, id).await?;
    let (store, cache) = (&console.api.store, &console.api.policy_cache);
    let moments = frame::moments(&console, &who);
    let candidate = cache.get(store, &run.digest).await?;
    let active = PolicySnapshot::load(store, cache).await?;
    let active = active.map(|all| {
        let scene = run.biz_type.as_deref().unwrap_or_default();
        std::sync::Arc::clone(all.active(scene))
    });
    let comparison: Comparison =
        serde_json::from_value(run.comparison.0.clone()).unwrap_or_default();
    let found = match candidate {
        None => None,
        Some(_) => match api::flips_of(&console.api, &run, asked.after, flips::PAGE).await {
            Ok(found) => Some(found),
            Err(problem) if problem.code() == Code::Unavailable => None,
            Err(problem) => return Err(problem.into()),
        },
    };
    let next = found.as_ref().and_then(|page| page.next);
    let rows = match found {
        Some(found) => Some(flips::rows(&console, &who, &moments, &found.flips).await?),
        None => None,
    };
    let mut layout = frame::of(&console, &who, Section::Policies);
    if asked.said == TOO_LATE {
        layout.say(Tone::Failed, layout.t.comparison.cancel_late.to_string());
    }
    let is_running = run.state == "running";
    if is_running {
        layout.refresh = Some((RELOAD, format!("/backtests/{id}")));
    }
    let t = layout.t;
    let policies = Policies { candidate: candidate.as_deref(), active: active.as_deref() };
    let shown = Shown::of(who.language, &comparison, policies);
    page(&BacktestPage {
        form_token: who.form_token.clone(),
        id,
        candidate: candidate
            .as_deref()
            .map_or_else(|| short(&run.digest), |policy| policy.name().to_owned()),
        active: active.map(|policy| policy.name().to_owned()),
        is_readable: candidate.is_some(),
        state: match run.state.as_str() {
            "running" => "running",
            "failed" => "failed",
            "cancelled" => "cancelled",
            _ => "done",
        },
        state_text: state_text(t, &run.state),
        sentence: if is_running {
            t.comparison.so_far.with("said", &shown.sentence).to_string()
        } else {
            shown.sentence.clone()
        },
        seen: run.looked_at,
        of: run.of(),
        progress: progress(&moments, run.looked_at, is_running.then_some(run.of())),
        reload: is_running.then_some(RELOAD),
        scene: scene_text(&t.comparison, run.biz_type.as_deref()),
        period: period(&moments, (run.since, run.until)),
        started: moments.full(run.created_at),
        listed: Listed::new(
            comparison.flips,
            rows,
            &format!("/backtests/{id}"),
            (asked.after, next),
        ),
        digest: run.digest,
        shown,
        t,
        layout,
    })
}

/// It had ended before it was cancelled.
const TOO_LATE: &str = "late";

/// `POST /backtests/{id}/cancel`, by the rules of the API.
pub(super) async fn cancel(
    State(console): State<Console>,
    who: SignedIn,
    Path(id): Path<String>,
    Form(Cancel { purpose }): Form<Cancel>,
) -> Result<Response, Refused> {
    who.must_have(Scope::PoliciesWrite)?;
    let id: Uuid = id.parse().map_err(|_| Refused::not_found())?;
    let run = api::reached(&console.api, &who.scenes, id).await?;
    let context = who.audit_context(optional(&purpose)?, console.api.clock.now());
    if api::cancel(&console.api, &run, &context).await? {
        return Ok(see(&format!("/backtests/{id}")));
    }
    Ok(see(&format!("/backtests/{id}?said={TOO_LATE}")))
}

fn progress(moments: &Moments, seen: i64, of: Option<i64>) -> String {
    let t = &moments.t.comparison;
    let count = |count: i64| grouped(u64::try_from(count).unwrap_or(0));
    match of {
        Some(of) => t.progress.with("seen", count(seen)).with("of", count(of)).to_string(),
        None => t.seen.with("seen", count(seen)).to_string(),
    }
}
