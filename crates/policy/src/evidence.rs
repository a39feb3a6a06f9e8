//! The evidence: the part of a result that a policy may see, without the person.

use serde::{Deserialize, Serialize};

use crate::card_days::highest_edge_reached;
use crate::product::{Family, ProviderOutcome, outcome_of_face_verify, outcome_of_status};

pub use crate::product::Product;

/// The bound of all counts of a verification's past.
pub const MOST_COUNTED: i64 = 1000;

/// One answer as evidence. Absent stays absent (`None`): never a default, never a guess.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// The product that answered; left out for `verify-result`.
    #[serde(default, skip_serializing_if = "Product::is_default")]
    pub product: Product,
    /// `VerifyStatus` of `verify-result`: −1 and 0 unfinished, 1 passed, 2 and above not passed.
    /// Absent in evidence of `face-verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_status: Option<i32>,
    /// `Passed` of `face-verify`; absent where it cannot be read, and where the provider refused
    /// the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// The code of `face-verify` as sent: `SubCode`, or the body code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The scores.
    pub scores: Scores,
    /// `Material.FaceQuality`.
    pub face_quality: Option<FaceQuality>,
    /// `Material.FaceMask`: the face wore a mask.
    pub face_mask: Option<bool>,
    /// `faceOcclusion` of `face-verify`: something covered the face.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face_occluded: Option<bool>,
    /// `faceAttack` of `face-verify`. The provider sets it beside attack scores near 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face_attack: Option<bool>,
    /// `qualityWearHat` of `face-verify`: the person wore a hat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wear_hat: Option<bool>,
    /// `guardRiskScore` of `face-verify`: risk of the device, 0 to 100, high is bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard_risk_score: Option<f64>,
    /// Labels of `DeviceRisk` of `face-verify`, such as ROOT and VPN. Empty where the provider sent
    /// none, also where the start did not ask for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_risk: Vec<String>,
    /// Which images the answer offered.
    pub images: ImagesOffered,
    /// The name read from the card equals the one submitted.
    pub name_matches: Option<bool>,
    /// The number read from the card equals the one submitted.
    pub number_matches: Option<bool>,
    /// Days from the answer until the card expires, stored as the highest edge reached of
    /// -36500, -365, -180, -90, -30, -7, 0, 7, 14, 30, 60, 90, 180, 365, 730, 1825, 3650; negative
    /// once it has expired. Absent for long-term cards (长期) and unreadable dates.
    pub card_days_left: Option<i64>,
    /// Whole years from birth (card) to the answer; exact until the person is erased.
    pub age_years: Option<i64>,
    /// The scene the verification ran in.
    pub biz_type: String,
    /// How many times the provider has been asked, this time included.
    pub attempts: i64,
    /// Callbacks about this verification that had been accepted when the provider was asked.
    /// Absent in evidence that an older version stored, like the three below.
    #[serde(default)]
    pub callbacks: Option<i64>,
    /// Answers with a status about this verification, this one included. Refusals and faults of
    /// the provider do not count.
    #[serde(default)]
    pub answers: Option<i64>,
    /// Earlier verifications of the same reference, within the source's group, that began in the
    /// 24 hours before this one began; at most 1000. Absent where there is no reference or no
    /// source.
    #[serde(default)]
    pub earlier_1d: Option<i64>,
    /// The same for the 30 days before; at most 1000.
    #[serde(default)]
    pub earlier_30d: Option<i64>,
    /// Names of fields that were there but made no sense (a score of "abc" or 140, say). A policy
    /// must not take such an answer for one that lacks the field.
    pub malformed: Vec<String>,
    /// JSON pointers of texts in the answer that were damaged (half a surrogate pair, a raw control
    /// character, bytes of another encoding) and decide nothing. Members that the vendor does not
    /// document appear as `*`.
    #[serde(default)]
    pub damaged_texts: Vec<String>,
}

/// The evidence that does not come from the answer. Members as in [`Evidence`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many times the provider has been asked, this time included.
    pub calls: i64,
    /// Callbacks about it.
    pub callbacks: Option<i64>,
    /// Answers with a status.
    pub answers: Option<i64>,
    /// Verifications of the same reference in the 24 hours before.
    pub earlier_1d: Option<i64>,
    /// The same in the 30 days before.
    pub earlier_30d: Option<i64>,
}

impl History {
    /// Of a verification about which nothing but the number of calls is known.
    pub fn of_calls(calls: i64) -> Self {
        Self { calls, ..Self::default() }
    }
}

