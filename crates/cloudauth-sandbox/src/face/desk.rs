//! Handles the calls of face-verify, once their signatures are right.

use time::OffsetDateTime;

use super::answer::{self, Described, Subject};
use super::script::{Answer, Finding, Script};
use super::sessions::Session;
use super::start::{self, Code, ILLEGAL, MISSING, Start};
use super::{DELETE, DESCRIBE, INIT, SEARCH};
use crate::Sandbox;
use crate::damage::Damage;
use crate::desk::Outcome;
use crate::document::Node;
use crate::question::Question;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::scenario::{Behaviour, Scenario};

const CALLBACK_UNREACHABLE: Code = 401;
const UNKNOWN_ID: Code = 406;
const NO_RECORD: Code = 424;
const PICTURE_NOT_DOWNLOADED: Code = 422;
const EARLIER_NOT_PASSED: Code = 423;

/// The second answer of `damagedsecond`.
const OTHER_ANSWER: &[u8] = br#"{"Code":"200","ResultObject":{"Passed":"F","SubCode":"204"}}"#;

/// One call under way: who asks, and how the answer is to be written.
pub struct Asked<'a> {
    /// The request.
    pub question: &'a Question,
    action: &'static str,
    /// How it is answered.
    pub script: Script,
    now: OffsetDateTime,
}

impl Sandbox {
    /// One of the calls.
    pub(crate) async fn face_verify(
        &self,
        question: &Question,
        action: &'static str,
        now: OffsetDateTime,
    ) -> Result<Outcome, Refusal> {
        let by_order = matches!(action, INIT | SEARCH);
        let key = if by_order { "OuterOrderNo" } else { "CertifyId" };
        let key = question.param(key).unwrap_or_default();
        let name = question.param("CertName").unwrap_or_default();
        let (script, main) = {
            let mut memory = self.memory();
            if action != SEARCH {
                memory.count(key);
            }
            memory.take_turn(action, now)?;
            let faces = &mut memory.faces;
            let script = if by_order {
                Some(faces.script_of_order(key, name))
            } else {
                faces.script_of_id(key)
            };
            let steps = script.as_ref().map_or(&[][..], |script| &script.main);
            let main =
                if self.is_main() { faces.advance("main", action, key, steps) } else { None };
            let main = main.cloned();
            (script, main)
        };
        let asked = Asked { question, action, script: script.clone().unwrap_or_default(), now };
        if let Some(answer) = main {
            return Ok(self.scripted(&asked, &answer));
        }
        match action {
            INIT => Ok(self.init(&asked).await),
            SEARCH => self.search(&asked),
            DESCRIBE => Ok(self.describe(&asked, script.is_some())),
            _ => Ok(self.delete(&asked, script.is_some())),
        }
    }

    async fn init(&self, asked: &Asked<'_>) -> Outcome {
        let start =
            match start::read(asked.question, asked.now, self.0.settings.plain_http_callbacks) {
                Ok(start) => start,
                Err(code) => return self.coded(asked, code),
            };
        if let Err(code) = self.reach(&start, &asked.script).await {
            return self.coded(asked, code);
        }
        let scripted = {
            let mut memory = self.memory();
            let steps = asked.script.init.as_slice();
            memory.faces.advance("all", INIT, &start.order_number, steps).cloned()
        };
        let lost = matches!(
            &scripted,
            Some(Answer::Fault(
                Behaviour::Cut | Behaviour::Torn | Behaviour::Garbage | Behaviour::Empty
            ))
        );
        match scripted {
            Some(answer) if !lost => self.scripted(asked, &answer),
            scripted => {
                let started = self.start(asked, start);
                match scripted {
                    Some(answer) => self.scripted(asked, &answer),
                    None => self.face_document(asked, 200, Some(started)),
                }
            }
        }
    }

