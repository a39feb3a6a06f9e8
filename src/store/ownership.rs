//! Which source a verification `v` belongs to, in SQL.
//!
//! `verifications.source` says it. Where that is null the row was written by a binary that did not
//! know the column, so it belongs to the source of its earliest callback; or the API started it
//! without naming a source, so it is anybody's until the first callback.

/// The source of the earliest callback that is kept.
macro_rules! earliest_source {
    () => {
        "(select c.source from callbacks c where c.verification_id = v.id
          order by c.received_at, c.source, c.message_id limit 1)"
    };
}

/// Whether a source may touch it: it owns it, or shares a group with the owner. `$shared` holds
/// `owner source` for the latter.
///
/// Old rows may have lost their callbacks to the retention clock, which keeps every callback for a
/// day at least. So one of the last day that has none never had any; of an older one that once had
/// some nobody knows the owner, and nobody gets it.
macro_rules! within_reach {
    ($source:literal, $at:literal, $shared:literal) => {
        concat!(
            "case when v.source is not null
                then v.source = ",
            $source,
            "
                    or v.source || ' ' || ",
            $source,
            " = any (",
            $shared,
            ")
                else coalesce(
                    (select c.source = ",
            $source,
            "
                        or c.source || ' ' || ",
            $source,
            " = any (",
            $shared,
            ")
                     from callbacks c where c.verification_id = v.id
                     order by c.received_at, c.source, c.message_id limit 1),
                    v.callbacks = 0 or v.created_at > ",
            $at,
            " - interval '1 day')
                end"
        )
    };
}

pub(super) use {earliest_source, within_reach};
