//! The personal data in an answer, as it is stored: one JSON document.

use cloudauth::wire::{FaceQuality, Material};
use serde::Serialize;

use crate::provider::answer::Person;
use crate::provider::card_document::{CardDocument, plain};

/// Without links to images: they expire within minutes, and a link needs no key.
pub(super) fn person(material: &Material) -> Option<Person> {
    let on_card = material.id_card.as_ref().and_then(|card| card.number.as_ref());
    Person::new(&Document::from(material), [material.number.as_ref(), on_card])
}

#[derive(Serialize)]
struct Document<'a> {
    name: Option<&'a str>,
    number: Option<&'a str>,
    face_mask: Option<bool>,
    face_quality: Option<&'static str>,
    id_card: Option<CardDocument<'a>>,
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
