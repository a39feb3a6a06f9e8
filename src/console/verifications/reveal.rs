//! Showing personal data: for a purpose of the configured list, on record, for a minute.

use serde::Deserialize;

use crate::domain::case::{Purpose, Settings};
use crate::domain::user::Language;

/// An entry of a list to choose from.
pub struct Choice {
    pub code: String,
    pub name: String,
    pub is_chosen: bool,
}

/// The purpose in the address of a picture.
#[derive(Debug, Deserialize)]
pub struct For {
    #[serde(default)]
    pub purpose: String,
}

/// The configured purposes.
pub fn purposes(settings: &Settings, language: Language, chosen: &str) -> Vec<Choice> {
    let name = |purpose: &Purpose| match language {
        Language::En => purpose.en.clone(),
        Language::Zh => purpose.zh.clone(),
    };
    let purposes = settings.reveal_purposes.iter();
    purposes
        .map(|purpose| Choice {
            code: purpose.code.clone(),
            name: name(purpose),
            is_chosen: purpose.code == chosen,
        })
        .collect()
}

/// The purpose as the audit keeps it. `None`: the list does not have it.
pub fn listed<'a>(settings: &'a Settings, code: &str) -> Option<&'a str> {
    let mut purposes = settings.reveal_purposes.iter();
    purposes.find(|purpose| purpose.code == code).map(|purpose| purpose.code.as_str())
}
