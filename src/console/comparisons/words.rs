//! Periods, scenes and digests as pages and the report name them.

use time::OffsetDateTime;

use crate::console::frame::moments::Moments;
use crate::console::texts::comparison::Comparison as Words;
use crate::http::backtests::Period;

/// Enough of a digest to tell policies apart.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// A scene, or all of them.
pub(super) fn scene_text(t: &Words, scene: Option<&str>) -> String {
    scene.map_or_else(|| t.all_scenes.to_string(), ToOwned::to_owned)
}

/// `2026-10-01 00:00 to the newest result`.
pub(super) fn period_text(
    t: &Words,
    show: impl Fn(OffsetDateTime) -> String,
    (since, until): Period,
) -> String {
    let since = since.map_or_else(|| t.from_first.to_string(), &show);
    let until = until.map_or_else(
        || t.to_last.to_string(),
        |until| t.before.with("until", show(until)).to_string(),
    );
    t.from_to.with("since", since).with("until", until).to_string()
}

/// In the person's own zone.
pub(super) fn period(moments: &Moments, period: Period) -> String {
    period_text(&moments.t.comparison, |at| moments.zone.minute(at), period)
}
