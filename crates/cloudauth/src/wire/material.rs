//! The person in an answer. Nothing here prints itself, and all text is wiped when dropped.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::dates::CardDate;
use super::malformed;
use crate::decoding::fields;
use crate::decoding::tree::Node;
use crate::text::folding;

/// The provider's grade of the face image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    const ALL: [Self; 4] = [Self::Unqualified, Self::Low, Self::Normal, Self::High];

    /// The provider's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unqualified => "UNQUALIFIED",
            Self::Low => "LOW",
            Self::Normal => "NORMAL",
            Self::High => "HIGH",
        }
    }
}

/// `Material`: what was submitted and recorded.
#[derive(Clone)]
pub struct Material {
    /// `IdCardName`: the name submitted.
    pub name: Option<SecretString>,
    /// `IdCardNumber`: the number submitted.
    pub number: Option<SecretString>,
    /// `FaceImageUrl`: good for 5 minutes from the answer, like all image links here.
    pub face_image_url: Option<SecretString>,
    /// `FaceGlobalUrl`: the full camera frame.
    pub face_global_url: Option<SecretString>,
    /// `FaceMask`.
    pub face_mask: Option<bool>,
    /// `FaceQuality`.
    pub face_quality: Option<FaceQuality>,
    /// `VideoUrls`: recordings of a withdrawn scheme.
    pub video_urls: Vec<SecretString>,
    /// `IdCardInfo`: only if the card was photographed.
    pub id_card: Option<IdCard>,
}

/// `Material.IdCardInfo`: what was read off the card. Any of it may be missing.
#[derive(Clone)]
pub struct IdCard {
    /// `Name`.
    pub name: Option<SecretString>,
    /// `Number`.
    pub number: Option<SecretString>,
    /// `Nationality`: the ethnic group.
    pub nationality: Option<SecretString>,
    /// `Sex`: 男 or 女; older answers only.
    pub sex: Option<SecretString>,
    /// `Address`.
    pub address: Option<SecretString>,
    /// `Authority`: who issued the card.
    pub authority: Option<SecretString>,
    /// `Birth`.
    pub birth: Option<CardDate>,
    /// `StartDate`: valid from.
    pub start_date: Option<CardDate>,
    /// `EndDate`: valid until, or 长期.
    pub end_date: Option<CardDate>,
    /// `FrontImageUrl`: the portrait side.
    pub front_image_url: Option<SecretString>,
    /// `BackImageUrl`: the emblem side.
    pub back_image_url: Option<SecretString>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl fmt::Debug for IdCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdCard").finish_non_exhaustive()
    }
}

impl Material {
    pub(super) fn read(node: Option<&Node>, malformed: &mut Vec<String>) -> Option<Self> {
        let node = filled(node)?;
        Some(Self {
            name: fields::secret(node.member("IdCardName")),
            number: fields::secret(node.member("IdCardNumber")),
            face_image_url: fields::secret(node.member("FaceImageUrl")),
            face_global_url: fields::secret(node.member("FaceGlobalUrl")),
            face_mask: fields::flag(malformed, malformed::FACE_MASK, node.member("FaceMask")),
            face_quality: face_quality(malformed, node.member("FaceQuality")),
            video_urls: fields::secrets(node.member("VideoUrls")),
            id_card: IdCard::read(node.member("IdCardInfo")),
        })
    }

    /// Whether the name on the card is the one submitted; `None` unless both are known. One that
    /// is masked or damaged is not known.
    pub fn name_matches(&self) -> Option<bool> {
        let card = folding::name(self.id_card.as_ref()?.name.as_ref()?.expose_secret())?;
        Some(folding::name(self.name.as_ref()?.expose_secret())? == card)
    }

    /// Whether the number on the card is the one submitted; `None` unless both are known. One that
    /// is masked or damaged is not known.
    pub fn number_matches(&self) -> Option<bool> {
        let card = folding::number(self.id_card.as_ref()?.number.as_ref()?.expose_secret())?;
        Some(folding::number(self.number.as_ref()?.expose_secret())? == card)
    }
}

impl IdCard {
    fn read(node: Option<&Node>) -> Option<Self> {
        let node = filled(node)?;
        let date = |name| fields::secret(node.member(name)).map(CardDate::read);
        Some(Self {
            name: fields::secret(node.member("Name")),
            number: fields::secret(node.member("Number")),
            nationality: fields::secret(node.member("Nationality")),
            sex: fields::secret(node.member("Sex")),
            address: fields::secret(node.member("Address")),
            authority: fields::secret(node.member("Authority")),
            birth: date("Birth"),
            start_date: date("StartDate"),
            end_date: date("EndDate"),
            front_image_url: fields::secret(node.member("FrontImageUrl")),
            back_image_url: fields::secret(node.member("BackImageUrl")),
        })
    }
}

/// A map with at least one value.
fn filled(node: Option<&Node>) -> Option<fields::Field<'_>> {
    let object = fields::object(node?)?;
    let filled = match &*object {
        Node::Map(members) => members.values().any(|node| fields::present(Some(node)).is_some()),
        _ => false,
    };
    filled.then_some(object)
}

fn face_quality(malformed: &mut Vec<String>, node: Option<&Node>) -> Option<FaceQuality> {
    let node = fields::present(node)?;
    let found = fields::text(node).and_then(|text| {
        FaceQuality::ALL.into_iter().find(|grade| grade.as_str().eq_ignore_ascii_case(text))
    });
    if found.is_none() {
        malformed.push(malformed::FACE_QUALITY.to_owned());
    }
    found
}
