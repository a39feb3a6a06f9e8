//! Stored pictures as a page shows them: under an overlay with viewer and time, each reading on record.
//! Their bytes are passed on as they are.

use axum::response::Response;
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};

use crate::console::frame::moments::Moments;
use crate::console::signed_in::SignedIn;
use crate::console::state::Console;
use crate::console::texts::{Phrase, Texts};
use crate::domain::ids::VerificationId;
use crate::domain::image::ImageKind;
use crate::http::images;
use crate::http::problem::Problem;
use crate::store::audit::AuditContext;
use crate::store::images::ImageRow;

/// Media types that browsers show.
const IN_A_PAGE: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/avif"];

/// The only headers that are passed on, so that the pictures of golden pairs and of cases look alike.
const KEPT: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY];

/// How a picture is shown.
#[derive(Debug)]
pub enum Shown {
    Image,
    /// A notice, and a download.
    File(String),
    /// There is none, and why.
    Missing(Phrase),
}

#[derive(Debug)]
pub struct Picture {
    pub href: String,
    pub name: Phrase,
    pub alt: Phrase,
    /// A class that shows a part of it.
    pub part: &'static str,
    pub shown: Shown,
}

/// Viewer and time, over a picture.
pub fn mark(who: &SignedIn, moments: &Moments) -> String {
    let mark = moments.t.case.overlay.with("name", &who.name);
    mark.with("time", moments.full(moments.now)).to_string()
}

/// Whether a browser shows it, and it is no more than a picture.
pub fn is_shown_in_a_page(row: &ImageRow) -> bool {
    row.unusual.is_empty() && row.content_type.as_deref().is_some_and(|it| IN_A_PAGE.contains(&it))
}

/// How a stored picture is shown. One that may be more than a picture is never put into a page.
pub fn shown(t: &'static Texts, row: &ImageRow) -> Shown {
    let media_type = row.content_type.as_deref().unwrap_or_default();
    if !row.unusual.is_empty() {
        return Shown::File(t.case.unusual.with("why", row.unusual.join(", ")).to_string());
    }
    if is_shown_in_a_page(row) {
        return Shown::Image;
    }
    Shown::File(t.case.not_shown.with("format", media_type).to_string())
}

/// The newest stored picture of each of these kinds. `here`: the address below which they are.
pub fn newest(
    t: &'static Texts,
    rows: &[ImageRow],
    kinds: &[ImageKind],
    (here, purpose): (&str, &str),
) -> Vec<Picture> {
    let query: String = url::form_urlencoded::byte_serialize(purpose.as_bytes()).collect();
    let picture = |kind: &ImageKind| {
        let name = kind.to_string();
        let row = rows.iter().rev().find(|row| row.kind == name && row.state == "archived")?;
        let text = kind_in_words(t, *kind);
        let href = format!("{here}/images/{name}?purpose={query}");
        Some(Picture { href, name: text, alt: text, part: "", shown: shown(t, row) })
    };
    kinds.iter().filter_map(picture).collect()
}

fn kind_in_words(t: &'static Texts, kind: ImageKind) -> Phrase {
    match kind {
        ImageKind::Face => t.case.live,
        ImageKind::FaceGlobal => t.verification.whole_frame,
        ImageKind::CardFront => t.facts.card_front,
        ImageKind::CardBack => t.facts.card_back,
        ImageKind::Video(_) => t.verification.film,
    }
}

/// One picture with nothing but the headers that a page needs. The reading is on record first.
pub async fn serve(
    console: &Console,
    verification: VerificationId,
    kind: ImageKind,
    context: &AuditContext,
) -> Result<Response, Problem> {
    images::serve(&console.api, verification, kind, context, &HeaderMap::new()).await
}

/// Drops every header that could tell one kind of picture from another.
pub fn with_few_headers(mut response: Response) -> Response {
    let kept: HeaderMap = KEPT
        .into_iter()
        .filter_map(|name| response.headers().get(&name).cloned().map(|value| (name, value)))
        .collect();
    *response.headers_mut() = kept;
    response
}
