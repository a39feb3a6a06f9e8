//! The links in an answer, as they wait for their task: one JSON document, sealed for its row.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::ids::ResultId;
use crate::domain::image::{ImageKind, ImageMode};
use crate::provider::wire::Material;
use crate::vault::{DataKey, Place, SealError};

/// Most recordings of one answer that are kept.
const MOST_VIDEOS: u8 = 9;

/// Where the document is sealed to: it opens nowhere else.
fn place(id: ResultId) -> Place<'static> {
    Place { table: "tasks", row: id.0, column: "links" }
}

/// Links in hand, and what is to be done with what they lead to.
pub struct Links {
    /// The images are kept; else only their digests.
    pub keep: bool,
    /// The links; whoever has one needs no key.
    pub links: Vec<(ImageKind, SecretString)>,
}

#[derive(Serialize)]
struct Written<'a> {
    keep: bool,
    links: Vec<(String, &'a str)>,
}

#[derive(Deserialize)]
struct Read {
    keep: bool,
    links: Vec<(String, String)>,
}

/// Seals the links of an answer; `None` if it has none, or if they are left alone.
pub fn seal(
    material: &Material,
    id: ResultId,
    key: &DataKey,
    mode: ImageMode,
) -> Result<Option<Vec<u8>>, SealError> {
    let card = material.id_card.as_ref();
    let named = [
        (ImageKind::Face, material.face_image_url.as_ref()),
        (ImageKind::FaceGlobal, material.face_global_url.as_ref()),
        (ImageKind::CardFront, card.and_then(|card| card.front_image_url.as_ref())),
        (ImageKind::CardBack, card.and_then(|card| card.back_image_url.as_ref())),
    ];
    let videos = (1..=MOST_VIDEOS).map(ImageKind::Video).zip(material.video_urls.iter().map(Some));
    let links: Vec<(String, &str)> = named
        .into_iter()
        .chain(videos)
        .filter_map(|(kind, link)| Some((kind.to_string(), link?.expose_secret())))
        .collect();
    if links.is_empty() || mode == ImageMode::Off {
        return Ok(None);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    let written = Written { keep: mode == ImageMode::Archive, links };
    serde_json::to_writer(&mut *text, &written).map_err(|_| SealError)?;
    key.seal(&place(id), &text).map(Some)
}

/// Opens them again; `None`: altered, or of another key.
pub fn open(sealed: &[u8], id: ResultId, key: &DataKey) -> Option<Links> {
    let text = key.open(&place(id), sealed).ok()?;
    let read: Read = serde_json::from_slice(&text).ok()?;
    let links = read.links.into_iter().map(|(kind, link)| Some((kind.parse().ok()?, link.into())));
    Some(Links { keep: read.keep, links: links.collect::<Option<_>>()? })
}
