//! Bars with their axes, as numbers for an inline SVG. Pure.
//!
//! Heights are to scale: the dark part of a bar is the flips among its decisions. A part that would be
//! too thin to see is drawn a little higher.

use std::fmt::Write;

use time::macros::format_description;
use time::{Date, Duration};

use super::numbers::grouped;

/// The picture, in its own units: room for the labels, and the bars within.
pub(super) const WIDTH: f64 = 790.0;
pub(super) const HEIGHT: f64 = 240.0;
pub(super) const LEFT: f64 = 64.0;
pub(super) const TOP: f64 = 34.0;
/// Seven units for each of 101 scores.
pub(super) const INNER: f64 = 707.0;
pub(super) const BOTTOM: f64 = 196.0;

/// The thinnest part that can be seen.
const THINNEST: f64 = 1.5;
/// The widest bar: one day alone is no wall.
const WIDEST: f64 = 48.0;
/// Bars of days, at most.
const MOST_BARS: i64 = 62;
/// Dates below them, at most.
const MOST_DATES: usize = 7;

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: Place,
    pub(super) text: String,
}

/// A bound of a policy, drawn over the bars.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) at: Place,
    pub(super) text: String,
    /// Of the candidate; else of the policy it is compared with.
    pub(super) is_new: bool,
}

/// A coordinate with one digit behind the point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place(pub(super) f64);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounded = (self.0 * 10.0).round() / 10.0;
        write!(f, "{rounded}")
    }
}

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chart {
    /// Outlines of all bars, and of the flips in them.
    pub(super) all: String,
    pub(super) flipped: String,
    pub(super) x: Vec<Tick>,
    pub(super) y: Vec<Tick>,
    pub(super) bounds: Vec<Bound>,
}

/// Decisions and flips by whole points of a score: the bar of 60 begins at 60 and ends before 61, so
/// that a bound is drawn between what is below and what reaches it.
pub(super) fn of_scores(decisions: &[u64], flips: &[u64], old: &[f64], new: &[f64]) -> Chart {
    let bars: Vec<(u64, u64)> =
        (0..101).map(|point| (at(decisions, point), at(flips, point))).collect();
    let place = |score: f64| Place(LEFT + score * INNER / 101.0);
    let ticks = (0..=10).map(|ten| {
        let score = f64::from(ten) * 10.0;
        Tick { at: place(score), text: score.to_string() }
    });
    let line = |is_new: bool| {
        move |bound: &f64| Bound { at: place(*bound), text: bound.to_string(), is_new }
    };
    let shown = |bound: &&f64| (0.0..=100.0).contains(*bound);
    let bounds = old.iter().filter(shown).map(line(false));
    let bounds = bounds.chain(new.iter().filter(shown).map(line(true))).collect();
    drawn(&bars, ticks.collect(), bounds)
}

/// Decisions and flips by time, and how many days a bar stands for. Days without decisions keep their
/// place.
pub(super) fn of_days(days: &[(Date, (u64, u64))]) -> Option<(Chart, i64)> {
    let (first, last) = (days.first()?.0, days.last()?.0);
    let span = (last - first).whole_days() + 1;
    let each = [1, 7, 14, 28].into_iter().find(|each| span <= each * MOST_BARS);
    let each = each.unwrap_or_else(|| (span + MOST_BARS - 1) / MOST_BARS);
    let count = usize::try_from((span + each - 1) / each).ok()?;
    let mut bars = vec![(0, 0); count];
    for (day, (decisions, flips)) in days {
        let bar = usize::try_from((*day - first).whole_days() / each).ok()?;
        bars[bar].0 += decisions;
        bars[bar].1 += flips;
    }
    let every = count.div_ceil(MOST_DATES);
    let width = width_of(count);
    let ticks = (0_u32..).zip(0..count).step_by(every).map(|(bar, _)| Tick {
        at: Place(LEFT + f64::from(bar) * width),
        text: iso(first + Duration::days(i64::from(bar) * each)),
    });
    Some((drawn(&bars, ticks.collect(), Vec::new()), each))
}

