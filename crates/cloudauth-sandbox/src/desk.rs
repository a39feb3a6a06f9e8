//! Handles one call: the gateway's rules refuse it, or its `biz_id` scripts the answer.

use std::time::Duration;

use http::Method;
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use crate::Sandbox;
use crate::answer::{self, ENVELOPE_VERSION};
use crate::auth::{self, Account};
use crate::document::Node;
use crate::face;
use crate::identity::Links;
use crate::memory::Call;
use crate::question::Question;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::scenario::{Behaviour, Scenario};

/// How soon a caller throttled by script may come again.
const SCRIPTED_RETRY: Duration = Duration::from_millis(50);
/// Longest `BizId` (the vendor's document).
const MAX_BIZ_ID_CHARS: usize = 64;

const RESULT: &str = "DescribeVerifyResult";
const TOKEN: &str = "DescribeVerifyToken";
/// All operations.
const ACTIONS: [&str; 6] = [RESULT, TOKEN, face::INIT, face::DESCRIBE, face::DELETE, face::SEARCH];

/// The answer, and its name in logs and records.
pub struct Outcome {
    /// `ok`, an error code, or what is done instead of answering.
    pub name: String,
    /// The response.
    pub reply: Reply,
    /// How long the script wants it to take.
    pub slow: Duration,
}

impl Sandbox {
    /// Answers, records, logs.
    pub async fn answer(&self, question: &Question, now: OffsetDateTime) -> Outcome {
        let outcome = self
            .decide(question, now)
            .await
            .unwrap_or_else(|refusal| self.refuse(question, refusal, question.wants_xml()));
        let action = question.action().unwrap_or_default();
        tracing::info!(
            // Only names we know: an unknown one could be anything.
            action = ACTIONS.into_iter().find(|known| *known == action).unwrap_or("other"),
            version = ?question.version,
            outcome = outcome.name,
            "sandbox answered"
        );
        self.memory().record(Call {
            at: now,
            action: action.to_owned(),
            biz_type: first_of(question, &["BizType", "SceneId"]),
            biz_id: first_of(question, &["BizId", "OuterOrderNo", "CertifyId"]),
            spare: !self.is_main(),
            version: question.version,
            method: question.method.to_string(),
            outcome: outcome.name.clone(),
        });
        outcome
    }

    async fn decide(&self, question: &Question, now: OffsetDateTime) -> Result<Outcome, Refusal> {
        let outage = {
            let memory = self.memory();
            let main = memory.main_outage.clone().filter(|_| self.is_main());
            memory.outage.clone().or(main)
        };
        if let Some(behaviour) = outage {
            return Ok(self.behave(question, &Scenario::always(behaviour), 0, now));
        }
        check_form(question)?;
        let action = question.action().ok_or_else(|| Refusal::missing("Action"))?;
        let version = question.api_version().ok_or_else(|| Refusal::missing("Version"))?;
        let secret = self.memory().secret.clone();
        let settings = &self.0.settings;
        let account = Account {
            id: &settings.access_key_id,
            secret: secret.expose_secret(),
            security_token: settings.security_token.as_ref().map(ExposeSecret::expose_secret),
        };
        let nonce = auth::check(question, &account, now)?;
        self.memory().take_nonce(nonce, now)?;
        if !["2019-03-07", ENVELOPE_VERSION].contains(&version) {
            return Err(Refusal::new("NoSuchVersion", 400, "Specified version does not exist."));
        }
        let known = ACTIONS.into_iter().find(|known| *known == action);
        match known {
            Some(RESULT) => self.result(question, now),
            Some(TOKEN) => self.token(question, version == ENVELOPE_VERSION, now),
            Some(action) => self.face_verify(question, action, now).await,
            None => Err(Refusal::new(
                "InvalidAction.NotFound",
                404,
                "Specified api is not found, please check your url and method.",
            )),
        }
    }

    fn result(&self, question: &Question, now: OffsetDateTime) -> Result<Outcome, Refusal> {
        let (biz_type, biz_id) = keys(question)?;
        let (scenario, step) = {
            let mut memory = self.memory();
            memory.count(biz_id);
            memory.take_turn(RESULT, now)?;
            (memory.scenario(biz_id), memory.advance(biz_type, biz_id))
        };
        Ok(self.behave(question, &scenario, step, now))
    }

    fn token(
        &self,
        question: &Question,
        envelope: bool,
        now: OffsetDateTime,
    ) -> Result<Outcome, Refusal> {
        let (biz_type, _) = keys(question)?;
        self.memory().take_turn(TOKEN, now)?;
        let expires = answer::after(now, self.0.settings.token_ttl);
        let base = self.base(question);
        let members = answer::token(self.0.nonces.next(), biz_type, &base, expires);
        let reply = Reply::Document {
            http_status: 200,
            node: answer::wrap(members, &self.request_id(), envelope, false),
            xml_root: question.wants_xml().then(|| format!("{TOKEN}Response")),
            retry_after: None,
        };
        Ok(Outcome { name: "ok".to_owned(), reply, slow: Duration::ZERO })
    }

