//! Reads the answer of `DescribeFaceVerify`.

use std::collections::BTreeSet;

use super::envelope::Envelope;
use super::material::Material;
use super::nested::{has_damaged_name, members, object, one_object};
use super::{codes, malformed};
use crate::decoding::fields::{self, Value, agreed};
use crate::decoding::oddities::Oddities;
use crate::decoding::tree::Node;
use crate::wire::AnswerError;

/// Most labels of device risk that are believed. The vendor documents about a dozen.
const MAX_LABELS: usize = 64;
/// Longest label.
const MAX_LABEL_BYTES: usize = 32;
/// Most digits in a label: an invented one may be a person's number.
const MAX_LABEL_DIGITS: usize = 4;

/// One answer of any of the calls, read.
#[derive(Debug)]
pub struct Reading<T = Read> {
    /// The provider's id of this request. Its support asks for it.
    pub request_id: Option<String>,
    /// The content, or why there is none.
    pub outcome: Result<T, AnswerError>,
}

/// The content of an answer of `DescribeFaceVerify`.
#[derive(Debug)]
pub enum Read {
    /// Body code 424 or 403: not started, given up or still processing. The provider does not tell
    /// which, so ask again until the verification's 30 minutes are over.
    Unfinished {
        /// The body code.
        code: String,
    },
    /// A result. It does not change any more.
    Finished(Box<Verified>),
    /// Body code 414 to 418 or 427: the provider refuses this person or device. It is final.
    Refused {
        /// The body code.
        code: String,
    },
}

/// A result. Its `Debug` shows no personal data.
#[derive(Debug)]
pub struct Verified {
    /// `Passed`: the verdict. `None` if it cannot be read, and then [`malformed::PASSED`] is noted.
    pub passed: Option<bool>,
    /// `SubCode`: one to six digits. `None` if it cannot be read, and then [`malformed::CODE`] is
    /// noted.
    pub code: Option<String>,
    /// The scores.
    pub scores: Scores,
    /// `faceOcclusion`: something covers the face.
    pub face_occluded: Option<bool>,
    /// `faceAttack`. The vendor's own example has it beside an attack score of 0.00009, so do not
    /// decide by it alone.
    pub face_attack: Option<bool>,
    /// `qualityWearHat`.
    pub wear_hat: Option<bool>,
    /// `guardRiskScore`: risk of the device, 0 to 100.
    pub guard_risk_score: Option<f64>,
    /// `DeviceRisk`: labels such as `ROOT`, in upper case, in order, each once.
    pub device_risk: Vec<String>,
    /// Names ([`malformed`]) of members that were present but made no sense, or of contradictions.
    /// Never approve an answer that has any.
    pub malformed: Vec<String>,
    /// JSON pointers of texts that are damaged and decide nothing.
    pub damaged_texts: Vec<String>,
    /// The person and the images.
    pub material: Option<Material>,
}

/// Scores. The vendor gives no table of false accepts for them, unlike for the older product.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// `verifyScore`, 0 to 100: the live face against the authority's photo, or against the picture
    /// that was handed in. May be missing from a result that passed.
    pub verify: Option<f64>,
    /// `idCardVerifyScore`, 0 to 100: the live face against the portrait on the card.
    pub id_card: Option<f64>,
    /// `qualityScore`, 0 to 100: the quality of the live picture.
    pub quality: Option<f64>,
    /// `faceAttackScore`, 0 to 1: near 1 is an attack.
    pub attack: Option<f64>,
}

/// Reads an answer of `DescribeFaceVerify`. The content tells the format, not a header.
pub fn read(http_status: u16, body: &[u8]) -> Reading {
    let Some(envelope) = Envelope::parse(http_status, body) else {
        return Reading { request_id: None, outcome: Err(codes::error(None, http_status)) };
    };
    Reading { request_id: envelope.request_id(), outcome: outcome(&envelope) }
}

