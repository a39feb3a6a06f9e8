//! The names that [`super::Answered::malformed`] and [`super::Answered::damaged_texts`] use.

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
/// Bytes between values that are neither JSON nor blank.
pub const STRAY_BYTES: &str = "stray_bytes";
/// Text behind the answer that names a status.
pub const SECOND_ANSWER: &str = "second_answer";
/// A status beside something that says the call failed: `Success`, `Code` or the HTTP status.
pub const CONTRADICTION: &str = "contradiction";
/// Text behind the answer that names no status. It appears in `damaged_texts`.
pub const TRAILING_TEXT: &str = "trailing_text";
