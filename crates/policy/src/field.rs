//! The closed list of evidence fields a policy may look at, and how each is read.

use std::collections::BTreeMap;

use crate::decision::Datum;
use crate::evidence::{Evidence, FaceQuality, MOST_COUNTED};

/// The type of a field; it determines the valid operators and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Flag,
    /// A whole number.
    Whole,
    /// A comparison score, 0 to 100.
    Score,
    /// One of `UNQUALIFIED`, `LOW`, `NORMAL`, `HIGH`, in this order.
    Quality,
    /// Any text.
    Text,
}

/// One value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Of a flag.
    Flag(bool),
    /// Of a whole number.
    Whole(i64),
    /// Of a score; always finite and within 0 to 100.
    Score(f64),
    /// Of a face quality.
    Quality(FaceQuality),
    /// Of a text.
    Text(&'a str),
}

impl From<Value<'_>> for Datum {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Flag(flag) => Self::Flag(flag),
            Value::Whole(number) => Self::Whole(number),
            Value::Score(score) => Self::Number(score),
            Value::Quality(quality) => Self::Text(quality.as_str().to_owned()),
            Value::Text(text) => Self::Text(text.to_owned()),
        }
    }
}

/// The result of reading a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading<'a> {
    /// This value.
    Value(Value<'a>),
    /// The evidence lacks it: a rule may say what that counts as.
    Absent,
    /// It is there and makes no sense, so no rule may take it for anything.
    Unknowable,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $kind:ident,)*) => {
        /// An evidence field, as compiled conditions hold it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field {$(
            $(#[$doc])*
            $name,
        )*}

        impl Field {
            /// Every field, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its spelling in policies and observations.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)*
                }
            }
        }
    };
}

fields! {
    /// `VerifyStatus`.
    Status = "status": Whole,
    /// The lowest of the scores that are present.
    LowestScore = "lowest_score": Score,
    /// Live face against the government photo.
    AuthorityScore = "authority_score": Score,
    /// Live face against the retained photo.
    FaceScore = "face_score": Score,
    /// Live face against the portrait on the card.
    IdCardFaceScore = "id_card_face_score": Score,
    /// How many of the three scores are present.
    ScoresPresent = "scores_present": Whole,
    /// How many fields of the answer made no sense.
    MalformedFields = "malformed_fields": Whole,
    /// The provider's grading of the face image.
    FaceQuality = "face_quality": Quality,
    /// The face wore a mask.
    FaceMask = "face_mask": Flag,
    /// The answer linked to the face.
    HasFaceImage = "has_face_image": Flag,
    /// The answer linked to the card's portrait side.
    HasCardFrontImage = "has_card_front_image": Flag,
    /// The answer linked to the card's emblem side.
    HasCardBackImage = "has_card_back_image": Flag,
    /// The answer linked to the full camera frame.
    HasFaceGlobalImage = "has_face_global_image": Flag,
    /// The name on the card equals the one submitted.
    NameMatches = "name_matches": Flag,
    /// The number on the card equals the one submitted.
    NumberMatches = "number_matches": Flag,
    /// Days until the card expires, as the highest edge reached.
    CardDaysLeft = "card_days_left": Whole,
    /// Age in whole years.
    AgeYears = "age_years": Whole,
    /// The provider's scene id.
    BizType = "biz_type": Text,
    /// How many times the provider has been asked. Policies written before `calls` name it so.
    Attempts = "attempts": Whole,
    /// How many times the provider has been asked.
    Calls = "calls": Whole,
    /// Callbacks of this verification.
    Callbacks = "callbacks": Whole,
    /// Answers with a status about this verification.
    Answers = "answers": Whole,
    /// Verifications of the same reference in the 24 hours before this one.
    Earlier1d = "earlier_1d": Whole,
    /// The same in the 30 days before.
    Earlier30d = "earlier_30d": Whole,
}

