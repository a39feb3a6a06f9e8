//! Numbers as people read them: with at most two decimals. Where that is not all of a number, the exact
//! one is at hand.

use policy::decision::{Datum, Observation};

/// More decimals than this only where a number would seem to be on the other side of its bound.
const DECIMALS: usize = 2;

/// A text, and the same with exact numbers where those differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) text: String,
    pub(super) exact: Option<String>,
}

impl Figure {
    fn new(text: String, exact: String) -> Self {
        Self { exact: (exact != text).then_some(exact), text }
    }

    /// A value beside the bounds that it is compared with.
    pub(super) fn of(value: &Datum, bounds: &[f64]) -> Self {
        Self::new(rounded(value, bounds), datum(value))
    }

    /// `lowest_score 62.4 < 80`.
    pub(super) fn observed(of: &Observation) -> Self {
        let with = |value: Option<String>| {
            let value = value.unwrap_or_else(|| "–".to_owned());
            format!("{} {value} {} {}", of.field, symbol(&of.operator), datum(&of.bound))
        };
        let bounds = numbers(&of.bound);
        let value = of.value.as_ref();
        Self::new(with(value.map(|value| rounded(value, &bounds))), with(value.map(datum)))
    }
}

/// As it is.
pub(super) fn datum(of: &Datum) -> String {
    in_words(of, |number| number.to_string())
}

pub(super) fn symbol(operator: &str) -> &str {
    match operator {
        "eq" => "=",
        "ne" => "≠",
        "lt" => "<",
        "le" => "≤",
        "gt" => ">",
        "ge" => "≥",
        "in" => "∈",
        "not_in" => "∉",
        other => other,
    }
}

fn rounded(of: &Datum, bounds: &[f64]) -> String {
    in_words(of, |number| round(number, bounds).to_string())
}

fn in_words(of: &Datum, number_in_words: impl Fn(f64) -> String + Copy) -> String {
    match of {
        Datum::Flag(flag) => flag.to_string(),
        Datum::Whole(number) => number.to_string(),
        Datum::Number(number) => number_in_words(*number),
        Datum::Text(text) => text.clone(),
        Datum::List(list) => {
            let all = list.iter().map(|item| in_words(item, number_in_words));
            all.collect::<Vec<_>>().join(", ")
        }
    }
}

/// 89.996 stays below 90: what is shown never contradicts a comparison.
fn round(number: f64, bounds: &[f64]) -> f64 {
    let at =
        |decimals: usize| format!("{number:.decimals$}").parse::<f64>().unwrap_or(number) + 0.0;
    let agrees = |shown: &f64| {
        bounds.iter().all(|bound| shown.partial_cmp(bound) == number.partial_cmp(bound))
    };
    (DECIMALS..15).map(at).find(agrees).unwrap_or(number)
}

fn numbers(of: &Datum) -> Vec<f64> {
    match of {
        Datum::Number(number) => vec![*number],
        Datum::Whole(number) => number.to_string().parse().into_iter().collect(),
        Datum::List(list) => list.iter().flat_map(numbers).collect(),
        Datum::Flag(_) | Datum::Text(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(number: f64, bounds: &[f64]) -> (String, Option<String>) {
        let figure = Figure::of(&Datum::Number(number), bounds);
        (figure.text, figure.exact)
    }

    #[test]
    fn two_decimals_are_shown_and_the_rest_is_at_hand() {
        for (number, text) in [
            (88.0, "88"),
            (88.4, "88.4"),
            (88.36, "88.36"),
            (0.0, "0"),
            (100.0, "100"),
            (-3.5, "-3.5"),
        ] {
            assert_eq!(shown(number, &[90.0]), (text.to_owned(), None));
        }
        for (number, text) in [
            (88.361_549_377_441_4, "88.36"),
            (88.399_999, "88.4"),
            (72.996, "73"),
            (0.004, "0"),
            (-0.004, "0"),
        ] {
            assert_eq!(shown(number, &[90.0]), (text.to_owned(), Some(number.to_string())));
        }
    }

    #[test]
    fn a_rounded_number_stays_on_its_side_of_each_bound() {
        for (number, bounds, text) in [
            (89.996, &[90.0][..], "89.996"),
            (89.999_996, &[90.0], "89.999996"),
            (90.000_4, &[90.0], "90.0004"),
            (90.0, &[90.0], "90"),
            (0.004, &[0.005], "0"),
            (0.004_6, &[0.004_5], "0.005"),
            (89.996, &[60.0, 90.0], "89.996"),
        ] {
            assert_eq!(shown(number, bounds).0, text, "{number} {bounds:?}");
        }
    }

    #[test]
    fn observations_round_the_value_and_keep_the_bound() {
        let observed = |value: f64, bound: Datum| {
            Figure::observed(&Observation {
                field: "lowest_score".to_owned(),
                operator: "lt".to_owned(),
                bound,
                value: Some(Datum::Number(value)),
            })
        };
        let figure = observed(88.361_549_377_441_4, Datum::Number(90.125));
        assert_eq!(figure.text, "lowest_score 88.36 < 90.125");
        assert_eq!(figure.exact.as_deref(), Some("lowest_score 88.3615493774414 < 90.125"));
        let figure = observed(89.996, Datum::Whole(90));
        assert_eq!((figure.text.as_str(), figure.exact), ("lowest_score 89.996 < 90", None));
        assert_eq!(Figure::of(&Datum::Flag(true), &[]).text, "true");
        let list = Datum::List(vec![Datum::Number(1.237), Datum::Text("a".to_owned())]);
        assert_eq!(Figure::of(&list, &[]).text, "1.24, a");
    }
}
