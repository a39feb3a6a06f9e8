//! The calendar by which cards expire and people come of age.

use time::macros::offset;
use time::{Date, OffsetDateTime};

/// The date in China. The cards are Chinese, and so is the provider's calendar.
pub(super) fn in_china(at: OffsetDateTime) -> Date {
    // Fails only within a day of the year 9999.
    at.checked_to_offset(offset!(+8)).unwrap_or(at).date()
}

/// Birthdays up to and including that day; nothing for the unborn.
pub(super) fn whole_years(birth: Date, day: Date) -> Option<i64> {
    let had_birthday = (u8::from(day.month()), day.day()) >= (u8::from(birth.month()), birth.day());
    let years = i64::from(day.year()) - i64::from(birth.year()) - i64::from(!had_birthday);
    Some(years).filter(|years| *years >= 0)
}
