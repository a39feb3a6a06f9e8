//! A backtest as a page that needs nothing else: for the command line, with the templates of the
//! console.

use askama::Template;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::shown::{FlipShown, Policies, Shown};
use super::words::{period_text, scene_text};
use super::{chart, flips, numbers};
use crate::console::assets;
use crate::console::texts::Texts;
use crate::domain::user::Language;
use crate::policies::past::{Flip, Range};
use policy::compare::Comparison;
use policy::{Policy, visible};

/// The two sides of a comparison, and its range.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub candidate: &'a Policy,
    /// The policy that decides now, if there is one.
    pub active: Option<&'a Policy>,
    pub range: &'a Range,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Report<'a> {
    t: &'static Texts,
    style: &'static str,
    candidate: &'a str,
    digest: &'a str,
    active: Option<&'a str>,
    scene: String,
    period: String,
    shown: Shown,
    flips: Vec<FlipShown>,
    listed: String,
}

/// The page. `flips` may be the first of many.
pub fn html(
    subject: Subject<'_>,
    comparison: &Comparison,
    flips: &[Flip],
) -> Result<String, askama::Error> {
    let Subject { candidate, active, range } = subject;
    let t = Texts::of(Language::En);
    let policies = Policies { candidate: Some(candidate), active };
    let count = u64::try_from(flips.len()).unwrap_or(u64::MAX);
    let listed = t.comparison.flips_shown.with("n", numbers::grouped(count));
    Report {
        t,
        style: assets::STYLE,
        candidate: candidate.name(),
        digest: candidate.digest(),
        active: active.map(Policy::name),
        scene: scene_text(&t.comparison, range.biz_type.as_deref()),
        period: period_text(&t.comparison, utc, (range.since, range.until)),
        shown: Shown::of(Language::En, comparison, policies),
        flips: flips.iter().map(|flip| flips::plain(t, flip, utc(flip.at))).collect(),
        listed: listed.with("total", numbers::grouped(comparison.flips)).to_string(),
    }
    .render()
    .map(visible::shown_text)
}

/// The subject in one line.
pub fn subject_line(subject: Subject<'_>) -> String {
    let Subject { candidate, range, .. } = subject;
    let t = &Texts::of(Language::En).comparison;
    format!(
        "{} ({}) compared with {}: {}, {}",
        candidate.name(),
        candidate.digest(),
        t.with_past,
        period_text(t, utc, (range.since, range.until)),
        range
            .biz_type
            .as_deref()
            .map_or_else(|| "all scenes".to_owned(), |scene| format!("the scene {scene}")),
    )
}

fn utc(at: OffsetDateTime) -> String {
    let second = at.replace_nanosecond(0).unwrap_or(at);
    second.format(&Rfc3339).unwrap_or_default()
}