fn at(counts: &[u64], point: usize) -> u64 {
    counts.get(point).copied().unwrap_or(0)
}

/// `2026-11-27`.
pub(super) fn iso(day: Date) -> String {
    day.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

/// Days as comparisons count them.
pub(super) fn day(iso: &str) -> Option<Date> {
    Date::parse(iso, format_description!("[year]-[month]-[day]")).ok()
}

fn drawn(bars: &[(u64, u64)], x: Vec<Tick>, bounds: Vec<Bound>) -> Chart {
    let most = bars.iter().map(|(decisions, _)| *decisions).max().unwrap_or(0);
    let marks = scale(most);
    let top = marks.last().copied().unwrap_or(1);
    let height = |count: u64| share(count, top) * (BOTTOM - TOP);
    let y = marks
        .iter()
        .map(|mark| Tick { at: Place(BOTTOM - height(*mark)), text: grouped(*mark) })
        .collect();
    let width = width_of(bars.len());
    let (mut all, mut flipped) = (String::new(), String::new());
    let mut left = LEFT;
    for (decisions, flips) in bars {
        outline(&mut all, left, width, height(*decisions));
        outline(&mut flipped, left, width, height(*flips));
        left += width;
    }
    Chart { all, flipped, x, y, bounds }
}

fn width_of(bars: usize) -> f64 {
    INNER / f64::from(u32::try_from(bars.max(1)).unwrap_or(u32::MAX))
}

fn outline(path: &mut String, left: f64, width: f64, height: f64) {
    if height > 0.0 {
        let (left, width) = (Place(left), Place((width - 0.5).clamp(0.5, WIDEST)));
        let height = Place(height.max(THINNEST));
        let _ = write!(path, "M{left} {BOTTOM}v-{height}h{width}v{height}z");
    }
}

/// Round numbers from 0 to the first that is not less than the greatest count: at most five steps.
fn scale(most: u64) -> Vec<u64> {
    let most = most.max(1);
    let mut unit = 1_u64;
    let step = 'found: loop {
        for factor in [1, 2, 5] {
            if most.div_ceil(unit * factor) <= 5 {
                break 'found unit * factor;
            }
        }
        unit *= 10;
    };
    (0..=most.div_ceil(step)).map(|n| n * step).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    fn counts(of: &[(usize, u64)]) -> Vec<u64> {
        let mut counts = vec![0; 101];
        for (point, count) in of {
            counts[*point] = *count;
        }
        counts
    }

    /// Left edge, width and height of each bar.
    fn bars(path: &str) -> Vec<(f64, f64, f64)> {
        let number = |text: &str| text.parse::<f64>().unwrap();
        let bar = |bar: &str| {
            let (left, rest) = bar.split_once(' ').unwrap();
            let (height, rest) = rest.split_once("v-").unwrap().1.split_once('h').unwrap();
            (number(left), number(rest.split_once('v').unwrap().0), number(height))
        };
        path.split('M').skip(1).map(bar).collect()
    }

    #[test]
    fn counts_have_a_scale_of_round_numbers_that_reaches_the_greatest() {
        for (most, marks) in [
            (0, vec![0, 1]),
            (1, vec![0, 1]),
            (3, vec![0, 1, 2, 3]),
            (7, vec![0, 2, 4, 6, 8]),
            (100, vec![0, 20, 40, 60, 80, 100]),
            (101, vec![0, 50, 100, 150]),
            (12_345, vec![0, 5000, 10_000, 15_000]),
        ] {
            assert_eq!(scale(most), marks, "{most}");
        }
        let chart = of_scores(&counts(&[(50, 1204)]), &[], &[], &[]);
        let texts: Vec<_> = chart.y.iter().map(|tick| tick.text.as_str()).collect();
        assert_eq!(texts, ["0", "500", "1,000", "1,500"]);
        assert_eq!(
            (chart.y[0].at, chart.y[3].at, chart.y[1].at.to_string()),
            (Place(BOTTOM), Place(TOP), "142".to_owned())
        );
    }

    #[test]
    fn bars_are_as_high_as_their_mark_and_the_flips_a_part_of_it() {
        let chart = of_scores(&counts(&[(59, 100), (60, 40)]), &counts(&[(60, 10)]), &[], &[]);
        let whole = BOTTOM - TOP;
        let all = bars(&chart.all);
        assert_eq!((all.len(), all[0].2), (2, whole));
        assert!((all[1].2 - whole * 0.4).abs() < 0.06, "{all:?}");
        let flipped = bars(&chart.flipped);
        assert_eq!((flipped.len(), flipped[0].0), (1, all[1].0));
        assert!((flipped[0].2 - whole * 0.1).abs() < 0.06, "{flipped:?}");
        // One among very many can be seen.
        let rare = of_scores(&counts(&[(60, 1_000_000)]), &counts(&[(60, 1)]), &[], &[]);
        assert_eq!(Place(bars(&rare.flipped)[0].2), Place(THINNEST));
    }

    #[test]
    fn a_bound_is_drawn_where_the_bar_of_its_points_begins() {
        let chart = of_scores(&counts(&[(60, 1), (100, 1)]), &[], &[80.0, 250.0], &[60.0, 62.5]);
        let all = bars(&chart.all);
        let bound = |text: &str| chart.bounds.iter().find(|bound| bound.text == text).unwrap();
        assert_eq!((bound("60").at.0, bound("60").is_new), (all[0].0, true));
        assert!(!bound("80").is_new);
        assert_eq!(bound("62.5").at, Place(LEFT + 62.5 * 7.0));
        assert_eq!(chart.bounds.len(), 3, "nothing outside of the axis");
        // The axis names the same places.
        let tick = chart.x.iter().find(|tick| tick.text == "60").unwrap();
        assert_eq!(tick.at, bound("60").at);
        // A full score still lies within the picture.
        assert_eq!(Place(all[1].0), Place(LEFT + 700.0));
        assert!(all[1].0 + all[1].1 <= LEFT + INNER);
    }

    #[test]
    fn days_without_decisions_keep_their_place() {
        let (chart, each) = of_days(&[
            (date!(2026 - 11 - 01), (10, 1)),
            (date!(2026 - 11 - 02), (20, 0)),
            (date!(2026 - 11 - 10), (5, 5)),
        ])
        .unwrap();
        let all = bars(&chart.all);
        let width = INNER / 10.0;
        assert_eq!((each, all.len()), (1, 3));
        assert!((all[2].0 - (LEFT + 9.0 * width)).abs() < 0.06, "{all:?}");
        assert_eq!(chart.x[0].text, "2026-11-01");
        assert_eq!(chart.x[1].text, "2026-11-03");
        assert!((chart.x[1].at.0 - (LEFT + 2.0 * width)).abs() < 1e-9);
        assert_eq!(of_days(&[]), None);
    }

    #[test]
    fn a_long_time_is_shown_by_weeks_and_loses_nothing() {
        let first = date!(2026 - 01 - 01);
        let days: Vec<_> = (0..63).map(|n| (first + Duration::days(n), (1, 0))).collect();
        let (chart, each) = of_days(&days[..62]).unwrap();
        assert_eq!((each, bars(&chart.all).len()), (1, 62));
        let (chart, each) = of_days(&days).unwrap();
        let all = bars(&chart.all);
        assert_eq!((each, all.len()), (7, 9));
        assert_eq!(chart.y.last().unwrap().text, "8");
        let expected = (BOTTOM - TOP) * 7.0 / 8.0;
        assert!(all.iter().all(|bar| (bar.2 - expected).abs() < 0.06), "{all:?}");
        let years = [(first, (1, 0)), (first + Duration::days(5000), (1, 1))];
        let (chart, each) = of_days(&years).unwrap();
        assert!(each > 28 && bars(&chart.all).len() == 2 && chart.x.len() <= MOST_DATES);
    }
}
