//! The evidence: the part of a result that a policy may see, without the person.

use serde::{Deserialize, Serialize};

use crate::card_days::highest_edge_reached;

/// The bound of all counts of a verification's past.
pub const MOST_COUNTED: i64 = 1000;

/// One answer as evidence. Absent stays absent (`None`): never a default, never a guess.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// `VerifyStatus`: −1 and 0 unfinished, 1 passed, 2 and above not passed.
    pub verify_status: i32,
    /// The three scores.
    pub scores: Scores,
    /// `Material.FaceQuality`.
    pub face_quality: Option<FaceQuality>,
    /// `Material.FaceMask`: the face wore a mask.
    pub face_mask: Option<bool>,
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

    /// The lowest score present: if it clears a bound, every one that is present does.
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

/// Comparison scores, each 0 to 100. References, never verdicts: the provider's own document
/// says that the status combines them with other checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Scores {
    /// Live face against the government photo (`AuthorityComparisionScore`, either spelling).
    pub authority: Option<f64>,
    /// Live face against the retained photo (`FaceComparisonScore`).
    pub face: Option<f64>,
    /// Live face against the portrait on the card (`IdCardFaceComparisonScore`).
    pub id_card_face: Option<f64>,
}

impl Scores {
    /// Those that are present.
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
