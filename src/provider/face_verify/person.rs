//! The personal data in an answer, as it is stored: one JSON document.

use cloudauth::face_verify::{Material, StoredObject, UserInfo};
use secrecy::SecretString;
use serde::Serialize;

use crate::provider::answer::Person;
use crate::provider::card_document::{CardDocument, plain};

/// Without links to images: they expire within minutes, and a link needs no key.
pub(super) fn person(material: &Material) -> Option<Person> {
    let user = material.user_info.as_ref();
    let typed = user.and_then(|user| user.number.as_ref());
    let on_card = material.id_card.as_ref().and_then(|card| card.number.as_ref());
    Person::new(&Document::from(material), [typed, on_card])
}

#[derive(Serialize)]
struct Document<'a> {
    user_info: Option<UserDocument<'a>>,
    id_card: Option<CardDocument<'a>>,
    device_token: Option<&'a str>,
    /// They stay in the customer's bucket when the provider deletes its copy.
    stored_objects: Vec<ObjectDocument<'a>>,
}

/// What the person typed.
#[derive(Serialize)]
struct UserDocument<'a> {
    name: Option<&'a str>,
    number: Option<&'a str>,
    verify_name: Option<&'a str>,
}

#[derive(Serialize)]
struct ObjectDocument<'a> {
    bucket: Option<&'a str>,
    object: Option<&'a str>,
}

impl<'a> From<&'a Material> for Document<'a> {
    fn from(material: &'a Material) -> Self {
        Self {
            user_info: material.user_info.as_ref().map(UserDocument::from),
            id_card: material.id_card.as_ref().map(CardDocument::from),
            device_token: plain(material.device_token.as_ref()),
            stored_objects: material.stored_objects.iter().map(ObjectDocument::from).collect(),
        }
    }
}

impl<'a> From<&'a UserInfo> for UserDocument<'a> {
    fn from(user: &'a UserInfo) -> Self {
        let text = |secret: &'a Option<SecretString>| plain(secret.as_ref());
        Self {
            name: text(&user.name),
            number: text(&user.number),
            verify_name: text(&user.verify_name),
        }
    }
}

impl<'a> From<&'a StoredObject> for ObjectDocument<'a> {
    fn from(object: &'a StoredObject) -> Self {
        Self { bucket: plain(object.bucket.as_ref()), object: plain(Some(&object.object)) }
    }
}
