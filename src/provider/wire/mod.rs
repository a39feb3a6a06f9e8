//! What the provider's answers look like, and what we make of them: bytes in, a [`Reading`] out.
//!
//! Pure and lenient by design. The vendor's documents contradict its service and its SDKs
//! (spelling of a score, numbers or strings, three envelopes, JSON or XML), so everything that has
//! one possible meaning is read, and everything that has none is said to be so. Damaged text that
//! decides nothing is passed over and noted. Nothing here can fail or panic: an answer without a
//! readable `VerifyStatus` is an [`AnswerError`].

mod codes;
mod dates;
mod fields;
mod json;
mod material;
mod oddities;
mod tree;
mod xml;
#[cfg(test)]
mod tests;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::domain::answer::{AnswerError, ErrorClass, shown_code};
use crate::domain::card_days::highest_edge_reached;
use crate::domain::evidence::{Evidence, History, ImagesOffered, Scores};
use crate::domain::starting::Started;

pub use codes::{classify, is_conclusive};
pub use dates::CardDate;
pub use material::{IdCard, Material};

use fields::Field;
use oddities::Oddities;
use tree::Node;

/// Longest body we read. Real ones have about 2 KiB; the rest is room, and what is longer is
/// not an answer.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// With every answer of our simulated provider, and with none of the vendor's.
pub const SIMULATED: &str = "x-verdict-simulated";

/// Deepest nesting we follow. Real answers have four levels.
pub(crate) const MAX_DEPTH: usize = 64;

/// The names [`Evidence::malformed`] uses.
pub mod malformed {
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
    /// Text behind the answer that names no status. It stands in [`Evidence::damaged_texts`].
    ///
    /// [`Evidence::damaged_texts`]: crate::domain::evidence::Evidence::damaged_texts
    pub const TRAILING_TEXT: &str = "trailing_text";
}

/// One answer, read.
#[derive(Debug)]
pub struct Reading {
    /// The provider's id of this request, for its support desk.
    pub request_id: Option<String>,
    /// What it says, or why it says nothing.
    pub outcome: Result<Answered, AnswerError>,
}

/// An answer with a verification status. Its `Debug` shows no personal data.
#[derive(Debug)]
pub struct Answered {
    /// `VerifyStatus`, as it came; unknown values too.
    pub verify_status: i32,
    /// Those scores that are numbers within 0 to 100.
    pub scores: Scores,
    /// Names ([`malformed`]) of what was there but made no sense.
    pub malformed: Vec<String>,
    /// JSON pointers of texts in which characters were replaced.
    pub damaged_texts: Vec<String>,
    /// The person.
    pub material: Option<Material>,
}

/// Reads an answer. The form is told by the content, not by any header: edges and gateways answer
/// in HTML and XML whatever was asked for.
pub fn read(http_status: u16, body: &[u8]) -> Reading {
    let mut oddities = Oddities::default();
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
pub fn read_token(http_status: u16, body: &[u8]) -> Result<Started, AnswerError> {
    let parsed = parse(body, &mut Oddities::default());
    let Some(root) = parsed else { return Err(error(None, http_status)) };
    let holders = holders(&root);
    let text = |name| holders.iter().find_map(|holder| fields::text(holder.member(name)?));
    match text("VerifyToken") {
        Some(token) => Ok(Started {
            token: Zeroizing::new(token.to_owned()),
            page_url: text("VerifyPageUrl").map(ToOwned::to_owned),
        }),
        None => Err(error(near_root(&root, "Code").as_deref(), http_status)),
    }
}

fn error(code: Option<&str>, http_status: u16) -> AnswerError {
    AnswerError { class: classify(code, http_status), code: code.map(shown_code) }
}

/// JSON or XML, by the first character; `None` for anything else.
fn parse(body: &[u8], oddities: &mut Oddities) -> Option<Node> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    match body.first()? {
        b'{' | b'[' => json::parse(body, oddities),
        b'<' => xml::parse(body, oddities),
        _ => None,
    }
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

/// A short token of the envelope or of its `Error` element, however its name is capitalised. Free
/// text is not let through: it may echo what was asked.
fn near_root(root: &Node, name: &str) -> Option<String> {
    let places = [Some(root), root.member("Error"), root.member("error")];
    places
        .into_iter()
        .flatten()
        .filter_map(|place| fields::text(place.member_of_any_case(name)?))
        .find(|text| is_token(text))
        .map(ToOwned::to_owned)
}

/// The alphabet of codes and request ids.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

fn answered(verify_status: i32, holder: &Node, oddities: Oddities) -> Answered {
    let Oddities { mut malformed, damaged_texts } = oddities;
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

impl Answered {
    /// The answer without the person. `fetched_at` is when it came: the card's dates are judged
    /// by the calendar of China at that moment, so that the same answer always says the same.
    pub fn evidence(
        &self,
        biz_type: &str,
        history: History,
        fetched_at: OffsetDateTime,
    ) -> Evidence {
        let material = self.material.as_ref();
        let card = material.and_then(|material| material.id_card.as_ref());
        let today = dates::in_china(fetched_at);
        Evidence {
            verify_status: self.verify_status,
            scores: self.scores,
            face_quality: material.and_then(|material| material.face_quality),
            face_mask: material.and_then(|material| material.face_mask),
            images: ImagesOffered {
                face: material.is_some_and(|material| material.face_image_url.is_some()),
                card_front: card.is_some_and(|card| card.front_image_url.is_some()),
                card_back: card.is_some_and(|card| card.back_image_url.is_some()),
                face_global: material.is_some_and(|material| material.face_global_url.is_some()),
            },
            name_matches: material.and_then(Material::name_matches),
            number_matches: material.and_then(Material::number_matches),
            card_days_left: card
                .and_then(|card| card.end_date.as_ref()?.date)
                .map(|end| highest_edge_reached((end - today).whole_days())),
            age_years: card
                .and_then(|card| card.birth.as_ref()?.date)
                .and_then(|birth| dates::whole_years(birth, today)),
            biz_type: biz_type.to_owned(),
            attempts: history.calls,
            callbacks: history.callbacks,
            answers: history.answers,
            earlier_1d: history.earlier_1d,
            earlier_30d: history.earlier_30d,
            malformed: self.malformed.clone(),
            damaged_texts: self.damaged_texts.clone(),
        }
    }
}