    /// Applies the scenario's step `n` to this call.
    pub(crate) fn behave(
        &self,
        question: &Question,
        scenario: &Scenario,
        n: u32,
        now: OffsetDateTime,
    ) -> Outcome {
        let xml = scenario.shape.xml || question.wants_xml();
        let (name, reply) = match scenario.behaviour_at(n) {
            Behaviour::Result { status, scores } => {
                let biz_id = question.param("BizId").unwrap_or_default();
                let links =
                    (!scenario.person.no_images).then(|| self.links(question, scenario, now));
                let members =
                    answer::result(scenario, (*status, *scores), biz_id, links.as_ref(), now);
                ("ok", self.document(question, scenario, members))
            }
            Behaviour::NoStatus => ("no-status", self.document(question, scenario, Vec::new())),
            Behaviour::Error { code, http_status } => {
                let mut refusal = Refusal::new(code, *http_status, "Scripted by the sandbox.");
                if code.starts_with("Throttling") {
                    refusal.retry_after = Some(SCRIPTED_RETRY);
                }
                let outcome = self.refuse(question, refusal, xml);
                return Outcome { slow: scenario.slow, ..outcome };
            }
            Behaviour::Html { http_status } => ("html", Reply::Html { http_status: *http_status }),
            Behaviour::Garbage => ("garbage", Reply::Garbage),
            Behaviour::Empty => ("empty", Reply::Empty),
            Behaviour::Cut => ("cut", Reply::Cut),
            Behaviour::Torn => ("torn", Reply::Torn),
        };
        Outcome { name: name.to_owned(), reply, slow: scenario.slow }
    }

    fn document(
        &self,
        question: &Question,
        scenario: &Scenario,
        members: Vec<(&'static str, Node)>,
    ) -> Reply {
        let shape = scenario.shape;
        let envelope = shape.envelope || question.api_version() == Some(ENVELOPE_VERSION);
        let node = answer::wrap(members, &self.request_id(), envelope, shape.data);
        let xml = shape.xml || question.wants_xml();
        match shape.damage {
            Some(damage) if !xml => Reply::Damaged(damage.apply(&node.to_json())),
            _ => Reply::Document {
                http_status: 200,
                node,
                xml_root: xml.then(|| format!("{RESULT}Response")),
                retry_after: None,
            },
        }
    }

    fn refuse(&self, question: &Question, refusal: Refusal, xml: bool) -> Outcome {
        let node = refusal.body(&self.request_id(), question.host());
        let reply = Reply::Document {
            http_status: refusal.http_status,
            node,
            xml_root: xml.then(|| "Error".to_owned()),
            retry_after: refusal.retry_after,
        };
        Outcome { name: refusal.code, reply, slow: Duration::ZERO }
    }

    /// Fresh links at every query.
    fn links(&self, question: &Question, scenario: &Scenario, now: OffsetDateTime) -> Links {
        let expires = if scenario.person.dead_images {
            now - time::Duration::SECOND
        } else {
            answer::after(now, self.0.settings.image_ttl)
        };
        self.links_until(question, expires)
    }

    /// Fresh links that work until then.
    pub(crate) fn links_until(&self, question: &Question, expires: OffsetDateTime) -> Links {
        let token = self.0.nonces.next();
        self.0.links.links(&self.base(question), &token, expires.unix_timestamp())
    }

    /// Where links point, without a slash at the end.
    pub(crate) fn base(&self, question: &Question) -> String {
        if let Some(url) = &self.0.settings.public_base_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let host = question.host();
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        format!("http://{}", if plain { host } else { "localhost" })
    }
}

/// The parts of a call that come before its signature.
fn check_form(question: &Question) -> Result<(), Refusal> {
    if !matches!(question.method, Method::GET | Method::POST) {
        return Err(Refusal::new(
            "UnsupportedHTTPMethod",
            400,
            "This http method is not supported.",
        ));
    }
    if question.path != "/" {
        return Err(Refusal::new(
            "InvalidApi.NotFound",
            404,
            "Specified api is not found, please check your url and method.",
        ));
    }
    Ok(())
}

/// The first of these parameters that is there.
fn first_of(question: &Question, names: &[&str]) -> String {
    names.iter().find_map(|name| question.param(name)).unwrap_or_default().to_owned()
}

fn keys(question: &Question) -> Result<(&str, &str), Refusal> {
    let biz_type = question.param("BizType").ok_or_else(|| Refusal::missing("BizType"))?;
    let biz_id = question.param("BizId").ok_or_else(|| Refusal::missing("BizId"))?;
    if biz_id.chars().count() > MAX_BIZ_ID_CHARS {
        return Err(Refusal::new("InvalidParameter", 400, "BizId has more than 64 characters."));
    }
    Ok((biz_type, biz_id))
}
