//! The dates on a card.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use time::{Date, Month};

use crate::text::folding;

/// Years that a card can name. Beyond them stand placeholders (`00010101`, `99991231`).
const YEARS: std::ops::RangeInclusive<i32> = 1850..=2200;

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
    pub(crate) fn read(text: SecretString) -> Self {
        let date = date(&folding::compatible(text.expose_secret()));
        Self { text, date }
    }
}

/// A date as services and card readers write it: `20300101`, `2030-01-01`, `2030.1.1`,
/// `2030/01/01`, `2030年1月1日`.
fn date(text: &str) -> Option<Date> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let digits = |part: &str, most: usize| {
        let fits = (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<i32>().ok().filter(|_| fits)
    };
    let compact = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (year, month, day) = if compact {
        (&text[..4], &text[4..6], &text[6..])
    } else {
        let text = text.strip_suffix('日').unwrap_or(&text);
        let mut parts = text.split(['-', '.', '/', '年', '月']);
        let date = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(date)?
    };
    let year = digits(year, 4).filter(|year| YEARS.contains(year))?;
    let month = Month::try_from(u8::try_from(digits(month, 2)?).ok()?).ok()?;
    Date::from_calendar_date(year, month, u8::try_from(digits(day, 2)?).ok()?).ok()
}