    /// Asks the addresses that a start names: the callback's, a picture's.
    async fn reach(&self, start: &Start, script: &Script) -> Result<(), Code> {
        if let Some(earlier) = &start.earlier
            && !self.memory().faces.has_passed(earlier)
        {
            return Err(EARLIER_NOT_PASSED);
        }
        if let Some(url) = &start.picture_url {
            let picture = self.download(url.clone()).await.ok_or(PICTURE_NOT_DOWNLOADED)?;
            start::usable(&picture)?;
        }
        if let Some((url, _)) = &start.callback
            && !self.probe(url, script.person.head_probe).await
        {
            return Err(CALLBACK_UNREACHABLE);
        }
        Ok(())
    }

    /// Makes the `CertifyId`, and lets the person go to work.
    fn start(&self, asked: &Asked<'_>, start: Start) -> Node {
        let id: String = self.0.nonces.next().chars().take(29).collect();
        let certify_id = format!("sha{id}");
        let expires = crate::answer::after(asked.now, self.0.settings.certify_ttl);
        let has_page = start.page && !asked.script.person.no_url;
        let base = self.base(asked.question);
        let url = has_page.then(|| {
            self.certify_url(&base, &certify_id, expires.unix_timestamp(), start.short_link)
        });
        let session = Session {
            certify_id: certify_id.clone(),
            order_number: start.order_number,
            started: asked.now,
            scene: start.scene,
            expires,
            subject: start.subject,
            script: asked.script.clone(),
            waits: has_page || asked.script.person.waits,
            return_url: start.return_url,
            callback: start.callback,
            found: None,
            processing: 0,
        };
        self.memory().faces.start(session);
        if let Some(pause) = asked.script.person.submits {
            let (sandbox, id, finding) = (self.clone(), certify_id.clone(), asked.script.finding());
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                let _ = sandbox.submit(&id, finding).await;
            });
        }
        answer::started(&certify_id, url)
    }

    fn describe(&self, asked: &Asked<'_>, known: bool) -> Outcome {
        let certify_id = match self.key(asked, known) {
            Ok(id) => id,
            Err(code) => return self.coded(asked, code),
        };
        let answer = {
            let mut memory = self.memory();
            let faces = &mut memory.faces;
            let session = faces.get(certify_id);
            let waits = session.is_some_and(|session| session.waits);
            let found = session.and_then(|session| session.found.clone());
            match found {
                Some(_) if faces.still_processing(certify_id) => Answer::Code(NO_RECORD),
                Some(finding) => Answer::Result(finding),
                None if waits && asked.script.describe.is_empty() => Answer::Code(NO_RECORD),
                None => faces
                    .advance("all", DESCRIBE, certify_id, &asked.script.describe)
                    .cloned()
                    .unwrap_or(Answer::Result(Finding::PASS)),
            }
        };
        if let Answer::Result(_) = answer {
            self.memory().faces.fetched(certify_id);
        }
        self.scripted(asked, &answer)
    }

    fn delete(&self, asked: &Asked<'_>, known: bool) -> Outcome {
        let certify_id = match asked.question.param("CertifyId") {
            None => return self.coded(asked, MISSING),
            Some(_) if !known => return self.coded(asked, UNKNOWN_ID),
            Some(id) => id,
        };
        let reason = {
            let mut memory = self.memory();
            let faces = &mut memory.faces;
            if let Some(answer) =
                faces.advance("all", DELETE, certify_id, &asked.script.delete).cloned()
            {
                drop(memory);
                return self.scripted(asked, &answer);
            }
            let only_fetched = asked.question.param("DeleteAfterQuery") == Some("Y");
            if faces.is_deleted(certify_id) {
                Some("NOT_DELETE_REPEATEDLY")
            } else if only_fetched && !faces.was_fetched(certify_id) {
                Some("NEED_QUERY_VERIFY_RESULT")
            } else {
                faces.delete(certify_id);
                None
            }
        };
        self.face_document(asked, 200, Some(answer::deleted(certify_id, reason)))
    }

    /// The `CertifyId` of a query that may be answered.
    fn key<'q>(&self, asked: &Asked<'q>, known: bool) -> Result<&'q str, Code> {
        let scene = asked.question.param("SceneId").ok_or(MISSING)?;
        let certify_id = asked.question.param("CertifyId").ok_or(MISSING)?;
        scene.parse::<i64>().map_err(|_| ILLEGAL)?;
        let memory = self.memory();
        let foreign = memory.faces.get(certify_id).is_some_and(|session| session.scene != scene);
        if !known || foreign || memory.faces.is_deleted(certify_id) {
            return Err(UNKNOWN_ID);
        }
        Ok(certify_id)
    }

    /// Writes an answer.
    pub(super) fn scripted(&self, asked: &Asked<'_>, answer: &Answer) -> Outcome {
        match answer {
            Answer::Result(finding) => {
                self.face_document(asked, 200, Some(self.described(asked, finding)))
            }
            Answer::Code(code) => self.coded(asked, *code),
            Answer::NoResult => self.face_document(asked, 200, None),
            Answer::NullResult => self.face_document(asked, 200, Some(Node::Null)),
            Answer::Nothing => {
                let node = Node::Object(vec![("RequestId", Node::from(self.request_id()))]);
                asked.outcome("nothing".to_owned(), 200, &node)
            }
            Answer::Refused => {
                let id = asked.question.param("CertifyId").unwrap_or_default();
                self.face_document(asked, 200, Some(answer::deleted(id, Some("SYSTEM_ERROR"))))
            }
            Answer::Fault(behaviour) => {
                let scenario = Scenario::always(behaviour.clone());
                let outcome = self.behave(asked.question, &scenario, 0, asked.now);
                Outcome { slow: asked.script.slow, ..outcome }
            }
        }
    }

    fn described(&self, asked: &Asked<'_>, finding: &Finding) -> Node {
        let certify_id = asked.question.param("CertifyId").unwrap_or_default();
        let subject = self.memory().faces.get(certify_id).map(|session| session.subject.clone());
        let material = &asked.script.material;
        let expires = if material.dead_pictures {
            asked.now - time::Duration::SECOND
        } else {
            crate::answer::after(asked.now, self.0.settings.picture_ttl)
        };
        let links = (!material.no_pictures).then(|| self.links_until(asked.question, expires));
        Described {
            finding,
            script: &asked.script,
            subject: &subject.unwrap_or_else(|| Subject::elsewhere(certify_id)),
            certify_id,
            links: links.as_ref(),
            now: asked.now,
        }
        .node()
    }

    fn coded(&self, asked: &Asked<'_>, code: Code) -> Outcome {
        self.face_document(asked, code, None)
    }

    fn face_document(&self, asked: &Asked<'_>, code: Code, result: Option<Node>) -> Outcome {
        let shape = &asked.script.shape;
        let node = answer::body(code, shape.numbers, &self.request_id(), result);
        let status = u16::try_from(code).ok().filter(|code| (200..600).contains(code));
        let http_status = status.filter(|_| shape.as_http).unwrap_or(200);
        let name = if code == 200 { "ok".to_owned() } else { code.to_string() };
        asked.outcome(name, http_status, &node)
    }
}

impl Asked<'_> {
    /// Writes one document.
    pub(super) fn outcome(&self, name: String, http_status: u16, node: &Node) -> Outcome {
        let shape = &self.script.shape;
        let xml = shape.xml || self.question.wants_xml();
        let reply = match shape.damage {
            Some(Damage::Second) if !xml => {
                Reply::Damaged([node.to_json().as_bytes(), OTHER_ANSWER].concat())
            }
            Some(damage) if !xml => Reply::Damaged(damage.apply(&node.to_json())),
            _ => Reply::Document {
                http_status,
                node: node.clone(),
                xml_root: xml.then(|| format!("{}Response", self.action)),
                retry_after: None,
            },
        };
        Outcome { name, reply, slow: self.script.slow }
    }
}
