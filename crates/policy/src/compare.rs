//! Comparison of two policies: old outcomes against new ones, counted in constant memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::Date;

use crate::decision::{Decision, Outcome};
use crate::evidence::Evidence;

/// Kinds of flip that are counted separately; more are counted together.
const MOST_KINDS: usize = 200;
/// Days that are counted separately; earlier and later ones are counted together at the ends.
const MOST_DAYS: usize = 1500;

/// How two policies compare over many cases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    /// Cases.
    pub decisions: u64,
    /// Cases with another outcome.
    pub flips: u64,
    /// Cases skipped because their persons were erased; counted nowhere else.
    pub erased: u64,
    /// How many of each old outcome (row) have each new one (column), mildest first.
    pub matrix: [[u64; 4]; 4],
    /// The same by persons; `None`: an earlier version counted a part of it, without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<People>,
    /// Flips by what they are and why: `reject → review: score-too-low`.
    pub kinds: BTreeMap<String, u64>,
    /// Cases and flips by day of the answer, ISO 8601.
    pub days: BTreeMap<String, (u64, u64)>,
    /// Cases by lowest score, whole points: 0 to 100.
    pub scores: Vec<u64>,
    /// Flips by lowest score.
    pub flipped_scores: Vec<u64>,
    /// Cases of `face-verify` by `verify_score`, whole points: 0 to 100; empty where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verify_scores: Vec<u64>,
    /// Flips by `verify_score`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flipped_verify_scores: Vec<u64>,
}

/// How two policies compare over the persons behind the cases. A person with several cases counts
/// once, by the last one: that is the outcome the person was left with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct People {
    /// Persons.
    pub count: u64,
    /// Persons whose last case has another outcome.
    pub flips: u64,
    /// As [`Comparison::matrix`].
    pub matrix: [[u64; 4]; 4],
}

impl People {
    fn add(&mut self, old: Outcome, new: Outcome) {
        self.count += 1;
        self.flips += u64::from(old != new);
        self.matrix[old as usize][new as usize] += 1;
    }
}

impl Comparison {
    /// A comparison that counts persons as well. One that has counted cases without them, as earlier
    /// versions do, goes on without them: a part would be a wrong number.
    #[must_use]
    pub fn with_people(mut self) -> Self {
        if self.decisions == 0 {
            self.people.get_or_insert_default();
        }
        self
    }

    /// The matrix by names: how many of each old outcome have each new one.
    pub fn by_name(&self) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
        let names = Outcome::ALL.map(Outcome::as_str);
        let row = |counts: &[u64; 4]| names.into_iter().zip(counts.iter().copied()).collect();
        names.into_iter().zip(self.matrix.iter().map(row)).collect()
    }

    /// Counts the person behind a case that is the last one about this person.
    pub fn add_person(&mut self, old: Outcome, new: Outcome) {
        if let Some(people) = &mut self.people {
            people.add(old, new);
        }
    }

    /// Counts one case; answers whether its outcome differs.
    pub fn add(&mut self, old: Outcome, new: &Decision, evidence: &Evidence, day: Date) -> bool {
        let flipped = old != new.outcome;
        self.decisions += 1;
        self.flips += u64::from(flipped);
        self.matrix[old as usize][new.outcome as usize] += 1;
        self.scores.resize(101, 0);
        self.flipped_scores.resize(101, 0);
        if let Some(bin) = evidence.lowest_score().and_then(whole_points) {
            self.scores[bin] += 1;
            self.flipped_scores[bin] += u64::from(flipped);
        }
        if let Some(bin) = evidence.scores.verify.and_then(whole_points) {
            self.verify_scores.resize(101, 0);
            self.flipped_verify_scores.resize(101, 0);
            self.verify_scores[bin] += 1;
            self.flipped_verify_scores[bin] += u64::from(flipped);
        }
        self.count_day(day, flipped);
        if flipped {
            let code = new.reasons.first().map_or("", |reason| reason.code.as_str());
            let kind = format!("{old} → {}: {code}", new.outcome);
            let known = self.kinds.contains_key(&kind) || self.kinds.len() < MOST_KINDS;
            let kind = if known { kind } else { "others".to_owned() };
            *self.kinds.entry(kind).or_default() += 1;
        }
        flipped
    }

    fn count_day(&mut self, day: Date, flipped: bool) {
        // Cases come in the order of time: mostly the last day again.
        let iso = iso(day);
        if self.days.len() < MOST_DAYS || self.days.contains_key(&iso) {
            let counts = self.days.entry(iso).or_default();
            counts.0 += 1;
            counts.1 += u64::from(flipped);
        }
    }
}

/// `None` for what is no score.
pub fn whole_points(score: f64) -> Option<usize> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100 by the check before"
    )]
    (0.0..=100.0).contains(&score).then(|| score.floor() as usize)
}

fn iso(day: Date) -> String {
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;
    use crate::tests::{evidence, face_verify};

    #[test]
    fn scores_of_both_products_are_counted_apart() {
        let mut comparison = Comparison::default();
        let review = Decision { outcome: Outcome::Review, reasons: Vec::new() };
        let first = evidence(1, [Some(97.5), None, None]);
        comparison.add(Outcome::Approve, &review, &first, date!(2026 - 11 - 25));
        let stored = serde_json::to_value(&comparison).unwrap();
        assert!(stored.get("verify_scores").is_none(), "as before: {stored}");
        let mut second = face_verify(Some(true), Some("200"));
        second.scores.verify = Some(88.5);
        comparison.add(Outcome::Review, &review, &second, date!(2026 - 11 - 25));
        assert_eq!((comparison.decisions, comparison.flips), (2, 1));
        assert_eq!((comparison.scores[97], comparison.flipped_scores[97]), (1, 1));
        assert_eq!((comparison.verify_scores[88], comparison.flipped_verify_scores[88]), (1, 0));
        assert_eq!(comparison.scores.iter().sum::<u64>(), 1);
        let again = serde_json::to_value(&comparison).unwrap();
        assert_eq!(serde_json::from_value::<Comparison>(again).unwrap(), comparison);
    }

    #[test]
    fn people_are_counted_apart_from_cases_or_not_at_all() {
        let approve = Decision { outcome: Outcome::Approve, reasons: Vec::new() };
        let seen = evidence(1, [Some(97.5), None, None]);
        let mut comparison = Comparison::default().with_people();
        for is_last in [false, false, true] {
            comparison.add(Outcome::Review, &approve, &seen, date!(2026 - 11 - 25));
            if is_last {
                comparison.add_person(Outcome::Review, approve.outcome);
            }
        }
        comparison.add_person(Outcome::Reject, Outcome::Reject);
        assert_eq!((comparison.decisions, comparison.flips), (3, 3));
        let people = comparison.people.clone().unwrap();
        assert_eq!((people.count, people.flips), (2, 1));
        assert_eq!((people.matrix[2][0], people.matrix[3][3]), (1, 1));
        assert_eq!(people.matrix.iter().flatten().sum::<u64>(), people.count);
        // An earlier version drops what it does not know, and goes on: then nobody is counted.
        let mut without = serde_json::to_value(&comparison).unwrap();
        without.as_object_mut().unwrap().remove("people");
        let mut without = serde_json::from_value::<Comparison>(without).unwrap().with_people();
        without.add_person(Outcome::Review, Outcome::Approve);
        assert_eq!(without.people, None);
        let empty = serde_json::from_str::<Comparison>("{}").unwrap().with_people();
        assert_eq!(empty.people, Some(People::default()));
    }
}
