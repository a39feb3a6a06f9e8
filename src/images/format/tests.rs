//! Images as they are, and what makes them something else.

use super::*;

const JPEG: &[u8] = include_bytes!("../../../crates/cloudauth-sandbox/src/pictures/face.jpg");
const SCENE: &[u8] =
    include_bytes!("../../../crates/cloudauth-sandbox/src/pictures/face-global.png");
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
    [png::START, &chunks.concat()].concat()
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

/// Its format, and why it is unusual.
fn of(bytes: &[u8]) -> Option<(Format, Vec<&'static str>)> {
    Recognised::of(bytes).map(|recognised| (recognised.format, recognised.codes()))
}

fn usual(format: Format) -> (Format, Vec<&'static str>) {
    (format, Vec::new())
}

#[test]
fn images_are_known_by_their_bytes() {
    let padded = [JPEG, &[0, 0]].concat();
    let filled = [&JPEG[..2], b"\xff\xff", &JPEG[2..]].concat();
    // As cameras and phones write them: a thumbnail and metadata of the usual kinds.
    let thumbnail = jpeg_with(0xe1, &[b"Exif\0\0", JPEG].concat());
    let xmp = jpeg_with(0xe1, b"http://ns.adobe.com/xap/1.0/\0<?xpacket begin=''?><x:xmpmeta/>");
    let noted = jpeg_with(0xfe, b"CREATOR: a camera, quality = 90% < 100");
    for bytes in [JPEG, &padded, &filled, &thumbnail, &xmp, &noted] {
        assert_eq!(of(bytes), Some(usual(Format::Jpeg)));
    }
    let card = include_bytes!("../../../crates/cloudauth-sandbox/src/pictures/card-front.jpg");
    assert_eq!(of(card), Some(usual(Format::Jpeg)));
    let data = || chunk(b"IDAT", b"data");
    let text = chunk(b"tEXt", b"Software\0a camera");
    let small =
        png_of(&[header(), text, data(), data(), chunk(b"tIME", &[0; 7]), chunk(b"IEND", b"")]);
    for bytes in [SCENE, &small] {
        assert_eq!(of(bytes), Some(usual(Format::Png)));
    }
    let plain = riff(&[(b"VP8 ", b"abc")]);
    let extended = riff(&[(b"VP8X", &[0; 10]), (b"VP8L", b"data"), (b"EXIF", b"Exif\0\0")]);
    for bytes in [&plain, &extended] {
        assert_eq!(of(bytes), Some(usual(Format::Webp)));
    }
    for bytes in [mp4_with(b""), mp4_with(&boxed(b"moov", b"trak")), mp4_with(b"\0\0\0\0mdat data")]
    {
        assert_eq!(of(&bytes), Some(usual(Format::Mp4)));
    }
}

#[test]
fn a_progressive_picture_with_restarts_is_one() {
    let frame = b"\xff\xc2\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0";
    let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0 data \xff\x00 data \xff\xd3 data";
    let table = b"\xff\xc4\0\x03\x00";
    let restarts = b"\xff\xdd\0\x04\0\x01";
    let parts: [&[u8]; 7] = [b"\xff\xd8", frame, restarts, scan, table, scan, b"\xff\xd9"];
    assert_eq!(of(&parts.concat()), Some(usual(Format::Jpeg)));
}

#[test]
fn boxes_are_told_apart_by_brand() {
    let brands: [(&[u8; 4], &[u8], Format); 13] = [
        (b"heic", b"mif1heic", Format::Heic),
        (b"heix", b"mif1", Format::Heic),
        (b"mif1", b"mif1heic", Format::Heic),
        (b"mif1", b"mif1", Format::Heif),
        (b"mif1", b"mif1avifmiaf", Format::Avif),
        (b"avif", b"mif1miaf", Format::Avif),
        (b"msf1", b"hevcmsf1", Format::HeicSequence),
        (b"msf1", b"msf1", Format::Heif),
        (b"qt  ", b"qt  ", Format::QuickTime),
        (b"mp42", b"isommp42", Format::Mp4),
        (b"3gp4", b"isom3gp4", Format::Mp4),
        (b"M4V ", b"", Format::Mp4),
        (b"none", b"isom", Format::Mp4),
    ];
    for (major, others, format) in brands {
        let brands = [&major[..], b"\0\0\0\0", others].concat();
        let bytes =
            [boxed(b"ftyp", &brands), boxed(b"meta", b"hdlr"), boxed(b"mdat", b"data")].concat();
        assert_eq!(of(&bytes), Some(usual(format)), "{}", String::from_utf8_lossy(&brands));
    }
    let unknown = [boxed(b"ftyp", b"none\0\0\0\0"), boxed(b"mdat", b"data")].concat();
    assert_eq!(of(&unknown), Some((Format::Mp4, vec!["rare-format"])));
    let old = [boxed(b"wide", b""), boxed(b"mdat", b"data"), boxed(b"moov", b"trak")].concat();
    assert_eq!(of(&old), Some((Format::QuickTime, vec!["rare-format"])));
}

