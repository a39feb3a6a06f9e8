//! The edges at which the days left on a card are stored. A date with an exact number of days would
//! reveal the expiry date of the card.

/// The published edges, in ascending order. No two are closer than a week: an interval of one day
/// would still be the date.
pub const CARD_DAYS_EDGES: [i64; 17] =
    [-36_500, -365, -180, -90, -30, -7, 0, 7, 14, 30, 60, 90, 180, 365, 730, 1825, 3650];

/// The highest edge that a number of days reaches. Anything below the lowest edge counts as the
/// lowest edge.
pub fn highest_edge_reached(days: i64) -> i64 {
    let reached = CARD_DAYS_EDGES.partition_point(|edge| *edge <= days);
    CARD_DAYS_EDGES[reached.saturating_sub(1)]
}

/// The edges just below and just above a number of days that is no edge; `None` for an edge.
pub fn neighbouring_edges(days: i64) -> Option<(Option<i64>, Option<i64>)> {
    if CARD_DAYS_EDGES.contains(&days) {
        return None;
    }
    let above = CARD_DAYS_EDGES.partition_point(|edge| *edge <= days);
    let below = above.checked_sub(1).and_then(|below| CARD_DAYS_EDGES.get(below));
    Some((below.copied(), CARD_DAYS_EDGES.get(above).copied()))
}

/// The edge after this one; `None` for the highest.
pub fn next_edge(edge: i64) -> Option<i64> {
    CARD_DAYS_EDGES.into_iter().find(|other| *other > edge)
}

/// All edges, for messages: `-36500, -365, …`.
pub fn list_of_edges() -> String {
    CARD_DAYS_EDGES.map(|edge| edge.to_string()).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_with_an_edge_is_stable_under_rounding() {
        for days in -40_000..5_000 {
            let stored = highest_edge_reached(days);
            assert!(CARD_DAYS_EDGES.contains(&stored), "{days}");
            assert_eq!(highest_edge_reached(stored), stored, "{days}");
            for edge in CARD_DAYS_EDGES.into_iter().skip(1) {
                assert_eq!((days >= edge, days < edge), (stored >= edge, stored < edge), "{days}");
            }
        }
    }

    #[test]
    fn no_interval_is_narrower_than_a_week() {
        assert!(CARD_DAYS_EDGES.windows(2).all(|pair| pair[1] - pair[0] >= 7));
    }

    #[test]
    fn a_number_between_two_edges_is_told_both() {
        assert_eq!(neighbouring_edges(30), None);
        assert_eq!(neighbouring_edges(45), Some((Some(30), Some(60))));
        assert_eq!(neighbouring_edges(-1), Some((Some(-7), Some(0))));
        assert_eq!(neighbouring_edges(9_999), Some((Some(3650), None)));
        assert_eq!(neighbouring_edges(-99_999), Some((None, Some(-36_500))));
        assert_eq!((next_edge(30), next_edge(3650)), (Some(60), None));
    }
}