impl Evidence {
    /// Of an answer that says nothing yet.
    pub fn blank(product: Product, biz_type: &str, history: History) -> Self {
        Self {
            product,
            verify_status: None,
            passed: None,
            code: None,
            scores: Scores::default(),
            face_quality: None,
            face_mask: None,
            face_occluded: None,
            face_attack: None,
            wear_hat: None,
            guard_risk_score: None,
            device_risk: Vec::new(),
            images: ImagesOffered::default(),
            name_matches: None,
            number_matches: None,
            card_days_left: None,
            age_years: None,
            biz_type: biz_type.to_owned(),
            attempts: history.calls,
            callbacks: history.callbacks,
            answers: history.answers,
            earlier_1d: history.earlier_1d,
            earlier_30d: history.earlier_30d,
            malformed: Vec::new(),
            damaged_texts: Vec::new(),
        }
    }

    /// What the provider itself says about the person; `None` where it says nothing, or contradicts
    /// itself.
    pub fn provider_outcome(&self) -> Option<ProviderOutcome> {
        match self.product {
            Product::VerifyResult => outcome_of_status(self.verify_status?),
            Product::FaceVerify => outcome_of_face_verify(self.passed, self.code.as_deref()),
        }
    }

    /// Whether the provider says that the person has not finished.
    pub fn is_unfinished(&self) -> bool {
        match self.product {
            Product::VerifyResult => matches!(self.verify_status, Some(-1 | 0)),
            Product::FaceVerify => {
                self.passed.is_none() && matches!(self.code.as_deref(), Some("403" | "424"))
            }
        }
    }

    /// What its code is about.
    pub fn family(&self) -> Family {
        match self.product {
            Product::VerifyResult => self.verify_status.map_or(Family::Unknown, Family::of_status),
            Product::FaceVerify => self.code.as_deref().map_or(Family::Unknown, Family::of_code),
        }
    }

    /// Its code as text: the status of `verify-result`, the code of `face-verify` as sent.
    pub fn code_as_text(&self) -> Option<String> {
        match self.product {
            Product::VerifyResult => self.verify_status.map(|status| status.to_string()),
            Product::FaceVerify => self.code.clone(),
        }
    }

    /// Whether the provider says that the person passed, as far as it says anything. A contradicted
    /// `Passed` of `face-verify` counts as sent.
    pub fn has_passed(&self) -> Option<bool> {
        match self.product {
            Product::VerifyResult => {
                outcome_of_status(self.verify_status?).map(|of| of == ProviderOutcome::Passed)
            }
            Product::FaceVerify => self.passed,
        }
    }

    /// The part that does not come from the answer.
    pub const fn history(&self) -> History {
        History {
            calls: self.attempts,
            callbacks: self.callbacks,
            answers: self.answers,
            earlier_1d: self.earlier_1d,
            earlier_30d: self.earlier_30d,
        }
    }

    /// The lowest of the scores of `verify-result` that are present: if it clears a bound, all of
    /// them do.
    pub fn lowest_score(&self) -> Option<f64> {
        self.scores.present().min_by(f64::total_cmp)
    }

    /// The same with the card's days at an edge. Versions before the edges stored the exact number.
    #[must_use]
    pub fn with_card_days_at_edge(mut self) -> Self {
        self.card_days_left = self.card_days_left.map(highest_edge_reached);
        self
    }
}

/// Scores, 0 to 100 where nothing else is said. References, never verdicts: the provider's own
/// document says that the status combines them with other checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Scores {
    /// Live face against the government photo (`AuthorityComparisionScore`, either spelling).
    pub authority: Option<f64>,
    /// Live face against the retained photo (`FaceComparisonScore`).
    pub face: Option<f64>,
    /// Live face against the portrait on the card (`IdCardFaceComparisonScore`).
    pub id_card_face: Option<f64>,
    /// `face-verify`: live face against the photo that the scene compares with (`verifyScore`). The
    /// vendor publishes no rates of false accepts for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<f64>,
    /// `face-verify`: live face against the portrait on the card (`idCardVerifyScore`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_card: Option<f64>,
    /// `face-verify`: quality of the picture (`qualityScore`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// `face-verify`: how likely an attack is, from 0 to 1 (`faceAttackScore`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<f64>,
}

impl Scores {
    /// Those of the three of `verify-result` that are present.
    pub fn present(&self) -> impl Iterator<Item = f64> {
        [self.authority, self.face, self.id_card_face].into_iter().flatten()
    }
}

/// The provider's grading of the face image, worst first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE", const_into_str)]
pub enum FaceQuality {
    /// Not usable.
    Unqualified,
    /// Poor.
    Low,
    /// Usual.
    Normal,
    /// Good.
    High,
}

impl FaceQuality {
    /// The provider's spelling.
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }
}

/// Which images the answer linked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, one per image kind")]
pub struct ImagesOffered {
    /// The face.
    pub face: bool,
    /// The card's portrait side.
    pub card_front: bool,
    /// The card's emblem side.
    pub card_back: bool,
    /// The full camera frame.
    pub face_global: bool,
}
