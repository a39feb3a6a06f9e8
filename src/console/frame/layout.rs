//! The parts around the content of every page: navigation, messages, and the undo of a verdict.

use std::time::Duration;

use super::moments::Moments;
use crate::console::assets;
use crate::console::texts::{Filled, Phrase, Texts};
use crate::domain::scope::Scope;
use crate::domain::user::{Language, Theme};

/// The part of the console that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Queue,
    Reviewers,
    Verifications,
    Persons,
    Policies,
    Operations,
    Audit,
    Users,
    /// One's own sessions and settings, signing in, errors: nothing in the navigation.
    Own,
}

/// One link of the navigation.
#[derive(Debug)]
pub struct Link {
    pub text: Phrase,
    pub href: &'static str,
    pub is_here: bool,
}

/// How a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something was done.
    Done,
    /// Something was not done.
    Failed,
}

/// A sentence on top of the page.
#[derive(Debug)]
pub struct Message {
    pub tone: Tone,
    pub text: String,
}

/// A verdict that can still be undone.
#[derive(Debug)]
pub struct Undo {
    /// The form goes there.
    pub action: String,
    pub form_token: String,
    pub what: Filled,
    pub until: String,
    /// Milliseconds that are left when the page is made.
    pub left: u64,
}

/// The person who is signed in, as the frame shows it.
#[derive(Debug)]
pub struct Person {
    pub name: String,
    pub form_token: String,
}

/// The frame of one page.
#[derive(Debug)]
pub struct Layout {
    pub t: &'static Texts,
    pub language: Language,
    pub theme: Theme,
    /// `None`: nobody is signed in.
    pub person: Option<Person>,
    pub links: Vec<Link>,
    pub messages: Vec<Message>,
    pub undo: Option<Undo>,
    pub zone: String,
    /// Without JavaScript the page goes there after these seconds: personal data does not stay.
    pub refresh: Option<(u64, String)>,
    /// Marks pages that use the whole window.
    pub is_wide: bool,
}

impl Layout {
    /// The frame for a person who is not signed in.
    pub fn signed_out(language: Language, theme: Theme) -> Self {
        Self {
            t: Texts::of(language),
            language,
            theme,
            person: None,
            links: Vec::new(),
            messages: Vec::new(),
            undo: None,
            zone: String::new(),
            refresh: None,
            is_wide: false,
        }
    }

    /// The frame for a person with these rights, on a page of this section.
    pub fn of(
        person: Person,
        (language, theme): (Language, Theme),
        moments: &Moments,
        may: impl Fn(Scope) -> bool,
        section: Section,
    ) -> Self {
        let mut layout = Self::signed_out(language, theme);
        layout.person = Some(person);
        moments.zone.name().clone_into(&mut layout.zone);
        layout.links = links(layout.t, may, section);
        layout
    }

    #[must_use]
    pub fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    pub fn say(&mut self, tone: Tone, text: String) {
        self.messages.push(Message { tone, text });
    }

    /// The address of an embedded file.
    pub fn stylesheet(&self) -> &'static str {
        assets::stylesheet()
    }

    pub fn script(&self) -> &'static str {
        assets::script()
    }

    pub fn icon(&self) -> &'static str {
        assets::icon()
    }
}

/// For a script's timer.
pub fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Every link of the navigation, with the right that its page needs.
pub(in crate::console) fn navigation(
    t: &'static Texts,
) -> [(Section, Scope, Phrase, &'static str); 8] {
    let frame = &t.frame;
    [
        (Section::Queue, Scope::ReviewsWrite, frame.queue, "/cases"),
        (Section::Reviewers, Scope::AuditRead, frame.reviewers, "/reviewers"),
        (Section::Verifications, Scope::DecisionsRead, frame.verifications, "/verifications"),
        (Section::Persons, Scope::MaterialRead, frame.persons, "/persons"),
        (Section::Policies, Scope::PoliciesWrite, frame.policies, "/policies"),
        (Section::Operations, Scope::OperationsRead, frame.operations, "/operations"),
        (Section::Audit, Scope::AuditRead, frame.audit, "/audit"),
        (Section::Users, Scope::UsersWrite, frame.users, "/users"),
    ]
}

/// The links that lead somewhere for a person with these rights.
fn links(t: &'static Texts, may: impl Fn(Scope) -> bool, section: Section) -> Vec<Link> {
    navigation(t)
        .into_iter()
        .filter(|(_, scope, ..)| may(*scope))
        .map(|(of, _, text, href)| Link { text, href, is_here: of == section })
        .collect()
}
