//! A comparison as a self-contained page: no script, no external host, embedded charts.

use std::fmt::{self, Write};

use crate::compare::Comparison;
use crate::decision::Outcome;

/// Size of a picture, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;

/// One flipped case, for the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The verification.
    pub verification: String,
    pub old: Outcome,
    pub new: Outcome,
    /// The reason that weighs most.
    pub reason: String,
}

/// The scope of a backtest: the candidate, the period and the scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Name of the candidate.
    pub candidate: String,
    /// Its digest.
    pub digest: String,
    /// Answers from then on; `None`: from the first.
    pub since: Option<String>,
    /// Answers before then; `None`: to the last.
    pub until: Option<String>,
    /// Answers of this scene; `None`: of all.
    pub biz_type: Option<String>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.as_deref().unwrap_or("the first");
        let until = self
            .until
            .as_deref()
            .map_or_else(|| "to the last".to_owned(), |until| format!("to those before {until}"));
        let scene = self
            .biz_type
            .as_deref()
            .map_or_else(|| "in all scenes".to_owned(), |scene| format!("in the scene {scene}"));
        write!(
            f,
            "Answers from {since} on {until}, {scene}. Old: what the policy that was active then \
             decided. New: what {} ({}) makes of the same evidence.",
            self.candidate, self.digest
        )
    }
}

/// Bounds of scores, to be drawn in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Of the policy that is active now.
    pub old: Vec<f64>,
    /// Of the one that was tried.
    pub new: Vec<f64>,
    /// Of `verify_score`, in the same order.
    pub of_verify_score: (Vec<f64>, Vec<f64>),
}

/// The page. `flips` may be the first of many.
pub fn html(
    subject: &Subject,
    comparison: &Comparison,
    thresholds: &Thresholds,
    flips: &[Flip],
) -> String {
    let mut page = String::new();
    let title = escape(&format!("Backtest of {} ({})", subject.candidate, subject.digest));
    let subject = escape(&subject.to_string());
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>\
         body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse;margin:1rem 0}}td,th{{border:1px solid #bbb;padding:.3rem .7rem;\
         text-align:right}}th{{background:#f2f2f2}}.same{{background:#eef7ee}}.flip{{background:#fdeeee}}\
         svg{{width:100%;height:auto}}code{{font-size:90%}}h1{{overflow-wrap:anywhere}}</style>\
         <h1>{title}</h1><p>{subject}</p><p>{} decisions, {} with another outcome ({:.2} %). Each answer \
         of the provider counts as one decision, so a person with several answers counts several \
         times.</p>",
        comparison.decisions,
        comparison.flips,
        percent(comparison.flips, comparison.decisions)
    );
    if comparison.erased > 0 {
        let _ = write!(
            page,
            "<p>{} more were skipped: their persons were erased.</p>",
            comparison.erased
        );
    }
    matrix(&mut page, comparison);
    kinds(&mut page, comparison);
    histograms(&mut page, comparison, thresholds);
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
        "<h2>What flips, and why</h2><table><tr><th>flip: new reason</th><th>decisions</th></tr>",
    );
    let mut kinds: Vec<_> = comparison.kinds.iter().collect();
    kinds.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (kind, count) in kinds {
        let _ = write!(page, "<tr><td>{}</td><td>{count}</td></tr>", escape(kind));
    }
    page.push_str("</table>");
}

fn histograms(page: &mut String, comparison: &Comparison, thresholds: &Thresholds) {
    page.push_str(
        "<h2>Lowest scores; flips dark</h2><p>Thresholds of the policy tried are red, those of the \
         active one grey and broken. Heights go by the square root of the number of decisions; the dark \
         part of a bar is the share that flips.</p>",
    );
    let both = (&comparison.scores[..], &comparison.flipped_scores[..]);
    histogram(page, "lowest score", both, (&thresholds.old[..], &thresholds.new[..]));
    // Scores of another scale must not be mixed with those of the first product.
    let both = (&comparison.verify_scores[..], &comparison.flipped_verify_scores[..]);
    if !both.0.is_empty() {
        page.push_str("<h2>Verify scores of face-verify; flips dark</h2>");
        let (old, new) = &thresholds.of_verify_score;
        histogram(page, "verify score", both, (&old[..], &new[..]));
    }
}

