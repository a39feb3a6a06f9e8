//! The images behind the links: small, valid, and gone after a while, as at the vendor's store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use time::OffsetDateTime;

use crate::document::Node;
use crate::identity::Links;
use crate::question;
use cloudauth::signing::percent_encode;

/// One kind of image: its name in links, its type, its bytes.
struct Picture {
    kind: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

/// Drawn for this purpose: a smiley, a card from both sides, the smiley in its surroundings, a film.
const PICTURES: [Picture; 5] = [
    Picture {
        kind: "face",
        content_type: "image/jpeg",
        bytes: include_bytes!("pictures/face.jpg"),
    },
    Picture {
        kind: "face-global",
        content_type: "image/png",
        bytes: include_bytes!("pictures/face-global.png"),
    },
    Picture {
        kind: "card-front",
        content_type: "image/jpeg",
        bytes: include_bytes!("pictures/card-front.jpg"),
    },
    Picture {
        kind: "card-back",
        content_type: "image/jpeg",
        bytes: include_bytes!("pictures/card-back.jpg"),
    },
    // A film without a single frame: a file type and an empty container.
    Picture {
        kind: "video",
        content_type: "video/mp4",
        bytes: b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08mdat",
    },
];

/// Makes links and knows its own again.
pub struct LinkKey(String);

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoImage {
    /// No such kind.
    Unknown,
    /// Not a link of ours.
    Forged,
    /// It was, until then (Unix seconds).
    Expired(i64),
}

impl LinkKey {
    /// With a random secret, so that links die with the process.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Five links under that base address, good until `expires` (Unix seconds).
    pub fn links(&self, base: &str, token: &str, expires: i64) -> Links {
        let link = |kind: &str| {
            let signature = percent_encode(&self.sign(kind, token, expires));
            format!("{base}/images/{kind}/{token}?Expires={expires}&Signature={signature}")
        };
        Links {
            face: link("face"),
            global: link("face-global"),
            front: link("card-front"),
            back: link("card-back"),
            video: link("video"),
        }
    }

    /// The image, with its content type, if the link is ours and still good.
    pub fn open(
        &self,
        kind: &str,
        token: &str,
        query: &[(String, String)],
        now: OffsetDateTime,
    ) -> Result<(&'static str, &'static [u8]), NoImage> {
        let picture = PICTURES.iter().find(|p| p.kind == kind).ok_or(NoImage::Unknown)?;
        let value = |name| question::value(query, name);
        let expires: i64 =
            value("Expires").and_then(|text| text.parse().ok()).ok_or(NoImage::Forged)?;
        if value("Signature") != Some(self.sign(kind, token, expires).as_str()) {
            return Err(NoImage::Forged);
        }
        if now.unix_timestamp() > expires {
            return Err(NoImage::Expired(expires));
        }
        Ok((picture.content_type, picture.bytes))
    }

    /// A signature that only this process makes.
    pub fn sign(&self, kind: &str, token: &str, expires: i64) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
        let mut mac =
            Hmac::<Sha1>::new_from_slice(self.0.as_bytes()).expect("any key length will do");
        mac.update(format!("{kind}\n{token}\n{expires}").as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl NoImage {
    /// HTTP status and the error document, as the vendor's object store writes it.
    pub fn document(self, request_id: &str, host: &str) -> (u16, Node) {
        let (status, code, message) = match self {
            Self::Unknown => (404, "NoSuchKey", "The specified key does not exist."),
            Self::Forged => (403, "SignatureDoesNotMatch", "The request signature does not match."),
            Self::Expired(_) => (403, "AccessDenied", "Request has expired."),
        };
        let mut members = vec![
            ("Code", Node::from(code)),
            ("Message", Node::from(message)),
            ("RequestId", Node::from(request_id)),
            ("HostId", Node::from(host)),
        ];
        if let Self::Expired(at) = self {
            members.push(("Expires", Node::Whole(at)));
        }
        (status, Node::Object(members))
    }
}
