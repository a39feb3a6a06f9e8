//! Scores over time: how they are distributed, what a threshold means by the vendor's table, and
//! whether two periods differ.

use std::collections::BTreeMap;

use serde::Serialize;
use time::Date;

use crate::compare::whole_points;
use crate::evidence::{Evidence, Product};
use crate::product::ProviderOutcome;

/// Every score by name, those of `verify-result` first.
pub const SCORES: [&str; 7] =
    ["authority", "face", "id_card_face", "verify", "id_card", "quality", "attack"];
/// Those that compare two faces, so that a threshold between 0 and 100 makes sense.
const COMPARISONS: [&str; 5] = ["authority", "face", "id_card_face", "verify", "id_card"];

/// The vendor's table: false accepts per comparison with another person's face, at a threshold.
/// (`DescribeVerifyResult`, on the scores.) There is none for the scores of `face-verify`.
const VENDOR: [(f64, f64); 4] = [(60.0, 0.01), (80.0, 0.001), (90.0, 0.000_1), (95.0, 0.000_01)];
/// Bins of a score when two periods are compared: the usual ten.
const BINS: usize = 10;
/// The largest number of histograms.
const MOST_GROUPS: usize = 20_000;

/// How often another person's face would pass at a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FalseAccepts {
    /// In the table, or between two of its lines on a logarithmic scale.
    Rate(f64),
    /// Above the table's last line: fewer than this; how many fewer the vendor does not say.
    Below(f64),
    /// Below its first line: more than this.
    Above(f64),
}

/// By the vendor's table. Between two thresholds the logarithm of the rate is taken to be linear,
/// as the table itself nearly is; beyond its ends nothing is invented.
pub fn false_accepts(threshold: f64) -> Option<FalseAccepts> {
    if !(0.0..=100.0).contains(&threshold) {
        return None;
    }
    let (first, last) = (VENDOR[0], VENDOR[VENDOR.len() - 1]);
    if threshold < first.0 {
        return Some(FalseAccepts::Above(first.1));
    }
    if threshold > last.0 {
        return Some(FalseAccepts::Below(last.1));
    }
    VENDOR.windows(2).find(|pair| threshold <= pair[1].0).map(|pair| {
        let ((from, low), (to, high)) = (pair[0], pair[1]);
        let share = (threshold - from) / (to - from);
        FalseAccepts::Rate((low.ln() + share * (high.ln() - low.ln())).exp())
    })
}

/// The scores of one histogram.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group {
    /// The scene.
    pub biz_type: String,
    /// Monday of the week of the answer, ISO 8601.
    pub week: String,
    /// The product; left out for `verify-result`.
    #[serde(skip_serializing_if = "Product::is_default")]
    pub product: Product,
    /// The status of `verify-result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// The code of `face-verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether the provider says that the person passed; `None`: it says neither.
    #[serde(skip)]
    pub passed: Option<bool>,
    /// One of [`SCORES`]. The attack score is counted in hundredths.
    pub score: &'static str,
}

/// Histograms of scores, in whole points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Answers seen.
    pub answers: u64,
    /// Answers skipped because their persons were erased.
    pub erased: u64,
    /// One histogram of 0 to 100 for each group.
    pub histograms: BTreeMap<Group, Vec<u64>>,
    /// Those who passed with a score between the two thresholds, if two were given: what moving one
    /// to the other flips. Only scores that compare faces.
    pub moved: BTreeMap<&'static str, u64>,
    /// From the lower threshold on, below the higher one.
    between: Option<(f64, f64)>,
}

impl Calibration {
    /// One that also counts what a threshold flips when it is moved.
    pub fn between(threshold: f64, moved_to: f64) -> Self {
        let between = Some((threshold.min(moved_to), threshold.max(moved_to)));
        Self { between, ..Self::default() }
    }

    /// Counts one answer.
    pub fn add(&mut self, evidence: &Evidence, day: Date) {
        self.answers += 1;
        let monday = day - time::Duration::days(i64::from(day.weekday().number_days_from_monday()));
        let week =
            format!("{:04}-{:02}-{:02}", monday.year(), u8::from(monday.month()), monday.day());
        let scores = evidence.scores;
        let scores = [
            scores.authority,
            scores.face,
            scores.id_card_face,
            scores.verify,
            scores.id_card,
            scores.quality,
            scores.attack.map(|share| share * 100.0),
        ];
        let outcome = evidence.provider_outcome();
        let passed = outcome.map(|outcome| outcome == ProviderOutcome::Passed);
        for (name, score) in SCORES.into_iter().zip(scores) {
            let Some((score, bin)) = score.and_then(|score| Some((score, whole_points(score)?)))
            else {
                continue;
            };
            let moves = COMPARISONS.contains(&name) && passed == Some(true);
            if self.between.is_some_and(|(low, high)| moves && (low..high).contains(&score)) {
                *self.moved.entry(name).or_default() += 1;
            }
            let group = Group {
                biz_type: evidence.biz_type.clone(),
                week: week.clone(),
                product: evidence.product,
                status: evidence.verify_status,
                code: evidence.code.clone(),
                passed,
                score: name,
            };
            if self.histograms.len() < MOST_GROUPS || self.histograms.contains_key(&group) {
                self.histograms.entry(group).or_insert_with(|| vec![0; 101])[bin] += 1;
            }
        }
    }