fn histogram(
    page: &mut String,
    what: &str,
    (scores, flipped): (&[u64], &[u64]),
    (old, new): (&[f64], &[f64]),
) {
    let bars: Vec<(u64, u64)> = scores.iter().zip(flipped).map(|(n, f)| (*n, *f)).collect();
    open_svg(page, &format!("Histogram of {what}s, 0 to 100"));
    draw(page, &bars);
    // The bar of a whole point begins where the point is.
    let place = |score: f64| score / 101.0 * WIDTH;
    let lines = [(old, "#777", " stroke-dasharray=\"4 3\"", 24), (new, "#c00", "", 12)];
    for (bounds, colour, dashes, y) in lines {
        for threshold in bounds.iter().filter(|threshold| (0.0..=100.0).contains(*threshold)) {
            let x = place(*threshold);
            let _ = write!(
                page,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{HEIGHT}\" stroke=\"{colour}\"{dashes}/>\
                 <text x=\"{:.1}\" y=\"{y}\" font-size=\"11\" fill=\"{colour}\">{threshold}</text>",
                x + 3.0
            );
        }
    }
    let ticks = (0..=10).map(|ten| (place(f64::from(ten) * 10.0), (ten * 10).to_string()));
    x_axis(page, ticks, what);
    y_axis(page, &bars);
    page.push_str("</svg>");
}

fn days(page: &mut String, comparison: &Comparison) {
    let days: Vec<(u64, u64)> = comparison.days.values().copied().collect();
    let (Some(first), Some(last)) = (comparison.days.keys().next(), comparison.days.keys().last())
    else {
        return;
    };
    let _ = write!(page, "<h2>By day, {first} to {last}; flips dark</h2>");
    open_svg(page, "Decisions and flips by day");
    draw(page, &days);
    let width = bar_width(days.len());
    // As many dates as can be read beside each other.
    let every = days.len().div_ceil(7);
    let ticks = comparison.days.keys().zip(0_u32..).step_by(every);
    x_axis(page, ticks.map(|(day, n)| (f64::from(n) * width, day.clone())), "day of the answer");
    y_axis(page, &days);
    page.push_str("</svg>");
}

/// Room for the labels beside and below.
const LEFT: f64 = 64.0;
const BELOW: f64 = 40.0;

fn open_svg(page: &mut String, label: &str) {
    let _ = write!(
        page,
        "<svg viewBox=\"-{LEFT} -6 {} {}\" role=\"img\" aria-label=\"{label}\" font-size=\"11\">",
        WIDTH + LEFT + 24.0,
        HEIGHT + BELOW + 6.0
    );
}

fn x_axis(page: &mut String, ticks: impl Iterator<Item = (f64, String)>, label: &str) {
    let _ = write!(
        page,
        "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\" stroke=\"#555\"/>\
         <text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
        HEIGHT + 34.0
    );
    for (x, text) in ticks {
        let _ = write!(
            page,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEIGHT}\" y2=\"{}\" stroke=\"#555\"/>\
             <text x=\"{x:.1}\" y=\"{}\">{}</text>",
            HEIGHT + 5.0,
            HEIGHT + 18.0,
            escape(&text)
        );
    }
}

/// The axis of decisions: nothing, the greatest number, and the whole number whose place on the
/// square-root scale is nearest to the middle.
fn y_axis(page: &mut String, bars: &[(u64, u64)]) {
    let most = bars.iter().map(|(decisions, _)| *decisions).max().unwrap_or(0).max(1);
    let _ = write!(page, "<line x1=\"0\" x2=\"0\" y1=\"0\" y2=\"{HEIGHT}\" stroke=\"#555\"/>");
    let mut ticks = vec![0, nearest_to_middle(most), most];
    ticks.dedup();
    for decisions in ticks {
        let y = HEIGHT - root(decisions) / root(most) * HEIGHT;
        let _ = write!(
            page,
            "<line x1=\"-4\" x2=\"0\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#555\"/>\
             <text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{decisions}</text>",
            y + 4.0
        );
    }
    let _ =
        write!(page, "<text x=\"0\" y=\"{}\" text-anchor=\"end\">decisions</text>", HEIGHT + 34.0);
}

/// Half as high is a quarter as many, which need not be a whole number.
fn nearest_to_middle(most: u64) -> u64 {
    let middle = root(most) / 2.0;
    let distance = |n: u64| (root(n) - middle).abs();
    let below = most / 4;
    if distance(below + 1) < distance(below) { (below + 1).min(most) } else { below }
}

#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn root(n: u64) -> f64 {
    (n as f64).sqrt()
}

fn bar_width(bars: usize) -> f64 {
    WIDTH / f64::from(u32::try_from(bars.max(1)).unwrap_or(u32::MAX))
}

