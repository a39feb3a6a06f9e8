//! Checks comparisons of `card_days_left`, which is stored as the highest edge reached: a bound
//! between two edges would silently mean one of them.

use crate::card_days::{list_of_edges, neighbouring_edges, next_edge};
use crate::condition::{Bound, Condition, Leaf, Operator, Test};
use crate::diagnostics::Diagnostics;
use crate::field::Field;
use crate::rule::LocatedRule;

/// Complains about bounds that are no edges, and warns of operators that mean another number of
/// days than they say.
pub fn check(diagnostics: &mut Diagnostics, located: &LocatedRule) {
    for (place, leaf) in located.rule.when.leaves().into_iter().enumerate() {
        if leaf.field != Field::CardDaysLeft {
            continue;
        }
        let span = located.comparison(place);
        if let Some(days) = bounds(leaf).find(|days| neighbouring_edges(*days).is_some()) {
            diagnostics.error::<()>(span, no_edge(days));
        } else if let Some(message) = misleading(leaf) {
            diagnostics.warn(span, message);
        }
    }
}

/// Whether a condition compares `card_days_left` with a number that is no edge.
pub fn compares_between_edges(condition: &Condition) -> bool {
    let card = |leaf: &&Leaf| leaf.field == Field::CardDaysLeft;
    let leaves = condition.leaves();
    leaves.into_iter().filter(card).flat_map(bounds).any(|days| neighbouring_edges(days).is_some())
}

fn bounds(leaf: &Leaf) -> impl Iterator<Item = i64> {
    leaf.bounds().iter().filter_map(|bound| match bound {
        Bound::Whole(days) => Some(*days),
        _ => None,
    })
}

fn no_edge(days: i64) -> String {
    let use_instead = match neighbouring_edges(days) {
        Some((Some(below), Some(above))) => format!("use {below} or {above}"),
        Some((Some(only), None) | (None, Some(only))) => format!("use {only}"),
        _ => "use an edge".to_owned(),
    };
    format!(
        "`card_days_left` is stored as the highest edge reached, and {days} is no edge: \
         {use_instead} (the edges are {})",
        list_of_edges()
    )
}

/// Why a comparison with an edge holds for more days than it names.
fn misleading(leaf: &Leaf) -> Option<String> {
    let edge = match &leaf.test {
        Test::Compare(Operator::Lt | Operator::Ge, _) | Test::Exists(_) => return None,
        Test::Compare(_, Bound::Whole(edge)) => *edge,
        Test::Compare(..) | Test::Member(..) | Test::Contains(..) => {
            return Some(OF_MANY_DAYS.to_owned());
        }
    };
    let Some(next) = next_edge(edge) else { return Some(OF_MANY_DAYS.to_owned()) };
    Some(format!(
        "`card_days_left` is stored as the highest edge reached: {edge} stands for {edge} to {} \
         days; say which with `lt` and `ge` and one of {edge} and {next}",
        next - 1
    ))
}

const OF_MANY_DAYS: &str = "`card_days_left` is stored as the highest edge reached: each edge \
     stands for all days up to the next one; compare with `lt` and `ge`";
