//! One case as a JSON document: by the names that rules use (`fields` of an item of `/results`), or
//! as evidence is stored (`evidence` of such an item).

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::Value;
use toml::de::DeTable;

use super::conditions::{bound, labels};
use super::draft::Draft;
use super::limits::Limits;
use super::mistakes::FIELD_ALIASES;
use super::reader::{Item, Reader};
use super::spelling::suggest;
use super::wording::quote;
use crate::diagnostics::Diagnostics;
use crate::evidence::Evidence;
use crate::field::{Field, Kind};

/// Members of stored evidence that have another name there.
const SCORES: [(&str, Field); 7] = [
    ("authority", Field::AuthorityScore),
    ("face", Field::FaceScore),
    ("id_card_face", Field::IdCardFaceScore),
    ("verify", Field::VerifyScore),
    ("id_card", Field::IdCardScore),
    ("quality", Field::QualityScore),
    ("attack", Field::AttackScore),
];
const IMAGES: [(&str, Field); 4] = [
    ("face", Field::HasFaceImage),
    ("card_front", Field::HasCardFrontImage),
    ("card_back", Field::HasCardBackImage),
    ("face_global", Field::HasFaceGlobalImage),
];

/// Reads one case for [`decide()`](crate::decide()) from a JSON document. The error names line and
/// member.
pub fn read_case(text: &str) -> Result<Evidence, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let case = reader.deserialize_map(CaseVisitor).and_then(|case| reader.end().map(|()| case));
    case.map_err(|error| {
        let (line, message) = (error.line(), error.to_string());
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
        format!("line {line}: {message}")
    })
}

struct CaseVisitor;

impl<'de> Visitor<'de> for CaseVisitor {
    type Value = Evidence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one object of evidence such as { \"status\": 1, \"authority_score\": 97 }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Evidence, A::Error> {
        let mut case = Case::new();
        while let Some(name) = members.next_key::<String>()? {
            // Before its value is read, so that the error has the line of the name.
            let place = Place::of(&name).map_err(A::Error::custom)?;
            if !case.seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("{} is given twice", quote(&name))));
            }
            let value: Value = members.next_value()?;
            case.take(&name, place, &value).map_err(A::Error::custom)?;
        }
        case.finish().map_err(A::Error::custom)
    }
}

/// Where a member of the document goes.
#[derive(Clone, Copy)]
enum Place {
    Field(Field),
    Group(&'static [(&'static str, Field)]),
    Passed,
    Malformed,
    Damaged,
}

impl Place {
    fn of(name: &str) -> Result<Self, String> {
        Ok(match name {
            "verify_status" => Self::Field(Field::Status),
            "scores" => Self::Group(&SCORES),
            "images" => Self::Group(&IMAGES),
            "passed" => Self::Passed,
            "malformed" => Self::Malformed,
            "damaged_texts" => Self::Damaged,
            "evidence" | "fields" | "items" => {
                return Err(format!(
                    "{} is no evidence: give only the object under `fields` or \
                     `evidence` of one item of /results",
                    quote(name)
                ));
            }
            _ => Self::Field(Field::parse(name).ok_or_else(|| {
                let known: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
                format!("there is no field {}{}", quote(name), suggest(name, &known, FIELD_ALIASES))
            })?),
        })
    }
}

/// A case, half read.
struct Case {
    draft: Draft,
    seen: BTreeSet<String>,
}

impl Case {
    fn new() -> Self {
        Self { draft: Draft::new(), seen: BTreeSet::new() }
    }

    fn take(&mut self, name: &str, place: Place, value: &Value) -> Result<(), String> {
        let of = |member: &str| quote(&format!("{name}.{member}"));
        match (place, value) {
            (Place::Field(field), value) => self.set(&quote(name), field, value),
            (Place::Group(known), Value::Object(members)) => {
                for (member, value) in members {
                    let field = known.iter().find(|(known, _)| known == member);
                    let Some((_, field)) = field else {
                        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                        return Err(format!(
                            "there is no {}{}",
                            of(member),
                            suggest(member, &names, &[])
                        ));
                    };
                    self.set(&of(member), *field, value)?;
                }
                Ok(())
            }
            (Place::Passed, Value::Bool(_) | Value::Null) => {
                (self.draft.evidence.passed, self.draft.has_passed) = (value.as_bool(), true);
                Ok(())
            }
            (Place::Passed, _) => Err(format!("{} must be true, false or null", quote(name))),
            (Place::Group(_), _) => Err(format!("{} must be an object", quote(name))),
            (Place::Malformed | Place::Damaged, value) => {
                let texts = value.as_array().and_then(|texts| {
                    texts.iter().map(|text| text.as_str().map(str::to_owned)).collect()
                });
                let Some(texts) = texts else {
                    return Err(format!("{} must be a list of texts", quote(name)));
                };
                if matches!(place, Place::Malformed) {
                    self.draft.evidence.malformed = texts;
                } else {
                    self.draft.evidence.damaged_texts = texts;
                }
                Ok(())
            }
        }
    }

    fn set(&mut self, name: &str, field: Field, value: &Value) -> Result<(), String> {
        if value.is_null() {
            match field {
                Field::Callbacks => self.draft.evidence.callbacks = None,
                Field::Answers => self.draft.evidence.answers = None,
                Field::Code => self.draft.evidence.code = None,
                field if field.can_lack() => {}
                _ => return Err(format!("{name} cannot be null: evidence always has it")),
            }
            return Ok(());
        }
        let said = |why| format!("{name}: {why}");
        if field.kind() == Kind::Labels {
            let labels = read_as_toml(field, value, |reader, item| labels(reader, field, item));
            self.draft.evidence.device_risk = labels.map_err(said)?;
            return Ok(());
        }
        let bound = read_as_toml(field, value, |reader, item| bound(reader, field, item));
        self.draft.set(field, bound.map_err(said)?).map_err(|why| format!("{name} {why}"))
    }

    fn finish(mut self) -> Result<Evidence, String> {
        let is_stored = self.seen.contains("verify_status");
        // An older version stored it; a new case has one callback and this answer.
        if is_stored && !self.seen.contains("callbacks") {
            self.draft.evidence.callbacks = None;
        }
        if is_stored && !self.seen.contains("answers") {
            self.draft.evidence.answers = None;
        }
        self.draft.complete()
    }
}

/// The value as an example of a policy would give it.
fn read_as_toml<T>(
    field: Field,
    value: &Value,
    read: impl FnOnce(&mut Reader<'_>, &Item<'_>) -> Option<T>,
) -> Result<T, String> {
    let cannot = || format!("`{}` cannot hold this", field.name());
    let text = toml::Value::try_from(value).map(|value| format!("value = {value}"));
    let text = text.map_err(|_| cannot())?;
    let document = DeTable::parse(&text).map_err(|_| cannot())?.into_inner();
    let mut diagnostics = Diagnostics::of(&text);
    let mut reader = Reader::new(&text, Limits::New, &mut diagnostics);
    let found = document.get("value").and_then(|item| read(&mut reader, item));
    found.ok_or_else(|| {
        let first = diagnostics.into_sorted().into_iter().next();
        first.map_or_else(cannot, |diagnostic| diagnostic.message)
    })
}
