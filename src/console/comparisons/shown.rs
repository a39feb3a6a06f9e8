//! A comparison as the template shows it: the same in the console and in the report of the command
//! line.

use super::chart::{self, Chart};
use super::numbers::{grouped, percent};
use super::sentence;
use crate::console::figures::{Figure, symbol};
use crate::console::texts::{Phrase, Texts};
use crate::domain::user::Language;
use policy::Policy;
use policy::compare::Comparison;
use policy::decision::{Outcome, Reason};
use policy::field::Field;

/// Kinds of change that are listed; the others are summed up.
const MOST_KINDS: usize = 15;

/// The scores that the first chart is about.
const LOWEST: [Field; 4] =
    [Field::LowestScore, Field::AuthorityScore, Field::FaceScore, Field::IdCardFaceScore];

/// Everything that the template `comparison.html` shows.
pub(super) struct Shown {
    pub(super) sentence: String,
    pub(super) people_sentence: Option<String>,
    pub(super) erased: Option<String>,
    /// Decisions, then persons if they were counted.
    pub(super) tables: Vec<MatrixShown>,
    pub(super) has_people: bool,
    pub(super) kinds: Vec<KindShown>,
    pub(super) charts: Vec<ChartShown>,
}

/// Old outcomes (rows) against new ones (columns).
pub(super) struct MatrixShown {
    pub(super) id: &'static str,
    pub(super) title: Phrase,
    pub(super) rows: Vec<RowShown>,
    pub(super) totals: [Cell; 4],
    pub(super) total: String,
}

pub(super) struct RowShown {
    pub(super) outcome: Phrase,
    pub(super) cells: [Cell; 4],
    pub(super) total: String,
    pub(super) share: String,
}

pub(super) struct Cell {
    pub(super) count: String,
    pub(super) share: String,
    /// `same`, `flip`, or `none`.
    pub(super) class: &'static str,
}

pub(super) struct KindShown {
    /// `None`: the kinds that were counted together.
    pub(super) change: Option<(Phrase, Phrase)>,
    pub(super) reason: String,
    pub(super) count: String,
    pub(super) share: String,
}

pub(super) struct ChartShown {
    pub(super) id: &'static str,
    pub(super) title: String,
    /// The picture in words, for people who do not see it.
    pub(super) label: String,
    pub(super) x_label: Phrase,
    pub(super) chart: Chart,
    /// The name of a policy, its comparisons, and whether it is the candidate.
    pub(super) legend: Vec<(String, String, bool)>,
    /// Scores by tens: which, decisions, flips.
    pub(super) bands: Vec<(String, String, String)>,
}

