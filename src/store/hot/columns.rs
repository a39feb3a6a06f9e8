//! Columns of many rows, as the arrays that statements take.

/// The values, or an empty array where no row has one: `unnest` fills it up with nulls, and the
/// statement looks nothing up.
pub(super) fn or_none<T>(values: &[Option<T>]) -> &[Option<T>] {
    if values.iter().any(Option::is_some) { values } else { &[] }
}
