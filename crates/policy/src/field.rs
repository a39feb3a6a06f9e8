//! The closed list of evidence fields a policy may look at, and how each is read.

use std::collections::BTreeMap;

use strum::VariantNames;

use crate::decision::Datum;
use crate::evidence::{Evidence, FaceQuality, MOST_COUNTED, Product};
use crate::product::{Family, ProviderOutcome};

/// The type of a field; it determines the valid operators and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Flag,
    /// A whole number.
    Whole,
    /// A score, 0 to 100.
    Score,
    /// A score, 0 to 1.
    Fraction,
    /// One of `UNQUALIFIED`, `LOW`, `NORMAL`, `HIGH`, in this order.
    Quality,
    /// Any text.
    Text,
    /// One word of a closed list, which [`Field::words`] has.
    Word,
    /// A set of labels.
    Labels,
}

/// One value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Of a flag.
    Flag(bool),
    /// Of a whole number.
    Whole(i64),
    /// Of a score; always finite and within its scale.
    Score(f64),
    /// Of a face quality.
    Quality(FaceQuality),
    /// Of a text, or a word of a closed list.
    Text(&'a str),
    /// Of a code that is a number: compared as its text.
    Code(i32),
    /// Of a set.
    Labels(&'a [String]),
}

impl From<Value<'_>> for Datum {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Flag(flag) => Self::Flag(flag),
            Value::Whole(number) => Self::Whole(number),
            Value::Score(score) => Self::Number(score),
            Value::Quality(quality) => Self::Text(quality.as_str().to_owned()),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Code(code) => Self::Text(code.to_string()),
            Value::Labels(labels) => Self::List(labels.iter().cloned().map(Self::Text).collect()),
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
    /// The provider's product.
    Product = "product": Word,
    /// What the provider itself says.
    ProviderOutcome = "provider_outcome": Word,
    /// The provider's code as sent; for `verify-result` the status as text.
    Code = "code": Text,
    /// What the code is about.
    Family = "family": Word,
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
    /// Live face against the photo that the scene of `face-verify` compares with.
    VerifyScore = "verify_score": Score,
    /// Live face against the portrait on the card, by `face-verify`.
    IdCardScore = "id_card_score": Score,
    /// Quality of the picture.
    QualityScore = "quality_score": Score,
    /// How likely an attack is.
    AttackScore = "attack_score": Fraction,
    /// Risk of the device.
    GuardRiskScore = "guard_risk_score": Score,
    /// Labels of the device's risks.
    DeviceRisk = "device_risk": Labels,
    /// How many of the three scores are present.
    ScoresPresent = "scores_present": Whole,
    /// How many fields of the answer made no sense.
    MalformedFields = "malformed_fields": Whole,
    /// The provider's grading of the face image.
    FaceQuality = "face_quality": Quality,
    /// The face wore a mask.
    FaceMask = "face_mask": Flag,
    /// Something covered the face.
    FaceOccluded = "face_occluded": Flag,
    /// The provider's flag of an attack.
    FaceAttack = "face_attack": Flag,
    /// The person wore a hat.
    WearHat = "wear_hat": Flag,
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

    /// The words of a closed list; empty for other kinds.
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Product => <Product as VariantNames>::VARIANTS,
            Self::ProviderOutcome => <ProviderOutcome as VariantNames>::VARIANTS,
            Self::Family => <Family as VariantNames>::VARIANTS,
            _ => &[],
        }
    }

    /// Whether answers of a product may have it. What follows from a field that they never have
    /// counts as such a field: without scores there is no lowest one.
    pub const fn is_of(self, product: Product) -> bool {
        match self {
            Self::Status
            | Self::LowestScore
            | Self::AuthorityScore
            | Self::FaceScore
            | Self::IdCardFaceScore
            | Self::ScoresPresent
            | Self::FaceQuality
            | Self::FaceMask
            | Self::HasFaceGlobalImage => matches!(product, Product::VerifyResult),
            Self::VerifyScore
            | Self::IdCardScore
            | Self::QualityScore
            | Self::AttackScore
            | Self::GuardRiskScore
            | Self::DeviceRisk
            | Self::FaceOccluded
            | Self::FaceAttack
            | Self::WearHat => matches!(product, Product::FaceVerify),
            _ => true,
        }
    }

    /// Whether a rule that compares it takes notice of the products: policies from before the
    /// second product have no such rule, so they do not decide its answers.
    pub const fn knows_products(self) -> bool {
        matches!(self, Self::Product | Self::ProviderOutcome | Self::Code | Self::Family)
            || !self.is_of(Product::VerifyResult)
    }

    /// Whether it is a comparison score with a table of false-accept rates, so that a bound may have
    /// a name.
    pub const fn has_named_bounds(self) -> bool {
        matches!(
            self,
            Self::LowestScore | Self::AuthorityScore | Self::FaceScore | Self::IdCardFaceScore
        )
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

    /// Whether an answer of a product that has the field may lack it. The number of calls, the counts
    /// within the answer and the image flags are always there. Older versions stored no other counts.
    pub const fn can_lack(self) -> bool {
        match self {
            Self::LowestScore
            | Self::AuthorityScore
            | Self::FaceScore
            | Self::IdCardFaceScore
            | Self::VerifyScore
            | Self::IdCardScore
            | Self::QualityScore
            | Self::AttackScore
            | Self::GuardRiskScore
            | Self::DeviceRisk
            | Self::FaceQuality
            | Self::FaceMask
            | Self::FaceOccluded
            | Self::FaceAttack
            | Self::WearHat
            | Self::NameMatches
            | Self::NumberMatches
            | Self::CardDaysLeft
            | Self::AgeYears
            | Self::Callbacks
            | Self::Answers
            | Self::Earlier1d
            | Self::Earlier30d => true,
            Self::Product
            | Self::ProviderOutcome
            | Self::Code
            | Self::Family
            | Self::Status
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

    /// Whether any evidence may lack it: also where another product answered, or, for what the
    /// provider says, where a status is not final.
    pub const fn can_be_absent(self) -> bool {
        self.can_lack() || matches!(self, Self::Status | Self::ProviderOutcome)
    }

    /// Whether it may be there and make no sense.
    pub const fn can_be_unknowable(self) -> bool {
        matches!(self.kind(), Kind::Score | Kind::Fraction)
            || matches!(self, Self::ProviderOutcome | Self::Code)
    }

    /// The value in this evidence.
    pub fn read(self, evidence: &Evidence) -> Reading<'_> {
        let scores = &evidence.scores;
        match self {
            Self::Product => Reading::Value(Value::Text(evidence.product.as_str())),
            Self::ProviderOutcome => provider_outcome(evidence),
            Self::Code => code(evidence),
            Self::Family => Reading::Value(Value::Text(evidence.family().as_str())),
            Self::Status => {
                optional(evidence.verify_status.map(|status| Value::Whole(status.into())))
            }
            Self::LowestScore if scores.present().any(|score| !is_score(score, MOST_SCORE)) => {
                Reading::Unknowable
            }
            Self::LowestScore => score(evidence.lowest_score(), MOST_SCORE),
            Self::AuthorityScore => score(scores.authority, MOST_SCORE),
            Self::FaceScore => score(scores.face, MOST_SCORE),
            Self::IdCardFaceScore => score(scores.id_card_face, MOST_SCORE),
            Self::VerifyScore => score(scores.verify, MOST_SCORE),
            Self::IdCardScore => score(scores.id_card, MOST_SCORE),
            Self::QualityScore => score(scores.quality, MOST_SCORE),
            Self::AttackScore => score(scores.attack, MOST_FRACTION),
            Self::GuardRiskScore => score(evidence.guard_risk_score, MOST_SCORE),
            // No labels may also mean that nobody asked for them.
            Self::DeviceRisk => {
                let labels = Some(&evidence.device_risk[..]).filter(|labels| !labels.is_empty());
                optional(labels.map(Value::Labels))
            }
            Self::ScoresPresent => count(scores.present().count()),
            Self::MalformedFields => count(malformed_fields(evidence)),
            Self::FaceQuality => optional(evidence.face_quality.map(Value::Quality)),
            Self::FaceMask => optional(evidence.face_mask.map(Value::Flag)),
            Self::FaceOccluded => optional(evidence.face_occluded.map(Value::Flag)),
            Self::FaceAttack => optional(evidence.face_attack.map(Value::Flag)),
            Self::WearHat => optional(evidence.wear_hat.map(Value::Flag)),
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
/// absent, what follows from scores, status or code, and second names.
pub fn by_name(evidence: &Evidence) -> BTreeMap<&'static str, Datum> {
    let follows = |field: &Field| match field {
        Field::LowestScore | Field::ScoresPresent | Field::Attempts | Field::Family => true,
        // Evidence that names no product is of this one.
        Field::Product | Field::ProviderOutcome | Field::Code => {
            evidence.product == Product::VerifyResult
        }
        field => !field.is_of(evidence.product),
    };
    let fields = Field::ALL.iter().filter(|field| !follows(field));
    fields
        .filter_map(|field| match field.read(evidence) {
            Reading::Value(value) => Some((field.name(), value.into())),
            Reading::Absent | Reading::Unknowable => None,
        })
        .collect()
}

/// How many fields made no sense: those the decoder names, scores that are no scores, and an answer
/// of `face-verify` that contradicts itself (it lets none through unnamed, but a decision must not
/// rest on that).
pub fn malformed_fields(evidence: &Evidence) -> usize {
    let says_nothing =
        evidence.product == Product::FaceVerify && evidence.provider_outcome().is_none();
    let unnamed = says_nothing && evidence.malformed.is_empty() && !evidence.is_unfinished();
    evidence.malformed.len() + nonsense_scores(evidence) + usize::from(unnamed)
}

fn nonsense_scores(evidence: &Evidence) -> usize {
    let scores = &evidence.scores;
    let others = [scores.verify, scores.id_card, scores.quality, evidence.guard_risk_score];
    let of_100 = scores.present().chain(others.into_iter().flatten());
    of_100.filter(|score| !is_score(*score, MOST_SCORE)).count()
        + usize::from(scores.attack.is_some_and(|score| !is_score(score, MOST_FRACTION)))
}

/// Greatest values of the two scales.
const MOST_SCORE: f64 = 100.0;
const MOST_FRACTION: f64 = 1.0;

/// Not so for NaN and the infinities.
fn is_score(score: f64, most: f64) -> bool {
    (0.0..=most).contains(&score)
}

fn score(score: Option<f64>, most: f64) -> Reading<'static> {
    match score {
        None => Reading::Absent,
        Some(score) if is_score(score, most) => Reading::Value(Value::Score(score)),
        Some(_) => Reading::Unknowable,
    }
}

fn provider_outcome(evidence: &Evidence) -> Reading<'static> {
    match (evidence.provider_outcome(), evidence.product) {
        (Some(outcome), _) => Reading::Value(Value::Text(outcome.as_str())),
        (None, Product::VerifyResult) => Reading::Absent,
        (None, Product::FaceVerify) if evidence.is_unfinished() => Reading::Absent,
        // Unreadable, or a contradiction.
        (None, Product::FaceVerify) => Reading::Unknowable,
    }
}

fn code(evidence: &Evidence) -> Reading<'_> {
    let value = match evidence.product {
        Product::VerifyResult => evidence.verify_status.map(Value::Code),
        Product::FaceVerify => evidence.code.as_deref().map(Value::Text),
    };
    value.map_or(Reading::Unknowable, Reading::Value)
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
