//! The personal data in a result, as it is stored: one JSON document, sealed for its row.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use time::Date;
use zeroize::Zeroizing;

use crate::domain::ids::ResultId;
use crate::provider::{CardDate, FaceQuality, IdCard, Material};
use crate::store::completions::NewMaterial;
use crate::vault::{DataKey, PersonIndex, SealError, SealedAt};

/// Seals the personal data of a result, without links to images: they expire within minutes, and a
/// link needs no key.
pub fn seal(
    material: &Material,
    id: ResultId,
    key: &DataKey,
    persons: &PersonIndex,
) -> Result<NewMaterial, SealError> {
    // The strings are borrowed from memory that is wiped; the text itself is wiped here.
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer(&mut *text, &Document::from(material)).map_err(|_| SealError)?;
    let on_card = || material.id_card.as_ref()?.number.as_ref();
    let number = material.number.as_ref().or_else(on_card);
    Ok(NewMaterial {
        sealed: key.seal(SealedAt::Material(id), &text)?,
        person: number.and_then(|number| persons.digest(number.expose_secret())),
    })
}

#[derive(Serialize)]
struct Document<'a> {
    name: Option<&'a str>,
    number: Option<&'a str>,
    face_mask: Option<bool>,
    face_quality: Option<&'static str>,
    id_card: Option<CardDocument<'a>>,
}

#[derive(Serialize)]
struct CardDocument<'a> {
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

impl<'a> From<&'a Material> for Document<'a> {
    fn from(material: &'a Material) -> Self {
        Self {
            name: plain(material.name.as_ref()),
            number: plain(material.number.as_ref()),
            face_mask: material.face_mask,
            face_quality: material.face_quality.map(FaceQuality::as_str),
            id_card: material.id_card.as_ref().map(CardDocument::from),
        }
    }
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

fn plain(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(SecretString::expose_secret)
}