fn outcome(envelope: &Envelope) -> Result<Read, AnswerError> {
    let code = envelope.code()?;
    match code {
        Some(code) if codes::is_unfinished(&code) => Ok(Read::Unfinished { code }),
        Some(code) if codes::is_refusal(&code) => Ok(Read::Refused { code }),
        Some(code) if code != codes::WORKED => Err(codes::error(Some(&code), envelope.http_status)),
        code => match verified(envelope, code.is_some()) {
            Some(verified) => Ok(Read::Finished(Box::new(verified))),
            None => Err(codes::error(code.as_deref(), envelope.http_status)),
        },
    }
}

/// The result, if there is one. `has_code` says that the body's code reports success.
fn verified(envelope: &Envelope, has_code: bool) -> Option<Verified> {
    let holders = envelope.holders()?;
    let holders: Vec<&Node> = holders.iter().map(|holder| &**holder).collect();
    let mut fields = Fields::new(&envelope.oddities);
    let passed = agreed(members(&holders, "Passed"), letter);
    let code = agreed(members(&holders, "SubCode"), |node| {
        codes::digits(fields::text(node)?).map(ToOwned::to_owned)
    });
    if matches!((&passed, &code), (Value::Absent, Value::Absent)) {
        return None;
    }
    let passed = fields.required(malformed::PASSED, passed);
    let code = fields.required(malformed::CODE, code);
    fields.note_if(!has_code, malformed::BODY_CODE);
    fields.note_if(
        contradicts(passed, code.as_deref()) || envelope.says_failed(),
        malformed::CONTRADICTION,
    );
    fields.note_if(holders.iter().any(|holder| has_damaged_name(holder)), malformed::DAMAGED_NAME);

    let noted = &mut fields.malformed;
    let info = one_object(&holders, "MaterialInfo", noted, malformed::MATERIAL_INFO);
    let info: Vec<&Node> = info.iter().map(|info| &**info).collect();
    let picture = one_object(&info, "facialPictureFront", noted, malformed::FACIAL_PICTURE);
    // Clients have met members of one in the other.
    let places: Vec<&Node> =
        picture.iter().map(|picture| &**picture).chain(info.iter().copied()).collect();
    let scores = Scores {
        verify: fields.number(malformed::VERIFY_SCORE, &places, "verifyScore", 100.0),
        id_card: fields.number(malformed::ID_CARD_SCORE, &places, "idCardVerifyScore", 100.0),
        quality: fields.number(malformed::QUALITY_SCORE, &places, "qualityScore", 100.0),
        attack: fields.number(malformed::ATTACK_SCORE, &places, "faceAttackScore", 1.0),
    };
    let face_occluded = fields.flag(malformed::FACE_OCCLUDED, &places, "faceOcclusion");
    let face_attack = fields.flag(malformed::FACE_ATTACK, &places, "faceAttack");
    let wear_hat = fields.flag(malformed::WEAR_HAT, &places, "qualityWearHat");
    let guard_risk_score =
        fields.number(malformed::GUARD_RISK_SCORE, &places, "guardRiskScore", 100.0);
    let device_risk = fields.labels(&holders);
    let material = Material::read(&holders, &info, &places, &mut fields.malformed);
    note_unreadable_texts(&holders, &mut fields);
    Some(Verified {
        passed,
        code,
        scores,
        face_occluded,
        face_attack,
        wear_hat,
        guard_risk_score,
        device_risk,
        malformed: fields.malformed,
        damaged_texts: fields.damaged_texts,
        material,
    })
}

/// Reads members and notes those that make no sense.
struct Fields {
    malformed: Vec<String>,
    damaged_texts: Vec<String>,
}

impl Fields {
    fn new(oddities: &Oddities) -> Self {
        let Oddities { malformed, damaged_texts, .. } = oddities;
        Self { malformed: malformed.clone(), damaged_texts: damaged_texts.clone() }
    }

