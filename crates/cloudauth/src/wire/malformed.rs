//! The names that [`super::Answered::malformed`] and [`super::Answered::damaged_texts`] use.

pub use crate::decoding::malformed::{SECOND_ANSWER, STRAY_BYTES, TRAILING_TEXT};

/// `AuthorityComparisonScore`, in either spelling.
pub const AUTHORITY: &str = "authority";
/// `FaceComparisonScore`.
pub const FACE: &str = "face";
/// `IdCardFaceComparisonScore`.
pub const ID_CARD_FACE: &str = "id_card_face";
/// `Material.FaceQuality`.
pub const FACE_QUALITY: &str = "face_quality";
/// `Material.FaceMask`.
pub const FACE_MASK: &str = "face_mask";
/// A status beside something that says the call failed: `Success`, `Code` or the HTTP status.
pub const CONTRADICTION: &str = "contradiction";
