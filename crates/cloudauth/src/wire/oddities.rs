//! Faults in the form of an answer that is readable all the same.
//!
//! Damage to a text that decides nothing is noted where it stands. Damage that could hide or
//! change what decides is a malformed field, and no policy approves an answer that has one.

use super::malformed;

/// Longest list of damaged texts. Past it there is nothing more to learn.
const MAX_DAMAGED_TEXTS: usize = 16;
/// Stands for a member that no document of the vendor's names: its name may be personal data.
const UNKNOWN_MEMBER: &str = "*";
/// Members that may be named.
const KNOWN_MEMBERS: &[&str] = &[
    "Address",
    "Authority",
    "AuthorityComparisionScore",
    "AuthorityComparisonScore",
    "BackImageUrl",
    "Birth",
    "Code",
    "Data",
    "EndDate",
    "Error",
    "FaceComparisonScore",
    "FaceGlobalUrl",
    "FaceImageUrl",
    "FaceMask",
    "FaceQuality",
    "FrontImageUrl",
    "HostId",
    "IdCardFaceComparisonScore",
    "IdCardInfo",
    "IdCardName",
    "IdCardNumber",
    "Material",
    "Message",
    "Name",
    "Nationality",
    "Number",
    "Recommend",
    "RequestId",
    "ResultObject",
    "Sex",
    "StartDate",
    "Success",
    "VerifyStatus",
    "VerifyToken",
    "VideoUrls",
];

/// The oddities of one answer.
#[derive(Default)]
pub(super) struct Oddities {
    /// JSON pointers of damaged texts.
    pub(super) damaged_texts: Vec<String>,
    /// Names of the oddities that could hide something that decides ([`malformed`]).
    pub(super) malformed: Vec<String>,
}

impl Oddities {
    /// A text on this path has characters that were replaced. XML does not tell where: no path.
    pub(super) fn damaged_text(&mut self, path: &[String]) {
        let name = |name: &String| {
            KNOWN_MEMBERS
                .binary_search(&name.as_str())
                .map_or(UNKNOWN_MEMBER, |at| KNOWN_MEMBERS[at])
        };
        let pointer = path.iter().fold(String::new(), |pointer, part| pointer + "/" + name(part));
        if self.damaged_texts.len() < MAX_DAMAGED_TEXTS && !self.damaged_texts.contains(&pointer) {
            self.damaged_texts.push(pointer);
        }
    }

    /// Bytes that are no JSON stood between values.
    pub(super) fn stray_bytes(&mut self) {
        self.malformed.push(malformed::STRAY_BYTES.to_owned());
    }

    /// Text stood behind the answer. A second status there would be a second answer.
    pub(super) fn trailing(&mut self, rest: &[u8]) {
        let names_status = rest.windows(12).any(|name| name.eq_ignore_ascii_case(b"VerifyStatus"));
        if names_status {
            self.malformed.push(malformed::SECOND_ANSWER.to_owned());
        } else if !rest.is_empty() {
            self.damaged_texts.push(malformed::TRAILING_TEXT.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_members_are_in_order() {
        assert!(KNOWN_MEMBERS.is_sorted());
    }
}
