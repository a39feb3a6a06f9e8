//! What a comparison comes to, in sentences: "118 of 166 reviews would be approved …". Pure.

use super::numbers::grouped;
use crate::console::texts::Texts;
use crate::domain::user::Language;
use policy::compare::{Comparison, People};
use policy::decision::Outcome;

/// The changes of decisions, the most frequent first, each with its total.
pub fn decisions(language: Language, comparison: &Comparison) -> String {
    let t = &Texts::of(language).comparison;
    if comparison.decisions == 0 {
        return t.nothing_there.to_string();
    }
    let mut changes = Vec::new();
    for (old, row) in Outcome::ALL.into_iter().zip(&comparison.matrix) {
        let total: u64 = row.iter().sum();
        let elsewhere = Outcome::ALL.into_iter().zip(row).filter(|(new, n)| *new != old && **n > 0);
        changes.extend(elsewhere.map(|(new, n)| (*n, total, old, new)));
    }
    if changes.is_empty() {
        return t.nothing_changes.with("total", grouped(comparison.decisions)).to_string();
    }
    changes.sort_by_key(|change| std::cmp::Reverse(change.0));
    let clause = |(n, total, old, new): (u64, u64, Outcome, Outcome)| {
        let clause = t.clause.with("n", grouped(n)).with("total", grouped(total));
        clause.with("what", t.decided(old, total)).with("end", t.instead(new)).to_string()
    };
    joined(language, changes.into_iter().map(clause).collect())
}

/// The same for persons; `None`: they were not counted, or there are none.
pub fn people(language: Language, people: Option<&People>) -> Option<String> {
    let t = &Texts::of(language).comparison;
    let people = people.filter(|people| people.count > 0)?;
    Some(match (people.flips, people.count) {
        (1, 1) => t.one_person_changes.to_string(),
        (flips, count) => {
            t.people_change.with("n", grouped(flips)).with("total", grouped(count)).to_string()
        }
    })
}

fn joined(language: Language, mut clauses: Vec<String>) -> String {
    let (comma, and, stop) = match language {
        Language::En => (", ", " and ", "."),
        Language::Zh => ("；", "；", "。"),
    };
    let last = clauses.pop().unwrap_or_default();
    let rest = clauses.join(comma);
    let and = if rest.is_empty() { "" } else { and };
    format!("{rest}{and}{last}{stop}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(matrix: [[u64; 4]; 4]) -> Comparison {
        Comparison { decisions: matrix.iter().flatten().sum(), matrix, ..Comparison::default() }
    }

    fn both(matrix: [[u64; 4]; 4]) -> [String; 2] {
        [Language::En, Language::Zh].map(|language| decisions(language, &of(matrix)))
    }

    #[test]
    fn it_says_what_would_change_and_of_how_many() {
        let matrix = [[1201, 0, 0, 3], [0, 7, 0, 0], [118, 0, 46, 2], [0, 0, 0, 40]];
        assert_eq!(
            both(matrix),
            [
                "118 of 166 reviews would be approved, 3 of 1,204 approvals would be rejected and \
                 2 of 166 reviews would be rejected.",
                "166 个“人工审核”中有 118 个会变为“通过”；1,204 个“通过”中有 3 个会变为“拒绝”；\
                 166 个“人工审核”中有 2 个会变为“拒绝”。",
            ]
        );
    }

    #[test]
    fn every_change_is_named_and_one_is_one() {
        let mut matrix = [[0; 4]; 4];
        matrix[1][2] = 1;
        assert_eq!(
            both(matrix),
            ["1 of 1 retry would be sent to review.", "1 个“重试”中有 1 个会变为“人工审核”。"]
        );
        let all = both([[1; 4]; 4]);
        for text in all {
            assert_eq!(text.matches('4').count(), 12, "{text}");
        }
    }

    #[test]
    fn nothing_changes_or_nothing_is_there() {
        let mut matrix = [[0; 4]; 4];
        assert_eq!(
            both(matrix),
            ["There is no decision here to compare.", "此范围内没有可对比的决定。"]
        );
        matrix[0][0] = 1;
        assert_eq!(
            both(matrix),
            [
                "Nothing would change: the one decision stays as it is.",
                "不会有任何变化：仅有的一个决定保持不变。",
            ]
        );
        matrix[2][2] = 1999;
        assert_eq!(
            both(matrix),
            [
                "Nothing would change: all 2,000 decisions stay as they are.",
                "不会有任何变化：全部 2,000 个决定保持不变。",
            ]
        );
    }

    #[test]
    fn people_are_counted_in_a_sentence_of_their_own() {
        let said = |count, flips| {
            let counted = People { count, flips, ..People::default() };
            [Language::En, Language::Zh].map(|language| people(language, Some(&counted)))
        };
        assert_eq!(
            said(1140, 98).map(Option::unwrap),
            [
                "98 of 1,140 people would be left with another outcome.",
                "1,140 人中有 98 人的最终结果会不同。",
            ]
        );
        assert_eq!(
            said(1, 1)[0].as_deref(),
            Some("The one person would be left with another outcome.")
        );
        assert_eq!(
            said(1, 0)[0].as_deref(),
            Some("0 of 1 person would be left with another outcome.")
        );
        assert_eq!(said(0, 0), [None, None]);
        assert_eq!(people(Language::En, None), None);
    }
}
