//! `GET /assets/{name}`: the stylesheet, the script and the icon, from the binary. Their names hold
//! a digest of their content, so that browsers keep them and never use an old one.

use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use sha2::{Digest, Sha256};

use super::refused::Refused;

/// One embedded file.
struct Asset {
    /// Its address below `/assets/`.
    name: String,
    content_type: &'static str,
    content: &'static str,
    /// The same, a fifth to a third of the size. Pages are never compressed: they hold a secret beside what
    /// others typed, and the size would tell of it.
    gzipped: Bytes,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let digest = hex::encode(&Sha256::digest(content)[..8]);
        let name = format!("{stem}-{digest}.{extension}");
        Self { name, content_type, content, gzipped: gzipped(content) }
    }
}

fn gzipped(content: &str) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail; an empty answer would be served as it is.
    let written = encoder.write_all(content.as_bytes()).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}

/// For pages that load nothing.
pub(super) const STYLE: &str = include_str!("assets/console.css");

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("console", "css", "text/css; charset=utf-8", STYLE),
        Asset::new(
            "console",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("assets/console.js"),
        ),
        Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ]
});

/// The names that the pages link to.
pub fn stylesheet() -> &'static str {
    &ASSETS[0].name
}

pub fn script() -> &'static str {
    &ASSETS[1].name
}

pub fn icon() -> &'static str {
    &ASSETS[2].name
}

pub async fn handler(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Refused> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(Refused::not_found)?;
    let about = [
        (CONTENT_TYPE, asset.content_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (VARY, "accept-encoding"),
    ];
    if takes_gzip(&headers) && !asset.gzipped.is_empty() {
        return Ok((about, [(CONTENT_ENCODING, "gzip")], asset.gzipped.clone()).into_response());
    }
    Ok((about, asset.content).into_response())
}

/// Every browser says `gzip` by name, and none gives it a weight of zero.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|list| list.split(',').any(|coding| coding.trim() == "gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_the_same_and_sent_only_where_it_is_asked_for() {
        use std::io::Read;
        for asset in ASSETS.iter() {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&asset.gzipped[..]).read_to_string(&mut text).unwrap();
            assert_eq!(text, asset.content, "{}", asset.name);
        }
        for (accepted, takes) in [
            ("gzip, deflate, br", true),
            ("br,gzip", true),
            ("gzip;q=0", false),
            ("identity", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, accepted.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), takes, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_compressed_answer_is_no_copy() {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, "gzip".parse().unwrap())]);
        let answer = handler(Path(stylesheet().to_owned()), headers).await.unwrap();
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body, ASSETS[0].gzipped);
        assert_eq!(body.as_ptr(), ASSETS[0].gzipped.as_ptr());
    }

    #[test]
    fn script_and_stylesheet_are_small_and_name_no_other_host() {
        assert!(
            ASSETS[1].content.len() <= 15 * 1024,
            "{} bytes of script",
            ASSETS[1].content.len()
        );
        assert!(ASSETS[0].content.len() <= 30 * 1024, "{} bytes of style", ASSETS[0].content.len());
        for asset in ASSETS.iter() {
            let text = asset.content.replace("http://www.w3.org/2000/svg", "");
            for foreign in ["://", "//cdn", "@import", "innerHTML", "eval(", "data:"] {
                assert!(!text.contains(foreign), "{} has {foreign}", asset.name);
            }
        }
    }
}
