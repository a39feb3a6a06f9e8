//! An identity card as it is stored: part of the document of a person.

use cloudauth::wire::{CardDate, IdCard};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use time::Date;

#[derive(Serialize)]
pub(super) struct CardDocument<'a> {
    name: Option<&'a str>,
    number: Option<&'a str>,
    nationality: Option<&'a str>,
    sex: Option<&'a str>,
    address: Option<&'a str>,
    authority: Option<&'a str>,
    birth: Option<DateDocument<'a>>,
    start_date: Option<DateDocument<'a>>,
    end_date: Option<DateDocument<'a>>,
}

/// A date beside the text it was read from; `null` where the text is not a date (长期, or misread).
#[derive(Serialize)]
struct DateDocument<'a> {
    text: &'a str,
    date: Option<String>,
}

impl<'a> From<&'a IdCard> for CardDocument<'a> {
    fn from(card: &'a IdCard) -> Self {
        Self {
            name: plain(card.name.as_ref()),
            number: plain(card.number.as_ref()),
            nationality: plain(card.nationality.as_ref()),
            sex: plain(card.sex.as_ref()),
            address: plain(card.address.as_ref()),
            authority: plain(card.authority.as_ref()),
            birth: card.birth.as_ref().map(DateDocument::from),
            start_date: card.start_date.as_ref().map(DateDocument::from),
            end_date: card.end_date.as_ref().map(DateDocument::from),
        }
    }
}

impl<'a> From<&'a CardDate> for DateDocument<'a> {
    fn from(date: &'a CardDate) -> Self {
        Self { text: date.text.expose_secret(), date: date.date.map(iso) }
    }
}

/// ISO 8601, year first.
fn iso(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

pub(super) fn plain(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(SecretString::expose_secret)
}
