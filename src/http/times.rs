//! Times in query parameters and bodies.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

/// Times beyond the years that a database can hold, in any offset, become the first or the last of
/// these years: "before 9999" means no limit.
pub(super) fn time(text: &str) -> Result<OffsetDateTime, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "must be a time, like 2026-11-23T09:30:00Z")?;
    let last = datetime!(9998-12-31 23:59:59 UTC);
    let first = datetime!(0001-01-01 0:00 UTC);
    let utc = time.checked_to_offset(time::UtcOffset::UTC);
    Ok(utc.unwrap_or(if time.year() > 0 { last } else { first }).clamp(first, last))
}
