//! The verifications of face-verify that were started here, and what is remembered of others.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;
use url::Url;

use super::answer::Subject;
use super::script::{Answer, Finding, Script, Step, answer_at};

/// One started verification.
#[derive(Clone, Debug)]
pub struct Session {
    /// Made here.
    pub certify_id: String,
    /// `OuterOrderNo` of the start.
    pub order_number: String,
    /// When it was started.
    pub started: OffsetDateTime,
    /// `SceneId` of the start.
    pub scene: String,
    /// Until when it can be submitted.
    pub expires: OffsetDateTime,
    /// The person, and the purpose of the start.
    pub subject: Subject,
    /// How it answers.
    pub script: Script,
    /// No result before it is submitted.
    pub waits: bool,
    /// Where the page leads.
    pub return_url: Option<Url>,
    /// `CallbackUrl` with its `CallbackToken`.
    pub callback: Option<(Url, Option<String>)>,
    /// What the person's submission has found.
    pub found: Option<Finding>,
    /// So many queries find nothing yet, although it was submitted.
    pub processing: u32,
}

impl Session {
    /// What was found, or will be: nobody has to submit it.
    pub fn finding(&self) -> Option<Finding> {
        let scripted = !self.waits || !self.script.describe.is_empty();
        self.found.clone().or_else(|| scripted.then(|| self.script.finding()))
    }
}

/// Why a verification cannot be submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSubmitted {
    /// No such verification was started here.
    Unknown,
    /// Its 30 minutes are over.
    Expired,
    /// It was submitted before: one submission is all it has.
    Used,
}

/// One try of a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackTry {
    /// The verification.
    pub certify_id: String,
    /// The HTTP status of the answer, if one came in time.
    pub status: Option<u16>,
}

/// The memory of face-verify.
#[derive(Default)]
pub struct Sessions {
    /// Scripts set by hand, by `CertifyId` or order number.
    scripts: HashMap<String, Script>,
    /// Tries of callbacks, oldest first.
    pub callbacks: Vec<CallbackTry>,
    by_id: HashMap<String, Session>,
    order: Vec<String>,
    by_order: HashMap<String, Vec<String>>,
    by_short_link: HashMap<String, String>,
    /// How many calls each list of steps has answered: whose list, for which call, of which key.
    progress: HashMap<(&'static str, &'static str, String), u32>,
    fetched: HashSet<String>,
    deleted: HashSet<String>,
}

impl Sessions {
    /// Keeps a start.
    pub fn start(&mut self, session: Session) {
        let id = session.certify_id.clone();
        self.by_order.entry(session.order_number.clone()).or_default().push(id.clone());
        self.order.push(id.clone());
        self.by_id.insert(id, session);
    }

    /// All starts, oldest first.
    pub fn started(&self) -> impl Iterator<Item = &Session> {
        self.order.iter().filter_map(|id| self.by_id.get(id))
    }

    /// The one with that `CertifyId`.
    pub fn get(&self, certify_id: &str) -> Option<&Session> {
        self.by_id.get(certify_id)
    }

    /// Every `CertifyId` that was made for that order number.
    pub fn certify_ids(&self, order_number: &str) -> Vec<String> {
        self.by_order.get(order_number).cloned().unwrap_or_default()
    }

    /// Keeps a short link.
    pub fn shorten(&mut self, short: &str, long: String) {
        self.by_short_link.insert(short.to_owned(), long);
    }

    /// Where a short link leads.
    pub fn long_link(&self, short: &str) -> Option<&str> {
        self.by_short_link.get(short).map(String::as_str)
    }

    /// The script of an order number.
    pub fn script_of_order(&self, order_number: &str, name: &str) -> Script {
        self.scripts
            .get(order_number)
            .cloned()
            .or_else(|| Script::parse(order_number))
            .or_else(|| Script::parse(name))
            .unwrap_or_default()
    }

    /// The script of a `CertifyId`, wherever it was made; `None`: unknown.
    pub fn script_of_id(&self, certify_id: &str) -> Option<Script> {
        let by_hand = self.scripts.get(certify_id).cloned();
        by_hand
            .or_else(|| self.get(certify_id).map(|session| session.script.clone()))
            .or_else(|| Script::parse(certify_id))
    }

    /// The step of this call; the next such call with that key gets the next one.
    pub fn advance<'s>(
        &mut self,
        list: &'static str,
        action: &'static str,
        key: &str,
        steps: &'s [Step],
    ) -> Option<&'s Answer> {
        if steps.is_empty() {
            return None;
        }
        let step = self.progress.entry((list, action, key.to_owned())).or_default();
        let before = *step;
        *step = before.saturating_add(1);
        answer_at(steps, before)
    }

    /// Whether that verification has passed, wherever it was made.
    pub fn has_passed(&self, certify_id: &str) -> bool {
        let finding = match self.get(certify_id) {
            Some(session) => session.finding(),
            None => self.script_of_id(certify_id).map(|script| script.finding()),
        };
        finding.is_some_and(|finding| finding.passed)
    }

    /// A new script for that `CertifyId` or order number, from its first step.
    pub fn set_script(&mut self, key: &str, script: Script) {
        self.scripts.insert(key.to_owned(), script);
        self.progress.retain(|(_, _, known), _| known != key);
    }

    /// Submits, once.
    pub fn submit(
        &mut self,
        certify_id: &str,
        finding: Finding,
        now: OffsetDateTime,
    ) -> Result<Session, NotSubmitted> {
        self.can_submit(certify_id, now)?;
        let session = self.by_id.get_mut(certify_id).ok_or(NotSubmitted::Unknown)?;
        session.processing = session.script.person.processing;
        session.found = Some(finding);
        Ok(session.clone())
    }

    /// Whether it could be submitted now.
    pub fn can_submit(&self, certify_id: &str, now: OffsetDateTime) -> Result<(), NotSubmitted> {
        let session = self.by_id.get(certify_id).ok_or(NotSubmitted::Unknown)?;
        if session.found.is_some() || self.deleted.contains(certify_id) {
            return Err(NotSubmitted::Used);
        }
        if now > session.expires {
            return Err(NotSubmitted::Expired);
        }
        Ok(())
    }

    /// One query less finds nothing; true while there were some left.
    pub fn still_processing(&mut self, certify_id: &str) -> bool {
        let Some(session) = self.by_id.get_mut(certify_id) else { return false };
        let left = session.processing;
        session.processing = left.saturating_sub(1);
        left > 0
    }

    /// Its result was handed out.
    pub fn fetched(&mut self, certify_id: &str) {
        self.fetched.insert(certify_id.to_owned());
    }

    /// Whether its result was ever handed out.
    pub fn was_fetched(&self, certify_id: &str) -> bool {
        self.fetched.contains(certify_id)
    }

    /// Erases it.
    pub fn delete(&mut self, certify_id: &str) {
        self.deleted.insert(certify_id.to_owned());
    }

    /// Whether it was erased.
    pub fn is_deleted(&self, certify_id: &str) -> bool {
        self.deleted.contains(certify_id)
    }
}