    fn note_if(&mut self, holds: bool, name: &str) {
        if holds {
            self.malformed.push(name.to_owned());
        }
    }

    fn required<T>(&mut self, name: &str, value: Value<T>) -> Option<T> {
        self.note_if(matches!(value, Value::Absent), name);
        self.optional(name, value)
    }

    fn optional<T>(&mut self, name: &str, value: Value<T>) -> Option<T> {
        match value {
            Value::Is(value) => Some(value),
            Value::Absent => None,
            Value::Unreadable => {
                self.note_if(true, name);
                None
            }
        }
    }

    /// A number from 0 to `most`.
    fn number(&mut self, name: &str, places: &[&Node], member: &str, most: f64) -> Option<f64> {
        let read = |node: &Node| {
            let number = fields::number(fields::text(node)?)?;
            (0.0..=most).contains(&number).then_some(number)
        };
        self.optional(name, agreed(members(places, member), read))
    }

    /// `T` or `F`, or a truth value of JSON.
    fn flag(&mut self, name: &str, places: &[&Node], member: &str) -> Option<bool> {
        let read = |node: &Node| match node {
            Node::Flag(flag) => Some(*flag),
            node => match fields::text(node)?.to_ascii_lowercase().as_str() {
                "t" | "true" => Some(true),
                "f" | "false" => Some(false),
                _ => None,
            },
        };
        self.optional(name, agreed(members(places, member), read))
    }

    /// The labels of `DeviceRisk`: a list in a text, or a list.
    fn labels(&mut self, holders: &[&Node]) -> Vec<String> {
        let mut labels = BTreeSet::new();
        let nodes = members(holders, "DeviceRisk").filter(|node| !fields::is_absent(node));
        let mut readable = true;
        for node in nodes {
            readable &= add_labels(node, &mut labels);
        }
        self.note_if(!readable || labels.len() > MAX_LABELS, malformed::DEVICE_RISK);
        labels.into_iter().take(MAX_LABELS).collect()
    }
}

/// Whether verdict and code exclude each other.
fn contradicts(passed: Option<bool>, code: Option<&str>) -> bool {
    let success = code.map(|code| codes::family(code) == codes::Family::Pass);
    matches!((passed, success), (Some(passed), Some(success)) if passed != success)
}

/// `T` or `F` exactly as documented: this one letter approves a person.
fn letter(node: &Node) -> Option<bool> {
    match fields::text(node)? {
        "T" => Some(true),
        "F" => Some(false),
        _ => None,
    }
}

/// Adds the labels of one node; `false` if something in it is no label.
fn add_labels(node: &Node, labels: &mut BTreeSet<String>) -> bool {
    match node {
        Node::Null => true,
        Node::List(nodes) => {
            let mut readable = true;
            for node in nodes {
                readable &= add_labels(node, labels);
            }
            readable
        }
        Node::Text(text) => {
            let parts = text.split([',', '，']).map(|part| part.trim().to_ascii_uppercase());
            let parts = parts.filter(|part| !part.is_empty() && part != "NULL");
            let (good, bad): (Vec<_>, Vec<_>) = parts.partition(|part| is_label(part));
            labels.extend(good);
            bad.is_empty()
        }
        Node::Flag(_) | Node::Map(_) => false,
    }
}

fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (1..=MAX_LABEL_BYTES).contains(&text.len())
        && digits <= MAX_LABEL_DIGITS
        && text.bytes().all(fits)
}

/// Texts beside the material that are cut off or otherwise no JSON. They decide nothing.
fn note_unreadable_texts(holders: &[&Node], fields: &mut Fields) {
    for name in ["IdentityInfo", "UserInfo"] {
        let mut nodes = members(holders, name).filter(|node| !fields::is_absent(node));
        let pointer = format!("/ResultObject/{name}");
        if nodes.any(|node| object(node).is_none()) && !fields.damaged_texts.contains(&pointer) {
            fields.damaged_texts.push(pointer);
        }
    }
}
