//! What the bytes of an image are, judged by themselves and without decoding: a decoder is a large
//! surface for whoever made the bytes.

/// What is taken for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `image/jpeg`.
    Jpeg,
    /// `image/png`.
    Png,
    /// `image/webp`.
    Webp,
    /// `video/mp4`: recordings.
    Mp4,
}

impl Format {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Mp4 => "video/mp4",
        }
    }

    /// By its first bytes, and only if it ends where its format says it ends: what is appended to
    /// an image (an archive, a page) would make it two things at once. `None`: not an image.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
        // A chunk of no bytes, its name, its checksum (PNG §11.2.5).
        const IEND: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";
        if bytes.starts_with(b"\xff\xd8\xff") {
            // Some cameras pad with zeros after the end marker.
            let end = bytes.iter().rposition(|byte| *byte != 0)?;
            return bytes[..=end].ends_with(b"\xff\xd9").then_some(Self::Jpeg);
        }
        if bytes.starts_with(PNG) {
            let header = bytes.get(8..16) == Some(b"\0\0\0\rIHDR");
            return (header && bytes.ends_with(IEND)).then_some(Self::Png);
        }
        if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            let told = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
            let whole = usize::try_from(told).ok()?.checked_add(8)?;
            return (whole == bytes.len()).then_some(Self::Webp);
        }
        if bytes.get(4..8) == Some(b"ftyp") {
            return boxes_fill(bytes).then_some(Self::Mp4);
        }
        None
    }
}

/// Whether the boxes of an ISO file (ISO 14496-12, 4.2) end exactly where the bytes end.
fn boxes_fill(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Some(Ok(head)) = bytes.get(..4).map(<[u8; 4]>::try_from) else { return false };
        let length = match u32::from_be_bytes(head) {
            // To the end.
            0 => bytes.len() as u64,
            // Longer than 32 bits can say.
            1 => match bytes.get(8..16).map(<[u8; 8]>::try_from) {
                Some(Ok(long)) => u64::from_be_bytes(long),
                _ => return false,
            },
            length => u64::from(length),
        };
        match usize::try_from(length) {
            Ok(length) if (8..=bytes.len()).contains(&length) => bytes = &bytes[length..],
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = include_bytes!("../sandbox/pictures/face.jpg");
    const PNG: &[u8] = include_bytes!("../sandbox/pictures/face-global.png");

    fn webp() -> Vec<u8> {
        [&b"RIFF"[..], &12_u32.to_le_bytes(), b"WEBPVP8 \0\0\0\0"].concat()
    }

    fn mp4() -> Vec<u8> {
        [&b"\0\0\0\x10ftypisom\0\0\0\0"[..], b"\0\0\0\x08mdat"].concat()
    }

    #[test]
    fn images_are_known_by_their_bytes() {
        assert_eq!(Format::of(JPEG), Some(Format::Jpeg));
        assert_eq!(Format::of(&[JPEG, &[0, 0]].concat()), Some(Format::Jpeg));
        assert_eq!(Format::of(PNG), Some(Format::Png));
        assert_eq!(Format::of(&webp()), Some(Format::Webp));
        assert_eq!(Format::of(&mp4()), Some(Format::Mp4));
    }

    #[test]
    fn what_is_something_else_or_two_things_at_once_is_no_image() {
        let page = b"<html><script>alert(1)</script></html>";
        let zip = b"PK\x03\x04 and so on PK\x05\x06";
        for bytes in [
            &b""[..],
            page,
            zip,
            b"GIF89a;",
            b"%PDF-1.7",
            b"\xff\xd8\xff",
            &JPEG[..JPEG.len() - 1],
            &PNG[..PNG.len() - 1],
            &[JPEG, page].concat(),
            &[JPEG, zip].concat(),
            &[PNG, page].concat(),
            &[PNG, zip].concat(),
            &[&webp()[..], zip].concat(),
            &[&mp4()[..], page].concat(),
            &[page, JPEG].concat(),
            b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82",
        ] {
            assert_eq!(Format::of(bytes), None, "{:?}", &bytes[..bytes.len().min(20)]);
        }
    }
}
