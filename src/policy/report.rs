//! A comparison as a page of its own: no script, no outside host, the pictures in it.

use std::fmt::Write;

use super::compare::Comparison;
use crate::domain::decision::Outcome;

/// Size of a picture, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;

/// One flipped case, for the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The verification.
    pub verification: String,
    /// What was decided.
    pub old: Outcome,
    /// What would be.
    pub new: Outcome,
    /// The reason that weighs most.
    pub reason: String,
}

/// The page. `thresholds` are drawn into the histogram; `flips` may be the first of many.
pub fn html(title: &str, comparison: &Comparison, thresholds: &[f64], flips: &[Flip]) -> String {
    let mut page = String::new();
    let title = escape(title);
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>\
         body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse;margin:1rem 0}}td,th{{border:1px solid #bbb;padding:.3rem .7rem;\
         text-align:right}}th{{background:#f2f2f2}}.same{{background:#eef7ee}}.flip{{background:#fdeeee}}\
         svg{{width:100%;height:auto;border:1px solid #ddd}}code{{font-size:90%}}</style>\
         <h1>{title}</h1><p>{} decisions, {} with another outcome ({:.2} %).</p>",
        comparison.decisions,
        comparison.flips,
        percent(comparison.flips, comparison.decisions)
    );
    matrix(&mut page, comparison);
    kinds(&mut page, comparison);
    histogram(&mut page, comparison, thresholds);
    days(&mut page, comparison);
    list(&mut page, comparison, flips);
    page.push_str("</html>\n");
    page
}

fn matrix(page: &mut String, comparison: &Comparison) {
    page.push_str("<h2>Old outcomes (rows) and new ones (columns)</h2><table><tr><th></th>");
    for outcome in Outcome::ALL {
        let _ = write!(page, "<th>{outcome}</th>");
    }
    page.push_str("</tr>");
    for (row, outcome) in Outcome::ALL.iter().enumerate() {
        let _ = write!(page, "<tr><th>{outcome}</th>");
        for (column, count) in comparison.matrix[row].iter().enumerate() {
            let class = match (row == column, *count) {
                (_, 0) => "",
                (true, _) => "same",
                (false, _) => "flip",
            };
            let _ = write!(page, "<td class=\"{class}\">{count}</td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

fn kinds(page: &mut String, comparison: &Comparison) {
    page.push_str(
        "<h2>What flips, and why</h2><table><tr><th>flip: new reason</th><th>cases</th></tr>",
    );
    let mut kinds: Vec<_> = comparison.kinds.iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (kind, count) in kinds {
        let _ = write!(page, "<tr><td>{}</td><td>{count}</td></tr>", escape(kind));
    }
    page.push_str("</table>");
}

fn histogram(page: &mut String, comparison: &Comparison, thresholds: &[f64]) {
    page.push_str("<h2>Lowest scores; flips dark, thresholds drawn in</h2>");
    let bars = comparison.scores.iter().zip(&comparison.flipped_scores).map(|(n, f)| (*n, *f));
    let bars: Vec<(u64, u64)> = bars.collect();
    open_svg(page, "Histogram of lowest scores, 0 to 100");
    draw(page, &bars);
    for threshold in thresholds.iter().filter(|threshold| (0.0..=100.0).contains(*threshold)) {
        let x = threshold / 101.0 * WIDTH;
        let _ = write!(
            page,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{HEIGHT}\" stroke=\"#c00\"/>\
             <text x=\"{:.1}\" y=\"12\" font-size=\"11\" fill=\"#c00\">{threshold}</text>",
            x + 3.0
        );
    }
    page.push_str("</svg>");
}

fn days(page: &mut String, comparison: &Comparison) {
    let days: Vec<(u64, u64)> = comparison.days.values().copied().collect();
    let (Some(first), Some(last)) = (comparison.days.keys().next(), comparison.days.keys().last())
    else {
        return;
    };
    let _ = write!(page, "<h2>By day, {first} to {last}; flips dark</h2>");
    open_svg(page, "Cases and flips by day");
    draw(page, &days);
    page.push_str("</svg>");
}

fn open_svg(page: &mut String, label: &str) {
    let _ =
        write!(page, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">");
}

/// Bars of cases with flips in front of them; on a square-root scale, so that few show beside many.
fn draw(page: &mut String, bars: &[(u64, u64)]) {
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let root = |n: u64| (n as f64).sqrt();
    let most = bars.iter().map(|(cases, _)| root(*cases)).fold(1.0, f64::max);
    let width = WIDTH / f64::from(u32::try_from(bars.len().max(1)).unwrap_or(u32::MAX));
    let mut x = 0.0;
    for (cases, flips) in bars {
        for (count, colour) in [(cases, "#9bc"), (flips, "#358")] {
            let height = root(*count) / most * HEIGHT;
            if height > 0.0 {
                let _ = write!(
                    page,
                    "<rect x=\"{x:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\" fill=\"{colour}\"/>",
                    HEIGHT - height,
                    (width - 0.3).max(0.3)
                );
            }
        }
        x += width;
    }
}

fn list(page: &mut String, comparison: &Comparison, flips: &[Flip]) {
    if flips.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "<h2>Flipped verifications ({} of {})</h2><table><tr><th>verification</th><th>old</th>\
         <th>new</th><th>reason</th></tr>",
        flips.len(),
        comparison.flips
    );
    for flip in flips {
        let _ = write!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&flip.verification),
            flip.old,
            flip.new,
            escape(&flip.reason)
        );
    }
    page.push_str("</table>");
}

fn percent(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for reading")]
    let share = part as f64 / whole.max(1) as f64;
    share * 100.0
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
