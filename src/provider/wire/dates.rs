//! The dates on a card.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};
use time::{Date, OffsetDateTime};

/// Both forms the provider writes: today's documents, and those of 2019.
const FORMS: [&[BorrowedFormatItem<'_>]; 2] =
    [format_description!("[year][month][day]"), format_description!("[year]-[month]-[day]")];

/// A date on a card, and the text it was read from: a card may say 长期 (long-term), or a
/// recognition error.
#[derive(Clone)]
pub struct CardDate {
    /// As it came.
    pub text: SecretString,
    /// The date, if the text is one.
    pub date: Option<Date>,
}

impl fmt::Debug for CardDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardDate").finish_non_exhaustive()
    }
}

impl CardDate {
    pub(super) fn read(text: SecretString) -> Self {
        let written = text.expose_secret();
        // Years have four digits here; the parser would also take a sign.
        let date = FORMS
            .iter()
            .find_map(|form| Date::parse(written, form).ok())
            .filter(|_| written.starts_with(|c: char| c.is_ascii_digit()));
        Self { text, date }
    }
}

/// The date in China at that moment. The cards are Chinese, and so is the provider's calendar.
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
