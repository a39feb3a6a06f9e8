//! The frame around the pages of somebody who is signed in.

use super::layout::{Layout, Person, Section};
use super::moments::Moments;
use super::signed_in::SignedIn;
use super::state::Console;
use super::texts::Texts;

/// Times as this person reads them.
pub fn moments(console: &Console, who: &SignedIn) -> Moments {
    let now = console.api.clock.now();
    Moments { zone: who.zone.clone(), now, t: Texts::of(who.language) }
}

/// The frame of a page of this section.
pub fn of(console: &Console, who: &SignedIn, section: Section) -> Layout {
    let moments = moments(console, who);
    let person = Person { name: who.name.clone(), form_token: who.form_token.clone() };
    Layout::of(person, (who.language, who.theme), &moments, |scope| who.has(scope), section)
}
