//! `GET /reviewers`: how much, how fast and how well each person judges.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use crate::console::frame;
use crate::console::frame::layout::{Layout, Section};
use crate::console::frame::moments::Moments;
use crate::console::frame::page::page;
use crate::console::refused::Refused;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::Texts;
use crate::domain::case::Rate;
use crate::domain::scope::Scope;
use crate::store::reviewers::Figures;

/// The periods to choose from, in days; the second is usual.
const PERIODS: [i64; 3] = [7, 30, 90];

#[derive(Deserialize)]
pub(super) struct Asked {
    days: Option<i64>,
}

struct Period {
    text: String,
    href: String,
    is_chosen: bool,
}

struct RateRow {
    of: u32,
    hits: u32,
    share: String,
    interval: String,
}

struct Row {
    name: String,
    cases: i64,
    median: String,
    rates: [RateRow; 4],
}

#[derive(Template)]
#[template(path = "reviewers.html")]
struct ReviewersPage {
    t: &'static Texts,
    layout: Layout,
    days: i64,
    periods: Vec<Period>,
    rows: Vec<Row>,
}

pub(super) async fn page_of(
    State(console): State<Console>,
    who: SignedIn,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    who.must_have(Scope::AuditRead)?;
    let days = asked.days.filter(|days| PERIODS.contains(days)).unwrap_or(PERIODS[1]);
    let moments = frame::moments(&console, &who);
    let since = moments.now - time::Duration::days(days);
    let figures = console.api.store.reviewers().figures(since).await?;
    let layout = frame::of_reviewer(&console, &who, Section::Reviewers).await?;
    let t = layout.t;
    page(&ReviewersPage {
        t,
        layout,
        days,
        periods: PERIODS
            .into_iter()
            .map(|period| Period {
                text: t.reviewers.days.with("n", period).to_string(),
                href: format!("/reviewers?days={period}"),
                is_chosen: period == days,
            })
            .collect(),
        rows: figures.into_iter().map(|of| row(of, &moments)).collect(),
    })
}

fn row(of: Figures, moments: &Moments) -> Row {
    Row {
        name: of.name,
        cases: of.cases,
        median: of.median.map_or_else(|| "–".to_owned(), |median| moments.span(median)),
        rates: [of.agreement, of.false_accepts, of.false_rejects, of.unsure].map(rate),
    }
}

fn rate(of: Rate) -> RateRow {
    let interval = of.interval().map(|(from, to)| format!("{}–{} %", percent(from), percent(to)));
    RateRow {
        of: of.of,
        hits: of.hits,
        share: of.share().map(|share| format!("{} %", percent(share))).unwrap_or_default(),
        interval: interval.unwrap_or_default(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}
