//! The links in a result, as they wait for their task: one JSON document, sealed for its row.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use url::Url;
use zeroize::Zeroizing;

use crate::domain::ids::ResultId;
use crate::domain::image::{ImageKind, ImageMode};
use crate::provider::Reading;
use crate::vault::{DataKey, SealError, SealedAt};

/// Opened links.
pub struct Links {
    /// The images are stored; else only their digests.
    pub keep: bool,
    /// Secret: a link alone gives access to its image.
    pub links: Vec<(ImageKind, SecretString)>,
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
struct Document<'a> {
    keep: bool,
    links: Vec<(String, Cow<'a, str>)>,
}

#[derive(Clone, Debug)]
pub struct SealedLinks {
    pub sealed: Vec<u8>,
    /// How long the links are valid from now.
    pub live: Duration,
}

/// Seals the links of a result. `None`: it has none, or the scene's images are not fetched.
pub fn seal(
    reading: &dyn Reading,
    id: ResultId,
    key: &DataKey,
    mode: ImageMode,
    now: OffsetDateTime,
) -> Result<Option<SealedLinks>, SealError> {
    let links: Vec<(String, Cow<'_, str>)> = reading
        .links()
        .into_iter()
        .map(|(kind, link)| (kind.to_string(), link.expose_secret().into()))
        .collect();
    if links.is_empty() || mode == ImageMode::Off {
        return Ok(None);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    let most = reading.links_live();
    let live = links.iter().filter_map(|(_, link)| valid_for(link, now, most)).min();
    let document = Document { keep: mode == ImageMode::Archive, links };
    serde_json::to_writer(&mut *text, &document).map_err(|_| SealError)?;
    let sealed = key.seal(SealedAt::ImageLinks(id), &text)?;
    Ok(Some(SealedLinks { sealed, live: live.unwrap_or(most) }))
}

/// How long a link is valid by its parameter `Expires`, seconds since 1970, as the vendor's object
/// store writes it. A hint for the order of tasks; an implausible value is ignored.
fn valid_for(link: &str, now: OffsetDateTime, most: Duration) -> Option<Duration> {
    let link = Url::parse(link.trim()).ok()?;
    let (_, expires) = link.query_pairs().find(|(name, _)| name == "Expires")?;
    let seconds = expires.parse::<i64>().ok()?.checked_sub(now.unix_timestamp())?;
    let live = Duration::from_secs(u64::try_from(seconds).ok()?);
    (Duration::from_secs(1)..most).contains(&live).then_some(live)
}

/// `None`: altered, or sealed with another key.
pub fn open(sealed: &[u8], id: ResultId, key: &DataKey) -> Option<Links> {
    let text = key.open(SealedAt::ImageLinks(id), sealed).ok()?;
    let read: Document<'_> = serde_json::from_slice(&text).ok()?;
    let links = read.links.into_iter();
    let links = links.map(|(kind, link)| Some((kind.parse().ok()?, link.into_owned().into())));
    Some(Links { keep: read.keep, links: links.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_read_from_the_link_and_ignored_if_implausible() {
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
            assert_eq!(
                valid_for(link, now, Duration::from_mins(5)).map(|live| live.as_secs()),
                live,
                "{link}"
            );
        }
    }
}