/// One decision with another outcome.
pub(super) struct FlipShown {
    pub(super) at: String,
    pub(super) machine: String,
    pub(super) verification: String,
    /// A link to it, for those who may open it.
    pub(super) href: Option<String>,
    pub(super) old: (Phrase, &'static str),
    pub(super) old_reason: String,
    pub(super) new: (Phrase, &'static str),
    pub(super) reasons: Vec<(String, Vec<Figure>)>,
    /// Why the evidence is not shown.
    pub(super) hidden: Option<Phrase>,
}

/// The reasons that decide an outcome, each with what its rule saw.
pub(super) fn reasons_shown(reasons: &[Reason], outcome: Outcome) -> Vec<(String, Vec<Figure>)> {
    let deciding = reasons.iter().filter(|reason| reason.outcome == outcome);
    deciding
        .map(|reason| (reason.code.clone(), reason.observed.iter().map(Figure::observed).collect()))
        .collect()
}

/// The policies whose bounds are drawn.
#[derive(Clone, Copy)]
pub(super) struct Policies<'a> {
    pub(super) candidate: Option<&'a Policy>,
    pub(super) active: Option<&'a Policy>,
}

impl Shown {
    pub(super) fn of(language: Language, comparison: &Comparison, policies: Policies<'_>) -> Self {
        let texts = Texts::of(language);
        let t = &texts.comparison;
        let mut tables = vec![matrix(texts, ("decisions", t.decisions), &comparison.matrix)];
        let counted = comparison.people.as_ref();
        tables.extend(counted.map(|people| matrix(texts, ("people", t.people), &people.matrix)));
        let erased = comparison.erased;
        Self {
            sentence: sentence::decisions(language, comparison),
            people_sentence: sentence::people(language, counted),
            erased: (erased > 0).then(|| t.erased.with("n", grouped(erased)).to_string()),
            tables,
            has_people: counted.is_some() || comparison.decisions == 0,
            kinds: kinds(texts, comparison),
            charts: charts(texts, comparison, policies),
        }
    }
}

fn matrix(
    texts: &'static Texts,
    (id, title): (&'static str, Phrase),
    counts: &[[u64; 4]; 4],
) -> MatrixShown {
    let all: u64 = counts.iter().flatten().sum();
    let rows = Outcome::ALL.into_iter().zip(counts).map(|(outcome, row)| {
        let total: u64 = row.iter().sum();
        RowShown {
            outcome: texts.words.outcome(outcome),
            cells: Outcome::ALL.map(|new| {
                let count = row[new as usize];
                let class = match (count, new == outcome) {
                    (0, _) => "none",
                    (_, true) => "same",
                    (_, false) => "flip",
                };
                Cell { count: grouped(count), share: percent(count, total), class }
            }),
            total: grouped(total),
            share: percent(total, all),
        }
    });
    MatrixShown {
        id,
        title,
        rows: rows.collect(),
        totals: Outcome::ALL.map(|new| {
            let count: u64 = counts.iter().map(|row| row[new as usize]).sum();
            Cell { count: grouped(count), share: percent(count, all), class: "" }
        }),
        total: grouped(all),
    }
}

/// The most frequent first.
fn kinds(texts: &'static Texts, comparison: &Comparison) -> Vec<KindShown> {
    let t = &texts.comparison;
    let mut kinds: Vec<(&str, u64)> =
        comparison.kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let flips = comparison.flips;
    let share = |count: u64| percent(count, flips);
    let mut shown: Vec<KindShown> = kinds
        .iter()
        .take(MOST_KINDS)
        .map(|(kind, count)| {
            let (change, reason) = parted(texts, kind);
            let reason = if change.is_some() { reason } else { t.others.to_string() };
            KindShown { change, reason, count: grouped(*count), share: share(*count) }
        })
        .collect();
    let rest = kinds.get(MOST_KINDS..).unwrap_or_default();
    if !rest.is_empty() {
        let count = rest.iter().map(|(_, count)| count).sum();
        let more = t.more_kinds.with("n", grouped(count)).with("kinds", rest.len());
        let (reason, count, share) = (more.to_string(), grouped(count), share(count));
        shown.push(KindShown { change: None, reason, count, share });
    }
    shown
}

/// `review → approve: provider-passed`, as comparisons count it.
fn parted(texts: &'static Texts, kind: &str) -> (Option<(Phrase, Phrase)>, String) {
    let parts = || {
        let (change, reason) = kind.split_once(": ")?;
        let (old, new) = change.split_once(" → ")?;
        let outcome = |name: &str| Some(texts.words.outcome(Outcome::parse(name)?));
        Some(((outcome(old)?, outcome(new)?), reason.to_owned()))
    };
    parts().map_or((None, String::new()), |(change, reason)| (Some(change), reason))
}

fn charts(
    texts: &'static Texts,
    comparison: &Comparison,
    policies: Policies<'_>,
) -> Vec<ChartShown> {
    let t = &texts.comparison;
    let mut charts = Vec::new();
    let lowest = (&comparison.scores[..], &comparison.flipped_scores[..]);
    if lowest.0.iter().any(|count| *count > 0) {
        let words = ("lowest", t.lowest, t.lowest_axis);
        charts.push(of_scores(texts, words, lowest, (policies, &LOWEST)));
    }
    // Scores of another scale must not be mixed with those of the first product.
    let verify = (&comparison.verify_scores[..], &comparison.flipped_verify_scores[..]);
    if verify.0.iter().any(|count| *count > 0) {
        let words = ("verify", t.verify, t.verify_axis);
        charts.push(of_scores(texts, words, verify, (policies, &[Field::VerifyScore])));
    }
    charts.extend(of_days(texts, comparison));
    charts
}

fn of_scores(
    texts: &'static Texts,
    (id, title, x_label): (&'static str, Phrase, Phrase),
    (decisions, flips): (&[u64], &[u64]),
    (policies, fields): (Policies<'_>, &[Field]),
) -> ChartShown {
    let t = &texts.comparison;
    let bounds = |policy: Option<&Policy>| {
        let mut found: Vec<f64> = fields
            .iter()
            .filter_map(|field| Some(policy?.score_comparisons(*field)))
            .flatten()
            .map(|(_, bound, _)| bound)
            .collect();
        found.sort_by(f64::total_cmp);
        found.dedup();
        found
    };
    let in_words = |policy: &Policy| {
        let comparisons = fields.iter().flat_map(|field| {
            policy.score_comparisons(*field).into_iter().map(|(operator, bound, outcome)| {
                let outcome = texts.words.outcome(outcome);
                format!("{} {} {bound} → {outcome}", field.name(), symbol(operator))
            })
        });
        let all = comparisons.collect::<Vec<_>>().join(" · ");
        if all.is_empty() { t.no_bounds.to_string() } else { all }
    };
    let named = |policy: Option<&Policy>, name: Phrase, is_new: bool| {
        let policy = policy?;
        let name = name.with("name", policy.name()).to_string();
        Some((name, in_words(policy), is_new))
    };
    let legend = [
        named(policies.candidate, t.bounds_new, true),
        named(policies.active, t.bounds_old, false),
    ];
    let sum =
        |counts: &[u64], from: usize, to: usize| -> u64 { counts.iter().take(to).skip(from).sum() };
    let bands = (0..=90).step_by(10).map(|from| {
        let to = if from == 90 { 101 } else { from + 10 };
        let name = if from == 90 { "90–100".to_owned() } else { format!("{from}–{}", to - 1) };
        (name, grouped(sum(decisions, from, to)), grouped(sum(flips, from, to)))
    });
    ChartShown {
        id,
        title: title.to_string(),
        label: t
            .chart_says
            .with("decisions", grouped(sum(decisions, 0, 101)))
            .with("first", 0)
            .with("last", 100)
            .with("flips", grouped(sum(flips, 0, 101)))
            .to_string(),
        x_label,
        chart: chart::of_scores(
            decisions,
            flips,
            &bounds(policies.active),
            &bounds(policies.candidate),
        ),
        legend: legend.into_iter().flatten().collect(),
        bands: bands.collect(),
    }
}

fn of_days(texts: &'static Texts, comparison: &Comparison) -> Option<ChartShown> {
    let t = &texts.comparison;
    let days: Vec<_> = comparison
        .days
        .iter()
        .filter_map(|(day, counts)| Some((chart::day(day)?, *counts)))
        .collect();
    let (first, last) = (days.first()?.0, days.last()?.0);
    let (chart, each) = chart::of_days(&days)?;
    let sum = |of: fn(&(u64, u64)) -> u64| grouped(days.iter().map(|(_, counts)| of(counts)).sum());
    let label = t.chart_says.with("decisions", sum(|counts| counts.0));
    let label = label.with("first", chart::iso(first)).with("last", chart::iso(last));
    Some(ChartShown {
        id: "days",
        title: if each == 1 { t.by_day.to_string() } else { t.by_days.with("n", each).to_string() },
        label: label.with("flips", sum(|counts| counts.1)).to_string(),
        x_label: t.day_axis,
        chart,
        legend: Vec::new(),
        bands: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::compare::People;

    fn shown(comparison: &Comparison) -> Shown {
        let nothing = Policies { candidate: None, active: None };
        Shown::of(Language::En, comparison, nothing)
    }

    #[test]
    fn matrix_adds_up_by_rows_and_columns_with_shares() {
        let matrix = [[1201, 0, 0, 3], [0, 7, 0, 0], [118, 0, 46, 2], [0, 0, 0, 40]];
        let people = Some(People {
            count: 3,
            flips: 1,
            matrix: [[1, 0, 0, 0], [0; 4], [1, 0, 1, 0], [0; 4]],
        });
        let decisions = matrix.iter().flatten().sum();
        let shown = shown(&Comparison { decisions, matrix, people, ..Comparison::default() });
        let [decisions, people] = &shown.tables[..] else { panic!("two tables") };
        let totals = |table: &MatrixShown| {
            let rows: Vec<_> = table.rows.iter().map(|row| row.total.clone()).collect();
            (
                rows.join(" "),
                table.totals.each_ref().map(|cell| cell.count.clone()).join(" "),
                table.total.clone(),
            )
        };
        assert_eq!(
            totals(decisions),
            ("1,204 7 166 40".into(), "1,319 7 46 45".into(), "1,417".into())
        );
        assert_eq!(totals(people), ("1 0 2 0".into(), "2 0 1 0".into(), "3".into()));
        let review = &decisions.rows[2];
        assert_eq!((review.cells[0].share.as_str(), review.cells[0].class), ("71.1 %", "flip"));
        assert_eq!((review.cells[2].class, review.cells[1].class), ("same", "none"));
        assert_eq!(
            (review.share.as_str(), decisions.totals[0].share.as_str()),
            ("11.7 %", "93.1 %")
        );
        assert!(shown.has_people);
    }

    #[test]
    fn kinds_beyond_the_listed_ones_are_summed_up() {
        let mut comparison = Comparison { decisions: 300, flips: 200, ..Comparison::default() };
        for n in 0..17 {
            comparison.kinds.insert(format!("review → approve: reason-{n:02}"), 11 - (n / 16));
        }
        comparison.kinds.insert("others".to_owned(), 14);
        let kinds = shown(&comparison).kinds;
        assert_eq!(kinds.len(), MOST_KINDS + 1);
        assert_eq!((kinds[0].reason.as_str(), kinds[0].count.as_str()), ("other changes", "14"));
        let (old, new) = kinds[1].change.unwrap();
        assert_eq!(
            (old.as_str(), new.as_str(), kinds[1].share.as_str()),
            ("Review", "Approve", "5.5 %")
        );
        // Fourteen of seventeen are listed: two of 11 and one of 10 are left.
        let last = kinds.last().unwrap();
        assert_eq!((last.reason.as_str(), last.count.as_str()), ("32 more, of 3 kinds", "32"));
    }

    #[test]
    fn both_policies_bounds_are_named_and_products_kept_apart() {
        const DEFAULT: &str = include_str!("../../../config/policy.toml");
        let active = Policy::load(DEFAULT).unwrap();
        let end = DEFAULT.find("[[example]]").unwrap();
        let milder = DEFAULT[..end].replace("= \"default\"", "= \"milder\"");
        let milder = milder.replace("\"far-0.01%\" }", "\"far-1%\" }");
        let candidate = Policy::load(&milder).unwrap();
        let mut comparison = Comparison { decisions: 2, ..Comparison::default() };
        (comparison.scores, comparison.flipped_scores) = (vec![0; 101], vec![0; 101]);
        (comparison.scores[89], comparison.scores[90], comparison.flipped_scores[89]) = (7, 5, 7);
        let policies = Policies { candidate: Some(&candidate), active: Some(&active) };
        let charts = Shown::of(Language::Zh, &comparison, policies).charts;
        assert_eq!(charts.len(), 1, "no days, and nothing of face-verify");
        let lowest = &charts[0];
        let bounds: Vec<_> =
            lowest.chart.bounds.iter().map(|bound| (bound.text.as_str(), bound.is_new)).collect();
        assert_eq!(bounds, [("90", false), ("60", true)]);
        assert_eq!(lowest.legend[0].0, "milder（候选）");
        assert!(lowest.legend[0].1.contains("lowest_score < 60 → 人工审核"), "{:?}", lowest.legend);
        assert!(lowest.legend[1].1.contains("lowest_score < 90 → 人工审核"), "{:?}", lowest.legend);
        assert_eq!(lowest.bands[8], ("80–89".to_owned(), "7".to_owned(), "7".to_owned()));
        assert_eq!(lowest.bands[9], ("90–100".to_owned(), "5".to_owned(), "0".to_owned()));
        (comparison.verify_scores, comparison.flipped_verify_scores) = (vec![1; 101], vec![0; 101]);
        let charts = Shown::of(Language::En, &comparison, policies).charts;
        assert_eq!(charts.iter().map(|chart| chart.id).collect::<Vec<_>>(), ["lowest", "verify"]);
    }
}
