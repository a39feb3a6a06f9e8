//! What the bytes of an image are, judged by themselves and without decoding: a decoder is a large
//! surface for whoever made the bytes.
//!
//! Each format's structure is walked from the first byte to the last, so nothing can follow an
//! image or stand between its parts; a checksum that the format has is checked. Parts that no
//! decoder shows (comments, texts, metadata) may not hold a page, a script or a document, and no
//! bytes anywhere may hold the end of a ZIP archive, which its readers look for from the end of a
//! file, or the beginning of another archive that is looked for anywhere.
//!
//! What cannot be told: whether the picture's own data decodes, what it shows, and whether a
//! reader of some other format, one with no signature or one not named here, would make something
//! of it: every byte of a picture's data may be chosen at will. So nothing is believed of an image
//! where it is shown either: it goes out with its own type, `nosniff`, and a policy that runs
//! nothing.

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

    /// What it is, and nothing beside; `None`: not an image, or not only one.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (format, whole) = if bytes.starts_with(b"\xff\xd8\xff") {
            (Self::Jpeg, jpeg(bytes))
        } else if bytes.starts_with(PNG) {
            (Self::Png, png(&bytes[PNG.len()..]))
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            (Self::Webp, webp(bytes))
        } else if bytes.get(4..8) == Some(b"ftyp") {
            (Self::Mp4, mp4(bytes))
        } else {
            return None;
        };
        (whole.is_some() && !holds_an_archive(bytes)).then_some(format)
    }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Segments up to the end marker (ITU T.81, B.1); zeros after it: some cameras pad.