    /// The histograms of one score by week, added up, earliest first.
    pub fn by_week(&self, score: &str) -> BTreeMap<&str, Vec<u64>> {
        let mut weeks: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (group, histogram) in self.histograms.iter().filter(|(group, _)| group.score == score) {
            let sum = weeks.entry(&group.week).or_insert_with(|| vec![0; 101]);
            for (sum, count) in sum.iter_mut().zip(histogram) {
                *sum += count;
            }
        }
        weeks
    }

    /// All histograms whose group fits, added up.
    pub fn sum(&self, fits: impl Fn(&Group) -> bool) -> Vec<u64> {
        let mut sum = vec![0; 101];
        for (_, histogram) in self.histograms.iter().filter(|(group, _)| fits(group)) {
            for (bin, count) in histogram.iter().enumerate() {
                sum[bin] += count;
            }
        }
        sum
    }
}

/// Population stability index of two histograms of whole points: 0 where they are alike; by custom
/// 0.1 is worth a look and 0.25 an alarm. `None` where one of them is empty.
pub fn stability(before: &[u64], now: &[u64]) -> Option<f64> {
    let (before, now) = (deciles(before), deciles(now));
    let share = |bins: &[u64; BINS]| -> Option<[f64; BINS]> {
        let total: u64 = bins.iter().sum();
        // Half a case in each bin keeps an empty one from deciding everything.
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        (total > 0).then(|| bins.map(|n| (n as f64 + 0.5) / (total as f64 + 0.5 * BINS as f64)))
    };
    let (before, now) = (share(&before)?, share(&now)?);
    Some(before.iter().zip(now).map(|(b, n)| (n - b) * (n / b).ln()).sum())
}

fn deciles(histogram: &[u64]) -> [u64; BINS] {
    let mut bins = [0; BINS];
    for (point, count) in histogram.iter().enumerate() {
        bins[(point / 10).min(BINS - 1)] += count;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_table_is_met_and_between_its_lines_rates_fall() {
        for (threshold, rate) in VENDOR {
            let Some(FalseAccepts::Rate(found)) = false_accepts(threshold) else { panic!() };
            assert!((found / rate - 1.0).abs() < 1e-9, "{threshold}");
        }
        let rate = |threshold| match false_accepts(threshold) {
            Some(FalseAccepts::Rate(rate)) => rate,
            other => panic!("{other:?}"),
        };
        let rates: Vec<f64> = (60..=95).map(|n| rate(f64::from(n))).collect();
        assert!(rates.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((rate(70.0) / 0.01_f64.sqrt() / 0.001_f64.sqrt() - 1.0).abs() < 1e-9);
        assert_eq!(false_accepts(99.0), Some(FalseAccepts::Below(0.000_01)));
        assert_eq!(false_accepts(10.0), Some(FalseAccepts::Above(0.01)));
        assert_eq!((false_accepts(101.0), false_accepts(f64::NAN)), (None, None));
    }

    #[test]
    fn periods_that_are_alike_are_stable_and_others_are_not() {
        let mut high = vec![0; 101];
        high[95] = 900;
        high[85] = 100;
        let double: Vec<u64> = high.iter().map(|n| n * 2).collect();
        assert!(stability(&high, &double).unwrap() < 0.01);
        let mut low = vec![0; 101];
        low[95] = 500;
        low[65] = 500;
        assert!(stability(&high, &low).unwrap() > 0.25);
        assert_eq!(stability(&high, &vec![0; 101]), None);
    }

    #[test]
    fn both_products_are_counted_apart() {
        let mut calibration = Calibration::between(50.0, 60.0);
        let first = crate::tests::evidence(1, [Some(55.0), None, None]);
        let mut second = crate::tests::face_verify(Some(true), Some("210"));
        second.scores.verify = Some(55.0);
        second.scores.quality = Some(55.0);
        second.scores.attack = Some(0.25);
        let mut failed = crate::tests::face_verify(Some(false), Some("204"));
        failed.scores.verify = Some(55.0);
        for evidence in [&first, &second, &failed] {
            calibration.add(evidence, time::macros::date!(2026 - 11 - 25));
        }
        assert_eq!(calibration.moved, BTreeMap::from([("authority", 1), ("verify", 1)]));
        let groups: Vec<String> = calibration
            .histograms
            .keys()
            .map(|group| serde_json::to_string(group).unwrap())
            .collect();
        let old =
            r#"{"biz_type":"RPBasicTest","week":"2026-11-23","status":1,"score":"authority"}"#;
        assert!(groups.contains(&old.to_owned()), "{groups:?}");
        assert_eq!(groups.len(), 5);
        let attack = calibration.sum(|group| group.score == "attack");
        assert_eq!(attack[25], 1);
        let passed = calibration.sum(|group| group.score == "verify" && group.passed == Some(true));
        assert_eq!(passed.iter().sum::<u64>(), 1);
    }

    #[test]
    fn a_moved_threshold_flips_exactly_what_lies_between() {
        let count = |from, to| {
            let mut calibration = Calibration::between(from, to);
            for (status, score) in
                [(1, 89.49), (1, 89.5), (1, 89.7), (1, 89.9), (1, 90.0), (7, 89.6)]
            {
                let mut evidence = crate::tests::evidence(status, [None, Some(score), None]);
                evidence.biz_type = "a".to_owned();
                calibration.add(&evidence, time::macros::date!(2026 - 11 - 25));
            }
            calibration.moved.get("face").copied().unwrap_or(0)
        };
        assert_eq!((count(89.5, 89.9), count(89.9, 89.5)), (2, 2));
        assert_eq!((count(90.0, 100.0), count(95.0, 100.0)), (1, 0));
    }
}
