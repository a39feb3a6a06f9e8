//! `GET /assets/{name}`: the stylesheet, the script and the icon, from the binary. Their names hold
//! a digest of their content, so that browsers keep them and never use an old one.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest, Sha256};

use super::refused::Refused;

/// One embedded file.
struct Asset {
    /// Its address below `/assets/`.
    name: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let digest = hex::encode(&Sha256::digest(content)[..8]);
        Self { name: format!("{stem}-{digest}.{extension}"), content_type, content }
    }
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

pub async fn handler(Path(name): Path<String>) -> Result<Response, Refused> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(Refused::not_found)?;
    let headers = [
        (CONTENT_TYPE, asset.content_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

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
