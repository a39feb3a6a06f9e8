//! The form of a verdict: outcomes with their reasons, and what was chosen before something kept it
//! from being taken.

use serde::Deserialize;

use super::reasons;
use crate::console::texts::{Phrase, Texts};
use crate::console::verifications::reveal::Choice;
use crate::domain::case::Settings;
use crate::domain::review::FourEyes;
use crate::domain::user::Language;
use policy::decision::Outcome;

/// Outcomes that a person can give, each with its key.
const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Approve, "a"), (Outcome::Retry, "t"), (Outcome::Reject, "r")];

/// The posted form. Every field may be missing.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Draft {
    #[serde(default)]
    pub(super) outcome: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) note: String,
    #[serde(default)]
    pub(super) purpose: String,
    #[serde(default)]
    pub(super) then: String,
}

impl Draft {
    /// The note with the line breaks that it was typed with: browsers send two characters for one.
    pub(super) fn note(&self) -> String {
        self.note.replace("\r\n", "\n")
    }
}

pub(super) struct ReasonChoice {
    pub(super) code: String,
    pub(super) name: String,
    /// The first nine have one.
    pub(super) key: Option<usize>,
    pub(super) is_chosen: bool,
}

pub(super) struct OutcomeChoice {
    pub(super) code: &'static str,
    pub(super) name: Phrase,
    pub(super) key: &'static str,
    pub(super) is_chosen: bool,
    pub(super) needs_second: bool,
    pub(super) reasons: Vec<ReasonChoice>,
}

pub(super) fn outcomes(
    t: &'static Texts,
    language: Language,
    settings: &Settings,
    four_eyes: FourEyes,
    draft: &Draft,
) -> Vec<OutcomeChoice> {
    let choice = |(outcome, key): (Outcome, &'static str)| {
        let is_chosen = draft.outcome == outcome.as_str();
        let reasons = settings.reasons.for_outcome(outcome).zip(1..);
        OutcomeChoice {
            code: outcome.as_str(),
            name: t.words.outcome(outcome),
            key,
            is_chosen,
            needs_second: four_eyes.apply_to(outcome),
            reasons: reasons
                .map(|(reason, number)| ReasonChoice {
                    code: reason.code.clone(),
                    name: reasons::of(reason, language).to_owned(),
                    key: Some(number).filter(|number| *number < 10),
                    is_chosen: is_chosen && draft.reason == reason.code,
                })
                .collect(),
        }
    };
    OUTCOMES.into_iter().map(choice).collect()
}

/// Reasons to give a case to another reviewer.
pub(super) fn escalations(settings: &Settings, language: Language) -> Vec<Choice> {
    let reasons = settings.reasons.for_escalation();
    reasons
        .map(|reason| Choice {
            code: reason.code.clone(),
            name: reasons::of(reason, language).to_owned(),
            is_chosen: false,
        })
        .collect()
}