/// Bars of decisions, by the square root of their number, so that few show beside many. Roots of
/// parts do not add up to the root of their sum, so the dark part of a bar is the share of its
/// height that flips have in its decisions.
fn draw(page: &mut String, bars: &[(u64, u64)]) {
    let most = bars.iter().map(|(decisions, _)| root(*decisions)).fold(1.0, f64::max);
    let width = bar_width(bars.len());
    let mut x = 0.0;
    for (decisions, flips) in bars {
        let whole = root(*decisions) / most * HEIGHT;
        // However few they are, they can be seen.
        let part = (whole * percent(*flips, *decisions) / 100.0).max(1.0).min(whole);
        let dark = if *flips == 0 { 0.0 } else { part };
        for (height, colour) in [(whole, "#9bc"), (dark, "#358")] {
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
        "<h2>Flipped decisions ({} of {}), by verification</h2><table><tr><th>verification</th><th>old</th>\
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

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(candidate: &str) -> Subject {
        Subject {
            candidate: candidate.to_owned(),
            digest: "sha256:1".to_owned(),
            since: Some("2026-10-01T00:00:00Z".to_owned()),
            until: None,
            biz_type: None,
        }
    }

    fn page_of(bars: &[(usize, u64, u64)]) -> String {
        let mut comparison = Comparison { decisions: 5, flips: 1, ..Comparison::default() };
        (comparison.scores, comparison.flipped_scores) = (vec![0; 101], vec![0; 101]);
        for (score, decisions, flips) in bars {
            comparison.scores[*score] = *decisions;
            comparison.flipped_scores[*score] = *flips;
        }
        let thresholds = Thresholds { old: vec![90.0], new: vec![60.0], ..Thresholds::default() };
        html(&subject("x"), &comparison, &thresholds, &[])
    }

    #[test]
    fn the_page_says_what_its_pictures_show() {
        let mut comparison = Comparison { decisions: 5, flips: 1, ..Comparison::default() };
        comparison.scores = vec![0; 101];
        comparison.flipped_scores = vec![0; 101];
        (comparison.scores[95], comparison.scores[70]) = (4, 1);
        comparison.flipped_scores[70] = 1;
        comparison.days.insert("2026-11-25".to_owned(), (5, 1));
        let thresholds = Thresholds { old: vec![90.0], new: vec![60.0], ..Thresholds::default() };
        let page = html(&subject("<b> & \"c\""), &comparison, &thresholds, &[]);
        // Both policies' bounds, told apart.
        assert!(
            page.contains("fill=\"#c00\">60</text>") && page.contains("fill=\"#777\">90</text>")
        );
        assert!(page.contains("stroke-dasharray"));
        // Axes: what they are of, with numbers.
        for label in
            [">lowest score<", ">decisions<", ">day of the answer<", ">2026-11-25<", ">100<", ">4<"]
        {
            assert!(page.contains(label), "{label}");
        }
        assert!(page.contains("h1{overflow-wrap:anywhere}"), "a digest has no blanks to break at");
        assert!(
            page.contains("Backtest of &lt;b&gt; &amp; &quot;c&quot;") && !page.contains("<b>")
        );
        // The period, and both sides of the comparison.
        for said in
            ["Answers from 2026-10-01T00:00:00Z on to the last, in all scenes", "active then"]
        {
            assert!(page.contains(said), "{said}");
        }
    }

    #[test]
    fn scores_of_the_second_product_have_a_picture_of_their_own() {
        let mut comparison = Comparison { decisions: 5, flips: 1, ..Comparison::default() };
        let page = |comparison: &Comparison| {
            let of_verify_score = (vec![50.0], vec![55.5]);
            let thresholds = Thresholds { of_verify_score, ..Thresholds::default() };
            html(&subject("x"), comparison, &thresholds, &[])
        };
        assert!(!page(&comparison).contains("verify score"));
        (comparison.verify_scores, comparison.flipped_verify_scores) = (vec![1; 101], vec![0; 101]);
        let page = page(&comparison);
        for said in [">verify score<", "fill=\"#c00\">55.5</text>", "fill=\"#777\">50</text>"] {
            assert_eq!(page.matches(said).count(), 1, "{said}");
        }
    }

    #[test]
    fn the_middle_tick_stands_where_its_number_is() {
        for (most, ticks) in
            [(1, vec![0, 1]), (2, vec![0, 1, 2]), (5, vec![0, 1, 5]), (400, vec![0, 100, 400])]
        {
            let page = page_of(&[(50, most, 0)]);
            for tick in ticks {
                let y = HEIGHT - root(tick) / root(most) * HEIGHT + 4.0;
                let text = format!("y=\"{y:.1}\" text-anchor=\"end\">{tick}</text>");
                assert_eq!(page.matches(&text).count(), 1, "{tick} of {most}");
            }
        }
    }

    #[test]
    fn the_dark_part_of_a_bar_is_the_share_of_flips() {
        let page = page_of(&[(50, 100, 25), (60, 25, 0)]);
        let heights = |colour: &str| -> Vec<f64> {
            let bars = page.split("<rect").filter(|bar| bar.contains(colour));
            let height = |bar: &str| bar.split("height=\"").nth(1)?.split('"').next()?.parse().ok();
            bars.filter_map(height).collect()
        };
        assert_eq!(heights("#9bc"), [HEIGHT, HEIGHT / 2.0]);
        assert_eq!(heights("#358"), [HEIGHT / 4.0]);
    }
}
