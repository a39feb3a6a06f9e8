//! Photos as phones and tools write them: each is stored and served. A browser never shows a file
//! that is more than an image.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Options, TestApp, eventually};

const JPEG: &[u8] = include_bytes!("../../crates/cloudauth-sandbox/src/pictures/face.jpg");
const PNG: &[u8] = include_bytes!("../../crates/cloudauth-sandbox/src/pictures/face-global.png");
const KINDS: [&str; 4] = ["face", "face-global", "card-front", "card-back"];
const END: &[u8] = b"\xff\xd9";

/// A file, what it is served as, and the codes that it is shown with.
type Photo = (&'static str, Vec<u8>, &'static str, &'static [&'static str]);

fn boxed(name: &[u8], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&length[..], name, content].concat()
}

/// Boxes of a file with this brand.
fn branded(brand: &[u8], others: &[u8]) -> Vec<u8> {
    let brands = [brand, b"\0\0\0\0", others].concat();
    [boxed(b"ftyp", &brands), boxed(b"meta", b"\0\0\0\0hdlr"), boxed(b"mdat", b"coded")].concat()
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker][..], &length, content].concat()
}

/// The face with these segments behind its start, and these bytes behind its end.
fn jpeg(segments: &[u8], behind: &[u8]) -> Vec<u8> {
    [&JPEG[..2], segments, &JPEG[2..], behind].concat()
}

fn chunk(name: &[u8], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let checked = [name, content].concat();
    let sum = crc32fast::hash(&checked).to_be_bytes();
    [&length[..], &checked, &sum].concat()
}

/// The scene with these chunks behind its header, and these bytes behind its end.
fn png(chunks: &[u8], behind: &[u8]) -> Vec<u8> {
    [&PNG[..33], chunks, &PNG[33..], behind].concat()
}

