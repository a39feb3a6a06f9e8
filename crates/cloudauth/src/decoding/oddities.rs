//! Faults in the form of an answer that is readable all the same.
//!
//! Damage to a text that decides nothing is noted where it stands. Damage that could hide or
//! change what decides is a malformed field, and no policy approves an answer that has one.

use super::malformed;

/// Longest list of damaged texts. Past it there is nothing more to learn.
const MAX_DAMAGED_TEXTS: usize = 16;
/// Stands for a member that no document of the vendor's names.
const UNKNOWN_MEMBER: &str = "*";

/// The names by which oddities in the answers of one product are classified.
pub(crate) struct Vocabulary {
    /// Members that its documents name, in order. Others are never named: an invented name may be
    /// personal data.
    pub(crate) members: &'static [&'static str],
    /// Members that decide. Text behind an answer that names one may be a second answer.
    pub(crate) deciding: &'static [&'static str],
}

/// The oddities of one answer.
pub(crate) struct Oddities {
    vocabulary: &'static Vocabulary,
    /// JSON pointers of damaged texts.
    pub(crate) damaged_texts: Vec<String>,
    /// Names of the oddities that could hide something that decides ([`malformed`]).
    pub(crate) malformed: Vec<String>,
}

impl Oddities {
    pub(crate) const fn new(vocabulary: &'static Vocabulary) -> Self {
        Self { vocabulary, damaged_texts: Vec::new(), malformed: Vec::new() }
    }

    /// A text on this path has characters that were replaced. XML does not tell where: no path.
    pub(crate) fn damaged_text(&mut self, path: &[String]) {
        let members = self.vocabulary.members;
        let name = |name: &String| {
            members.binary_search(&name.as_str()).map_or(UNKNOWN_MEMBER, |at| members[at])
        };
        let pointer = path.iter().fold(String::new(), |pointer, part| pointer + "/" + name(part));
        if self.damaged_texts.len() < MAX_DAMAGED_TEXTS && !self.damaged_texts.contains(&pointer) {
            self.damaged_texts.push(pointer);
        }
    }

    /// Bytes that are no JSON stood between values.
    pub(crate) fn stray_bytes(&mut self) {
        self.malformed.push(malformed::STRAY_BYTES.to_owned());
    }

    /// Text stood behind the answer. A member that decides would make it a second answer.
    pub(crate) fn trailing(&mut self, rest: &[u8]) {
        let names = |member: &&str| {
            rest.windows(member.len()).any(|name| name.eq_ignore_ascii_case(member.as_bytes()))
        };
        if self.vocabulary.deciding.iter().any(names) {
            self.malformed.push(malformed::SECOND_ANSWER.to_owned());
        } else if !rest.is_empty() {
            self.damaged_texts.push(malformed::TRAILING_TEXT.to_owned());
        }
    }
}
