//! Columns of many rows, as the arrays that statements take.

/// An empty array where no row has such a value: `unnest` fills it up, and no value is looked for.
pub(super) fn or_none<T>(values: &[Option<T>]) -> &[Option<T>] {
    if values.iter().any(Option::is_some) { values } else { &[] }
}
