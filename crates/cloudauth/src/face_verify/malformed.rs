//! The names that [`super::Verified::malformed`] and [`super::Verified::damaged_texts`] use.

pub use crate::decoding::malformed::{SECOND_ANSWER, STRAY_BYTES, TRAILING_TEXT};

/// `Passed` is missing, or neither `T` nor `F`.
pub const PASSED: &str = "passed";
/// `SubCode` is missing, or not a code of at most six digits.
pub const CODE: &str = "code";
/// A result without the `Code` that says the call worked.
pub const BODY_CODE: &str = "body_code";
/// `T` with a code of failure, `F` with one of success, or a result beside an HTTP status or a
/// `Success` that says the call failed.
pub const CONTRADICTION: &str = "contradiction";
/// A member's name has damaged characters, so it could be any member.
pub const DAMAGED_NAME: &str = "damaged_name";
/// `MaterialInfo` is present and is neither an object nor the JSON text of one.
pub const MATERIAL_INFO: &str = "material_info";
/// `MaterialInfo.facialPictureFront` is present and is no object.
pub const FACIAL_PICTURE: &str = "facial_picture";
/// `MaterialInfo.ocrIdCardInfo` is present and is no object.
pub const ID_CARD: &str = "id_card";
/// `facialPictureFront.verifyScore`.
pub const VERIFY_SCORE: &str = "verify_score";
/// `facialPictureFront.idCardVerifyScore`.
pub const ID_CARD_SCORE: &str = "id_card_score";
/// `facialPictureFront.qualityScore`.
pub const QUALITY_SCORE: &str = "quality_score";
/// `facialPictureFront.faceAttackScore`.
pub const ATTACK_SCORE: &str = "attack_score";
/// `MaterialInfo.faceOcclusion`.
pub const FACE_OCCLUDED: &str = "face_occluded";
/// `MaterialInfo.faceAttack`.
pub const FACE_ATTACK: &str = "face_attack";
/// `facialPictureFront.qualityWearHat`.
pub const WEAR_HAT: &str = "wear_hat";
/// `MaterialInfo.guardRiskScore`.
pub const GUARD_RISK_SCORE: &str = "guard_risk_score";
/// `DeviceRisk` has something else than labels.
pub const DEVICE_RISK: &str = "device_risk";
