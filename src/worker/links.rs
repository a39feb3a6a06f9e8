//! The links in an answer, as they wait for their task: one JSON document, sealed for its row.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use url::Url;
use zeroize::Zeroizing;

use crate::domain::ids::ResultId;
use crate::domain::image::{ImageKind, ImageMode};
use crate::provider::Material;
use crate::vault::{DataKey, SealError, SealedAt};

/// Most recordings of one answer that are kept.
const MOST_VIDEOS: u8 = 9;

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

/// Sealed links, and how long they live.
#[derive(Clone, Debug)]
pub struct SealedLinks {
    /// The document.
    pub sealed: Vec<u8>,
    /// From now.
    pub live: Duration,
}

/// The provider's document: links are good for 5 minutes from the answer.
const LIVE: Duration = Duration::from_mins(5);

/// Seals the links of an answer; `None` if it has none, or if they are left alone.
pub fn seal(
    material: &Material,
    id: ResultId,
    key: &DataKey,
    mode: ImageMode,
    now: OffsetDateTime,
) -> Result<Option<SealedLinks>, SealError> {
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
    let live = links.iter().filter_map(|(_, link)| lives_for(link, now)).min();
    let written = Written { keep: mode == ImageMode::Archive, links };
    serde_json::to_writer(&mut *text, &written).map_err(|_| SealError)?;
    let sealed = key.seal(SealedAt::ImageLinks(id), &text)?;
    Ok(Some(SealedLinks { sealed, live: live.unwrap_or(LIVE) }))
}

/// How long a link says it lives, as the vendor's object store writes it: `Expires`, in seconds
/// since 1970. A hint for the order of work: believed only if it is not absurd.
fn lives_for(link: &str, now: OffsetDateTime) -> Option<Duration> {
    let link = Url::parse(link.trim()).ok()?;
    let (_, expires) = link.query_pairs().find(|(name, _)| name == "Expires")?;
    let seconds = expires.parse::<i64>().ok()?.checked_sub(now.unix_timestamp())?;
    let live = Duration::from_secs(u64::try_from(seconds).ok()?);
    (Duration::from_secs(1)..LIVE).contains(&live).then_some(live)
}

/// Opens them again; `None`: altered, or of another key.
pub fn open(sealed: &[u8], id: ResultId, key: &DataKey) -> Option<Links> {
    let text = key.open(SealedAt::ImageLinks(id), sealed).ok()?;
    let read: Read = serde_json::from_slice(&text).ok()?;
    let links = read.links.into_iter().map(|(kind, link)| Some((kind.parse().ok()?, link.into())));
    Some(Links { keep: read.keep, links: links.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_how_long_it_lives_and_nonsense_is_not_believed() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        for (link, live) in [
            ("https://b.oss.aliyuncs.com/a.jpg?Expires=1000060&Signature=x%3D", Some(60)),
            ("https://b.oss.aliyuncs.com/a.jpg?Expires=1000299", Some(299)),
            ("https://b.oss.aliyuncs.com/a.jpg?Expires=1000301", None),
            ("https://b.oss.aliyuncs.com/a.jpg?Expires=999999", None),
            ("https://b.oss.aliyuncs.com/a.jpg?Expires=99999999999999999999", None),
            ("https://b.oss.aliyuncs.com/a.jpg?Expires=soon", None),
            ("https://b.oss.aliyuncs.com/a.jpg", None),
            ("not a link", None),
        ] {
            assert_eq!(lives_for(link, now).map(|live| live.as_secs()), live, "{link}");
        }
    }
}
