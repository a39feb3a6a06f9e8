//! The product that is sold today: `InitFaceVerify`, `DescribeFaceVerify`,
//! `DeleteFaceVerifyResult`, and what the vendor and the browser send back.
//!
//! Pure and lenient like [`crate::wire`]: bytes in, a [`Reading`] out, and nothing panics. An answer
//! has three layers:
//!
//! 1. the HTTP status, which says little: the same refusal comes with 200 and with 4xx;
//! 2. the body's `Code`: "200" means that the call worked, "424" and "403" that the person has not
//!    finished, 414 to 418 and 427 that the provider refuses this person;
//! 3. `Passed` with `SubCode`: the verdict.
//!
//! A later layer counts only if the earlier one allows it. `Passed` beside a failed `Code` is
//! ignored. `Passed` that contradicts its `SubCode` is reported as [`malformed::CONTRADICTION`]. A
//! caller must never approve an answer with anything in [`Verified::malformed`].
//!
//! ```
//! use cloudauth::face_verify::{self, Read};
//!
//! let body = r#"{"Code": "200", "ResultObject": {"Passed": "T", "SubCode": "200",
//!     "MaterialInfo": "{\"facialPictureFront\": {\"verifyScore\": 91.5}}"}}"#;
//! let Read::Finished(verified) = face_verify::read(200, body.as_bytes()).outcome? else {
//!     panic!("an unfinished verification");
//! };
//! assert_eq!((verified.passed, verified.code.as_deref()), (Some(true), Some("200")));
//! assert_eq!(verified.scores.verify, Some(91.5));
//! assert!(verified.malformed.is_empty());
//!
//! let waiting = face_verify::read(424, br#"{"Code": 424}"#).outcome?;
//! assert!(matches!(waiting, Read::Unfinished { .. }));
//! # Ok::<(), cloudauth::wire::AnswerError>(())
//! ```

mod codes;
mod deletion;
mod envelope;
mod lookup;
pub mod malformed;
mod material;
mod nested;
mod notice;
mod result;
mod returned;
mod start;
mod vocabulary;
#[cfg(test)]
mod tests;

pub use codes::{Family, family, is_conclusive};
pub use deletion::{Deletion, read_deleted};
pub use lookup::{Found, read_found};
pub use material::{Material, StoredObject, UserInfo};
pub use notice::Notice;
pub use result::{Read, Reading, Scores, Verified, read};
pub use returned::Return;
pub use start::{Start, Started, read_started};