fn webp(chunks: &[(&[u8], &[u8])], behind: &[u8]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (name, content) in chunks {
        body.extend_from_slice(name);
        body.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        body.extend_from_slice(content);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [&b"RIFF"[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), &body, behind].concat()
}

/// The last 12 bytes of a Samsung photo say where its parts are.
fn samsung() -> Vec<u8> {
    let part: &[u8] = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1764150000000";
    [part, &b"SEFH\x6b\0\0\0\x01\0\0\0\0\0\x01\x0a"[..], b"\x2b\0\0\0\x18\0\0\0SEFT"].concat()
}

fn motion() -> Vec<u8> {
    [&b"MotionPhoto_Data"[..], &branded(b"mp42", b"isom")].concat()
}

const PLAIN: &[&str] = &[];
const BEHIND: &[&str] = &["data-after-end"];
const BEFORE: &[&str] = &["data-before-start"];
const CUT: &[&str] = &["end-missing"];
const DAMAGED: &[&str] = &["damaged"];
const PARTS: &[&str] = &["unknown-parts"];
const RARE: &[&str] = &["rare-format"];
const MANY: &[&str] = &["many-pixels"];
const PAGE_BEHIND: &[&str] = &["active-content", "data-after-end"];
const ARCHIVE_BEHIND: &[&str] = &["archive-inside", "data-after-end"];

fn jpegs() -> Vec<Photo> {
    let xmp = |text: &str| {
        segment(
            0xe1,
            format!("http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>{text}</x:xmpmeta>").as_bytes(),
        )
    };
    let mpf = segment(0xe2, b"MPF\0II*\0\x08\0\0\0\x03\0\0\xb0\x07\0\x04\0\0\x000100");
    let without_end = JPEG[..JPEG.len() - 2].to_vec();
    vec![
        ("a plain photo", JPEG.to_vec(), "image/jpeg", PLAIN),
        ("zeros up to a block", jpeg(b"", &[0; 512]), "image/jpeg", PLAIN),
        ("a Samsung trailer", jpeg(b"", &samsung()), "image/jpeg", BEHIND),
        (
            "a Huawei trailer",
            jpeg(b"", b"\0\0\0\0\0\0cust_info0000DUAL_FRONT_CAM________________"),
            "image/jpeg",
            BEHIND,
        ),
        (
            "a Motion Photo of Samsung",
            jpeg(b"", &[motion(), samsung()].concat()),
            "image/jpeg",
            BEHIND,
        ),
        (
            "a Motion Photo of Google",
            jpeg(&xmp("GCamera:MotionPhoto=\"1\""), &branded(b"mp42", b"isom")),
            "image/jpeg",
            BEHIND,
        ),
        ("a second image (MPF)", jpeg(&mpf, JPEG), "image/jpeg", BEHIND),
        (
            "a gain map (Ultra HDR)",
            jpeg(&[xmp("hdrgm:Version=\"1.0\""), mpf.clone()].concat(), JPEG),
            "image/jpeg",
            BEHIND,
        ),
        ("one CR LF behind", jpeg(b"", b"\r\n"), "image/jpeg", BEHIND),
        (
            "a padded end marker",
            [&without_end[..], b"\xff\xff\xff", END].concat(),
            "image/jpeg",
            PLAIN,
        ),
        ("filled up with FF", jpeg(b"", &[0xff; 100]), "image/jpeg", BEHIND),
        ("a doubled end marker", jpeg(b"", END), "image/jpeg", BEHIND),
        ("no end marker", without_end, "image/jpeg", CUT),
        ("cut in the middle", JPEG[..JPEG.len() - 100].to_vec(), "image/jpeg", CUT),
        (
            "a byte too many between segments",
            jpeg(&[segment(0xfe, b"note"), vec![0]].concat(), b""),
            "image/jpeg",
            DAMAGED,
        ),
        ("a vendor's own segment", jpeg(&segment(0xf7, b"vendor"), b""), "image/jpeg", PARTS),
        ("a line end before", [&b"\r\n"[..], JPEG].concat(), "image/jpeg", BEFORE),
        (
            "a page behind a photo",
            jpeg(b"", b"<!DOCTYPE html><script>alert(1)</script>"),
            "image/jpeg",
            PAGE_BEHIND,
        ),
        (
            "an archive behind a photo",
            jpeg(b"", &[&b"PK\x05\x06"[..], &[0; 18]].concat()),
            "image/jpeg",
            ARCHIVE_BEHIND,
        ),
    ]
}

fn others() -> Vec<Photo> {
    let picture: (&[u8], &[u8]) = (b"VP8L", b"coded");
    let mut checksum = PNG.to_vec();
    checksum[30] ^= 1;
    // A browser would take 10 GB for it.
    let side = 50_000_u32.to_be_bytes();
    let bomb = chunk(b"IHDR", &[&side[..], &side, &PNG[24..29]].concat());
    vec![
        ("a plain picture", PNG.to_vec(), "image/png", PLAIN),
        (
            "a screenshot with private chunks",
            png(&chunk(b"iDOT", &[0; 28]), b""),
            "image/png",
            PLAIN,
        ),
        ("a Samsung screenshot", png(b"", &samsung()), "image/png", BEHIND),
        ("a line end behind a picture", png(b"", b"\n"), "image/png", BEHIND),
        ("Apple's own picture", png(&chunk(b"CgBI", b"\x50\0\x20\x06"), b""), "image/png", PARTS),
        ("a wrong checksum", checksum, "image/png", DAMAGED),
        (
            "a few bytes that are 2.5 billion pixels",
            [&PNG[..8], &bomb, &PNG[33..]].concat(),
            "image/png",
            MANY,
        ),
        ("WebP with a vendor's chunk", webp(&[picture, (b"EPRV", b"x")], b""), "image/webp", PARTS),
        ("WebP with a trailer", webp(&[picture], b"\r\n"), "image/webp", BEHIND),
        ("a photo of an iPhone", branded(b"heic", b"mif1heic"), "image/heic", PLAIN),
        ("HEIF by compatible brand", branded(b"mif1", b"mif1heic"), "image/heic", PLAIN),
        ("HEIF of another codec", branded(b"mif1", b"mif1"), "image/heif", PLAIN),
        (
            "a Motion Photo in HEIF",
            [branded(b"heic", b"mif1heic"), boxed(b"mpvd", &motion())].concat(),
            "image/heic",
            PARTS,
        ),
        ("AVIF", branded(b"avif", b"mif1miaf"), "image/avif", PLAIN),
        ("a recording of an iPhone", branded(b"qt  ", b"qt  "), "video/quicktime", PLAIN),
        ("a recording of Android", branded(b"mp42", b"isommp42"), "video/mp4", PLAIN),
        (
            "a bitmap",
            [&b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"[..], &[0; 52]].concat(),
            "image/bmp",
            RARE,
        ),
        ("a GIF", b"GIF89a\x01\0\x01\0\0\0\0,;".to_vec(), "image/gif", RARE),
    ]
}

async fn serving() -> (TempDir, TestApp) {
    let folder = TempDir::new().unwrap();
    let images = format!("store = \"file://{}\"\nmax_bytes = 100000", folder.path().display());
    let app = TestApp::start_with(Options { images, ..Options::default() }).await;
    (folder, app)
}

/// The images of a new verification once none is pending, by kind.
async fn images_of(app: &TestApp, biz_id: &str) -> (String, BTreeMap<String, Value>) {
    let id = app.verified(biz_id).await["id"].as_str().unwrap().to_owned();
    let items = eventually("its images are settled", || async {
        let reply = app.get(&format!("/v1/verifications/{id}/images")).await;
        let items = reply.json["items"].as_array().unwrap().clone();
        let settled = items.iter().all(|item| item["state"] != "pending");
        (settled && items.len() == KINDS.len()).then_some(items)
    })
    .await;
    let by_kind = items.into_iter().map(|item| (item["kind"].as_str().unwrap().to_owned(), item));
    (id, by_kind.collect())
}

#[tokio::test]
async fn phone_photos_are_stored_and_served() {
    let (_folder, app) = serving().await;
    let photos = [jpegs(), others()].concat();
    assert!(photos.len() >= 30);
    for (round, photos) in photos.chunks(KINDS.len()).enumerate() {
        for (kind, (_, bytes, ..)) in KINDS.iter().zip(photos) {
            app.provider.set_image(kind, bytes.clone());
        }
        let (id, items) = images_of(&app, &format!("pass-97-{round}")).await;
        for (kind, (name, bytes, media_type, codes)) in KINDS.iter().zip(photos) {
            let item = &items[*kind];
            assert_eq!(item["state"], "archived", "{name}: {item}");
            assert_eq!(item["unusual"], json!(codes), "{name}");
            assert_eq!(item["content_type"], *media_type, "{name}");
            let request = app
                .client
                .get(format!("http://{}/v1/verifications/{id}/images/{kind}", app.http))
                .bearer_auth(&app.api_key)
                .header("verdict-purpose", "appeal 4711");
            let response = request.send().await.unwrap();
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), *media_type, "{name}");
            let disposition = if codes.is_empty() { "inline" } else { "attachment" };
            assert_eq!(header("content-disposition"), disposition, "{name}");
            assert_eq!(header("x-content-type-options"), "nosniff", "{name}");
            assert!(header("content-security-policy").contains("sandbox"), "{name}");
            assert_eq!(response.bytes().await.unwrap(), bytes, "{name}");
        }
    }
}

#[tokio::test]
async fn non_images_and_large_files_are_lost_with_their_reason() {
    let (_folder, app) = serving().await;
    let refused: [(&str, Vec<u8>, &str); 4] = [
        ("face", b"<!doctype html><html>an error page</html>".to_vec(), "not-an-image"),
        (
            "face-global",
            [&b"\xff\xd8\xff<html>"[..], b"<script>alert(1)</script>"].concat(),
            "not-an-image",
        ),
        ("card-front", [JPEG.to_vec(), vec![0; 100_000]].concat(), "too-large"),
        ("card-back", Vec::new(), "not-an-image"),
    ];
    for (kind, bytes, _) in &refused {
        app.provider.set_image(kind, bytes.clone());
    }
    let (_, items) = images_of(&app, "pass-97-refused").await;
    for (kind, _, reason) in &refused {
        assert_eq!(
            (&items[*kind]["state"], &items[*kind]["reason"]),
            (&json!("lost"), &json!(reason))
        );
        assert_eq!(items[*kind]["unusual"], json!([]));
    }
}
