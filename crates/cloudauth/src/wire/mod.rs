//! Reads the provider's answers: bytes in, a [`Reading`] out.
//!
//! Pure and lenient by design. The vendor's documents contradict its service and its SDKs: the
//! spelling of a score, numbers or strings, three envelopes, JSON or XML. So everything with one
//! possible meaning is read, and everything else is reported in [`Answered::malformed`]. Damaged
//! text that changes no field is noted in [`Answered::damaged_texts`]. Nothing here fails or
//! panics: an answer without a readable `VerifyStatus` is an [`AnswerError`].
//!
//! ```
//! use cloudauth::wire::{self, ErrorClass};
//!
//! let answered = wire::read(200, br#"{"VerifyStatus":1,"FaceComparisonScore":"96.1"}"#).outcome?;
//! assert_eq!((answered.verify_status, answered.scores.face), (1, Some(96.1)));
//!
//! let refused = wire::read(400, br#"{"Code":"Throttling.User"}"#).outcome.unwrap_err();
//! assert_eq!(refused.class, ErrorClass::Throttled);
//! # Ok::<(), wire::AnswerError>(())
//! ```

mod codes;
mod dates;
mod error;
pub mod malformed;
mod material;
mod vocabulary;
#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::Zeroizing;

pub use crate::decoding::envelope::MAX_BODY_BYTES;
pub use codes::{classify, is_conclusive};
pub use dates::CardDate;
pub use error::{AnswerError, ErrorClass, shown_code};
pub use material::{FaceQuality, IdCard, Material};

use crate::decoding::envelope::{near_root, parse};
use crate::decoding::fields::{self, Field};
use crate::decoding::oddities::Oddities;
use crate::decoding::tree::Node;
use vocabulary::VOCABULARY;

/// The header that the simulated provider (`cloudauth-sandbox`) sends with every answer. The
/// vendor never sends it.
pub const SIMULATED: &str = "x-verdict-simulated";

/// One answer, read.
#[derive(Debug)]
pub struct Reading {
    /// The provider's id of this request. Its support asks for it.
    pub request_id: Option<String>,
    /// The result, or why there is none.
    pub outcome: Result<Answered, AnswerError>,
}

/// An answer with a verification status. Its `Debug` shows no personal data.
#[derive(Debug)]
pub struct Answered {
    /// `VerifyStatus` as it came, unknown values included: −1 and 0 unfinished, 1 passed, 2 and
    /// above not passed.
    pub verify_status: i32,
    /// The scores.
    pub scores: Scores,
    /// Names ([`malformed`]) of fields that were present but made no sense. Do not take them for
    /// absent.
    pub malformed: Vec<String>,
    /// JSON pointers of texts in which characters were replaced.
    pub damaged_texts: Vec<String>,
    /// The person.
    pub material: Option<Material>,
}

/// Comparison scores, each 0 to 100. References only: the status combines them with other checks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Live face against the government photo (`AuthorityComparisionScore`, either spelling).
    pub authority: Option<f64>,
    /// Live face against the retained photo (`FaceComparisonScore`).
    pub face: Option<f64>,
    /// Live face against the portrait on the card (`IdCardFaceComparisonScore`).
    pub id_card_face: Option<f64>,
}

/// A verification that was started. Its `Debug` shows nothing: the token opens the verification.
pub struct VerifyToken {
    /// `VerifyToken`, for the phone's SDK. It lives for 30 minutes.
    pub token: Zeroizing<String>,
    /// `VerifyPageUrl`, of the old H5 scheme only.
    pub page_url: Option<String>,
}

impl fmt::Debug for VerifyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyToken").finish_non_exhaustive()
    }
}