impl Field {
    /// The field so spelt.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == text)
    }

    /// Least and greatest value, where a bound outside is surely a slip.
    pub const fn range(self) -> Option<(i64, i64)> {
        match self {
            Self::ScoresPresent => Some((0, 3)),
            Self::MalformedFields => Some((0, 100)),
            Self::AgeYears => Some((0, 150)),
            Self::Attempts | Self::Calls | Self::Callbacks => Some((0, 1_000_000)),
            Self::Answers => Some((1, MOST_COUNTED)),
            Self::Earlier1d | Self::Earlier30d => Some((0, MOST_COUNTED)),
            _ => None,
        }
    }

    /// Whether evidence may lack it. The number of calls, what is counted in the answer, and whether
    /// there are images, always are there. Older versions stored no other counts.
    pub const fn can_lack(self) -> bool {
        match self {
            Self::LowestScore
            | Self::AuthorityScore
            | Self::FaceScore
            | Self::IdCardFaceScore
            | Self::FaceQuality
            | Self::FaceMask
            | Self::NameMatches
            | Self::NumberMatches
            | Self::CardDaysLeft
            | Self::AgeYears
            | Self::Callbacks
            | Self::Answers
            | Self::Earlier1d
            | Self::Earlier30d => true,
            Self::Status
            | Self::ScoresPresent
            | Self::MalformedFields
            | Self::HasFaceImage
            | Self::HasCardFrontImage
            | Self::HasCardBackImage
            | Self::HasFaceGlobalImage
            | Self::BizType
            | Self::Attempts
            | Self::Calls => false,
        }
    }

    /// The value in this evidence.
    pub fn read(self, evidence: &Evidence) -> Reading<'_> {
        let scores = &evidence.scores;
        match self {
            Self::Status => {
                optional(evidence.verify_status.map(|status| Value::Whole(status.into())))
            }
            Self::LowestScore if nonsense_scores(evidence) > 0 => Reading::Unknowable,
            Self::LowestScore => score(evidence.lowest_score()),
            Self::AuthorityScore => score(scores.authority),
            Self::FaceScore => score(scores.face),
            Self::IdCardFaceScore => score(scores.id_card_face),
            Self::ScoresPresent => count(scores.present().count()),
            Self::MalformedFields => count(malformed_fields(evidence)),
            Self::FaceQuality => optional(evidence.face_quality.map(Value::Quality)),
            Self::FaceMask => optional(evidence.face_mask.map(Value::Flag)),
            Self::HasFaceImage => flag(evidence.images.face),
            Self::HasCardFrontImage => flag(evidence.images.card_front),
            Self::HasCardBackImage => flag(evidence.images.card_back),
            Self::HasFaceGlobalImage => flag(evidence.images.face_global),
            Self::NameMatches => optional(evidence.name_matches.map(Value::Flag)),
            Self::NumberMatches => optional(evidence.number_matches.map(Value::Flag)),
            Self::CardDaysLeft => optional(evidence.card_days_left.map(Value::Whole)),
            Self::AgeYears => optional(evidence.age_years.map(Value::Whole)),
            Self::BizType => Reading::Value(Value::Text(&evidence.biz_type)),
            Self::Attempts | Self::Calls => whole(evidence.attempts),
            Self::Callbacks => optional(evidence.callbacks.map(Value::Whole)),
            Self::Answers => optional(evidence.answers.map(Value::Whole)),
            Self::Earlier1d => optional(evidence.earlier_1d.map(Value::Whole)),
            Self::Earlier30d => optional(evidence.earlier_30d.map(Value::Whole)),
        }
    }
}

/// Evidence by the names of fields, as examples and `verdict policy try` take it: without what is
/// absent, what follows from the scores, and second names.
pub fn by_name(evidence: &Evidence) -> BTreeMap<&'static str, Datum> {
    let follows = [Field::LowestScore, Field::ScoresPresent, Field::Attempts];
    let fields = Field::ALL.iter().filter(|field| !follows.contains(field));
    fields
        .filter_map(|field| match field.read(evidence) {
            Reading::Value(value) => Some((field.name(), value.into())),
            Reading::Absent | Reading::Unknowable => None,
        })
        .collect()
}

/// How many fields made no sense: those the decoder names, and scores that are no scores (it lets
/// none through, but a decision must not rest on that).
pub fn malformed_fields(evidence: &Evidence) -> usize {
    evidence.malformed.len() + nonsense_scores(evidence)
}

fn nonsense_scores(evidence: &Evidence) -> usize {
    evidence.scores.present().filter(|score| !is_score(*score)).count()
}

/// Not so for NaN and the infinities.
fn is_score(score: f64) -> bool {
    (0.0..=100.0).contains(&score)
}

fn score(score: Option<f64>) -> Reading<'static> {
    match score {
        None => Reading::Absent,
        Some(score) if is_score(score) => Reading::Value(Value::Score(score)),
        Some(_) => Reading::Unknowable,
    }
}

fn optional(value: Option<Value<'_>>) -> Reading<'_> {
    value.map_or(Reading::Absent, Reading::Value)
}

fn flag(flag: bool) -> Reading<'static> {
    Reading::Value(Value::Flag(flag))
}

fn whole(number: i64) -> Reading<'static> {
    Reading::Value(Value::Whole(number))
}

fn count(count: usize) -> Reading<'static> {
    whole(i64::try_from(count).unwrap_or(i64::MAX))
}
