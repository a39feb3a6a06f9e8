//! The kinds of image that a result can link to, and how they are stored.

use std::fmt;
use std::str::FromStr;

/// One kind of image; names it in URLs, in the object store and in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageKind {
    /// `FaceImageUrl`: the portrait.
    Face,
    /// `FaceGlobalUrl`: the full camera frame.
    FaceGlobal,
    /// `FrontImageUrl`: the portrait side of the card.
    CardFront,
    /// `BackImageUrl`: the emblem side of the card.
    CardBack,
    /// One of `VideoUrls`, from 1: recordings of a withdrawn scheme.
    Video(u8),
}

impl ImageKind {
    /// A face can be recognised on it, so a stored one counts a person.
    pub const fn shows_a_face(self) -> bool {
        !matches!(self, Self::CardBack)
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Face => f.write_str("face"),
            Self::FaceGlobal => f.write_str("face-global"),
            Self::CardFront => f.write_str("card-front"),
            Self::CardBack => f.write_str("card-back"),
            Self::Video(n) => write!(f, "video-{n}"),
        }
    }
}

/// The text names no kind of image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such kind of image")]
pub struct UnknownKind;

impl FromStr for ImageKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        [Self::Face, Self::FaceGlobal, Self::CardFront, Self::CardBack]
            .into_iter()
            .chain((1..=9).map(Self::Video))
            .find(|kind| kind.to_string() == text)
            .ok_or(UnknownKind)
    }
}

/// How the images of a scene are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageMode {
    /// Stored, sealed: the vendor advises to keep a copy.
    Archive,
    /// Fetched and digested, not stored: enough to prove later that a copy is the original.
    Digest,
    /// Not fetched.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_parses_from_its_name_only() {
        for name in ["face", "face-global", "card-front", "card-back", "video-1", "video-9"] {
            assert_eq!(name.parse::<ImageKind>().map(|kind| kind.to_string()), Ok(name.to_owned()));
        }
        for name in ["", "Face", "video", "video-0", "video-10", "video-01", "../face"] {
            assert_eq!(name.parse::<ImageKind>(), Err(UnknownKind), "{name}");
        }
    }
}