/// Reads an answer of `DescribeVerifyResult`. The content tells the format, not a header: edges and
/// gateways answer in HTML and XML whatever was asked for.
pub fn read(http_status: u16, body: &[u8]) -> Reading {
    let mut oddities = Oddities::new(&VOCABULARY);
    let Some(root) = parse(body, &mut oddities) else {
        return Reading { request_id: None, outcome: Err(error(None, http_status)) };
    };
    let request_id = near_root(&root, "RequestId");
    let holders = holders(&root);
    let outcome = match verify_status(&holders) {
        Status::Is(verify_status, holder) => {
            if says_failed(&root, http_status) {
                oddities.malformed.push(malformed::CONTRADICTION.to_owned());
            }
            Ok(answered(verify_status, holder, oddities))
        }
        Status::Unreadable => {
            let code = near_root(&root, "Code").as_deref().map(shown_code);
            Err(AnswerError { class: ErrorClass::Unreadable, code })
        }
        Status::Absent => Err(error(near_root(&root, "Code").as_deref(), http_status)),
    };
    Reading { request_id, outcome }
}

/// Reads an answer of `DescribeVerifyToken`: a token, or why there is none.
pub fn read_token(http_status: u16, body: &[u8]) -> Result<VerifyToken, AnswerError> {
    let parsed = parse(body, &mut Oddities::new(&VOCABULARY));
    let Some(root) = parsed else { return Err(error(None, http_status)) };
    let holders = holders(&root);
    let text = |name| holders.iter().find_map(|holder| fields::text(holder.member(name)?));
    match text("VerifyToken") {
        Some(token) => Ok(VerifyToken {
            token: Zeroizing::new(token.to_owned()),
            page_url: text("VerifyPageUrl").map(ToOwned::to_owned),
        }),
        None => Err(error(near_root(&root, "Code").as_deref(), http_status)),
    }
}

fn error(code: Option<&str>, http_status: u16) -> AnswerError {
    AnswerError { class: classify(code, http_status), code: code.map(shown_code) }
}

/// The envelope says that the call failed. A status beside that is ambiguous.
fn says_failed(root: &Node, http_status: u16) -> bool {
    let failed_code = |node: &Node| !fields::text(node).is_some_and(codes::is_success);
    let code =
        |place: &Node| fields::present(place.member_of_any_case("Code")).is_some_and(failed_code);
    let denied = match root.member_of_any_case("Success") {
        Some(Node::Flag(success)) => !success,
        node => node.and_then(fields::text).is_some_and(|text| !text.eq_ignore_ascii_case("true")),
    };
    let errors = [root.member("Error"), root.member("error")];
    denied
        || !(200..=299).contains(&http_status)
        || code(root)
        || errors.into_iter().flatten().any(code)
}

/// Where the result may stand: flat (2019-03-07), in `ResultObject` (2020-11-12), or in `Data`
/// (XML samples, predecessors).
fn holders(root: &Node) -> Vec<Field<'_>> {
    let mut holders = vec![Field::Borrowed(root)];
    for name in ["ResultObject", "Data"] {
        holders.extend(root.member(name).and_then(fields::object));
    }
    holders
}

enum Status<'a> {
    Absent,
    Unreadable,
    Is(i32, &'a Node),
}

/// The one status of an answer. Two that differ are no status.
fn verify_status<'a>(holders: &'a [Field<'_>]) -> Status<'a> {
    let mut found = Status::Absent;
    for holder in holders {
        let Some(node) = fields::present(holder.member("VerifyStatus")) else { continue };
        match (fields::whole(node), &found) {
            (Some(status), Status::Absent) => found = Status::Is(status, holder),
            (Some(status), Status::Is(first, _)) if status == *first => (),
            _ => return Status::Unreadable,
        }
    }
    found
}

fn answered(verify_status: i32, holder: &Node, oddities: Oddities) -> Answered {
    let Oddities { mut malformed, damaged_texts, .. } = oddities;
    let scores = Scores {
        // The service and every SDK misspell it; the documents do not.
        authority: fields::score(
            &mut malformed,
            malformed::AUTHORITY,
            &[
                holder.member("AuthorityComparisionScore"),
                holder.member("AuthorityComparisonScore"),
            ],
        ),
        face: fields::score(
            &mut malformed,
            malformed::FACE,
            &[holder.member("FaceComparisonScore")],
        ),
        id_card_face: fields::score(
            &mut malformed,
            malformed::ID_CARD_FACE,
            &[holder.member("IdCardFaceComparisonScore")],
        ),
    };
    let material = Material::read(holder.member("Material"), &mut malformed);
    Answered { verify_status, scores, malformed, damaged_texts, material }
}
