//! Comparisons in words, for messages.

use crate::condition::{Bound, Leaf, Operator, Test};

/// What a field is where a comparison of it holds, or does not.
pub fn in_words(leaf: &Leaf, holds: bool) -> String {
    match &leaf.test {
        Test::Exists(wanted) if *wanted == holds => "there".to_owned(),
        Test::Exists(_) => "absent".to_owned(),
        Test::Member(wanted, bounds) if *wanted == holds => format!("one of {}", list(bounds)),
        Test::Member(_, bounds) => format!("none of {}", list(bounds)),
        Test::Contains(wanted, labels) if *wanted == holds => {
            format!("a set with any of {}", list(labels))
        }
        Test::Contains(_, labels) => format!("a set with none of {}", list(labels)),
        Test::Compare(operator, bound) => {
            let how = match if holds { *operator } else { operator.contrary() } {
                Operator::Eq => "",
                Operator::Ne => "other than ",
                Operator::Lt => "below ",
                Operator::Le => "at most ",
                Operator::Gt => "above ",
                Operator::Ge => "at least ",
            };
            format!("{how}{}", word(bound))
        }
    }
}

fn list(bounds: &[Bound]) -> String {
    let shown: Vec<String> = bounds.iter().take(8).map(word).collect();
    let more = if bounds.len() > 8 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn word(bound: &Bound) -> String {
    match bound {
        Bound::Flag(flag) => flag.to_string(),
        Bound::Whole(number) => number.to_string(),
        Bound::Score(score) => score.to_string(),
        Bound::Quality(quality) => quality.as_str().to_owned(),
        Bound::Text(text) => format!("\"{}\"", text.escape_debug()),
    }
}