#[test]
fn what_is_no_image_at_all_is_refused() {
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
        &[&b"\xff\xd8\xff"[..], PAGE].concat(),
        &JPEG[..100],
        &SCENE[..33],
        &[PAGE, JPEG].concat(),
        &[&b" ".repeat(65), JPEG].concat(),
        b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82",
        &png_of(&[header(), chunk(b"IEND", b"")]),
        &png_of(&[chunk(b"IDAT", b""), header(), chunk(b"IEND", b"")]),
        &riff(&[(b"EXIF", b"")]),
        &riff(&[]),
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"\0\0\0\x07ftyp",
        b"\0\0\0\x01ftyp\0\0\0\0\0\0\0\0",
        b"\0\0\0\x01ftyp\xff\xff\xff\xff\xff\xff\xff\xffisom",
        b"\0\0\0\x08ftyp\0\0\0\x08mdat",
        b"\0\0\0\x08free\0\0\0\x08mdat",
    ] {
        assert_eq!(of(bytes), None, "{:?}", &bytes[..bytes.len().min(20)]);
    }
}

#[test]
fn nothing_panics_however_an_image_is_cut_or_changed() {
    let heic = [boxed(b"ftyp", b"heic\0\0\0\0mif1"), boxed(b"meta", b"x"), boxed(b"mdat", b"y")];
    let webp = riff(&[(b"VP8X", &[0; 10]), (b"VP8L", b"data"), (b"EXIF", b"Exif\0\0")]);
    let small = png_of(&[header(), chunk(b"IDAT", b"data"), chunk(b"IEND", b"")]);
    for image in [JPEG, SCENE, &small, &webp, &heic.concat(), &mp4_with(b"\0\0\0\0mdat data")] {
        // All of a small one, and of a large one where it begins and ends.
        let places = (0..image.len().min(600)).chain(image.len().saturating_sub(60)..image.len());
        for at in places {
            let _ = of(&image[..at]);
            for value in [0, 1, 0x7f, 0xd9, 0xff] {
                let mut bytes = image.to_vec();
                bytes[at] = value;
                let _ = of(&bytes);
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_png_is_noticed() {
    for at in 0..SCENE.len() {
        let mut bytes = SCENE.to_vec();
        bytes[at] ^= 1;
        assert_ne!(of(&bytes), Some(usual(Format::Png)), "byte {at}");
    }
}

#[test]
fn trailing_bytes_make_an_image_unusual() {
    let zip = [ZIP, b"\xff\xd9"].concat();
    let iend = chunk(b"IEND", b"");
    for more in [PAGE, ZIP, &zip, b"\xff\xd9", b"x", b"\r\n", &iend, JPEG, SCENE] {
        for image in [JPEG, SCENE, &riff(&[(b"VP8 ", b"abc")]), &mp4_with(b"")] {
            let image_with = |end: &[u8]| [image, more, end].concat();
            for bytes in [image_with(b""), image_with(b"\xff\xd9"), image_with(&iend)] {
                let (_, codes) = of(&bytes).expect("it is kept");
                assert!(!codes.is_empty(), "{:?}", &more[..more.len().min(20)]);
                assert_eq!(codes.contains(&"active-content"), more == PAGE, "{codes:?}");
                assert_eq!(codes.contains(&"archive-inside"), more.starts_with(ZIP), "{codes:?}");
            }
        }
    }
}

#[test]
fn what_hides_in_a_comment_makes_it_unusual_too() {
    // An archive whose own comment is the rest of the image.
    let rest = u16::try_from(JPEG.len() - 2).unwrap().to_le_bytes();
    let zip = [&ZIP[..ZIP.len() - 2], &rest].concat();
    let end = || chunk(b"IEND", b"");
    for hidden in [PAGE, ZIP, &zip, b"%PDF-1.7", b"<?PHP echo", b"<svg onload=x>"] {
        let png = |name| png_of(&[header(), chunk(name, hidden), chunk(b"IDAT", b"data"), end()]);
        for bytes in [
            jpeg_with(0xfe, hidden),
            jpeg_with(0xe1, hidden),
            jpeg_with(0xef, hidden),
            jpeg_with(0xf7, hidden),
            png(b"tEXt"),
            png(b"eXIf"),
            // Not a kind of chunk that every reader has to know.
            png(b"EVIL"),
            riff(&[(b"VP8X", &[0; 10]), (b"XMP ", hidden), (b"VP8 ", b"abc")]),
            riff(&[(b"VP8 ", b"abc"), (b"EVIL", hidden)]),
            mp4_with(&boxed(b"free", hidden)),
            mp4_with(&boxed(b"uuid", hidden)),
            mp4_with(&[b"\0\0\0\0uuid", hidden].concat()),
        ] {
            let (_, codes) = of(&bytes).expect("it is kept");
            let expected =
                if hidden.starts_with(b"PK") { "archive-inside" } else { "active-content" };
            assert!(codes.contains(&expected), "{hidden:?} {codes:?}");
        }
    }
    // In the picture's own data an archive is found all the same.
    assert_eq!(of(&riff(&[(b"VP8 ", ZIP)])), Some((Format::Webp, vec!["archive-inside"])));
    assert_eq!(of(&mp4_with(&boxed(b"mdat", ZIP))), Some((Format::Mp4, vec!["archive-inside"])));
}

#[test]
fn pictures_that_would_fill_the_memory_of_a_browser_are_noted() {
    let many = |format| Some((format, vec!["many-pixels"]));
    let size = |width: u32, height: u32| [width.to_be_bytes(), height.to_be_bytes()].concat();
    let png = |width, height| {
        let header = chunk(b"IHDR", &[&size(width, height)[..], &[8, 2, 0, 0, 0]].concat());
        of(&png_of(&[header, chunk(b"IDAT", b"data"), chunk(b"IEND", b"")]))
    };
    assert_eq!(png(8_000, 8_000), Some(usual(Format::Png)));
    for (width, height) in [(8_001, 8_000), (50_000, 50_000), (u32::MAX, u32::MAX)] {
        assert_eq!(png(width, height), many(Format::Png));
    }
    let jpeg = |width: u16, height: u16| {
        let sides = [height.to_be_bytes(), width.to_be_bytes()].concat();
        let frame = [&b"\xff\xc0\0\x0b\x08"[..], &sides, b"\x01\x01\x11\0"].concat();
        let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0 data";
        of(&[&b"\xff\xd8"[..], &frame, scan, b"\xff\xd9"].concat())
    };
    assert_eq!(jpeg(8_000, 8_000), Some(usual(Format::Jpeg)));
    assert_eq!(jpeg(65_535, 977), many(Format::Jpeg));
    let canvas = |side: &[u8; 3]| [&[0; 4][..], side, side].concat();
    assert_eq!(
        of(&riff(&[(b"VP8X", &canvas(b"\x3f\x1f\0")), (b"VP8L", b"data")])),
        Some(usual(Format::Webp))
    );
    assert_eq!(
        of(&riff(&[(b"VP8X", &canvas(b"\xff\xff\xff")), (b"VP8L", b"data")])),
        many(Format::Webp)
    );
    assert_eq!(of(&riff(&[(b"VP8L", b"\x2f\xff\xff\xff\x0f")])), many(Format::Webp));
    assert_eq!(of(&riff(&[(b"VP8 ", b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f")])), many(Format::Webp));
    let avif = |width, height| {
        let sides = boxed(b"ispe", &[&[0; 4][..], &size(width, height)].concat());
        let meta = boxed(b"meta", &[&[0; 4][..], &sides].concat());
        let brand = boxed(b"ftyp", b"avif\0\0\0\0mif1miaf");
        of(&[brand, meta, boxed(b"mdat", b"coded")].concat())
    };
    assert_eq!(avif(8_000, 8_000), Some(usual(Format::Avif)));
    assert_eq!(avif(1, 64_000_001), many(Format::Avif));
}