fn jpeg(bytes: &[u8]) -> Option<()> {
    let mut rest = bytes.get(2..)?;
    let mut scans = 0;
    loop {
        let marker;
        (marker, rest) = jpeg_marker(rest)?;
        match marker {
            0xd9 => return (scans > 0 && rest.iter().all(|byte| *byte == 0)).then_some(()),
            // Frames, tables, restart intervals, and the like: a length and as many bytes.
            0xc0..=0xcf | 0xda..=0xdf | 0xe0..=0xef | 0xfe => {
                let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
                let content = rest.get(2..length)?;
                rest = &rest[length..];
                if marker == 0xda {
                    scans += 1;
                    rest = after_scan(rest)?;
                } else if marker >= 0xe0 && speaks(content) {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

/// A marker, and what comes after it; any number of `FF` may stand before one.
fn jpeg_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let fill = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let marker = *bytes.get(fill)?;
    (fill > 0).then_some((marker, &bytes[fill + 1..]))
}

/// What comes after coded data: the next marker that is neither a restart nor a stuffed `FF`.
fn after_scan(bytes: &[u8]) -> Option<&[u8]> {
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
    bytes.windows(2).position(is_marker).map(|at| &bytes[at..])
}

/// Chunks up to the end (PNG, 5): header first, data together, the end at the end; each with its
/// checksum.
fn png(mut rest: &[u8]) -> Option<()> {
    let mut before: Option<&[u8]> = None;
    let mut has_data = false;
    loop {
        let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let checked = rest.get(4..length.checked_add(8)?)?;
        let sum = rest.get(length + 8..length + 12)?;
        rest = &rest[length + 12..];
        if crc32fast::hash(checked).to_be_bytes() != sum {
            return None;
        }
        let (name, content) = checked.split_at(4);
        let fits = match name {
            b"IHDR" => before.is_none() && length == 13,
            b"PLTE" => !has_data && length <= 768,
            b"IDAT" => !has_data || before == Some(b"IDAT"),
            b"IEND" => return (length == 0 && has_data && rest.is_empty()).then_some(()),
            // Ancillary: the first letter is small.
            _ => name[0].is_ascii_lowercase() && !speaks(content),
        };
        if !fits || before.is_none() && name != b"IHDR" || !name.iter().all(u8::is_ascii_alphabetic)
        {
            return None;
        }
        has_data |= name == b"IDAT";
        before = Some(name);
    }
}

/// Chunks that fill the file (RFC 9649), of the kinds that WebP has.
fn webp(bytes: &[u8]) -> Option<()> {
    let told = usize::try_from(u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?)).ok()?;
    let mut rest = bytes.get(12..).filter(|_| told.checked_add(8) == Some(bytes.len()))?;
    let mut pictures = 0;
    let mut first = true;
    while !rest.is_empty() {
        let name = rest.get(..4)?;
        let length = usize::try_from(u32::from_le_bytes(*rest.get(4..)?.first_chunk()?)).ok()?;
        let content = rest.get(8..length.checked_add(8)?)?;
        // To an even length, with a zero.
        let pad = rest.get(8 + length..8 + length + length % 2)?;
        let fits = match name {
            b"VP8 " | b"VP8L" => pictures == 0,
            b"VP8X" => first,
            b"ANMF" | b"ALPH" => !first,
            b"ANIM" | b"ICCP" | b"EXIF" | b"XMP " => !first && !speaks(content),
            _ => false,
        };
        if !fits || pad.iter().any(|byte| *byte != 0) {
            return None;
        }
        pictures += usize::from(matches!(name, b"VP8 " | b"VP8L" | b"ANMF"));
        first = false;
        rest = &rest[8 + length + length % 2..];
    }
    (pictures > 0).then_some(())
}

/// Boxes that end exactly where the bytes end (ISO 14496-12, 4.2).
fn mp4(mut rest: &[u8]) -> Option<()> {
    while !rest.is_empty() {
        let name = rest.get(4..8)?;
        let length = match u32::from_be_bytes(*rest.first_chunk()?) {
            // To the end: so that a recording can be written before its length is known.
            0 if name == b"mdat" => rest.len() as u64,
            // Longer than 32 bits can say.
            1 => u64::from_be_bytes(*rest.get(8..)?.first_chunk()?),
            length => u64::from(length),
        };
        let length = usize::try_from(length).ok().filter(|length| *length >= 8)?;
        let content = rest.get(8..length)?;
        if name != b"mdat" && speaks(content) {
            return None;
        }
        rest = &rest[length..];
    }
    Some(())
}

/// Looked for in what no decoder shows, in any case: beginnings of pages, scripts, documents.
const SPEECH: [&[u8]; 8] =
    [b"<html", b"<script", b"<!doctype", b"<body", b"<iframe", b"<svg", b"<?php", b"%pdf-"];

fn speaks(content: &[u8]) -> bool {
    memchr::memchr2_iter(b'<', b'%', content).any(|at| {
        SPEECH.iter().any(|speech| {
            content.get(at..at + speech.len()).is_some_and(|part| part.eq_ignore_ascii_case(speech))
        })
    })
}

/// Long enough not to come up by chance: the end of a ZIP archive (all on one disk), and what RAR
/// and 7z begin with, even behind other bytes.
const ARCHIVES: [&[u8]; 3] = [b"PK\x05\x06\0\0\0\0", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"];

fn holds_an_archive(bytes: &[u8]) -> bool {
    ARCHIVES.iter().any(|archive| memchr::memmem::find(bytes, archive).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = include_bytes!("../sandbox/pictures/face.jpg");
    const SCENE: &[u8] = include_bytes!("../sandbox/pictures/face-global.png");
    const PAGE: &[u8] = b"<HTML><script>alert(1)</script></html>";
    /// An archive with nothing in it, which any reader of ZIP opens.
    const ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn chunk(name: &[u8], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        let checked = [name, content].concat();
        let sum = crc32fast::hash(&checked).to_be_bytes();
        [&length[..], &checked, &sum].concat()
    }

    /// A PNG of these chunks.
    fn png_of(chunks: &[Vec<u8>]) -> Vec<u8> {
        [PNG, &chunks.concat()].concat()
    }

    fn header() -> Vec<u8> {
        chunk(b"IHDR", &[0; 13])
    }

    fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut body = b"WEBP".to_vec();
        for (name, content) in chunks {
            body.extend_from_slice(*name);
            body.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
            body.extend_from_slice(content);
            body.resize(body.len().next_multiple_of(2), 0);
        }
        [&b"RIFF"[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), &body].concat()
    }

    fn mp4_with(more: &[u8]) -> Vec<u8> {
        [&b"\0\0\0\x10ftypisom\0\0\0\0"[..], b"\0\0\0\x08mdat", more].concat()
    }

    fn boxed(name: &[u8], content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
        [&length[..], name, content].concat()
    }

    /// The picture with a segment of this content behind its start.
    fn jpeg_with(marker: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&JPEG[..2], &[0xff, marker], &length, content, &JPEG[2..]].concat()
    }

    #[test]
    fn images_are_known_by_their_bytes() {
        let padded = [JPEG, &[0, 0]].concat();
        let filled = [&JPEG[..2], b"\xff\xff", &JPEG[2..]].concat();
        // As cameras and phones write them: a thumbnail and metadata of the usual kinds.
        let thumbnail = jpeg_with(0xe1, &[b"Exif\0\0", JPEG].concat());
        let xmp =
            jpeg_with(0xe1, b"http://ns.adobe.com/xap/1.0/\0<?xpacket begin=''?><x:xmpmeta/>");
        let noted = jpeg_with(0xfe, b"CREATOR: a camera, quality = 90% < 100");
        for bytes in [JPEG, &padded, &filled, &thumbnail, &xmp, &noted] {
            assert_eq!(Format::of(bytes), Some(Format::Jpeg));
        }
        let card = include_bytes!("../sandbox/pictures/card-front.jpg");
        assert_eq!(Format::of(card), Some(Format::Jpeg));
        let data = || chunk(b"IDAT", b"data");
        let text = chunk(b"tEXt", b"Software\0a camera");
        let small =
            png_of(&[header(), text, data(), data(), chunk(b"tIME", &[0; 7]), chunk(b"IEND", b"")]);
        for bytes in [SCENE, &small] {
            assert_eq!(Format::of(bytes), Some(Format::Png));
        }
        let plain = riff(&[(b"VP8 ", b"abc")]);
        let extended = riff(&[(b"VP8X", &[0; 10]), (b"VP8L", b"data"), (b"EXIF", b"Exif\0\0")]);
        for bytes in [&plain, &extended] {
            assert_eq!(Format::of(bytes), Some(Format::Webp));
        }
        for bytes in
            [mp4_with(b""), mp4_with(&boxed(b"moov", b"trak")), mp4_with(b"\0\0\0\0mdat data")]
        {
            assert_eq!(Format::of(&bytes), Some(Format::Mp4));
        }
    }

    #[test]
    fn a_progressive_picture_with_restarts_is_one() {
        let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0 data \xff\x00 data \xff\xd3 data";
        let table = b"\xff\xc4\0\x03\x00";
        let bytes =
            [&b"\xff\xd8"[..], b"\xff\xdd\0\x04\0\x01", scan, table, scan, b"\xff\xd9"].concat();
        assert_eq!(Format::of(&bytes), Some(Format::Jpeg));
    }

    #[test]
    fn what_is_something_else_is_no_image() {
        for bytes in [
            &b""[..],
            PAGE,
            ZIP,
            b"GIF89a;",
            b"%PDF-1.7",
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xd9",
            b"\xff\xd8\xff\xe0\0\x01",
            b"\xff\xd8\xff\xe0\xff\xff",
            &JPEG[..JPEG.len() - 1],
            &SCENE[..SCENE.len() - 1],
            &[PAGE, JPEG].concat(),
            b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82",
            &png_of(&[header(), chunk(b"IEND", b"")]),
            &png_of(&[chunk(b"IDAT", b""), header(), chunk(b"IEND", b"")]),
            &riff(&[(b"EXIF", b"")]),
            &riff(&[]),
            b"\0\0\0\x07ftyp",
            b"\0\0\0\x01ftyp\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(Format::of(bytes), None, "{:?}", &bytes[..bytes.len().min(20)]);
        }
        // A flipped bit anywhere in a PNG.
        for at in 0..SCENE.len() {
            let mut bytes = SCENE.to_vec();
            bytes[at] ^= 1;
            assert_eq!(Format::of(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn what_follows_an_image_makes_it_two_things_even_if_it_ends_like_one() {
        let zip = [ZIP, b"\xff\xd9"].concat();
        let iend = chunk(b"IEND", b"");
        for more in [PAGE, ZIP, &zip, b"\xff\xd9", b"x", &iend, JPEG, SCENE] {
            for image in [JPEG, SCENE, &riff(&[(b"VP8 ", b"abc")]), &mp4_with(b"")] {
                let image_with = |end: &[u8]| [image, more, end].concat();
                for bytes in [image_with(b""), image_with(b"\xff\xd9"), image_with(&iend)] {
                    assert_eq!(Format::of(&bytes), None, "{:?}", &more[..more.len().min(20)]);
                }
            }
        }
    }

    #[test]
    fn what_hides_in_a_comment_makes_it_two_things_too() {
        // An archive whose own comment is the rest of the image.
        let rest = u16::try_from(JPEG.len() - 2).unwrap().to_le_bytes();
        let zip = [&ZIP[..ZIP.len() - 2], &rest].concat();
        let end = || chunk(b"IEND", b"");
        for hidden in [PAGE, ZIP, &zip, b"%PDF-1.7", b"<?PHP echo", b"<svg onload=x>"] {
            let png =
                |name| png_of(&[header(), chunk(name, hidden), chunk(b"IDAT", b"data"), end()]);
            for bytes in [
                jpeg_with(0xfe, hidden),
                jpeg_with(0xe1, hidden),
                jpeg_with(0xef, hidden),
                png(b"tEXt"),
                png(b"eXIf"),
                // Not a kind of chunk that every reader has to know.
                png(b"EVIL"),
                riff(&[(b"VP8X", &[0; 10]), (b"XMP ", hidden), (b"VP8 ", b"abc")]),
                riff(&[(b"VP8 ", b"abc"), (b"EVIL", hidden)]),
                mp4_with(&boxed(b"free", hidden)),
                mp4_with(&boxed(b"uuid", hidden)),
            ] {
                assert_eq!(Format::of(&bytes), None, "{hidden:?}");
            }
        }
        // In the picture's own data an archive is found all the same.
        assert_eq!(Format::of(&riff(&[(b"VP8 ", ZIP)])), None);
        assert_eq!(Format::of(&mp4_with(&boxed(b"mdat", ZIP))), None);
    }
}
